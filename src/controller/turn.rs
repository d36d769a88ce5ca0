//! The turn of a pass: its permits and its end.

use decide::turns::{Lane, Next};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::halt::{AGAIN, Halt};

/// Up to this age of the resource, a pass writes without asking the API server for the present one. The watch delivers
/// within milliseconds. If a registry took longer than this, one more request is cheap in comparison.
const SEEN_LATELY: SignedDuration = SignedDuration::from_secs(1);

/// The turn of one pass. It is over as soon as its resource is deleted or has another `spec`.
#[derive(Debug)]
pub struct Turn {
    lane: Lane,
    over: CancellationToken,
    begun: Timestamp,
}

impl Turn {
    /// A turn that begins now and ends at the latest when `over` is cancelled.
    #[must_use]
    pub const fn new(lane: Lane, over: CancellationToken, begun: Timestamp) -> Self {
        Self { lane, over, begun }
    }

    /// Returns an error unless registries may be asked.
    pub(super) fn registry(&self) -> Result<(), Halt> {
        if self.lane == Lane::Registry { Ok(()) } else { Err(Halt::BrokenOff(Next::AtRegistry)) }
    }

    /// Ends when the turn is over.
    pub(super) async fn over(&self) -> Halt {
        self.over.cancelled().await;
        CHANGED
    }

    /// Returns an error if the watch has reported a change of the resource.
    pub(super) fn holds(&self) -> Result<(), Halt> {
        if self.over.is_cancelled() { Err(CHANGED) } else { Ok(()) }
    }

    /// Whether the resource was seen so lately that it counts as unchanged.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.begun) < SEEN_LATELY
    }
}

/// The event that ended the turn has made the resource due already.
const CHANGED: Halt = Halt::BrokenOff(Next::OnChange);

/// The API server has a newer resource than the watch has delivered.
pub(super) const OUTDATED: Halt = Halt::BrokenOff(Next::After(AGAIN));
