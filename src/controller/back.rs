//! The way back, which needs no registry where what was applied can be told from what somebody made of it.

use futures::TryFutureExt as _;
use oci::Digest;
use registry::{Freshness, Registry};

use crate::api::{ArtifactConfigStatus, CreationPolicy, HistoryEntry, Reason};
use crate::cluster::Cluster;
use crate::decide::kept::{self, Kept, Search};
use crate::decide::outcome::{Outcome, Seen};
use crate::decide::plan::{self, Applied, Origin};
use crate::decide::revision;
use crate::spans::{self, stage};
use crate::types::Failure;

use super::context::{Entry, Question};
use super::work::Work;

impl<R: Registry, C: Cluster> Work<'_, R, C> {
    /// Back to an artifact: out of what is known to keep it, else out of the registry. What only says that it keeps it comes
    /// last, and only while the registry says nothing.
    pub(super) async fn back(
        &self,
        digest: &Digest,
        entry: &mut Entry,
        seen: &mut Seen,
    ) -> Result<Outcome, Failure> {
        let mut notes = Vec::new();
        let applied = match self.still_back(digest, entry).await {
            Some(applied) => applied,
            None => match spans::within(stage!("read"), self.kept(digest)).await? {
                Some((_, kept)) if kept.origin.proven => self.restored(kept, false, entry).await?,
                said => match (self.fetched(digest, said.as_ref(), entry).await, said) {
                    (Err(failure), Some((name, kept))) if is_silence(failure.reason) => {
                        notes.push(format!(
                            "{}; so this was taken from ConfigMap '{name}', which vouches only for itself: neither the history nor a manifest bears it out, and it is verified as soon as the registry answers",
                            failure.message
                        ));
                        // Asked anew each time, and no answer to the question once the registry gives one.
                        self.restored(kept, true, entry).await?
                    }
                    (fetched, _) => fetched?,
                },
            },
        };
        // First the config, and that it is back, then what would come next: discovery may have to wait for a registry
        // that is down.
        if applied.changed() || !self.is_told {
            seen.half_done = true;
        } else if notes.is_empty() {
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

    /// What was gone back to already, where nobody touched it since.
    async fn still_back(&self, digest: &Digest, entry: &Entry) -> Option<Applied> {
        let (question, _) = entry.applied.as_ref()?;
        let same =
            question.artifact == *digest && question.generation == self.desired.generation && !question.held;
        if same { self.still_applied(entry, question).await } else { None }
    }

    async fn restored(&self, kept: Kept, held: bool, entry: &mut Entry) -> Result<Applied, Failure> {
        let Kept { origin, content } = kept;
        let question = Question { held, ..self.question(&origin.image_digest, &origin.artifact) };
        self.apply(question, origin, content, entry).await
    }

    /// What keeps an artifact, and under which name: by the history, else by looking through all revisions. Where the
    /// history has its hash, nothing else counts.
    async fn kept(&self, digest: &Digest) -> Result<Option<(String, Kept)>, Failure> {
        let Self { context, desired, history, .. } = self;
        let text = digest.to_string();
        let recorded: Vec<&HistoryEntry> =
            history.iter().filter(|recorded| recorded.artifact == text && recorded.hash.is_some()).collect();
        for entry in &recorded {
            if let (Some(name), Some(kept)) = (&entry.config_map, self.read_revision(entry).await?) {
                return Ok(Some((name.clone(), kept)));
            }
        }
        // Where nothing is kept, what is in place is what was applied last, whatever a workload still keeps.
        let unkept = recorded.first().filter(|entry| entry.config_map.is_none());
        if let Some(entry) = unkept
            && let Some(found) = self.in_target(entry).await?
        {
            return Ok(Some(found));
        }
        let mut search = Search::default();
        let look = |object: &_| search.look(desired, digest, &recorded, object);
        context.cluster.revisions(&desired.owner, look).await?;
        match (search.found(), recorded.first()) {
            (None, Some(entry)) => self.in_target(entry).await,
            (found, _) => Ok(found),
        }
    }

    /// From the revision that the history names, where it holds what was recorded.
    async fn read_revision(&self, recorded: &HistoryEntry) -> Result<Option<Kept>, Failure> {
        let Some(name) = &recorded.config_map else { return Ok(None) };
        let revision = self.context.cluster.target(&self.desired.owner, name).await?;
        Ok(revision.and_then(|revision| kept::recorded(&self.desired, &revision, recorded)))
    }

    /// From the target itself, which is all there is where no revisions are kept.
    async fn in_target(&self, recorded: &HistoryEntry) -> Result<Option<(String, Kept)>, Failure> {
        let Self { context, desired, .. } = self;
        let name = &desired.target.name;
        let target = context.cluster.target(&desired.owner, name).await?;
        let ours = target.filter(|target| plan::admit(desired, Some(target), &[]).is_ok());
        let found = ours.and_then(|target| match desired.target.creation_policy {
            CreationPolicy::Owner | CreationPolicy::Orphan => kept::recorded(desired, &target, recorded)
                .filter(|kept| kept::is_of(&target, &kept.origin.artifact)),
            CreationPolicy::Merge => kept::recorded(desired, &plan::own_part(desired, &target), recorded),
        });
        Ok(found.map(|kept| (name.clone(), kept)))
    }

    /// From the registry, where it is attached to the image, or to the one that it was applied for before.
    async fn fetched(
        &self,
        digest: &Digest,
        said: Option<&(String, Kept)>,
        entry: &mut Entry,
    ) -> Result<Applied, Failure> {
        let Self { context, desired, .. } = self;
        let access = self.read().await?;
        let asking = context.registry.artifact(&access, &desired.referrers, digest);
        let found = self.in_time(asking.err_into()).await?;
        let Some(artifact) = found else {
            return Err(self.not_found(digest, "the registry does not have it", said));
        };
        if artifact.artifact_type != desired.artifact_type {
            return Err(self.not_found(digest, &format!("its type is '{}'", artifact.artifact_type), said));
        }
        let before = self.history.iter().filter(|recorded| recorded.artifact == digest.to_string());
        let mut images: Vec<Digest> = before.filter_map(|recorded| recorded.image.parse().ok()).collect();
        if !artifact.subject.as_ref().is_some_and(|subject| images.contains(subject)) {
            let now = context.registry.resolve(&access, &desired.image, self.freshness);
            images.push(self.in_time(now.err_into()).await?.digest);
        }
        let Some(image) = images.into_iter().find(|image| artifact.subject.as_ref() == Some(image)) else {
            return Err(self.not_found(digest, &format!("it is not attached to {}", desired.image), said));
        };
        let content = self.content(&access, &artifact).await?;
        let question = self.question(&image, digest);
        let origin = Origin::of(desired.image.to_string(), image, &artifact);
        self.apply(question, origin, content, entry).await
    }

    fn not_found(&self, digest: &Digest, why: &str, said: Option<&(String, Kept)>) -> Failure {
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
        let keeps = said.map_or_else(
            || format!("no revision keeps {digest}"),
            |(name, _)| format!("nothing bears out that ConfigMap '{name}' keeps {digest}"),
        );
        Failure::new(Reason::RevisionNotFound, format!("spec.rollbackTo: {keeps}, and {why}; {known}"))
    }

    /// The target brought back to what is in it, out of the revision: whoever changed it is answered at once, and the
    /// registry is not asked for what is known. Nothing, where nobody changed it or the revision does not give it, nor where
    /// the target names another artifact: the full way then asks the registry for a fresh answer, which says who is right.
    pub(super) async fn mended(&mut self, entry: &mut Entry) -> Option<Applied> {
        let (question, before) = entry.applied.clone()?;
        let facts = before.facts();
        let is_known = question.generation == self.desired.generation && !question.held && facts.proven;
        let name = facts.revision.as_ref().filter(|_| is_known)?;
        if self.still_applied(entry, &question).await.is_some() {
            return None;
        }
        let (cluster, owner) = (&self.context.cluster, &self.desired.owner);
        // What goes wrong here is looked at in full.
        let target = cluster.target(owner, &self.desired.target.name).await.ok()?;
        if target.is_some_and(|target| kept::is_of_another(&target, &question.artifact)) {
            // A second operator of a rolling update may know of a newer one, which this memory must not undo.
            self.freshness = Freshness::Now;
            return None;
        }
        let revision = cluster.target(owner, name).await.ok()??;
        let Kept { origin, content } = kept::remembered(&revision, facts)?;
        self.apply(question, origin, content, entry).await.ok()
    }
}

/// Whether nobody answered: the registry is down, or wants to be left alone. Not where it says anything, be it no: what it
/// says can be acted upon, and until then a word is not taken for it.
const fn is_silence(reason: Reason) -> bool {
    matches!(reason, Reason::RegistryUnavailable | Reason::RateLimited)
}

/// How many digests a message lists.
const LISTED: usize = 5;

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
        let Some(kept) = last_good(work, current, entry).await? else { return Ok(None) };
        work.restored(kept, true, entry).await.map(Some)
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

/// What was in the target last: what the status says, or a later one that this operator remembers to have put there without
/// the status being written. Not what the target says of itself: whoever edits it writes that as well, together with a
/// revision that bears it out. An operator that was killed over the status goes back to what the status says, until the
/// registry gives the later one again.
async fn last_good<R: Registry, C: Cluster>(
    work: &Work<'_, R, C>,
    current: &HistoryEntry,
    entry: &Entry,
) -> Result<Option<Kept>, Failure> {
    let Work { context, desired, .. } = work;
    if let Some(given) = entry.given.as_ref().filter(|given| given.number > current.revision)
        && let Some(name) = given.facts.revision.as_ref().filter(|_| given.facts.proven)
    {
        let target = context.cluster.target(&desired.owner, &desired.target.name).await?;
        if target.is_some_and(|target| given.is_in(&target))
            && let Some(revision) = context.cluster.target(&desired.owner, name).await?
            && let Some(kept) = kept::remembered(&revision, &given.facts)
        {
            return Ok(Some(kept));
        }
    }
    work.read_revision(current).await
}
