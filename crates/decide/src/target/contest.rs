//! A second writer of a target: counts repairs over time, and makes them slower.
//!
//! One edit by hand is repaired at once. Against a program that writes again after each repair, fast repairs do not
//! help: each repair would trigger the other program, and its write would trigger the operator.

use std::time::Duration;

use jiff::Timestamp;

/// Pause after the first repair. Each one after it doubles the pause.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause: the default `spec.interval`, within which everything else is corrected as well.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// After this time without a repair, the next one starts a new row. Twice the longest pause, so that a program that
/// writes after each repair stays in the row.
const QUIET: Duration = Duration::from_mins(10);

/// This many repairs in a row are not an accident.
const CONTESTED: u32 = 3;

/// Repairs in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// How many, at least one.
    pub repairs: u32,
    /// When the first of them was.
    pub since: Timestamp,
    last: Timestamp,
    by: Option<String>,
}

impl Contest {
    /// After a repair. `by` is the field manager whose changes it undid, if known.
    #[must_use]
    pub fn repaired(before: Option<&Self>, by: Option<&str>, now: Timestamp) -> Self {
        let before = before.filter(|before| !before.is_over(now));
        Self {
            repairs: before.map_or(0, |before| before.repairs).saturating_add(1),
            since: before.map_or(now, |before| before.since),
            last: now,
            by: by.map(str::to_owned).or_else(|| before?.by.clone()),
        }
    }

    /// How long the next repair has to wait; `None` if it may run now.
    #[must_use]
    pub fn rest(&self, now: Timestamp) -> Option<Duration> {
        let growth = 2_u32.saturating_pow(self.repairs.saturating_sub(1).min(20));
        let pause = FIRST_PAUSE.saturating_mul(growth).min(LONGEST_PAUSE);
        pause.checked_sub(self.passed(now)).filter(|rest| !rest.is_zero())
    }

    /// Whether the last repair was so long ago that the row can be forgotten.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.passed(now) >= QUIET
    }

    /// A note for people. It holds no times and no counts, because it is part of the status.
    #[must_use]
    pub fn note(&self, target: &str) -> Option<String> {
        let who = self
            .by
            .as_ref()
            .map_or_else(|| "somebody else".to_owned(), |manager| format!("'{manager}' (a field manager)"));
        (self.repairs >= CONTESTED).then(|| {
            format!(
                "{who} keeps changing or deleting ConfigMap '{target}' or its revision, so repairs come at growing intervals and it holds other content in between; let only one of the two write it, or set another spec.target.name"
            )
        })
    }

    /// If the clock was set back, the wait does not become longer.
    fn passed(&self, now: Timestamp) -> Duration {
        now.duration_since(self.last).unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    /// Repairs as soon as possible against a writer that writes again at once. Returns the times of the repairs.
    fn fought(until: i64) -> (Vec<i64>, Contest) {
        let (mut now, mut contest, mut repairs) = (0, None::<Contest>, Vec::new());
        while now < until {
            contest = Some(Contest::repaired(contest.as_ref(), Some("other"), at(now)));
            repairs.push(now);
            let rest = contest.as_ref().and_then(|contest| contest.rest(at(now))).unwrap();
            now += i64::try_from(rest.as_millis()).unwrap();
        }
        (repairs, contest.unwrap())
    }

    #[test]
    fn pauses_grow_and_have_an_end() {
        let (repairs, contest) = fought(15_000);
        assert_eq!(repairs, [0, 1_000, 3_000, 7_000]);
        assert_eq!(contest.repairs, 4);
        let (repairs, _) = fought(3_600_000);
        let pauses: Vec<i64> = repairs.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]), "{pauses:?}");
        assert_eq!(pauses.last(), Some(&300_000));
        let (_, contest) = fought(365 * 24 * 3_600_000);
        assert!(contest.rest(contest.last).is_some_and(|rest| rest == LONGEST_PAUSE));
    }

    /// A person edits, sees the repair, and edits again some minutes later.
    #[test]
    fn one_edit_now_and_then_is_repaired_at_once() {
        let mut contest = None::<Contest>;
        for edit in [0, 60_000, 180_000, 420_000] {
            assert!(contest.as_ref().is_none_or(|contest| contest.rest(at(edit)).is_none()), "{edit}");
            contest = Some(Contest::repaired(contest.as_ref(), None, at(edit)));
        }
        let quiet = at(420_000 + 600_000);
        let contest = contest.unwrap();
        assert!(contest.is_over(quiet) && !contest.is_over(at(420_000 + 599_000)));
        assert_eq!(Contest::repaired(Some(&contest), None, quiet).repairs, 1);
    }

    #[test]
    fn a_repeated_change_names_its_writer() {
        let first = Contest::repaired(None, Some("helm"), at(0));
        let second = Contest::repaired(Some(&first), None, at(5_000));
        assert_eq!((first.note("web"), second.note("web")), (None, None));
        let third = Contest::repaired(Some(&second), None, at(9_000));
        let note = third.note("web").unwrap();
        assert!(note.starts_with("'helm' (a field manager) keeps changing"), "{note}");
        let fourth = Contest::repaired(Some(&third), None, at(60_000));
        assert_eq!(fourth.note("web"), third.note("web"), "no change, no write");
        let anybody = Contest { by: None, ..third };
        assert!(anybody.note("web").unwrap().starts_with("somebody else keeps"));
    }
}
