//! The way back, which needs no registry: what was applied once is in its revision.

use crate::api::{ArtifactConfigStatus, CreationPolicy, HistoryEntry, Reason, annotation};
use crate::cluster::Cluster;
use crate::decide::outcome::{Outcome, Seen};
use crate::decide::plan::{self, Applied, Origin};
use crate::decide::render::Content;
use crate::decide::revision;
use crate::oci::Registry;
use crate::spans::{self, stage};
use crate::types::{Digest, Failure};

use super::context::{Entry, Question};
use super::work::Work;

impl<R: Registry, C: Cluster> Work<'_, R, C> {
    /// Back to an artifact: out of its revision, else out of the registry.
    pub(super) async fn back(
        &self,
        digest: &Digest,
        entry: &mut Entry,
        seen: &mut Seen,
    ) -> Result<Outcome, Failure> {
        let mut notes = Vec::new();
        let applied = match self.restored(digest, entry).await? {
            Some(applied) => applied,
            None => self.fetched(digest, entry).await?,
        };
        // First the config, then what would come next: discovery may have to wait for a registry that is down.
        if !applied.changed() {
            match self.latest().await {
                Ok(latest) => seen.latest = latest,
                Err(failure) => notes.push(failure.message),
            }
        }
        Ok(Outcome::Synced { applied, notes, back: true })
    }

    /// What going forward would apply.
    async fn latest(&self) -> Result<Option<(Digest, Digest)>, Failure> {
        let access = self.read().await?;
        let (subject, listing) = self.discover(&access).await?;
        let selected = self.select(&subject, &listing)?;
        Ok(Some((selected.artifact.digest.clone(), subject.digest)))
    }

    /// From the revision that keeps it.
    async fn restored(&self, digest: &Digest, entry: &mut Entry) -> Result<Option<Applied>, Failure> {
        if let Some((question, _)) = &entry.applied {
            let same = question.artifact == *digest
                && question.generation == self.desired.generation
                && !question.held;
            if same && let Some(applied) = self.still_applied(entry, question).await {
                return Ok(Some(applied));
            }
        }
        let found = spans::within(stage!("read"), self.revision_of(digest)).await?;
        let Some((origin, content)) = found else { return Ok(None) };
        let question = self.question(&origin.image_digest, &origin.artifact);
        self.apply(question, origin, content, entry).await.map(Some)
    }

    /// The newest revision of an artifact: by the history, else by looking through all of them.
    async fn revision_of(&self, digest: &Digest) -> Result<Option<(Origin, Content)>, Failure> {
        let text = digest.to_string();
        for recorded in self.history.iter().filter(|recorded| recorded.artifact == text) {
            if let Some(found) = read_revision(&self.context.cluster, self, recorded).await? {
                return Ok(Some(found));
            }
        }
        let revisions = self.context.cluster.revisions(&self.desired.owner).await?;
        let entries = revision::rebuild(&revisions, usize::MAX);
        let newest = entries.iter().find(|recorded| recorded.artifact == text);
        let found = newest.and_then(|newest| {
            let revision = revisions.iter().find(|revision| revision.metadata.name == newest.config_map)?;
            verified(revision, newest)
        });
        match found {
            Some(found) => Ok(Some(found)),
            None => self.in_target(&text).await,
        }
    }

    /// From the target itself, which is all there is where no revisions are kept.
    async fn in_target(&self, artifact: &str) -> Result<Option<(Origin, Content)>, Failure> {
        let Self { context, desired, history, .. } = self;
        let Some(recorded) =
            history.iter().find(|recorded| recorded.artifact == artifact && recorded.hash.is_some())
        else {
            return Ok(None);
        };
        let target = context.cluster.target(&desired.owner, &desired.target.name).await?;
        let ours = target.filter(|target| plan::admit(desired, Some(target), &[]).is_ok());
        Ok(ours.and_then(|target| match desired.target.creation_policy {
            CreationPolicy::Owner | CreationPolicy::Orphan => verified(&target, recorded),
            CreationPolicy::Merge => merged(&plan::own_part(desired, &target), recorded),
        }))
    }

    /// From the registry, where it is attached to the image, or to the one that it was applied for before.
    async fn fetched(&self, digest: &Digest, entry: &mut Entry) -> Result<Applied, Failure> {
        let Self { context, desired, .. } = self;
        let access = self.read().await?;
        let found = self.in_time(context.registry.artifact(&access, &desired.referrers, digest)).await?;
        let Some(artifact) = found else {
            return Err(self.not_found(digest, "the registry does not have it"));
        };
        if artifact.artifact_type != desired.artifact_type {
            return Err(self.not_found(digest, &format!("its type is '{}'", artifact.artifact_type)));
        }
        let before = self.history.iter().filter(|recorded| recorded.artifact == digest.to_string());
        let mut images: Vec<Digest> = before.filter_map(|recorded| recorded.image.parse().ok()).collect();
        if !artifact.subject.as_ref().is_some_and(|subject| images.contains(subject)) {
            let now = context.registry.resolve(&access, &desired.image, self.freshness);
            images.push(self.in_time(now).await?.digest);
        }
        let Some(image) = images.into_iter().find(|image| artifact.subject.as_ref() == Some(image)) else {
            return Err(self.not_found(digest, &format!("it is not attached to {}", desired.image)));
        };
        let content = self.content(&access, &artifact).await?;
        let question = self.question(&image, digest);
        let origin = Origin::of(desired.image.to_string(), image, &artifact);
        self.apply(question, origin, content, entry).await
    }

    fn not_found(&self, digest: &Digest, why: &str) -> Failure {
        let mut known: Vec<&str> = self
            .history
            .iter()
            .filter(|recorded| recorded.config_map.is_some())
            .map(|recorded| recorded.artifact.as_str())
            .collect();
        known.dedup();
        known.truncate(LISTED);
        let known = if known.is_empty() {
            "there is no revision yet".to_owned()
        } else {
            format!("revisions are kept of {}", known.join(", "))
        };
        Failure::new(
            Reason::RevisionNotFound,
            format!("spec.rollbackTo: no revision keeps {digest}, and {why}; {known}"),
        )
    }
}

