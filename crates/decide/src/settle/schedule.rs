//! When to reconcile again.

use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use api::Class;

use crate::report::Outcome;

/// First wait after a failure that may pass by itself.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Lowest ceiling of the growth: an interval of a second must not cause a retry every second.
const LOWEST_CEILING: Duration = Duration::from_secs(10);

/// Highest ceiling: a registry that is back must be noticed within this time, for every interval.
const HIGHEST_CEILING: Duration = Duration::from_mins(15);

/// Longest pause that follows from the duration of a try, because a try that hangs for `spec.timeout` occupies a turn
/// at registries. Half a minute, so that a registry that is back is noticed.
const LONGEST_BREATH: Duration = Duration::from_secs(30);

/// Random variation of the interval, in percent in both directions, as in Flux (`--interval-jitter-percentage`).
const SPREAD: u64 = 5;

/// Random variation of a retry, in percent in both directions: many resources fail together when their registry does.
const RETRY_SPREAD: u64 = 20;

/// Before the second half of a rollback: the status reports the config first, and then the registry is asked which
/// config would come next, which may take its time-out.
pub const SECOND_HALF: Duration = Duration::from_secs(1);

/// The reasons for a next pass, each with its wait. A new reason to wait is a new field, and a line in the list that it
/// belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// The interval, or the pause before a retry.
    pub usual: Duration,
    /// The second half of a rollback.
    pub second_half: Option<Duration>,
    /// The full pass that was due before a mere repair.
    pub due_before: Option<Duration>,
    /// The end of the pause before the next repair of a target that somebody else keeps changing.
    pub repair: Option<Duration>,
    /// The end of the pause before a workload may be woken again.
    pub wake: Option<Duration>,
}

impl Timers {
    /// When the next full pass comes.
    #[must_use]
    pub fn full_pass(&self) -> Duration {
        [self.second_half, self.due_before].into_iter().flatten().fold(self.usual, Duration::min)
    }

    /// When the next pass comes, full or not.
    #[must_use]
    pub fn next_pass(&self) -> Duration {
        [self.repair, self.wake].into_iter().flatten().fold(self.full_pass(), Duration::min)
    }
}

/// The interval, or the pause before a retry. `failures` counts the transient failures in a row, this one included. `took` is the
/// duration of the failed pass; the pause is at least as long.
///
/// The variation is computed from the UID and the count, so it differs between resources and is the same in every run.
#[must_use]
pub fn usual(outcome: &Outcome, failures: u32, interval: Duration, took: Duration, uid: &str) -> Duration {
    let retry_after = match outcome {
        Outcome::Failed(failure) => failure.retry_after,
        _ => None,
    };
    let wait = match outcome.class() {
        Class::Done | Class::Terminal | Class::Waiting => spread(interval, SPREAD, uid, 0),
        Class::Transient => {
            let ceiling = interval.clamp(LOWEST_CEILING, HIGHEST_CEILING);
            let growth = 2_u32.saturating_pow(failures.saturating_sub(1).min(20));
            let pause = FIRST_RETRY.saturating_mul(growth).min(ceiling).max(took.min(LONGEST_BREATH));
            spread(pause, RETRY_SPREAD, uid, failures)
        }
    };
    wait.max(retry_after.unwrap_or_default().min(HIGHEST_CEILING))
}

/// Varies a duration by up to `percent` in both directions.
fn spread(duration: Duration, percent: u64, uid: &str, salt: u32) -> Duration {
    let mut hasher = std::hash::DefaultHasher::new();
    (uid, salt).hash(&mut hasher);
    // A thousand steps across the whole width are fine enough for any number of resources that one process handles.
    let step = hasher.finish() % 1001;
    let width = duration.as_millis() * u128::from(percent) * 2 / 100;
    let low = duration.as_millis() * u128::from(100 - percent) / 100;
    Duration::from_millis(u64::try_from(low + width * u128::from(step) / 1000).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use api::Reason;

    use super::*;
    use crate::Failure;

    const INTERVAL: Duration = Duration::from_mins(5);
    const AT_ONCE: Duration = Duration::ZERO;

    fn failed(reason: Reason) -> Outcome {
        Outcome::Failed(Failure::new(reason, "x"))
    }

    #[test]
    fn settled_resources_reconcile_around_their_interval_and_not_all_at_once() {
        let waits: Vec<Duration> =
            (0..100).map(|uid| usual(&Outcome::Suspended, 0, INTERVAL, AT_ONCE, &uid.to_string())).collect();
        assert!(waits.iter().all(|wait| (285..=315).contains(&wait.as_secs())), "{waits:?}");
        let distinct: std::collections::BTreeSet<_> = waits.iter().collect();
        assert!(distinct.len() > 80, "{}", distinct.len());
    }

    #[test]
    fn transient_failures_grow_to_the_interval_and_stay_there() {
        let waits: Vec<u64> = (1..=40)
            .map(|count| usual(&failed(Reason::RegistryUnavailable), count, INTERVAL, AT_ONCE, "u").as_secs())
            .collect();
        assert!(waits[0] <= 1 && waits[3] >= 6, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= 360), "{waits:?}");
        assert!(waits[39] >= 240, "{waits:?}");
    }

    /// A reconcile that hung waits before it is tried again, but not long.
    #[test]
    fn a_failure_that_took_long_is_followed_by_a_longer_pause() {
        let failure = failed(Reason::RegistryUnavailable);
        for (took, expected) in [(0, 0..=1), (10, 8..=12), (60, 24..=36), (600, 24..=36)] {
            let wait = usual(&failure, 1, INTERVAL, Duration::from_secs(took), "u").as_secs();
            assert!(expected.contains(&wait), "{took} s: {wait} s");
        }
        let done = usual(&Outcome::Suspended, 0, INTERVAL, Duration::from_mins(10), "u");
        assert_eq!(done, usual(&Outcome::Suspended, 0, INTERVAL, AT_ONCE, "u"), "only failures");
    }

    #[test]
    fn waiting_failures_keep_the_interval() {
        for reason in [Reason::ArtifactNotFound, Reason::TargetConflict, Reason::AuthenticationFailed] {
            assert!(usual(&failed(reason), 7, INTERVAL, AT_ONCE, "u").as_secs() >= 285, "{reason}");
        }
    }

    #[test]
    fn a_registry_that_says_when_is_not_asked_before() {
        let mut failure = Failure::new(Reason::RegistryUnavailable, "x");
        failure.retry_after = Some(Duration::from_secs(77));
        assert_eq!(
            usual(&Outcome::Failed(failure.clone()), 1, INTERVAL, AT_ONCE, "u"),
            Duration::from_secs(77)
        );
        failure.retry_after = Some(Duration::from_secs(1_000_000));
        assert_eq!(
            usual(&Outcome::Failed(failure), 1, INTERVAL, AT_ONCE, "u"),
            HIGHEST_CEILING,
            "nor trusted without bound"
        );
    }
}
