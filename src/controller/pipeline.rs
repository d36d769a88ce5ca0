//! The pipeline, as a table of contents: forward to what the policy selects, or back to what `spec.rollbackTo` names.

use kube::ResourceExt as _;
use registry::{Freshness, Registry};

use crate::api::{ArtifactConfig, ArtifactConfigStatus, HistoryEntry, Reason, annotation, condition};
use crate::cluster::Cluster;
use crate::decide::outcome::{Outcome, Seen};
use crate::decide::plan::Origin;
use crate::decide::spec::{self, Desired};
use crate::decide::{kept, numbers};
use crate::types::Failure;

use super::back;
use super::context::{Context, Entry, Looked};
use super::turn::Turn;
use super::work::Work;

/// Brings the target to what the resource asks for.
pub(super) async fn sync<R: Registry, C: Cluster>(
    config: &ArtifactConfig,
    previous: Option<&ArtifactConfigStatus>,
    context: &Context<R, C>,
    turn: &Turn,
    entry: &mut Entry,
    seen: &mut Seen,
) -> Result<Outcome, Failure> {
    // read (pure): the resource, once
    let desired = spec::parse(config)?;
    // read (io, rarely): what was applied before
    let recorded = previous.map(|status| status.history.clone()).unwrap_or_default();
    seen.rebuilt = rebuilt(&context.cluster, &desired, &recorded).await?;
    if seen.rebuilt.is_some() {
        // Neither is what was applied in it, nor by which number.
        entry.applied = None;
    }
    let history = seen.rebuilt.clone().unwrap_or(recorded);
    let is_told = is_told(config, previous);
    let mut work = Work { context, turn, history, freshness: freshness(config, previous), is_told, desired };
    let now = (context.now)();
    entry.contest = entry.contest.take().filter(|contest| !contest.is_over(now));
    // Nothing else is due, and nothing of the resource is new.
    let is_due = work.freshness == Freshness::Now || entry.until_due(now).is_none() || seen.rebuilt.is_some();
    if let Some(looked) = entry.looked.take().filter(|_| !is_due)
        && let Some(applied) = work.mended(entry).await
    {
        // What it knew of what would come next is what is known now.
        (seen.mended, seen.half_done) = (true, looked.half_done);
        seen.latest.clone_from(&looked.latest);
        let (notes, back) = (looked.notes.clone(), looked.back);
        entry.looked = Some(looked);
        return Ok(work.contested(Outcome::Synced { applied, notes, back }, entry));
    }
    let result = match &work.desired.rollback_to {
        Some(digest) => work.back(digest, entry, seen).await,
        None => work.forward(entry, seen).await,
    };
    if let Err(failure) = &result
        && !is_of_the_target(failure)
        && turn.broken_off().is_none()
    {
        // Whatever keeps the next config away, the last one stays in place, and repaired.
        seen.held = back::hold(&work, previous, entry).await;
    }
    let Work { desired: Desired { owner, .. }, history, .. } = &work;
    let owned = context.cluster.owned(owner);
    seen.highest = numbers::highest(history, &owned, owner, entry.given.as_ref());
    if let Ok(Outcome::Synced { notes, back, .. }) = &result {
        let latest = seen.latest.clone().filter(|_| *back);
        let looked = Looked { notes: notes.clone(), back: *back, latest, half_done: seen.half_done };
        entry.looked = Some(Box::new(looked));
    }
    result.map(|outcome| work.contested(outcome, entry))
}

impl<R: Registry, C: Cluster> Work<'_, R, C> {
    /// With a remark on who else writes the target.
    fn contested(&self, mut outcome: Outcome, entry: &Entry) -> Outcome {
        if let Outcome::Synced { notes, .. } = &mut outcome {
            let contest = entry.contest.as_ref();
            notes.extend(contest.and_then(|contest| contest.note(&self.desired.target.name)));
        }
        outcome
    }

    /// Forward: what the policy selects among what is attached.
    async fn forward(&self, entry: &mut Entry, seen: &mut Seen) -> Result<Outcome, Failure> {
        // read (io): what the resource refers to
        let access = self.read().await?;
        // resolve, discover (io): what the image is now, and what is attached to it
        let (subject, listing) = self.discover(&access).await?;
        // select (pure): which of it
        let selected = self.select(&subject, &listing)?;
        seen.latest = Some((selected.artifact.digest.clone(), subject.digest.clone()));
        let notes = [selected.notes, listing.notes.clone()].concat();
        let question = self.question(&subject.digest, &selected.artifact.digest);
        if let Some(applied) = self.still_applied(entry, &question).await {
            return Ok(Outcome::Synced { applied, notes, back: false });
        }
        // pull, verify (io), render (pure): its files as content
        let content = self.content(&access, selected.artifact).await?;
        // plan, apply (pure, io): what is there against what should be
        let origin = Origin::of(self.desired.image.to_string(), subject.digest, selected.artifact);
        let applied = self.apply(question, origin, content, entry).await?;
        Ok(Outcome::Synced { applied, notes, back: false })
    }
}

/// The history out of the revisions, where the status has lost it: a restore from a backup does, and without it every
/// revision but the newest would count as surplus.
async fn rebuilt(
    cluster: &impl Cluster,
    desired: &Desired,
    recorded: &[HistoryEntry],
) -> Result<Option<Vec<HistoryEntry>>, Failure> {
    if !recorded.is_empty() || !cluster.owned(&desired.owner).iter().any(|object| object.is_revision) {
        return Ok(None);
    }
    let mut entries = Vec::new();
    let look = |object: &_| entries.extend(kept::entry_of(desired, object));
    cluster.revisions(&desired.owner, look).await?;
    let entries = kept::history(entries, desired.history_limit);
    Ok((!entries.is_empty()).then_some(entries))
}

/// Whoever asks for a sync by annotation, or has just written the resource, has usually just attached something.
fn freshness(config: &ArtifactConfig, previous: Option<&ArtifactConfigStatus>) -> Freshness {
    let handled = previous.and_then(|status| status.last_handled_requested_at.as_ref());
    let requested = config.annotations().get(annotation::REQUESTED_AT);
    let is_requested = requested.is_some() && requested != handled;
    let is_new = previous.and_then(|status| status.observed_generation) != config.metadata.generation;
    if is_requested || is_new { Freshness::Now } else { Freshness::Recent }
}

/// Whether the status says already that the config of this `spec` is back.
fn is_told(config: &ArtifactConfig, previous: Option<&ArtifactConfigStatus>) -> bool {
    let is_back = |status: &ArtifactConfigStatus| {
        status
            .conditions
            .iter()
            .any(|set| set.type_ == condition::READY && set.reason == Reason::RolledBack.as_str())
    };
    previous.is_some_and(|status| status.observed_generation == config.metadata.generation && is_back(status))
}

/// Failures of writing the target: to write it again at once would fail the same.
fn is_of_the_target(failure: &Failure) -> bool {
    matches!(
        failure.reason,
        Reason::ApplyFailed | Reason::NamespaceTerminating | Reason::TargetConflict | Reason::TargetNotFound
    )
}
