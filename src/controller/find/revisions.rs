//! Configs that objects in the cluster keep.

use api::CreationPolicy;
use decide::Failure;
use decide::history::{Application, History};
use decide::kept::{self, Kept, Search};
use decide::plan;
use decide::spec::Desired;
use oci::Digest;

use crate::cluster::Cluster;

use super::super::pass::Pass;

/// The object that keeps an artifact, and its name: by the history, else by looking through all revisions. Where the history
/// has the hash of the artifact, no other content counts.
pub(super) async fn of_artifact<R, C: Cluster>(
    pass: &Pass<'_, R, C>,
    digest: &Digest,
) -> Result<Option<(String, Kept)>, Failure> {
    let recorded: Vec<&Application> = pass.history.of(digest).filter(|known| known.hash.is_some()).collect();
    for known in &recorded {
        if let (Some(name), Some(kept)) = (&known.config_map, of_application(pass, known).await?) {
            return Ok(Some((name.clone(), kept)));
        }
    }
    // Where no revision is kept, the target holds what was applied last, whatever a workload still keeps.
    let unkept = recorded.first().filter(|known| known.config_map.is_none());
    if let Some(known) = unkept
        && let Some(found) = in_target(pass, known).await?
    {
        return Ok(Some(found));
    }
    let mut search = Search::default();
    let check = |object: &_| search.check(pass.desired, digest, &recorded, object);
    pass.context.cluster.revisions(&pass.desired.owner, check).await?;
    match (search.found(), recorded.first()) {
        (None, Some(known)) => in_target(pass, known).await,
        (found, _) => Ok(found),
    }
}

/// From the revision that the history names, where it holds what was recorded.
pub(super) async fn of_application<R, C: Cluster>(
    pass: &Pass<'_, R, C>,
    recorded: &Application,
) -> Result<Option<Kept>, Failure> {
    let Some(name) = &recorded.config_map else { return Ok(None) };
    let revision = pass.context.cluster.config_map(&pass.desired.owner, name).await?;
    Ok(revision.and_then(|revision| kept::recorded(pass.desired, &revision, recorded)))
}

/// From the target itself, where no revisions are kept.
async fn in_target<R, C: Cluster>(
    pass: &Pass<'_, R, C>,
    recorded: &Application,
) -> Result<Option<(String, Kept)>, Failure> {
    let Pass { context, desired, .. } = pass;
    let name = &desired.target.name;
    let target = context.cluster.config_map(&desired.owner, name).await?;
    let ours = target.filter(|target| plan::admit(desired, Some(target), &[]).is_ok());
    let found = ours.and_then(|target| match desired.target.creation_policy {
        CreationPolicy::Owner | CreationPolicy::Orphan => kept::recorded(desired, &target, recorded)
            .filter(|kept| kept::is_of(&target, &kept.origin.artifact)),
        CreationPolicy::Merge => kept::recorded(desired, &plan::own_part(desired, &target), recorded),
    });
    Ok(found.map(|kept| (name.clone(), kept)))
}

/// The history out of the revisions, where the status has lost it: a restore from a backup does, and without it every
/// revision but the newest would count as surplus.
pub(in super::super) async fn rebuilt(
    cluster: &impl Cluster,
    desired: &Desired,
    recorded: &History,
) -> Result<Option<History>, Failure> {
    if !recorded.is_empty() || !cluster.owned(&desired.owner).iter().any(|object| object.is_revision) {
        return Ok(None);
    }
    let mut applications = Vec::new();
    let each = |object: &_| applications.extend(kept::entry_of(desired, object));
    cluster.revisions(&desired.owner, each).await?;
    let history = kept::history(applications, desired.history_limit);
    Ok((!history.is_empty()).then_some(history))
}
