//! How fast a run of a given length goes: an hour has long pauses, a minute has to fit everything in.

use std::ops::RangeInclusive;
use std::time::Duration;

/// From here on a run is long: pauses stay as they are, and memory is judged. Shorter ones see warm-up and little else.
pub(super) const LONG: Duration = Duration::from_mins(15);

/// Times of one run.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// How long there is churn.
    pub(super) duration: Duration,
    /// Time between two samples of the process.
    pub(super) sample: Duration,
    /// Between two acts, in milliseconds.
    pub(super) act: RangeInclusive<u64>,
    /// `spec.interval` of a resource, in seconds.
    pub(super) interval: RangeInclusive<u64>,
    /// How long a trouble lasts, in milliseconds.
    pub(super) trouble: RangeInclusive<u64>,
    /// Between two troubles, in milliseconds.
    pub(super) calm: RangeInclusive<u64>,
    /// After everything has settled, how long nothing may be written. Longer than idle connections are kept (90 s) in a
    /// long run, so that those are gone when they are counted.
    pub(super) quiet: Duration,
}

impl Pace {
    pub(super) fn of(duration: Duration) -> Self {
        if duration >= LONG {
            Self {
                duration,
                sample: Duration::from_secs(15),
                act: 500..=2_500,
                interval: 15..=60,
                trouble: 4_000..=25_000,
                calm: 15_000..=45_000,
                quiet: Duration::from_mins(2),
            }
        } else {
            Self {
                duration,
                // Twenty samples are enough to distinguish the quarters.
                sample: (duration / 20).clamp(Duration::from_millis(500), Duration::from_secs(15)),
                act: 100..=500,
                interval: 3..=8,
                trouble: 1_000..=3_000,
                calm: 500..=2_000,
                quiet: Duration::from_secs(10),
            }
        }
    }

    /// Whether the run is long enough to distinguish growth from warm-up.
    pub(super) fn is_long(&self) -> bool {
        self.duration >= LONG
    }
}
