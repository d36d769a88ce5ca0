//! [`Rendered`] → [`Applied`]: what was decided, done.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

use crate::api::{FIELD_MANAGER, HistoryEntry, Reason};
use crate::decide::plan::{self, Applied, Rendered, RevisionStep, TargetStep};
use crate::decide::revision::{self, Stamp};
use crate::decide::spec::{Desired, Owner};
use crate::types::Failure;

use super::{Cluster, WriteError};

/// How often an object that changes under one's hands is looked at again before the next reconcile gets it.
const ATTEMPTS: usize = 3;

/// Keeps what was rendered as a revision, brings the target to it, then takes away what an earlier target name left: in
/// this order, so that whatever is in the target can be gone back to, wherever the operator is killed.
///
/// Every write is bound to the object that was looked at, so that one which somebody else made or took over in between
/// is judged anew instead of overwritten.
///
/// # Errors
/// `TargetConflict` where the target belongs to someone else, `ApplyFailed` where the API server did not take it.
pub async fn apply(
    cluster: &impl Cluster,
    desired: &Desired,
    history: &[HistoryEntry],
    rendered: Rendered,
    now: Timestamp,
) -> Result<Applied, Failure> {
    for _ in 0..ATTEMPTS {
        let observed = cluster.target(&desired.owner, &desired.target.name).await?;
        let living = living(cluster, desired, plan::rivals(desired, observed.as_ref())).await?;
        plan::admit(desired, observed.as_ref(), &living)?;
        let Kept { stamp, version: revision } =
            keep_revision(cluster, desired, history, &rendered, now).await?;
        let wanted = plan::written(desired, &rendered.clone().stamped(stamp));
        let (object, changed) = match write(cluster, desired, &wanted, observed).await {
            Ok(written) => written,
            Err(WriteError::Conflict) => continue,
            Err(WriteError::Failure(failure)) => return Err(failure),
        };
        remove_strays(cluster, desired).await?;
        let version = object.metadata.resource_version.unwrap_or_default();
        return Ok(Applied::confirmed(rendered.facts, stamp, version, revision, changed));
    }
    Err(keeps_changing(&desired.target.name))
}

/// Those of the resources that exist: what a deleted one has merged is free.
async fn living(
    cluster: &impl Cluster,
    desired: &Desired,
    names: Vec<String>,
) -> Result<Vec<String>, Failure> {
    let mut living = Vec::new();
    for name in names {
        let rival = Owner { name, uid: String::new(), namespace: desired.owner.namespace.clone() };
        // Every resource has a status from the start: the definition gives it one.
        if cluster.status(&rival).await?.is_some() {
            living.push(rival.name);
        }
    }
    Ok(living)
}

fn keeps_changing(name: &str) -> Failure {
    Failure::new(
        Reason::ApplyFailed,
        format!(
            "ConfigMap '{name}' changed each time it was to be written; somebody else keeps writing to it"
        ),
    )
}

/// A revision that is in place.
struct Kept {
    stamp: Stamp,
    version: Option<String>,
}

async fn keep_revision(
    cluster: &impl Cluster,
    desired: &Desired,
    history: &[HistoryEntry],
    rendered: &Rendered,
    now: Timestamp,
) -> Result<Kept, Failure> {
    let owned = cluster.owned(&desired.owner);
    let Some(name) = &rendered.facts.revision else {
        let stamp = revision::stamp(history, &owned, &rendered.facts, None, now);
        return Ok(Kept { stamp, version: None });
    };
    for _ in 0..ATTEMPTS {
        let existing = cluster.target(&desired.owner, name).await?;
        let stamp = revision::stamp(history, &owned, &rendered.facts, existing.as_ref(), now);
        let wanted = revision::assemble(rendered, stamp);
        let step = plan::revision(desired, &wanted, existing.as_ref())?;
        let written = match (step, existing) {
            (RevisionStep::Keep, Some(existing)) => Ok(existing),
            (RevisionStep::Relabel, Some(existing)) => {
                cluster.update(&wanted, &existing, FIELD_MANAGER).await
            }
            (RevisionStep::Replace, Some(existing)) => {
                cluster.delete(&desired.owner, &existing.metadata).await?;
                Err(WriteError::Conflict)
            }
            (_, _) => cluster.create(&wanted).await,
        };
        match written {
            Ok(written) => return Ok(Kept { stamp, version: written.metadata.resource_version }),
            Err(WriteError::Conflict) => {}
            Err(WriteError::Failure(failure)) => return Err(failure),
        }
    }
    Err(keeps_changing(name))
}

/// Deletes revisions that neither the history nor a workload needs. Returns the names of those that a workload keeps.
///
/// # Errors
/// Where the API server does not answer or refuses; then nothing is deleted that was not known to be unused.
pub async fn collect(
    cluster: &impl Cluster,
    owner: &Owner,
    history: &[HistoryEntry],
) -> Result<BTreeSet<String>, Failure> {
    let objects = cluster.owned(owner);
    let surplus = revision::surplus(history, &objects);
    if surplus.is_empty() {
        return Ok(BTreeSet::new());
    }
    let named = cluster.config_maps_in_use(owner).await?;
    let mut kept = BTreeSet::new();
    for metadata in surplus {
        match metadata.name.as_ref().filter(|name| named.contains(*name)) {
            Some(name) => {
                kept.insert(name.clone());
            }
            None => cluster.delete(owner, metadata).await?,
        }
    }
    Ok(kept)
}

async fn write(
    cluster: &impl Cluster,
    desired: &Desired,
    wanted: &ConfigMap,
    observed: Option<ConfigMap>,
) -> Result<(ConfigMap, bool), WriteError> {
    let manager = plan::field_manager(desired);
    let written = match (plan::target(desired, wanted, observed.as_ref()), observed) {
        (TargetStep::Keep, Some(observed)) => return Ok((observed, false)),
        (TargetStep::Update, Some(mut observed)) => {
            if let Some(patch) = plan::misplaced(wanted, &observed) {
                observed = cluster.merge(&observed, patch, &manager).await?;
            }
            cluster.update(wanted, &observed, &manager).await?
        }
        (_, _) => cluster.create(wanted).await?,
    };
    match plan::leftovers(desired, wanted, &written) {
        Some(patch) => Ok((cluster.merge(&written, patch, &manager).await?, true)),
        None => Ok((written, true)),
    }
}

async fn remove_strays(cluster: &impl Cluster, desired: &Desired) -> Result<(), Failure> {
    let owned = cluster.owned(&desired.owner);
    for stray in plan::strays(desired, owned.iter()) {
        cluster.delete(&desired.owner, stray).await?;
    }
    Ok(())
}
