//! What a pass is allowed, and when it is over.

use decide::turns::{Lane, Next};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::halt::{AGAIN, Halt};

/// How old the resource at hand may be, and still be written for without asking the API server for it. The watch delivers
/// within milliseconds; where a registry took longer than this, one more request does not count.
const SEEN_LATELY: SignedDuration = SignedDuration::from_secs(1);

/// The turn of one pass. It is over as soon as its resource is deleted or asks for something else.
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

    /// Passes where registries may be asked.
    pub(super) fn registry(&self) -> Result<(), Halt> {
        if self.lane == Lane::Registry { Ok(()) } else { Err(Halt::BrokenOff(Next::AtRegistry)) }
    }

    /// Ends when the turn is over.
    pub(super) async fn over(&self) -> Halt {
        self.over.cancelled().await;
        CHANGED
    }

    /// Passes while the resource is as it was seen, as far as the watch has told.
    pub(super) fn holds(&self) -> Result<(), Halt> {
        if self.over.is_cancelled() { Err(CHANGED) } else { Ok(()) }
    }

    /// Whether the resource was seen so lately that it is taken to be the same.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.begun) < SEEN_LATELY
    }
}

/// The event that ended the turn has made the resource due already.
const CHANGED: Halt = Halt::BrokenOff(Next::OnChange);

/// The API server has a newer resource than the watch has delivered.
pub(super) const OUTDATED: Halt = Halt::BrokenOff(Next::After(AGAIN));
