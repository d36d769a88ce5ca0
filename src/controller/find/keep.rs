//! The config that was applied last, to repair the target.

use decide::Failure;
use decide::history::Application;
use decide::kept::{self, Kept};
use decide::plan::Facts;
use registry::Registry;

use crate::cluster::Cluster;

use crate::spans::{self, stage};

use super::super::halt::Halt;
use super::super::memory::{Question, Recall};
use super::super::pass::Pass;
use super::found::{Config, Found, Wanted};
use super::revisions;

/// From the memory of this operator and the revision, without a request to the registry. Finds nothing if nobody
/// changed the target, or if the revision does not prove the content: then a full pass follows.
pub(super) async fn repair<R: Registry, C: Cluster>(pass: &Pass<'_, R, C>, recall: &Recall) -> Found {
    let nothing = Found::of(Ok(None));
    let Some((question, facts, name)) = remembered(pass, recall) else { return nothing };
    if pass.still_applied(recall, question).await.is_some() {
        return nothing;
    }
    // A failure of the API server comes again in the full pass, which reports it.
    let (cluster, owner) = (&pass.context.cluster, &pass.desired.owner);
    let Ok(Some(revision)) = cluster.config_map(owner, name).await else { return nothing };
    let kept = kept::remembered(&revision, facts);
    Found::of(Ok(kept.map(|kept| Config::Wanted(Box::new(Wanted::kept(kept, question.clone()))))))
}

/// The application that this operator remembers, and the revision that keeps it: only proven content for the present
/// `spec`.
fn remembered<'r, R, C>(
    pass: &Pass<'_, R, C>,
    recall: &'r Recall,
) -> Option<(&'r Question, &'r Facts, &'r str)> {
    let (question, applied) = recall.applied.as_ref()?;
    let facts = applied.facts();
    let is_known = question.generation == pass.desired.generation && !question.provisional && facts.proven;
    let name = facts.revision.as_deref().filter(|_| is_known)?;
    Some((question, facts, name))
}

/// From the status, while the next config is not available. Costs nothing while nobody changes the target.
pub(super) async fn last<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    recall: &Recall,
) -> Result<Option<Config>, Halt> {
    let Some(current) = pass.history.current() else { return Ok(None) };
    let target = pass.status.and_then(|status| status.target.as_ref());
    // A target with a new name is only written with the config that the goal states.
    if target.is_none_or(|target| target.name != pass.desired.target.name) {
        return Ok(None);
    }
    if let Some(kept) = Box::pin(spans::within(stage!("read"), revisions::of_image(pass, current))).await? {
        let question = pass.question(&kept.origin.image_digest, &kept.origin.artifact);
        let question = Question { provisional: true, ..question };
        return Ok(Some(Config::Wanted(Box::new(Wanted::kept(kept, question)))));
    }
    // Without proof, an operator that was started again could not confirm it either, and would report something else.
    if let Some((question, applied)) = &recall.applied
        && applied.facts().proven
        && question.generation == pass.desired.generation
        && let Some(applied) = pass.still_applied(recall, question).await
    {
        return Ok(Some(Config::InPlace(applied)));
    }
    let Some(kept) = last_good(pass, current).await? else { return Ok(None) };
    let question =
        Question { provisional: true, ..pass.question(&kept.origin.image_digest, &kept.origin.artifact) };
    Ok(Some(Config::Wanted(Box::new(Wanted::kept(kept, question)))))
}

/// The config that was in the target last: from the status, or a later one that this operator remembers to have applied
/// before its status was written. The annotations of the target do not count: somebody who edits the target can write
/// them as well, together with a revision that seems to prove them. An operator that was killed before it wrote the
/// status returns to the config in the status, until the registry gives the later one again.
async fn last_good<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    current: &Application,
) -> Result<Option<Kept>, Failure> {
    let (cluster, desired) = (&pass.context.cluster, pass.desired);
    if let Some(last_number) = pass.ledger.last().filter(|last_number| last_number.number > current.number)
        && let Some(name) = last_number.facts.revision.as_ref().filter(|_| last_number.facts.proven)
    {
        let target = cluster.config_map(&desired.owner, &desired.target.name).await?;
        if target.is_some_and(|target| last_number.is_in(&target))
            && let Some(revision) = cluster.config_map(&desired.owner, name).await?
            && let Some(kept) = kept::remembered(&revision, &last_number.facts)
        {
            return Ok(Some(kept));
        }
    }
    revisions::of_current(pass, current).await
}
