//! What a look is allowed, and when it is over.

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::api::Reason;
use crate::decide::turns::{Lane, Next};
use crate::types::Failure;

use super::reconcile::AGAIN;

/// How old what a look has seen may be, and still be written for without another look at the resource. The watch delivers
/// within milliseconds; where a registry took longer than this, one more request does not count.
const SEEN_LATELY: SignedDuration = SignedDuration::from_secs(1);

/// The turn of one look. It is over as soon as its resource is deleted or asks for something else.
#[derive(Debug)]
pub struct Turn {
    lane: Lane,
    over: CancellationToken,
    begun: Timestamp,
    /// It cannot go on without a registry.
    lacks_registry: AtomicBool,
    /// The API server has a newer resource than the watch has delivered.
    outdated: AtomicBool,
}

impl Turn {
    /// One that begins now and ends at the latest when `over` is cancelled.
    #[must_use]
    pub const fn new(lane: Lane, over: CancellationToken, begun: Timestamp) -> Self {
        let (lacks_registry, outdated) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { lane, over, begun, lacks_registry, outdated }
    }

    /// Passes where registries may be asked.
    pub(super) fn registry(&self) -> Result<(), Failure> {
        if self.lane == Lane::Registry {
            return Ok(());
        }
        self.lacks_registry.store(true, Ordering::Relaxed);
        Err(broken_off("it takes a turn at registries to go on"))
    }

    /// Ends when the turn is over.
    pub(super) async fn over(&self) -> Failure {
        self.over.cancelled().await;
        broken_off("the resource has changed")
    }

    /// Passes while the resource is as it was seen, as far as is known here.
    pub(super) fn holds(&self) -> Result<(), Failure> {
        if self.over.is_cancelled() { Err(broken_off("the resource has changed")) } else { Ok(()) }
    }

    /// Whether the resource was seen so lately that it is taken to be the same.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.begun) < SEEN_LATELY
    }

    /// The API server says that the resource is another by now.
    pub(super) fn outdated(&self) -> Failure {
        self.outdated.store(true, Ordering::Relaxed);
        broken_off("the resource has changed")
    }

    /// How to go on, where the look was broken off: no news of the resource, and none of its registry.
    pub(super) fn broken_off(&self) -> Option<Next> {
        if self.over.is_cancelled() {
            // Whatever ended it is due already.
            Some(Next::OnChange)
        } else if self.outdated.load(Ordering::Relaxed) {
            // The watch usually comes first.
            Some(Next::After(AGAIN))
        } else {
            self.lacks_registry.load(Ordering::Relaxed).then_some(Next::AtRegistry)
        }
    }
}

/// Never seen by anybody: whoever holds the turn drops it.
fn broken_off(why: &str) -> Failure {
    Failure::new(Reason::InternalError, why)
}
