//! The memory of the operator for each resource, between two passes.
//!
//! It can be lost at any time: it saves requests, and without it every decision is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::ArtifactConfigStatus;
use decide::contest::Contest;
use decide::numbers::LastNumber;
use decide::plan::Applied;
use decide::report::{Latest, Outcome, Report};
use decide::schedule::{SECOND_HALF, Timers};
use decide::spec::Desired;
use jiff::Timestamp;
use moka::sync::Cache;
use oci::{Digest, ImageRef};

/// Most resources whose memory is kept: ten times as many as the operator is measured for. Beyond it, the least used resource
/// is read once more.
const REMEMBERED: u64 = 100_000;

/// How long the memory of an unused resource is kept: twice the longest `spec.interval`. It ends the memory of a resource
/// that was deleted while the watch was down.
const IDLE: Duration = Duration::from_hours(48);

/// The memory of each resource, by UID.
#[derive(Clone)]
pub struct Memory {
    recalls: Cache<String, Recall>,
}

/// The memory of one resource. An idle resource holds only `applied` and `last_number`; the other fields are boxed because
/// they are usually empty.
#[derive(Clone, Debug, Default)]
pub struct Recall {
    /// Transient failures in a row.
    pub failures: u32,
    /// The last application, and the question that it answers.
    pub applied: Option<(Question, Applied)>,
    /// The status that was written last.
    pub written: Option<Box<Written>>,
    /// The number that was used last.
    pub last_number: Option<LastNumber>,
    /// The last check of surplus revisions.
    pub collected: Option<Box<Collected>>,
    /// When a pass last saw bindings in the status.
    pub bound: Option<Timestamp>,
    /// When the next full pass is due.
    pub due: Option<Timestamp>,
    /// The last full pass, if it succeeded.
    pub last: Option<Box<LastPass>>,
    /// The image that the workload named at the last full pass.
    pub asked: Option<Box<ImageRef>>,
    /// When the workload was woken last.
    pub woken: Option<Timestamp>,
    /// Repairs in a row.
    pub contest: Option<Box<Contest>>,
}

/// A full pass that succeeded. Until the next one is due, a change of the target by hand is repaired without another.
#[derive(Clone, Debug)]
pub struct LastPass {
    /// Its remarks.
    pub notes: Vec<String>,
    /// Whether `spec.rollbackTo` asked for the config.
    pub rolled_back: bool,
    /// For a rollback: the config that would come next, if it was known.
    pub latest: Option<Latest>,
    /// Whether the registry was not yet asked for the next config.
    pub half_done: bool,
}

/// Time between two checks of revisions that a workload keeps beyond the limit.
const KEPT_FOR: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// A check of surplus revisions that succeeded.
#[derive(Clone, Debug)]
pub struct Collected {
    /// Newest number in the history at that time. A new number means that more revisions may be surplus.
    pub newest: Option<i64>,
    /// Generation of the resource at that time. A later one may have another limit.
    pub generation: i64,
    /// The surplus revisions at that time, each with the time since which no status binds it. The watch may deliver more of
    /// them later.
    pub surplus: BTreeMap<String, Timestamp>,
    /// Time of the check.
    pub at: Timestamp,
}

/// The question that an applied config answers. While the question stays the same and nobody changes the target, the pass
/// fetches and compares nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// `metadata.generation`: every field of `spec`.
    pub generation: i64,
    /// The image as the workload names it, if the resource follows one: it changes without the `spec`.
    pub reference: Option<ImageRef>,
    /// Digest of the image.
    pub image: Digest,
    /// Digest of the artifact.
    pub artifact: Digest,
    /// It was restored because no newer config was available. It may be rendered by the rules of an earlier generation,
    /// so it answers no question of a full pass.
    pub provisional: bool,
}

/// A status that was written. Until the watch delivers it, the resource at hand is older than its status.
#[derive(Clone, Debug)]
pub struct Written {
    /// Every `resourceVersion` of the resource that it replaced and that the watch may still deliver, oldest first.
    older: Vec<Option<String>>,
    /// `resourceVersion` of the resource with the status.
    pub version: Option<String>,
    /// The status.
    pub status: ArtifactConfigStatus,
}

