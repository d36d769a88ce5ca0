//! Content that passed the gate → the target.

use api::ArtifactConfigStatus;
use decide::contest::Contest;
use decide::goal::Goal;
use decide::plan::{self, Applied, Rendered};
use registry::Registry;

use crate::cluster::{self, Cluster, Over};

use super::find::Wanted;
use super::gate::Passed;
use super::halt::Halt;
use super::memory::Recall;
use super::pass::Pass;
use super::turn::OUTDATED;

/// Writes the content into the target. Also returns the new memory: repairs of a target that somebody else keeps
/// changing are remembered with or without success.
pub(super) async fn target<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    goal: &Goal,
    passed: Passed,
    recall: Recall,
) -> (Result<Option<Applied>, Halt>, Recall) {
    if let Err(halt) = still_asked_for(pass).await {
        return (Err(halt), recall);
    }
    let Pass { context, desired, .. } = pass;
    let Wanted { question, origin, content } = passed.into_inner();
    let rendered = plan::assemble(desired, origin, content);
    let now = (context.now)();
    let before = recall.applied.as_ref().map(|(_, before)| before);
    let before = before.filter(|before| *before.facts() == *rendered.facts).cloned();
    let applied = match write(pass, goal, rendered).await {
        // Nothing was written, and nobody contested the target.
        Err(halt @ (Halt::Overtaken | Halt::BrokenOff(_))) => return (Err(halt), recall),
        applied => applied,
    };
    // The same config as before, but a write was needed or failed: somebody changed the target.
    let is_repair = before.is_some_and(|before| match &applied {
        Ok(applied) => applied.changed() || applied.revision_version() != before.revision_version(),
        Err(_) => true,
    });
    let contest = if is_repair {
        let by = applied.as_ref().ok().and_then(Applied::undone);
        Some(Box::new(Contest::repaired(recall.contest.as_deref(), by, now)))
    } else {
        recall.contest
    };
    let remembered = applied.as_ref().ok().map(|applied| (question, applied.unchanged()));
    (applied.map(Some), Recall { applied: remembered, contest, ..recall })
}

/// Writes the target. The config that was applied last does not overwrite another config, because a second operator of
/// a rolling update may have applied that.
async fn write<R, C: Cluster>(
    pass: &Pass<'_, R, C>,
    goal: &Goal,
    rendered: Rendered,
) -> Result<Applied, Halt> {
    let Pass { context, desired, history, ledger, .. } = pass;
    let applying =
        |over| cluster::apply(&context.cluster, desired, history, ledger, &rendered, over, (context.now)());
    match goal {
        Goal::RollBack(_) | Goal::Newest => applying(Over::Any).await?,
        Goal::Repair => applying(Over::TheSame).await?,
        Goal::KeepLast => match applying(Over::TheSame).await? {
            // Only a status distinguishes an edit from a write of another operator, and the present one may be
            // outdated.
            None if is_status_outdated(pass).await? => return Err(OUTDATED),
            None => applying(Over::Any).await?,
            applied => applied,
        },
    }
    .ok_or(Halt::Overtaken)
}

/// Whether the status in the API server names another config than the status of this pass.
async fn is_status_outdated<R, C: Cluster>(pass: &Pass<'_, R, C>) -> Result<bool, Halt> {
    let stored = pass.context.cluster.status(&pass.desired.owner).await?;
    let config = |status: &ArtifactConfigStatus| {
        Some((status.artifact.as_ref()?.digest.clone(), status.image.as_ref()?.digest.clone()))
    };
    Ok(stored.as_ref().and_then(config) != pass.status.and_then(config))
}

/// Checks before the first write that the resource still exists with the same `spec`. An event from the watch ends the
/// turn. If a registry was slow, the API server is asked as well, because a watch can lag behind. The resource can
/// still change between this check and the write.
async fn still_asked_for<R, C: Cluster>(pass: &Pass<'_, R, C>) -> Result<(), Halt> {
    let Pass { context, turn, desired, .. } = pass;
    turn.holds()?;
    if turn.is_fresh((context.now)()) {
        return Ok(());
    }
    let generation = context.cluster.generation(&desired.owner).await?;
    if generation == Some(desired.generation) { turn.holds() } else { Err(OUTDATED) }
}
