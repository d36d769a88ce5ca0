//! The pipeline, as a table of contents: forward to what the policy selects, or back to what `spec.rollbackTo` names.

use kube::ResourceExt as _;

use crate::api::{ArtifactConfig, ArtifactConfigStatus, CreationPolicy, HistoryEntry, Reason, annotation};
use crate::cluster::{self, Cluster};
use crate::decide::outcome::{Outcome, Seen};
use crate::decide::plan::{self, Applied, Origin};
use crate::decide::render::Content;
use crate::decide::select::Selected;
use crate::decide::spec::{self, Desired};
use crate::decide::{render, revision, select};
use crate::oci::{Access, Freshness, Listing, Query, Registry, Subject};
use crate::types::{Artifact, Digest, Failure};

use super::back;
use super::context::{Context, Entry, Question};

/// What one reconcile works with.
pub(super) struct Work<'a, R, C> {
    pub(super) context: &'a Context<R, C>,
    pub(super) desired: Desired,
    pub(super) history: Vec<HistoryEntry>,
    pub(super) freshness: Freshness,
}

/// Brings the target to what the resource asks for.
pub(super) async fn sync<R: Registry, C: Cluster>(
    config: &ArtifactConfig,
    previous: Option<&ArtifactConfigStatus>,
    context: &Context<R, C>,
    entry: &mut Entry,
    seen: &mut Seen,
) -> Result<Outcome, Failure> {
    // read (pure): the resource, once
    let desired = spec::parse(config)?;
    // read (io, rarely): what was applied before
    let history = history(&context.cluster, &desired, previous).await?;
    let work = Work { context, history, freshness: freshness(config, previous), desired };
    match &work.desired.rollback_to {
        Some(digest) => work.back(digest, entry, seen).await,
        None => match work.forward(entry, seen).await {
            Err(failure) if !is_of_the_target(&failure) => {
                // Whatever keeps the next config away, the last one stays in place, and repaired.
                back::hold(&work, previous, entry).await;
                Err(failure)
            }
            result => result,
        },
    }
}

