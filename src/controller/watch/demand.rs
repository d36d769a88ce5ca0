//! Decides which kinds are watched in a scope: those that a resource there needs, and for a while after that.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use decide::turns::Key;

/// How long a watch goes on after the last resource that needs it is gone. A resource that is deleted and created again
/// keeps it, so a start, which lists everything, comes at most once in this time.
const LINGER: Duration = Duration::from_secs(30);

/// A set of kinds, each by its place in the list of kinds. A place beyond the 32nd is in no set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u32);

impl Kinds {
    /// The places in the list.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..u32::BITS as usize).filter(move |kind| self.0 >> kind & 1 == 1)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl FromIterator<usize> for Kinds {
    fn from_iter<I: IntoIterator<Item = usize>>(kinds: I) -> Self {
        let bit = |kind| u32::try_from(kind).ok().and_then(|kind| 1_u32.checked_shl(kind)).unwrap_or(0);
        Self(kinds.into_iter().fold(0, |all, kind| all | bit(kind)))
    }
}

/// What is to be done about the watches of a scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    pub(super) start: Kinds,
    pub(super) stop: Kinds,
}

/// The resources of a scope, and the kinds that they need. An event costs as much with 10,000 resources as with one.
#[derive(Debug, Default)]
pub(super) struct Demand {
    needs: HashMap<Key, Kinds>,
    watches: Vec<Watch>,
}

/// The watch of one kind.
#[derive(Debug, Default)]
struct Watch {
    /// The number of resources that need it.
    users: usize,
    /// A list that is under way has a resource that needs it.
    is_expected: bool,
    is_running: bool,
    /// Everything has been listed since it runs.
    is_listed: bool,
    /// Since when it runs for no resource.
    idle: Option<Instant>,
}

impl Demand {
    /// No resource is known, and nothing is watched.
    pub(super) fn new(kinds: usize) -> Self {
        Self { needs: HashMap::new(), watches: (0..kinds).map(|_| Watch::default()).collect() }
    }

    /// A resource will need these kinds, as soon as the list that is under way is complete.
    pub(super) fn expect(&mut self, kinds: Kinds) {
        self.each(kinds, |watch| watch.is_expected = true);
    }

    /// A resource exists, and needs these kinds.
    pub(super) fn need(&mut self, key: &Key, kinds: Kinds) {
        let before = match self.needs.get_mut(key) {
            Some(known) => std::mem::replace(known, kinds),
            None => self.needs.insert(key.clone(), kinds).unwrap_or_default(),
        };
        self.each(kinds.without(before), |watch| watch.users += 1);
        self.each(before.without(kinds), |watch| watch.users -= 1);
    }

    /// A resource is deleted.
    pub(super) fn gone(&mut self, key: &Key) {
        let kinds = self.needs.remove(key).unwrap_or_default();
        self.each(kinds, |watch| watch.users -= 1);
    }

    /// These resources exist, and no others. Keys that are known stay, because others share their memory.
    pub(super) fn replace<'a>(&mut self, all: impl Iterator<Item = (&'a Key, Kinds)>) {
        let mut before = std::mem::take(&mut self.needs);
        for watch in &mut self.watches {
            watch.users = 0;
        }
        for (key, kinds) in all {
            match before.remove_entry(key) {
                Some((known, _)) => self.need(&known, kinds),
                None => self.need(key, kinds),
            }
        }
    }

    /// Everything of a kind is listed.
    pub(super) fn listed(&mut self, kind: usize) {
        if let Some(watch) = self.watches.get_mut(kind) {
            watch.is_listed = watch.is_running;
        }
    }

    /// What is to be started and stopped now; it counts as done.
    pub(super) fn steps(&mut self, now: Instant) -> Steps {
        let steps = self.watches.iter_mut().map(|watch| watch.step(now));
        let (mut start, mut stop) = (Vec::new(), Vec::new());
        for (kind, step) in steps.enumerate() {
            match step {
                Some(Step::Start) => start.push(kind),
                Some(Step::Stop) => stop.push(kind),
                None => {}
            }
        }
        Steps { start: start.into_iter().collect(), stop: stop.into_iter().collect() }
    }

    /// When [`Demand::steps`] may have something to stop.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.watches.iter().filter_map(|watch| watch.idle).min().map(|idle| idle + LINGER)
    }

    /// Whether there is a resource.
    pub(super) fn is_used(&self) -> bool {
        !self.needs.is_empty()
    }

    /// Whether everything that the resources need is listed.
    pub(super) fn is_settled(&self) -> bool {
        self.watches.iter().all(|watch| watch.users == 0 || watch.is_listed)
    }

    fn each(&mut self, kinds: Kinds, change: impl Fn(&mut Watch)) {
        for kind in kinds.iter() {
            if let Some(watch) = self.watches.get_mut(kind) {
                change(watch);
            }
        }
    }
}

