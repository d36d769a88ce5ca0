//! Leader election: decides what to do with a Lease that was just read.
//!
//! The rules are those of client-go's `leaderelection`: a candidate takes over a free lease, or a lease that has not
//! changed for its duration. The candidate measures this time by its own clock, from the first read of that state.
//! Clocks of different nodes are never compared. A holder stops well before the duration is over, so that no one takes
//! over a lease in use.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// Longest time between two reads of a candidate; each is one small request.
const POLL: Duration = Duration::from_secs(2);

/// Duration in a released lease, in seconds (client-go writes the same).
const RELEASED_SECONDS: i32 = 1;

/// The times of an election; all follow from the lease duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    lease: Duration,
}

impl Timing {
    /// Allowed lease durations, from 3 s to an hour. A shorter lease would be lost whenever the API server is slow;
    /// with a longer one, a failover would take too long.
    pub const RANGE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_hours(1));

    /// `None` if `lease` is out of [`Timing::RANGE`].
    #[must_use]
    pub fn new(lease: Duration) -> Option<Self> {
        let (shortest, longest) = Self::RANGE;
        (shortest..=longest).contains(&lease).then_some(Self { lease })
    }

    /// After this time without a change, a candidate takes over.
    #[must_use]
    pub const fn lease(self) -> Duration {
        self.lease
    }

    /// After this time since its last renewal was sent, a holder no longer holds the lease. The remaining third is for
    /// running writes, and for the candidate's clock.
    #[must_use]
    pub fn deadline(self) -> Duration {
        self.lease * 2 / 3
    }

    /// Time between two renewals: four tries until the deadline.
    #[must_use]
    pub fn period(self) -> Duration {
        self.lease / 6
    }

    /// Time between two reads of a candidate. It is short even for a long lease, so that a release is seen soon.
    #[must_use]
    pub fn poll(self) -> Duration {
        self.period().min(POLL)
    }

    /// The duration in the lease, in seconds, rounded up.
    fn seconds(self) -> i32 {
        i32::try_from(self.lease.as_secs() + u64::from(self.lease.subsec_nanos() > 0)).unwrap_or(i32::MAX)
    }
}

/// The next step of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It is free, ours, or expired: write this, bound to the version that was read.
    Write(Box<LeaseSpec>),
    /// Another process holds it.
    Wait {
        /// Its identity.
        holder: String,
    },
}

/// Decides what a candidate does with a lease that it has seen unchanged for `unchanged`.
#[must_use]
pub fn step(seen: Option<&LeaseSpec>, me: &str, unchanged: Duration, timing: Timing, now: Timestamp) -> Step {
    let holder = seen.and_then(|spec| spec.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
    match holder {
        Some(holder) if holder != me && !is_over(seen, unchanged, timing) => {
            Step::Wait { holder: holder.to_owned() }
        }
        Some(holder) if holder == me => Step::Write(Box::new(renewed(seen, timing, now))),
        _ => Step::Write(Box::new(taken(seen, me, timing, now))),
    }
}

/// The duration in the lease counts, not ours: the holder may run with another setting.
fn is_over(seen: Option<&LeaseSpec>, unchanged: Duration, timing: Timing) -> bool {
    let promised = seen
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .map_or(timing.lease(), Duration::from_secs);
    unchanged >= promised
}

fn taken(seen: Option<&LeaseSpec>, me: &str, timing: Timing, now: Timestamp) -> LeaseSpec {
    let before = seen.and_then(|spec| spec.lease_transitions);
    LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(timing.seconds()),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(before.map_or(0, |count| count.saturating_add(1))),
        ..LeaseSpec::default()
    }
}

/// The same lease with a new time; all other fields stay.
#[must_use]
pub fn renewed(seen: Option<&LeaseSpec>, timing: Timing, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        lease_duration_seconds: Some(timing.seconds()),
        renew_time: Some(MicroTime(now)),
        ..seen.cloned().unwrap_or_default()
    }
}