/// Most outdated versions of one resource that are kept. A watch that lags behind by more is broken, and then the API server
/// refuses the writes of a pass that sees too old a resource.
const OUTDATED: usize = 32;

impl Written {
    /// Records a written status, which changed the version of the resource from `over` to `version`. `before` is the
    /// record of earlier writes that the watch has not delivered yet. `None` if the watch has no older version to
    /// deliver, because the given resource already has this status.
    #[must_use]
    pub fn new(
        before: Option<Self>,
        over: Option<String>,
        version: Option<String>,
        status: ArtifactConfigStatus,
    ) -> Option<Self> {
        let mut older = before.map_or_else(Vec::new, |before| before.older);
        if over != version {
            older.push(over);
        }
        older.drain(..older.len().saturating_sub(OUTDATED));
        (!older.is_empty()).then_some(Self { older, version, status })
    }

    /// Returns self while the watch still lags behind our write; `None` once it has caught up or someone else has
    /// written.
    #[must_use]
    pub fn newer_than(mut self, at_hand: Option<&String>) -> Option<Self> {
        let position = self.older.iter().position(|older| older.as_ref() == at_hand)?;
        self.older.drain(..position);
        Some(self)
    }
}

impl Collected {
    /// A check of these surplus revisions. `before` is the one before. `bound` names those that a status bound until now.
    #[must_use]
    pub fn new(
        newest: Option<i64>,
        generation: i64,
        surplus: BTreeSet<String>,
        before: Option<&Self>,
        bound: &BTreeSet<String>,
        now: Timestamp,
    ) -> Self {
        let known = |name: &String| before.filter(|_| !bound.contains(name))?.surplus.get(name).copied();
        let since = |name: &String| known(name).unwrap_or(now);
        let surplus = surplus.into_iter().map(|name| (since(&name), name)).map(|(at, name)| (name, at));
        Self { newest, generation, surplus: surplus.collect(), at: now }
    }

    /// The same, but the next pass checks again: what was decided was not done.
    #[must_use]
    pub fn unfinished(self) -> Self {
        Self { newest: None, ..self }
    }

    /// Whether no status has bound a revision for ten minutes. Until then an API server may still bind pods to it, because
    /// its policies read a cache. `None` if an earlier check did not see it.
    #[must_use]
    pub fn is_ripe(&self, name: &str, now: Timestamp) -> Option<bool> {
        self.surplus.get(name).map(|since| now.duration_since(*since) >= KEPT_FOR)
    }

    /// Whether the check is still valid: the same history and generation, no revision that it did not see, younger than
    /// ten minutes. A watch that lags behind can deliver more revisions while nothing else changes.
    #[must_use]
    pub fn answers(
        &self,
        newest: Option<i64>,
        generation: i64,
        surplus: &BTreeSet<String>,
        now: Timestamp,
    ) -> bool {
        (self.newest, self.generation) == (newest, generation)
            && surplus.iter().all(|name| self.surplus.contains_key(name))
            && now.duration_since(self.at) < KEPT_FOR
    }
}

impl Recall {
    /// The pause before the next repair of a contested target, if nothing else is due.
    #[must_use]
    pub fn rest(&self, now: Timestamp) -> Option<Duration> {
        let rest = self.contest.as_ref()?.rest(now)?;
        self.until_due(now).map(|due| rest.min(due))
    }

    /// The time until the next full pass.
    #[must_use]
    pub fn until_due(&self, now: Timestamp) -> Option<Duration> {
        Duration::try_from(self.due?.duration_since(now)).ok().filter(|due| !due.is_zero())
    }

    /// The timers after a pass. `usual` is the interval or the pause before a retry; a mere repair does not put off the full
    /// pass that was due before it.
    #[must_use]
    pub fn timers(&self, now: Timestamp, usual: Duration, report: &Report) -> Timers {
        Timers {
            usual,
            second_half: (report.half_done && self.failures == 0).then_some(SECOND_HALF),
            due_before: report.repaired.then(|| self.until_due(now).unwrap_or_default()),
            wake: None,
            repair: self.contest.as_ref().and_then(|contest| contest.rest(now)),
        }
    }

    /// Remembers that the status of this pass has bindings.
    #[must_use]
    pub fn seen(self, status: Option<&ArtifactConfigStatus>, now: Timestamp) -> Self {
        let is_bound = status.is_some_and(|status| !status.bindings.is_empty());
        Self { bound: if is_bound { Some(now) } else { self.bound }, ..self }
    }