enum Step {
    Start,
    Stop,
}

impl Watch {
    fn step(&mut self, now: Instant) -> Option<Step> {
        if std::mem::take(&mut self.is_expected) || self.users > 0 {
            self.idle = None;
            return (!std::mem::replace(&mut self.is_running, true)).then_some(Step::Start);
        }
        if !self.is_running || now < *self.idle.get_or_insert(now) + LINGER {
            return None;
        }
        *self = Self::default();
        Some(Step::Stop)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: Steps = Steps { start: Kinds(0), stop: Kinds(0) };

    fn kinds<const N: usize>(kinds: [usize; N]) -> Kinds {
        kinds.into_iter().collect()
    }

    fn start<const N: usize>(start: [usize; N]) -> Steps {
        Steps { start: kinds(start), ..NONE }
    }

    fn stop<const N: usize>(stop: [usize; N]) -> Steps {
        Steps { stop: kinds(stop), ..NONE }
    }

    fn key(name: u8) -> Key {
        Key::new("shop", &name.to_string())
    }

    #[test]
    fn a_set_of_kinds_is_a_set() {
        let all = kinds([0, 3, 31, 3, 32, usize::MAX]);
        assert_eq!(all.iter().collect::<Vec<_>>(), [0, 3, 31]);
        assert_eq!(kinds([1, 2]).and(kinds([2, 3])), kinds([1, 2, 3]));
        assert_eq!(kinds([1, 2]).without(kinds([2, 3])), kinds([1]));
        assert!(kinds([]).is_empty() && !kinds([31]).is_empty());
    }

    #[test]
    fn a_watch_runs_from_the_first_resource_that_needs_it_until_a_while_after_the_last() {
        let (mut demand, begun) = (Demand::new(2), Instant::now());
        assert_eq!((demand.steps(begun), demand.wakes(), demand.is_used()), (NONE, None, false));
        demand.need(&key(1), kinds([0]));
        assert_eq!(demand.steps(begun), start([0]));
        demand.need(&key(2), kinds([0, 1]));
        assert_eq!(demand.steps(begun), start([1]));
        demand.gone(&key(1));
        assert_eq!((demand.steps(begun), demand.wakes()), (NONE, None));
        // What a resource needs may change.
        demand.need(&key(2), kinds([0]));
        assert_eq!((demand.steps(begun), demand.wakes()), (NONE, Some(begun + LINGER)));
        assert_eq!(demand.steps(begun + LINGER), stop([1]));
        demand.gone(&key(2));
        assert_eq!(demand.steps(begun + LINGER), NONE);
        assert_eq!(demand.steps(begun + 2 * LINGER), stop([0]));
        assert_eq!((demand.wakes(), demand.is_used()), (None, false));
    }

    #[test]
    fn a_resource_that_comes_back_in_time_keeps_its_watch() {
        let (mut demand, mut now) = (Demand::new(1), Instant::now());
        demand.need(&key(1), kinds([0]));
        assert_eq!(demand.steps(now), start([0]));
        for _ in 0..10 {
            demand.gone(&key(1));
            assert_eq!(demand.steps(now), NONE);
            now += LINGER * 99 / 100;
            demand.need(&key(1), kinds([0]));
            assert_eq!((demand.steps(now), demand.wakes()), (NONE, None));
        }
    }

    /// A list begins the watches early, also where the resource is gone before the list is complete.
    #[test]
    fn what_a_list_shows_is_started_at_once() {
        let (mut demand, begun) = (Demand::new(1), Instant::now());
        demand.expect(kinds([0]));
        assert_eq!(demand.steps(begun), start([0]));
        assert!(demand.is_settled(), "no resource needs it yet");
        demand.replace([(&key(1), kinds([0]))].into_iter());
        assert_eq!((demand.steps(begun), demand.is_settled()), (NONE, false));
        demand.replace(std::iter::empty());
        assert_eq!(demand.steps(begun), NONE);
        assert_eq!(demand.steps(begun + LINGER), stop([0]));
    }

    /// A list of an earlier run proves nothing.
    #[test]
    fn it_is_settled_when_everything_that_is_needed_is_listed() {
        let (mut demand, begun) = (Demand::new(2), Instant::now());
        assert!(demand.is_settled());
        demand.need(&key(1), kinds([0]));
        demand.steps(begun);
        assert!(!demand.is_settled());
        demand.listed(1);
        assert!(!demand.is_settled());
        demand.listed(0);
        assert!(demand.is_settled());
        demand.gone(&key(1));
        demand.steps(begun);
        demand.steps(begun + LINGER);
        // News that was on its way when the watch was stopped.
        demand.listed(0);
        demand.need(&key(1), kinds([0]));
        assert_eq!(demand.steps(begun + LINGER), start([0]));
        assert!(!demand.is_settled());
    }

    #[derive(Clone, Debug)]
    enum Act {
        Need(u8, u32),
        Gone(u8),
        Replace(Vec<(u8, u32)>),
        Expect(u32),
        Wait(u64),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            (0..4_u8, 0..8_u32).prop_map(|(name, kinds)| Act::Need(name, kinds)),
            (0..4_u8).prop_map(Act::Gone),
            prop::collection::vec((0..4_u8, 0..8_u32), 0..3).prop_map(Act::Replace),
            (0..8_u32).prop_map(Act::Expect),
            (0..45_u64).prop_map(Act::Wait),
        ];
        prop::collection::vec(act, 0..60)
    }

