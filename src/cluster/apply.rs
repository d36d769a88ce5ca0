//! [`Rendered`] → [`Applied`]: writes the decided objects.

use std::sync::Arc;

use api::{FIELD_MANAGER, Reason};
use decide::Failure;
use decide::history::History;
use decide::kept;
use decide::numbers::{LastNumber, Ledger, Numbers, Stamp};
use decide::plan::{self, Applied, Rendered, RevisionStep, TargetStep};
use decide::revision;
use decide::spec::{Desired, Owner};
use decide::watched::Watched;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

use crate::spans::{self, stage};

use super::{Cluster, WriteError};

/// How often an object that changes before the write is read again, before this is left to the next reconcile.
const ATTEMPTS: usize = 3;

/// Which target is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Any that may be written.
    Any,
    /// One that names this artifact, or none. Another one is the work of somebody who edits annotations, or of a second
    /// operator that knows of a newer config.
    TheSame,
}

/// Writes the rendered config as a revision, then into the target, and then deletes targets of an earlier name. In this
/// order, so that the content of the target always has a revision, even if the operator is killed in between.
///
/// Every write is bound to the object that was read. An object that someone else created or took over in between is
/// checked again instead of overwritten. `ledger` holds the last used number, and afterwards this one, with or without
/// success.
///
/// `over` says which target may be written. `None` if it holds another config: then nothing is written.
///
/// # Errors
/// `TargetConflict` if the target belongs to someone else, `ApplyFailed` if the API server refused a write.
pub async fn apply(
    cluster: &impl Cluster,
    desired: &Desired,
    history: &History,
    ledger: &Ledger,
    rendered: &Rendered,
    over: Over,
    now: Timestamp,
) -> Result<Option<Applied>, Failure> {
    for _ in 0..ATTEMPTS {
        let observed = spans::within(stage!("plan"), admitted(cluster, desired)).await?;
        let artifact = &rendered.facts.artifact;
        let is_of_another = observed.as_ref().is_some_and(|target| kept::is_of_another(target, artifact));
        if over == Over::TheSame && is_of_another {
            return Ok(None);
        }
        let putting = put(cluster, desired, history, ledger, rendered, observed, now);
        if let Some(applied) = spans::within(stage!("apply"), putting).await? {
            return Ok(Some(applied));
        }
    }
    Err(keeps_changing(&desired.target.name))
}

/// The present target, if it may be written.
async fn admitted(cluster: &impl Cluster, desired: &Desired) -> Result<Option<ConfigMap>, Failure> {
    let observed = cluster.config_map(&desired.owner, &desired.target.name).await?;
    let living = living(cluster, desired, plan::rivals(desired, observed.as_ref())).await?;
    plan::admit(desired, observed.as_ref(), &living)?;
    Ok(observed)
}

/// `None` if the target has changed since it was read.
async fn put(
    cluster: &impl Cluster,
    desired: &Desired,
    history: &History,
    ledger: &Ledger,
    rendered: &Rendered,
    observed: Option<ConfigMap>,
    now: Timestamp,
) -> Result<Option<Applied>, Failure> {
    let Kept { stamp, version: revision } =
        keep_revision(cluster, desired, history, ledger, rendered, observed.as_ref(), now).await?;
    let wanted = plan::written(desired, &rendered.clone().stamped(stamp));
    let rival = observed.as_ref().and_then(|observed| plan::rival(desired, observed));
    let (object, changed) = match write(cluster, desired, &wanted, observed).await {
        Ok(written) => written,
        Err(WriteError::Conflict) => return Ok(None),
        Err(WriteError::Failure(failure)) => return Err(failure),
    };
    remove_strays(cluster, desired).await?;
    let version = object.metadata.resource_version.unwrap_or_default();
    let applied = Applied::confirmed(rendered.facts.clone(), stamp, version, revision, changed);
    Ok(Some(applied.undoing(rival.filter(|_| changed).as_deref())))
}

/// The resources that exist. Keys that a deleted resource has merged are free.
async fn living(
    cluster: &impl Cluster,
    desired: &Desired,
    names: Vec<String>,
) -> Result<Vec<String>, Failure> {
    let mut living = Vec::new();
    for name in names {
        let rival = Owner { name, uid: String::new(), namespace: desired.owner.namespace.clone() };
        // Every resource has a status from the start, by the default of the definition.
        if cluster.status(&rival).await?.is_some() {
            living.push(rival.name);
        }
    }
    Ok(living)
}

fn keeps_changing(name: &str) -> Failure {
    Failure::new(
        Reason::ApplyFailed,
        format!("ConfigMap '{name}' changed before each write; somebody else keeps writing to it"),
    )
}

/// A revision that exists in the cluster.
struct Kept {
    stamp: Stamp,
    version: Option<String>,
}

async fn keep_revision(
    cluster: &impl Cluster,
    desired: &Desired,
    history: &History,
    ledger: &Ledger,
    rendered: &Rendered,
    target: Option<&ConfigMap>,
    now: Timestamp,
) -> Result<Kept, Failure> {
    let owned = cluster.owned(&desired.owner);
    let stamp = |existing: Option<&ConfigMap>| {
        let last_number = ledger.last();
        Numbers { history, watched: &owned, owner: &desired.owner, last_number: last_number.as_ref(), target }
            .stamp(&rendered.facts, existing, now)
    };
    let Some(name) = &rendered.facts.revision else {
        return Ok(Kept { stamp: stamp(None), version: None });
    };
    for _ in 0..ATTEMPTS {
        let existing = cluster.config_map(&desired.owner, name).await?;
        let stamp = stamp(existing.as_ref());
        // Set before the write, which may take effect although its answer never comes.
        ledger.note(LastNumber { number: stamp.number, facts: Arc::clone(&rendered.facts) });
        let wanted = revision::assemble(rendered, stamp);
        let step = plan::revision(desired, &wanted, existing.as_ref())?;
        let written = match (step, existing) {
            (RevisionStep::Keep, Some(existing)) => Ok(existing),
            (RevisionStep::Relabel, Some(existing)) => {
                cluster.update(&wanted, &existing, FIELD_MANAGER).await
            }
            (RevisionStep::Replace, Some(existing)) => {
                cluster.delete(&desired.owner, &Watched::of(&existing.metadata)).await?;
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

/// Deletes revisions, each only in the version that was read.
///
/// # Errors
/// If the API server does not answer or refuses; then the rest of them still exists.
pub async fn discard(cluster: &impl Cluster, owner: &Owner, revisions: &[&Watched]) -> Result<(), Failure> {
    for revision in revisions {
        cluster.delete(owner, revision).await?;
    }
    Ok(())
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
    for stray in plan::strays(desired, &owned) {
        cluster.delete(&desired.owner, stray).await?;
    }
    Ok(())
}
