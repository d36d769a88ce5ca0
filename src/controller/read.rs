//! Reads what a pass needs in addition to the resource itself: the present status, and the workload that names the image.

use std::borrow::Cow;

use api::{ArtifactConfig, ArtifactConfigStatus, Reason, Resolve, WorkloadRef};
use decide::spec::{self, Followed, Following, Owner};
use decide::workload::{self, Workload};
use decide::{Failure, running};
use kube::Resource as _;
use kube::core::DeserializeGuard;

use crate::cluster::Cluster;

use super::context::Context;

/// What was read.
pub(super) struct Read<'o> {
    /// The present status.
    pub(super) stored: Option<Cow<'o, ArtifactConfigStatus>>,
    /// The workload of `spec.workloadRef`.
    pub(super) followed: Option<Followed>,
}

impl<'o> Read<'o> {
    /// What is known although reading panicked.
    ///
    /// # Errors
    /// The same failure, if no status is at hand.
    pub(super) fn panicked(
        object: &'o DeserializeGuard<ArtifactConfig>,
        failure: Failure,
    ) -> Result<Self, Failure> {
        let Ok(config) = &object.0 else { return Err(failure) };
        Ok(Self { stored: config.status.as_ref().map(Cow::Borrowed), followed: Some(Err(failure)) })
    }
}

/// Reads the status and the workload. A workload that cannot be read is a result: the status reports it.
///
/// # Errors
/// If the status of a resource whose `spec` cannot be parsed cannot be read. A write would lose its history.
pub(super) async fn read<'o, R, C: Cluster>(
    object: &'o DeserializeGuard<ArtifactConfig>,
    context: &Context<R, C>,
) -> Result<Read<'o>, Failure> {
    let Ok(config) = &object.0 else {
        let owner = spec::header(object.meta()).owner;
        let stored = context.cluster.status(&owner).await?.map(Cow::Owned);
        return Ok(Read { stored, followed: None });
    };
    let stored = config.status.as_ref().map(Cow::Borrowed);
    // A suspended resource asks for nothing.
    let followed = match config.spec.workload_ref.as_ref().filter(|_| !config.spec.suspend) {
        Some(reference) => Some(follow(&context.cluster, config, reference).await),
        None => None,
    };
    Ok(Read { stored, followed })
}

async fn follow(cluster: &impl Cluster, config: &ArtifactConfig, reference: &WorkloadRef) -> Followed {
    let owner = spec::header(&config.metadata).owner;
    let Some(object) = cluster.workload(&owner, reference).await? else {
        let why = format!(
            "spec.workloadRef: namespace '{}' has no {}; create it, or correct kind and name",
            owner.namespace,
            workload::shown(reference)
        );
        return Err(Failure::new(Reason::WorkloadNotFound, why));
    };
    let workload = Workload::read(&object, reference, &owner.name)?;
    let pods = match reference.resolve {
        Resolve::Template => Vec::new(),
        Resolve::Pods => pods(cluster, &owner, &workload).await?,
    };
    let is_first = config.status.as_ref().is_none_or(|status| status.artifact.is_none());
    let image = running::image(&workload, &pods, is_first)?;
    Ok(Following { workload: Box::new(workload), image })
}

async fn pods(
    cluster: &impl Cluster,
    owner: &Owner,
    workload: &Workload,
) -> Result<Vec<serde_json::Value>, Failure> {
    cluster.pods(owner, &workload.selector()?).await
}
