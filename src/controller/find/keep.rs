//! The config that was applied last, to put it back where somebody changed it.

use decide::Failure;
use decide::history::Application;
use decide::kept::{self, Kept};
use decide::plan::Facts;
use registry::Registry;

use crate::cluster::Cluster;

use super::super::halt::Halt;
use super::super::memory::{Question, Recall};
use super::super::pass::Pass;
use super::found::{Config, Found, Wanted};
use super::revisions;

/// By what this operator remembers, out of the revision: the registry is not asked for what is known. Nothing where nobody
/// changed the target, or where the revision does not give it: then the full way is taken.
pub(super) async fn repair<R: Registry, C: Cluster>(pass: &Pass<'_, R, C>, recall: &Recall) -> Found {
    let nothing = Found::of(Ok(None));
    let Some((question, facts, name)) = remembered(pass, recall) else { return nothing };
    if pass.still_applied(recall, question).await.is_some() {
        return nothing;
    }
    // A failure of the API server shows again on the full way, which tells of it.
    let (cluster, owner) = (&pass.context.cluster, &pass.desired.owner);
    let Ok(Some(revision)) = cluster.config_map(owner, name).await else { return nothing };
    let kept = kept::remembered(&revision, facts);
    Found::of(Ok(kept.map(|kept| Config::Wanted(Box::new(Wanted::kept(kept, question.clone()))))))
}

/// What this operator remembers to have applied, and the revision that keeps it: only proven content, for the `spec` of now.
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

/// By what the status says, while the next config cannot be had. Costs nothing while nobody changes the target.
pub(super) async fn last<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    recall: &Recall,
) -> Result<Option<Config>, Halt> {
    let Some(current) = pass.history.current() else { return Ok(None) };
    let target = pass.status.and_then(|status| status.target.as_ref());
    // A target of another name waits for a config that is known to be the right one.
    if target.is_none_or(|target| target.name != pass.desired.target.name) {
        return Ok(None);
    }
    if let Some((question, _)) = &recall.applied
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

/// The config that was in the target last: by the status, or a later one that this operator remembers to have put there
/// without the status being written. Not by the target's own word: who edits it writes that as well, together with a
/// revision that seems to prove it. An operator that was killed over the status returns to what the status says, until the
/// registry gives the later one again.
async fn last_good<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    current: &Application,
) -> Result<Option<Kept>, Failure> {
    let (cluster, desired) = (&pass.context.cluster, pass.desired);
    if let Some(given) = pass.ledger.last().filter(|given| given.number > current.number)
        && let Some(name) = given.facts.revision.as_ref().filter(|_| given.facts.proven)
    {
        let target = cluster.config_map(&desired.owner, &desired.target.name).await?;
        if target.is_some_and(|target| given.is_in(&target))
            && let Some(revision) = cluster.config_map(&desired.owner, name).await?
            && let Some(kept) = kept::remembered(&revision, &given.facts)
        {
            return Ok(Some(kept));
        }
    }
    revisions::of_application(pass, current).await
}
