//! What every reconcile shares.

use jiff::Timestamp;
use moka::sync::Cache;
use tokio::sync::watch;

use crate::api::ArtifactConfigStatus;
use crate::decide::plan::Applied;
use crate::telemetry::Metrics;
use crate::types::Digest;

/// Resources whose memory is kept. Ten times what the operator is measured for; beyond it the least used resource is
/// merely read once more.
const REMEMBERED: u64 = 100_000;

/// The two worlds, the clock, and what is remembered of each resource.
pub struct Context<R, C> {
    /// The registries.
    pub registry: R,
    /// The API server.
    pub cluster: C,
    /// What is remembered.
    pub memory: Memory,
    /// Numbers for whoever watches.
    pub metrics: Metrics,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// The end of the operator.
    pub stop: Stop,
}

/// The end of the operator, as everything that waits hears of it.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Comes when the channel turns true, or is dropped.
    #[must_use]
    pub const fn new(channel: watch::Receiver<bool>) -> Self {
        Self(channel)
    }

    /// Whether it has come.
    #[must_use]
    pub fn has_come(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when it comes.
    pub async fn wait(&self) {
        // A dropped sender means that the process is ending as well.
        let _ = self.0.clone().wait_for(|stop| *stop).await;
    }
}

/// What is remembered of each resource, by UID. All of it can be lost at any time: it saves requests, and decides
/// nothing that the cluster would not decide the same.
pub struct Memory {
    entries: Cache<String, Entry>,
}

/// What is remembered of one resource.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Transient failures in a row.
    pub failures: u32,
    /// What was applied last, and for which question.
    pub applied: Option<(Question, Applied)>,
    /// The status that was written last.
    pub written: Option<Written>,
    /// When revisions were last collected.
    pub collected: Option<Collected>,
}

/// A look at the revisions that went through.
#[derive(Clone, Copy, Debug)]
pub struct Collected {
    /// Newest number in the history then; another one means that there may be more to collect.
    pub newest: Option<i64>,
    /// Generation of the resource then; another one may have another limit.
    pub generation: i64,
    /// When.
    pub at: Timestamp,
}

/// What an applied config answers. While it stays the same and nobody touched the target, nothing needs to be
/// fetched or compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// `metadata.generation`: every field of `spec`.
    pub generation: i64,
    /// Digest of the image.
    pub image: Digest,
    /// Digest of the artifact.
    pub artifact: Digest,
    /// It was put back because nothing newer could be had, by rules of rendering that may not be those of this
    /// generation: no answer to a question that is asked going forward or back.
    pub held: bool,
}

/// A status that was written, and the `resourceVersion` of the resource before and after. Until the watch delivers
/// another one than `from`, the resource at hand is older than its status.
#[derive(Clone, Debug)]
pub struct Written {
    /// `resourceVersion` of the resource when the status was computed.
    pub from: Option<String>,
    /// `resourceVersion` of the resource with the status.
    pub version: Option<String>,
    /// The status.
    pub status: ArtifactConfigStatus,
}

impl Memory {
    /// Nothing remembered yet.
    #[must_use]
    pub fn new() -> Self {
        Self { entries: Cache::new(REMEMBERED) }
    }

    /// What is remembered of a resource.
    #[must_use]
    pub fn of(&self, uid: &str) -> Entry {
        self.entries.get(uid).unwrap_or_default()
    }

    /// Remembers.
    pub fn keep(&self, uid: &str, entry: Entry) {
        self.entries.insert(uid.to_owned(), entry);
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}
