//! The values that the stages of one pass share. No stage changes them.

use std::time::Duration;

use api::{ArtifactConfigStatus, CreationPolicy, Reason};
use decide::Failure;
use decide::goal::Trigger;
use decide::history::History;
use decide::numbers::Ledger;
use decide::plan::{self, Applied};
use decide::spec::Desired;
use decide::turns::Next;
use oci::Digest;
use registry::{Access, Freshness, Registry};

use crate::cluster::{self, Cluster};
use crate::spans::{self, stage};

use super::context::Context;
use super::halt::Halt;
use super::memory::{Question, Recall};
use super::turn::Turn;

/// The values that the stages of one pass share.
pub(super) struct Pass<'a, R, C> {
    pub(super) context: &'a Context<R, C>,
    pub(super) turn: &'a Turn,
    /// The parsed `spec`.
    pub(super) desired: &'a Desired,
    /// The status that was written last.
    pub(super) status: Option<&'a ArtifactConfigStatus>,
    /// Its history, rebuilt from the revisions if it was lost.
    pub(super) history: &'a History,
    /// The status already reports the rollback of this `spec` as done.
    pub(super) is_rollback_reported: bool,
    /// Records each number before it is used.
    pub(super) ledger: &'a Ledger,
}

impl<R: Registry, C: Cluster> Pass<'_, R, C> {
    /// The credentials and certificates of the resource, for a stage that may ask registries.
    pub(super) async fn access(&self) -> Result<Access, Halt> {
        self.turn.registry()?;
        let access = cluster::access(&self.context.cluster, self.desired);
        Ok(spans::within(stage!("read"), access).await?)
    }

    /// Runs requests to the registry. They end after `spec.timeout`, when the operator must end, and when the resource
    /// is deleted or its `spec` has changed: a later pass can ask again.
    pub(super) async fn in_time<T>(&self, talk: impl Future<Output = Result<T, Failure>>) -> Result<T, Halt> {
        let Desired { timeout, referrers, .. } = self.desired;
        tokio::select! {
            // The end of the turn comes first, even if the answer comes at the same moment.
            biased;
            over = self.turn.over() => Err(over),
            () = self.context.stop.cancelled() => Err(Halt::BrokenOff(Next::OnChange)),
            result = tokio::time::timeout(*timeout, talk) => {
                Ok(result.unwrap_or_else(|_| Err(unanswered(referrers.host(), *timeout)))?)
            }
        }
    }

    /// The question that applying this artifact answers.
    pub(super) fn question(&self, image: &Digest, artifact: &Digest) -> Question {
        Question {
            generation: self.desired.generation,
            reference: self.desired.workload.as_ref().map(|_| self.desired.image.clone()),
            image: image.clone(),
            artifact: artifact.clone(),
            provisional: false,
        }
    }

    /// The application from memory, if it answers the same question, the target still has the applied version, and its
    /// revision still exists. Then nothing must be fetched, compared or written.
    pub(super) async fn still_applied(&self, recall: &Recall, question: &Question) -> Option<Applied> {
        let (answered, applied) = recall.applied.as_ref()?;
        if !self.history.admits(applied.facts(), applied.stamp()) {
            return None;
        }
        let (cluster, owner) = (&self.context.cluster, &self.desired.owner);
        let revision = applied.facts().revision.as_ref();
        let kept = revision
            .is_none_or(|name| cluster.version_of(owner, name).as_deref() == applied.revision_version());
        // A contested target is repaired when its pause is over.
        let resting =
            recall.contest.as_ref().is_some_and(|contest| contest.rest((self.context.now)()).is_some());
        // The watch may report a target of an earlier name only after the new one was written. It must still be
        // deleted.
        let has_strays = !plan::strays(self.desired, &cluster.owned(owner)).is_empty();
        if answered != question || has_strays || !(kept || resting) {
            return None;
        }
        if resting {
            return Some(applied.unchanged());
        }
        let seen = self.target_version().await?;
        (seen == applied.resource_version()).then(|| applied.unchanged())
    }

    async fn target_version(&self) -> Option<String> {
        let (cluster, owner, name) = (&self.context.cluster, &self.desired.owner, &self.desired.target.name);
        match self.desired.target.creation_policy {
            CreationPolicy::Owner | CreationPolicy::Orphan => cluster.version_of(owner, name),
            // An object of someone else carries no label of ours, so no watch reports it.
            CreationPolicy::Merge => {
                let target = cluster.config_map(owner, name).await.ok()?;
                target.and_then(|target| target.metadata.resource_version)
            }
        }
    }
}

/// How old an answer of a registry may be.
pub(super) const fn freshness(trigger: Trigger) -> Freshness {
    if trigger.needs_new_answer() { Freshness::Now } else { Freshness::Recent }
}

fn unanswered(host: &str, timeout: Duration) -> Failure {
    let seconds = timeout.as_secs();
    Failure::new(
        Reason::RegistryUnavailable,
        format!("registry {host} did not answer within spec.timeout ({seconds} s)"),
    )
}