    proptest! {
        /// After any events, the needed kinds run, what was not needed for the pause does not, and nothing is started or
        /// stopped twice.
        #[test]
        fn what_runs_is_what_is_needed(acts in acts()) {
            let (mut demand, mut now) = (Demand::new(3), Instant::now());
            let (mut needs, mut running) = (HashMap::new(), Kinds::default());
            for act in acts {
                let mut expected = Kinds::default();
                match act {
                    Act::Need(name, kinds) => {
                        demand.need(&key(name), Kinds(kinds));
                        needs.insert(name, Kinds(kinds));
                    }
                    Act::Gone(name) => {
                        demand.gone(&key(name));
                        needs.remove(&name);
                    }
                    Act::Replace(all) => {
                        let named: Vec<_> = all.iter().map(|(name, kinds)| (key(*name), Kinds(*kinds))).collect();
                        demand.replace(named.iter().map(|(key, kinds)| (key, *kinds)));
                        needs = all.into_iter().map(|(name, kinds)| (name, Kinds(kinds))).collect();
                    }
                    Act::Expect(kinds) => {
                        expected = Kinds(kinds);
                        demand.expect(expected);
                    }
                    Act::Wait(seconds) => now += Duration::from_secs(seconds),
                }
                let needed = needs.values().fold(expected, |all, kinds| all.and(*kinds));
                let Steps { start, stop } = demand.steps(now);
                prop_assert_eq!((start.0 & running.0, stop.0 & !running.0, stop.0 & needed.0), (0, 0, 0));
                running = running.and(start).without(stop);
                prop_assert!(needed.without(running).is_empty());
                let is_idle = !running.without(needed).is_empty();
                prop_assert_eq!(is_idle, demand.wakes().is_some());
                prop_assert!(demand.wakes().is_none_or(|wakes| wakes > now && wakes <= now + LINGER));
                prop_assert_eq!(demand.is_used(), !needs.is_empty());
            }
        }
    }
}
