//! What one reconcile works with, and the steps that going forward and going back share.

use futures::TryFutureExt as _;
use oci::Digest;
use registry::{Access, Artifact, Error, Freshness, Listing, Query, Registry, Subject};

use crate::api::{CreationPolicy, HistoryEntry, Reason};
use crate::cluster::{self, Cluster};
use crate::decide::contest::Contest;
use crate::decide::plan::{self, Applied, Origin};
use crate::decide::render::{self, Content};
use crate::decide::select::{self, Selected};
use crate::decide::spec::Desired;
use crate::spans::{self, stage};
use crate::types::Failure;
use crate::wanted;

use super::context::{Context, Entry, Question};
use super::turn::Turn;

/// What one reconcile works with.
pub(super) struct Work<'a, R, C> {
    pub(super) context: &'a Context<R, C>,
    pub(super) turn: &'a Turn,
    pub(super) desired: Desired,
    pub(super) history: Vec<HistoryEntry>,
    pub(super) freshness: Freshness,
    /// The status says already that the config is back.
    pub(super) is_told: bool,
}

impl<R: Registry, C: Cluster> Work<'_, R, C> {
    /// What the resource refers to, for whoever may ask registries with it.
    pub(super) async fn read(&self) -> Result<Access, Failure> {
        self.turn.registry()?;
        spans::within(stage!("read"), cluster::access(&self.context.cluster, &self.desired)).await
    }

    pub(super) async fn discover(&self, access: &Access) -> Result<(Subject, Listing), Failure> {
        let Self { context, desired, freshness, .. } = self;
        self.in_time(async {
            let resolving = context.registry.resolve(access, &desired.image, *freshness);
            let subject = spans::within(stage!("resolve"), resolving.err_into()).await?;
            let query = Query {
                repository: &desired.referrers,
                artifact_type: Some(&desired.artifact_type),
                platform: desired.platform.as_ref(),
                freshness: *freshness,
            };
            let listing = context.registry.referrers(access, &subject, query);
            let mut listing = spans::within(stage!("discover"), listing.err_into()).await?;
            listing.notes.extend_from_slice(access.notes());
            Ok((subject, listing))
        })
        .await
        .map_err(|failure: Failure| match failure.reason {
            // What could not be used may have opened the door.
            Reason::AuthenticationFailed | Reason::Forbidden | Reason::ImageNotFound => {
                failure.with_notes(access.notes())
            }
            _ => failure,
        })
    }

    pub(super) fn select<'l>(
        &self,
        subject: &Subject,
        listing: &'l Listing,
    ) -> Result<Selected<'l, Error>, Failure> {
        let desired = &self.desired;
        let question = select::Question {
            image: &desired.image,
            subject: &subject.digest,
            artifact_type: &desired.artifact_type,
            attached: &listing.types,
        };
        spans::within_sync(&stage!("select"), || {
            select::select(question, &listing.artifacts, &desired.selector)
                .map_err(|failure| failure.with_notes(&listing.notes))
        })
    }

    pub(super) async fn content(&self, access: &Access, artifact: &Artifact) -> Result<Content, Failure> {
        let Self { context, desired, .. } = self;
        let wanted = wanted::by_rules(&desired.files);
        let pulling = context.registry.pull(access, &desired.referrers, artifact, wanted);
        let pulled = self.in_time(spans::within(stage!("pull"), pulling.err_into())).await?;
        spans::within_sync(&stage!("render"), || {
            render::render(&pulled.files, &pulled.others, &desired.files)
        })
    }

    pub(super) fn question(&self, image: &Digest, artifact: &Digest) -> Question {
        Question {
            generation: self.desired.generation,
            image: image.clone(),
            artifact: artifact.clone(),
            held: false,
        }
    }

    /// What was applied before, where it answers the same question and the target is still the version that was
    /// applied, and its revision is still there. Then there is nothing to fetch, compare or write.
    pub(super) async fn still_applied(&self, entry: &Entry, question: &Question) -> Option<Applied> {
        let (answered, applied) = entry.applied.as_ref()?;
        let (cluster, owner) = (&self.context.cluster, &self.desired.owner);
        let revision = applied.facts().revision.as_ref();
        let kept = revision
            .is_none_or(|name| cluster.target_version(owner, name).as_deref() == applied.revision_version());
        // What somebody keeps changing is put right when its pause is over.
        let resting =
            entry.contest.as_ref().is_some_and(|contest| contest.rest((self.context.now)()).is_some());
        // A target of an earlier name that the watch reported only after the new one was written still has to go.
        let left = !plan::strays(&self.desired, &cluster.owned(owner)).is_empty();
        if answered != question || left || !(kept || resting) {
            return None;
        }
        if resting {
            return Some(applied.unchanged());
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
        self.still_asked_for().await?;
        let rendered = plan::assemble(&self.desired, origin, content);
        let before = entry.applied.take().filter(|(_, before)| *before.facts() == *rendered.facts);
        let now = (self.context.now)();
        let Self { context, desired, history, .. } = self;
        let applied =
            cluster::apply(&context.cluster, desired, history, &mut entry.given, rendered, now).await;
        // The same as before, and yet there was something to write or to fight for.
        let is_repair = before.is_some_and(|(_, before)| match &applied {
            Ok(applied) => applied.changed() || applied.revision_version() != before.revision_version(),
            Err(_) => true,
        });
        if is_repair {
            let by = applied.as_ref().ok().and_then(Applied::undone);
            entry.contest = Some(Box::new(Contest::repaired(entry.contest.as_deref(), by, now)));
        }
        let applied = applied?;
        entry.applied = Some((question, applied.unchanged()));
        Ok(applied)
    }

    /// Before the first write: the resource is still there, and asks for this. What the watch has delivered ends the turn;
    /// where a registry took its time, the API server is asked as well, because a watch can lag behind. What is left is
    /// the time from here to the write.
    async fn still_asked_for(&self) -> Result<(), Failure> {
        let Self { context, turn, desired, .. } = self;
        turn.holds()?;
        if turn.is_fresh((context.now)()) {
            return Ok(());
        }
        let generation = context.cluster.generation(&desired.owner).await?;
        if generation == Some(desired.generation) { turn.holds() } else { Err(turn.outdated()) }
    }

    /// Talks to the registry, but not for longer than `spec.timeout`, not when the operator is to end, and not for a
    /// resource that is gone or asks for something else by now: nothing is lost by asking again.
    pub(super) async fn in_time<T>(
        &self,
        talk: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Desired { timeout, referrers, .. } = &self.desired;
        tokio::select! {
            // What is over is over, also where the answer comes at the same moment.
            biased;
            ended = self.turn.over() => Err(ended),
            () = self.context.stop.wait() => Err(Failure::new(Reason::InternalError, "the operator is ending")),
            result = tokio::time::timeout(*timeout, talk) => result.unwrap_or_else(|_| {
                Err(Failure::new(
                    Reason::RegistryUnavailable,
                    format!("registry {} did not answer within spec.timeout ({} s)", referrers.host(), timeout.as_secs()),
                ))
            }),
        }
    }
}