    /// Whether the status had bindings in the last ten minutes: a revision may be one of theirs.
    #[must_use]
    pub fn was_bound(&self, now: Timestamp) -> bool {
        self.bound.is_some_and(|bound| now.duration_since(bound) < KEPT_FOR)
    }

    /// Whether the workload names another image than at the last full pass.
    #[must_use]
    pub fn is_image_new(&self, desired: &Desired, status: Option<&ArtifactConfigStatus>) -> bool {
        let applied = || status.and_then(|status| status.image.as_ref()).map(|image| image.reference.clone());
        let before = self.asked.as_ref().map(ToString::to_string).or_else(applied);
        desired.workload.is_some() && before.is_none_or(|before| before != desired.image.to_string())
    }

    /// The memory after a full pass for the image that the workload names.
    #[must_use]
    pub fn asked(self, desired: &Desired) -> Self {
        let asked = desired.workload.as_ref().map(|_| Box::new(desired.image.clone()));
        Self { asked, ..self }
    }

    /// The memory at the start of a full pass. After a lost history, the last application and number are not used.
    #[must_use]
    pub fn begin(self, now: Timestamp, is_history_lost: bool) -> Self {
        Self {
            applied: self.applied.filter(|_| !is_history_lost),
            last: self.last.filter(|_| !is_history_lost),
            contest: self.contest.filter(|contest| !contest.is_over(now)),
            ..self
        }
    }

    /// The memory after a pass: the next repair uses the last full pass, and only if that succeeded.
    #[must_use]
    pub fn after(self, report: &Report) -> Self {
        let last = if report.repaired { self.last } else { LastPass::of(report).map(Box::new) };
        Self { last, ..self }
    }

    /// The memory after a panic: only facts that an unfinished step cannot have changed.
    #[must_use]
    pub fn distrusted(&self) -> Self {
        Self { failures: self.failures, contest: self.contest.clone(), ..Self::default() }
    }
}

impl LastPass {
    fn of(report: &Report) -> Option<Self> {
        let Outcome::Synced { notes, rolled_back, .. } = &report.outcome else { return None };
        Some(Self {
            notes: notes.clone(),
            rolled_back: *rolled_back,
            latest: report.latest.clone().filter(|_| *rolled_back),
            half_done: report.half_done,
        })
    }

    /// The report of a later repair, with the next config from this pass.
    #[must_use]
    pub(super) fn repaired(&self, applied: Applied) -> Report {
        let outcome = Outcome::Synced { applied, notes: self.notes.clone(), rolled_back: self.rolled_back };
        Report {
            latest: self.latest.clone(),
            half_done: self.half_done,
            repaired: true,
            ..Report::of(outcome)
        }
    }
}

impl Memory {
    /// Nothing remembered yet.
    #[must_use]
    pub fn new() -> Self {
        Self { recalls: Cache::builder().max_capacity(REMEMBERED).time_to_idle(IDLE).build() }
    }

    /// The memory of a resource.
    #[must_use]
    pub fn of(&self, uid: &str) -> Recall {
        self.recalls.get(uid).unwrap_or_default()
    }

    /// Forgets a deleted resource.
    pub fn forget(&self, uid: &str) {
        self.recalls.invalidate(uid);
    }

