//! Content that passed the gate → the target.

use decide::contest::Contest;
use decide::plan::{self, Applied};
use registry::Registry;

use crate::cluster::{self, Cluster};

use super::find::Wanted;
use super::gate::Passed;
use super::halt::Halt;
use super::memory::Recall;
use super::pass::Pass;
use super::turn::OUTDATED;

/// Brings the target to the content. Returns what is remembered from now on as well: a target that somebody else keeps
/// changing is remembered whether or not it could be repaired.
pub(super) async fn target<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    passed: Passed,
    recall: Recall,
) -> (Result<Option<Applied>, Halt>, Recall) {
    if let Err(halt) = still_asked_for(pass).await {
        return (Err(halt), recall);
    }
    let Pass { context, desired, history, ledger, .. } = pass;
    let Wanted { question, origin, content } = passed.into_inner();
    let rendered = plan::assemble(desired, origin, content);
    let now = (context.now)();
    let before = recall.applied.as_ref().map(|(_, before)| before);
    let before = before.filter(|before| *before.facts() == *rendered.facts).cloned();
    let applied = cluster::apply(&context.cluster, desired, history, ledger, rendered, now).await;
    // The same as before, and yet there was something to write or to fight for.
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
    (applied.map(Some).map_err(Halt::from), Recall { applied: remembered, contest, ..recall })
}

/// Before the first write: the resource is still there, and asks for this. An event that the watch has delivered ends the
/// turn; where a registry took its time, the API server is asked as well, because a watch can lag behind. Between this and
/// the write the resource can still change.
async fn still_asked_for<R, C: Cluster>(pass: &Pass<'_, R, C>) -> Result<(), Halt> {
    let Pass { context, turn, desired, .. } = pass;
    turn.holds()?;
    if turn.is_fresh((context.now)()) {
        return Ok(());
    }
    let generation = context.cluster.generation(&desired.owner).await?;
    if generation == Some(desired.generation) { turn.holds() } else { Err(OUTDATED) }
}
