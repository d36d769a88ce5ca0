//! Configs that objects in the cluster keep.

use api::CreationPolicy;
use decide::Failure;
use decide::bindings;
use decide::history::{Application, History};
use decide::kept::{self, Kept, Search};
use decide::plan;
use decide::spec::Desired;
use oci::Digest;

use crate::cluster::Cluster;

use super::super::pass::Pass;

/// The object that keeps an artifact, and its name: from the history, otherwise from a search in all revisions. If the
/// history has the hash of the artifact, no other content counts.
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
    // If no revision is kept, the target holds the last applied config. Revisions that workloads still use do not
    // matter.
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

/// From the revision that the history names, if it has the recorded content.
pub(super) async fn of_application<R, C: Cluster>(
    pass: &Pass<'_, R, C>,
    recorded: &Application,
) -> Result<Option<Kept>, Failure> {
    let Some(name) = &recorded.config_map else { return Ok(None) };
    let revision = pass.context.cluster.config_map(&pass.desired.owner, name).await?;
    Ok(revision.and_then(|revision| kept::recorded(pass.desired, &revision, recorded)))
}

/// What was applied last: from its revision or, if no revisions are kept, from the target as long as nobody changed it.
pub(super) async fn of_current<R, C: Cluster>(
    pass: &Pass<'_, R, C>,
    current: &Application,
) -> Result<Option<Kept>, Failure> {
    if current.config_map.is_some() {
        return of_application(pass, current).await;
    }
    Ok(in_target(pass, current).await?.map(|(_, kept)| kept))
}

/// The config that the index has for the image of the workload, if another one is applied: `kubectl rollout undo` brings
/// back an image, and its config must come back with it although the registry does not answer.
pub(super) async fn of_image<R, C: Cluster>(
    pass: &Pass<'_, R, C>,
    current: &Application,
) -> Result<Option<Kept>, Failure> {
    let Pass { context, desired, status, .. } = pass;
    let bindings = status.map(|status| status.bindings.as_slice()).unwrap_or_default();
    let workload = desired.workload.as_deref().filter(|_| desired.rollback_to.is_none());
    let Some(bound) = workload.and_then(|workload| bindings::of(bindings, workload)) else { return Ok(None) };
    let is_applied =
        bound.artifact == current.artifact.to_string() && bound.digest == current.image.to_string();
    if is_applied {
        return Ok(None);
    }
    let revision = context.cluster.config_map(&desired.owner, &bound.config_map).await?;
    Ok(revision.and_then(|revision| kept::bound(desired, &revision, bound)))
}

/// From the target itself, if no revisions are kept.
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

/// The history from the revisions, if the status has lost it, for example after a restore from a backup. Without it,
/// every revision but the newest would count as surplus.
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