impl<R: Registry, C: Cluster> Work<'_, R, C> {
    /// Forward: what the policy selects among what is attached.
    async fn forward(&self, entry: &mut Entry, seen: &mut Seen) -> Result<Outcome, Failure> {
        // read (io): what the resource refers to
        let access = cluster::access(&self.context.cluster, &self.desired).await?;
        // resolve, discover (io): what the image is now, and what is attached to it
        let (subject, listing) = self.discover(&access).await?;
        // select (pure): which of it
        let selected = self.select(&subject, &listing)?;
        seen.latest = Some((selected.artifact.digest.clone(), subject.digest.clone()));
        let notes = [selected.notes, listing.notes.clone()].concat();
        let question = self.question(&subject.digest, &selected.artifact.digest);
        if let Some(applied) = self.still_applied(entry, &question).await {
            return Ok(Outcome::Synced { applied: Box::new(applied), notes, back: false });
        }
        // pull, verify (io), render (pure): its files as content
        let content = self.content(&access, selected.artifact).await?;
        // plan, apply (pure, io): what is there against what should be
        let origin = Origin::of(self.desired.image.to_string(), subject.digest, selected.artifact);
        let applied = self.apply(question, origin, content, entry).await?;
        Ok(Outcome::Synced { applied: Box::new(applied), notes, back: false })
    }

    pub(super) async fn discover(&self, access: &Access) -> Result<(Subject, Listing), Failure> {
        let Self { context, desired, freshness, .. } = self;
        self.in_time(async {
            let subject = context.registry.resolve(access, &desired.image, *freshness).await?;
            let query = Query {
                repository: &desired.referrers,
                artifact_type: Some(&desired.artifact_type),
                platform: desired.platform.as_ref(),
                freshness: *freshness,
            };
            let listing = context.registry.referrers(access, &subject, query).await?;
            Ok((subject, listing))
        })
        .await
    }

    pub(super) fn select<'l>(
        &self,
        subject: &Subject,
        listing: &'l Listing,
    ) -> Result<Selected<'l>, Failure> {
        let desired = &self.desired;
        let question = select::Question {
            image: &desired.image,
            subject: &subject.digest,
            artifact_type: &desired.artifact_type,
        };
        select::select(question, &listing.artifacts, &desired.selector)
            .map_err(|failure| failure.with_notes(&listing.notes))
    }

    pub(super) async fn content(&self, access: &Access, artifact: &Artifact) -> Result<Content, Failure> {
        let Self { context, desired, .. } = self;
        let pulled =
            self.in_time(context.registry.pull(access, &desired.referrers, artifact, &desired.files)).await?;
        render::render(&pulled.files, &pulled.others, &desired.files)
    }

    pub(super) fn question(&self, image: &Digest, artifact: &Digest) -> Question {
        Question { generation: self.desired.generation, image: image.clone(), artifact: artifact.clone() }
    }

    /// What was applied before, where it answers the same question and the target is still the version that was
    /// applied, and its revision is still there. Then there is nothing to fetch, compare or write.
    pub(super) async fn still_applied(&self, entry: &Entry, question: &Question) -> Option<Applied> {
        let (answered, applied) = entry.applied.as_ref()?;
        let (cluster, owner) = (&self.context.cluster, &self.desired.owner);
        let revision = applied.facts().revision.as_ref();
        let kept = revision.is_none_or(|name| cluster.target_version(owner, name).is_some());
        if answered != question || !kept {
            return None;
        }
        let seen = match self.desired.target.creation_policy {
            CreationPolicy::Owner | CreationPolicy::Orphan => {
                cluster.target_version(owner, &self.desired.target.name)
            }
            // Somebody else's object carries no label of ours, so no watch reports it.
            CreationPolicy::Merge => {
                let target = cluster.target(owner, &self.desired.target.name).await.ok()?;
                target.and_then(|target| target.metadata.resource_version)
            }
        };
        (seen.as_deref() == Some(applied.resource_version())).then(|| applied.unchanged())
    }

    pub(super) async fn apply(
        &self,
        question: Question,
        origin: Origin,
        content: Content,
        entry: &mut Entry,
    ) -> Result<Applied, Failure> {
        let rendered = plan::assemble(&self.desired, origin, content);
        entry.applied = None;
        let now = (self.context.now)();
        let applied =
            cluster::apply(&self.context.cluster, &self.desired, &self.history, rendered, now).await?;
        entry.applied = Some((question, applied.unchanged()));
        Ok(applied)
    }

    /// Talks to the registry, but not for longer than `spec.timeout`, and not when the operator is to end: nothing is
    /// lost by asking again after its start.
    pub(super) async fn in_time<T>(
        &self,
        talk: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Desired { timeout, referrers, .. } = &self.desired;
        tokio::select! {
            result = tokio::time::timeout(*timeout, talk) => result.unwrap_or_else(|_| {
                Err(Failure::new(
                    Reason::RegistryUnavailable,
                    format!("registry {} did not answer within spec.timeout ({} s)", referrers.host(), timeout.as_secs()),
                ))
            }),
            () = self.context.stop.wait() => Err(Failure::new(Reason::InternalError, "the operator is ending")),
        }
    }
}

/// The history, out of the revisions where the status has lost it.
async fn history(
    cluster: &impl Cluster,
    desired: &Desired,
    previous: Option<&ArtifactConfigStatus>,
) -> Result<Vec<HistoryEntry>, Failure> {
    let recorded = previous.map(|status| status.history.clone()).unwrap_or_default();
    if !recorded.is_empty() || !cluster.owned(&desired.owner).iter().any(revision::is_revision) {
        return Ok(recorded);
    }
    Ok(revision::rebuild(&cluster.revisions(&desired.owner).await?, desired.history_limit))
}

/// Whoever asks for a sync by annotation, or has just written the resource, has usually just attached something.
fn freshness(config: &ArtifactConfig, previous: Option<&ArtifactConfigStatus>) -> Freshness {
    let handled = previous.and_then(|status| status.last_handled_requested_at.as_ref());
    let requested = config.annotations().get(annotation::REQUESTED_AT);
    let is_requested = requested.is_some() && requested != handled;
    let is_new = previous.and_then(|status| status.observed_generation) != config.metadata.generation;
    if is_requested || is_new { Freshness::Now } else { Freshness::Recent }
}

/// Failures of writing the target: to write it again at once would fail the same.
fn is_of_the_target(failure: &Failure) -> bool {
    matches!(
        failure.reason,
        Reason::ApplyFailed | Reason::NamespaceTerminating | Reason::TargetConflict | Reason::TargetNotFound
    )
}