/// A released lease, so that the next candidate need not wait.
#[must_use]
pub fn released(seen: &LeaseSpec, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(RELEASED_SECONDS),
        renew_time: Some(MicroTime(now)),
        ..seen.clone()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ME: &str = "pod-a_1";

    fn timing() -> Timing {
        Timing::new(Duration::from_secs(15)).unwrap()
    }

    fn held_by(holder: &str, seconds: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(seconds),
            acquire_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            lease_transitions: Some(4),
            ..LeaseSpec::default()
        }
    }

    fn step_after(seen: Option<&LeaseSpec>, unchanged: u64) -> Step {
        step(seen, ME, Duration::from_secs(unchanged), timing(), now())
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_000).unwrap()
    }

    fn written(step: Step) -> LeaseSpec {
        match step {
            Step::Write(spec) => *spec,
            Step::Wait { holder } => panic!("it waits for {holder}"),
        }
    }

    /// A candidate must never take over a lease that its holder still uses.
    #[test]
    fn a_holder_stops_before_anybody_takes_over() {
        for seconds in [3, 4, 15, 60, 3600] {
            let timing = Timing::new(Duration::from_secs(seconds)).unwrap();
            assert!(timing.deadline() < timing.lease());
            assert!(timing.period() * 4 <= timing.deadline());
        }
    }

    #[rstest]
    #[case(Duration::ZERO)]
    #[case(Duration::from_millis(2999))]
    #[case(Duration::from_secs(3601))]
    fn a_length_out_of_range_is_none(#[case] length: Duration) {
        assert_eq!(Timing::new(length), None);
    }

    #[test]
    fn what_does_not_exist_is_taken() {
        let spec = written(step_after(None, 0));
        assert_eq!(spec.holder_identity.as_deref(), Some(ME));
        assert_eq!(spec.lease_transitions, Some(0));
        assert_eq!(spec.lease_duration_seconds, Some(15));
        assert_eq!(spec.acquire_time, Some(MicroTime(now())));
    }

    #[test]
    fn what_somebody_holds_is_waited_for_as_long_as_they_promised() {
        let seen = held_by("pod-b_2", 30);
        assert_eq!(step_after(Some(&seen), 29), Step::Wait { holder: "pod-b_2".to_owned() });
        let spec = written(step_after(Some(&seen), 30));
        assert_eq!(spec.holder_identity.as_deref(), Some(ME));
        assert_eq!(spec.lease_transitions, Some(5));
        assert_eq!(spec.lease_duration_seconds, Some(15));
    }

    /// The time in the lease is from the clock of another node: an old time is not a reason to take over.
    #[test]
    fn an_old_time_in_the_lease_does_not_count() {
        assert!(matches!(step_after(Some(&held_by("pod-b_2", 15)), 0), Step::Wait { .. }));
    }

    #[rstest]
    #[case(None)]
    #[case(Some(0))]
    #[case(Some(-5))]
    fn without_a_usable_promise_our_own_length_counts(#[case] seconds: Option<i32>) {
        let seen = LeaseSpec { lease_duration_seconds: seconds, ..held_by("pod-b_2", 0) };
        assert!(matches!(step_after(Some(&seen), 14), Step::Wait { .. }));
        assert!(matches!(step_after(Some(&seen), 15), Step::Write(_)));
    }

    #[test]
    fn what_was_released_is_taken_at_once() {
        let seen = released(&held_by("pod-b_2", 15), now());
        assert_eq!(written(step_after(Some(&seen), 0)).lease_transitions, Some(5));
    }

    #[test]
    fn our_own_is_renewed_and_not_taken_again() {
        let seen = held_by(ME, 15);
        let spec = written(step_after(Some(&seen), 0));
        assert_eq!(spec, LeaseSpec { renew_time: Some(MicroTime(now())), ..seen });
    }
}
