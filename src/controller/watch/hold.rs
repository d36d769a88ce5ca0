//! Whether a scope's resources are reconciled already: not before what they need is listed.

use std::time::{Duration, Instant};

/// Longest wait for the lists that the first resources of a scope need. A list takes moments; one that fails or hangs is
/// not waited for any longer, because a broken watch must stop no reconcile.
const PATIENCE: Duration = Duration::from_secs(5);

/// A pass that knows none of the objects of its resource would take them for absent: it would use the number of a
/// revision once more, for instance. So the first resources of a scope wait for the lists. Later ones wait for nothing:
/// they are new, and have no objects yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hold {
    /// There is no resource.
    #[default]
    Empty,
    /// There are resources. They wait until this time at the latest.
    Until(Instant),
    /// The resources are reconciled.
    Open,
}

impl Hold {
    /// What follows, where there are resources or not, and everything that they need is listed or not.
    pub(super) fn next(self, is_used: bool, is_settled: bool, now: Instant) -> Self {
        if !is_used {
            return Self::Empty;
        }
        let waits = match self {
            Self::Empty => now + PATIENCE,
            Self::Until(end) => end,
            Self::Open => return Self::Open,
        };
        if is_settled || now >= waits { Self::Open } else { Self::Until(waits) }
    }

    pub(super) const fn wakes(self) -> Option<Instant> {
        match self {
            Self::Until(end) => Some(end),
            Self::Empty | Self::Open => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_resources_wait_for_what_they_need() {
        let now = Instant::now();
        let held = Hold::default().next(true, false, now);
        assert_eq!((held, held.wakes()), (Hold::Until(now + PATIENCE), Some(now + PATIENCE)));
        assert_eq!(held.next(true, false, now + PATIENCE / 2), held);
        assert_eq!(held.next(true, true, now), Hold::Open);
        assert_eq!(Hold::Empty.next(true, true, now), Hold::Open);
    }

    #[test]
    fn not_for_ever() {
        let now = Instant::now();
        let held = Hold::default().next(true, false, now);
        assert_eq!(held.next(true, false, now + PATIENCE), Hold::Open);
    }

    #[test]
    fn later_ones_do_not_until_all_are_gone() {
        let now = Instant::now();
        assert_eq!((Hold::Open.next(true, false, now), Hold::Open.wakes()), (Hold::Open, None));
        assert_eq!(Hold::Open.next(false, true, now), Hold::Empty);
        assert_eq!(Hold::Until(now).next(false, true, now), Hold::Empty);
    }
}