    /// Remembers.
    pub fn keep(&self, uid: &str, recall: Recall) {
        self.recalls.insert(uid.to_owned(), recall);
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn written(before: Option<Written>, over: i32, next: i32) -> Option<Written> {
        Written::new(before, Some(over.to_string()), Some(next.to_string()), ArtifactConfigStatus::default())
    }

    fn seen_at(written: &Written, version: i32) -> Option<Written> {
        written.clone().newer_than(Some(&version.to_string()))
    }

    /// A watch that lags behind several of our own writes delivers each of them. Only the last one is new.
    #[test]
    fn every_version_that_was_replaced_is_known_to_be_old() {
        let first = written(None, 1, 2).and_then(|first| seen_at(&first, 1));
        let second = written(first, 2, 3).unwrap();
        for old in [1, 2] {
            assert!(seen_at(&second, old).is_some(), "{old}");
        }
        for news in [3, 4] {
            assert!(seen_at(&second, news).is_none(), "{news}");
        }
        // The watch does not return to an older version.
        let delivered = seen_at(&second, 2).unwrap();
        assert!(seen_at(&delivered, 1).is_none());
    }

    #[test]
    fn what_the_resource_says_itself_is_not_remembered() {
        assert!(written(None, 1, 1).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let lagging = (1..1000).fold(None, |before, number| written(before, number, number + 1)).unwrap();
        assert_eq!(lagging.older.len(), OUTDATED);
        assert!(seen_at(&lagging, 999).is_some(), "the last ones count");
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[rstest]
    #[case::nothing_new(Some(7), 2, &["web-3", "web-4"], 599, true)]
    #[case::one_is_gone(Some(7), 2, &["web-4"], 0, true)]
    #[case::delivered_late(Some(7), 2, &["web-3", "web-4", "web-6"], 0, false)]
    #[case::another_is_surplus(Some(8), 2, &["web-3", "web-4"], 0, false)]
    #[case::another_limit(Some(7), 3, &["web-3", "web-4"], 0, false)]
    #[case::too_long_ago(Some(7), 2, &["web-3", "web-4"], 600, false)]
    fn a_check_of_surplus_revisions_counts_until_something_changes(
        #[case] newest: Option<i64>,
        #[case] generation: i64,
        #[case] surplus: &[&str],
        #[case] seconds_later: i64,
        #[case] expected: bool,
    ) {
        let at = Timestamp::UNIX_EPOCH;
        let looked = Collected::new(Some(7), 2, names(&["web-3", "web-4"]), None, &names(&[]), at);
        let now = at + jiff::SignedDuration::from_secs(seconds_later);
        assert_eq!(looked.answers(newest, generation, &names(surplus), now), expected);
    }

    /// While a status binds a revision, its ten minutes begin with every check.
    #[test]
    fn a_revision_outlives_its_last_binding_by_ten_minutes() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (surplus, none) = (names(&["web-3"]), names(&[]));
        let bound = Collected::new(Some(7), 2, surplus.clone(), None, &surplus, at(0));
        let unbound = Collected::new(Some(7), 2, surplus.clone(), Some(&bound), &surplus, at(700));
        let still = Collected::new(Some(7), 2, surplus, Some(&unbound), &none, at(1000));
        assert_eq!(still.is_ripe("web-3", at(1299)), Some(false));
        assert_eq!(still.is_ripe("web-3", at(1300)), Some(true));
        assert_eq!(still.is_ripe("web-4", at(1300)), None);
    }

    /// Repairs do not delay or cause the next full pass, and wait for each other.
    #[test]
    fn a_repair_waits_and_puts_nothing_off() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let seconds = Duration::from_secs;
        let next = |recall: &mut Recall, second, repaired| {
            let report = Report { repaired, ..Report::of(Outcome::Suspended) };
            let timers = recall.timers(at(second), seconds(300), &report);
            recall.due = Some(at(second) + timers.full_pass());
            timers.next_pass()
        };
        let mut recall = Recall::default();
        assert_eq!(next(&mut recall, 0, false), seconds(300));
        assert_eq!((recall.rest(at(1)), recall.until_due(at(1))), (None, Some(seconds(299))));
        for (second, repairs, pause) in [(10, 1, 1), (11, 2, 2), (13, 3, 4)] {
            let contest = Contest::repaired(recall.contest.as_deref(), None, at(second));
            assert_eq!(contest.repairs, repairs);
            recall.contest = Some(Box::new(contest));
            assert_eq!(next(&mut recall, second, true), seconds(pause));
            assert_eq!(recall.rest(at(second)), Some(seconds(pause)));
        }
        assert_eq!(recall.rest(at(299)), None, "the pause is over");
        recall.due = Some(at(15));
        assert_eq!(recall.rest(at(14)), Some(seconds(1)), "a full pass is due before it is over");
        assert_eq!(recall.rest(at(15)), None);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let memory = Memory::new();
        for uid in ["gone", "there"] {
            memory.keep(uid, Recall { failures: 3, ..Recall::default() });
        }
        memory.forget("gone");
        assert_eq!((memory.of("gone").failures, memory.of("there").failures), (0, 3));
    }
}