/// How many digests a message lists.
const LISTED: usize = 5;

async fn read_revision<R: Registry, C: Cluster>(
    cluster: &C,
    work: &Work<'_, R, C>,
    recorded: &HistoryEntry,
) -> Result<Option<(Origin, Content)>, Failure> {
    let Some(name) = &recorded.config_map else { return Ok(None) };
    let revision = cluster.target(&work.desired.owner, name).await?;
    Ok(revision.and_then(|revision| verified(&revision, recorded)))
}

/// Content and origin of a revision that holds what was recorded of it; anything else is no revision.
fn verified(
    revision: &k8s_openapi::api::core::v1::ConfigMap,
    recorded: &HistoryEntry,
) -> Option<(Origin, Content)> {
    let origin = Origin::of_revision(revision)?;
    let annotated = revision.metadata.annotations.as_ref()?.get(annotation::CONTENT_HASH)?;
    let hash = recorded.hash.as_ref().unwrap_or(annotated);
    let content = revision::verified_content(revision, hash)?;
    (origin.artifact.to_string() == recorded.artifact).then_some((origin, content))
}

/// What was merged into an object, where it is still what was recorded. The object is somebody else's and says nothing of
/// where it came from.
fn merged(
    own_part: &k8s_openapi::api::core::v1::ConfigMap,
    recorded: &HistoryEntry,
) -> Option<(Origin, Content)> {
    let content = revision::verified_content(own_part, recorded.hash.as_ref()?)?;
    Some((Origin::recorded(recorded)?, content))
}

/// Keeps the target as it was applied last, while nothing newer can be had: whoever edits or deletes it meanwhile does
/// so in vain. Costs nothing while nobody does. Returns what it put back or found in place, where it had to look. What
/// fails here is not reported, because what keeps the next config away is, and that is the news.
pub(super) async fn hold<R: Registry, C: Cluster>(
    work: &Work<'_, R, C>,
    previous: Option<&ArtifactConfigStatus>,
    entry: &mut Entry,
) -> Option<Applied> {
    let current = revision::current(&work.history)?;
    let target = previous.and_then(|status| status.target.as_ref())?;
    if target.name != work.desired.target.name {
        // A target of another name is for a config that is known to be the right one.
        return None;
    }
    if let Some((question, _)) = &entry.applied
        && question.generation == work.desired.generation
        && let Some(applied) = work.still_applied(entry, question).await
    {
        return Some(applied);
    }
    let held = async {
        let Some((origin, content)) = last_good(work, current).await? else { return Ok(None) };
        let question = Question { held: true, ..work.question(&origin.image_digest, &origin.artifact) };
        work.apply(question, origin, content, entry).await.map(Some)
    };
    let owner = &work.desired.owner;
    match held.await {
        Ok(Some(applied)) => {
            if applied.changed() {
                tracing::info!(
                    namespace = owner.namespace,
                    name = owner.name,
                    revision = applied.stamp().number,
                    "target repaired from its revision"
                );
            }
            Some(applied)
        }
        Ok(None) => None,
        Err(failure) => {
            let error = failure.message;
            tracing::warn!(namespace = owner.namespace, name = owner.name, error, "target not repaired");
            None
        }
    }
}

/// What was in the target last: what the status says, or a later one that the operator put there before it was killed
/// over the status. That one has a revision, and the target names it.
async fn last_good<R: Registry, C: Cluster>(
    work: &Work<'_, R, C>,
    current: &HistoryEntry,
) -> Result<Option<(Origin, Content)>, Failure> {
    let cluster = &work.context.cluster;
    let target = cluster.target(&work.desired.owner, &work.desired.target.name).await?;
    let later =
        target.as_ref().and_then(revision::entry_of_target).filter(|later| later.revision > current.revision);
    if let Some(later) = later
        && let Some(found) = read_revision(cluster, work, &later).await?
    {
        return Ok(Some(found));
    }
    read_revision(cluster, work, current).await
}
