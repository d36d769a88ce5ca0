//! Numbers of applications: computes the next one, even if others forge labels.

use std::sync::{Arc, Mutex, PoisonError};

use api::annotation;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_core::ResourceExt as _;

use crate::history::History;
use crate::plan::Facts;
use crate::spec::Owner;
use crate::watched::{Watched, number};

use super::name::is_name;
use super::stamp::is_plausible;

pub use super::stamp::Stamp;

/// How far beyond the history a number on a label counts. A killed operator leaves one number at a time that no status
/// names, so a few would be enough. With a thousand at a step, forged numbers cannot reach [`LIMIT`](super::stamp::LIMIT).
const AHEAD: i64 = 1000;

/// The last number that the operator used, and its application. A watch that lags behind does not show it yet, and
/// neither does a status that was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The number.
    pub number: i64,
    /// The config that has it, or was intended to have it. Shared with the applied config.
    pub facts: Arc<Facts>,
}

impl Given {
    /// Whether the annotation of a target names this application.
    #[must_use]
    pub fn is_in(&self, target: &ConfigMap) -> bool {
        says(target, annotation::REVISION, &self.number.to_string()) && names(target, &self.facts)
    }
}

/// Whether the annotations of a target name this config, for this image.
fn names(target: &ConfigMap, facts: &Facts) -> bool {
    says(target, annotation::CONTENT_HASH, &facts.hash)
        && says(target, annotation::ARTIFACT_DIGEST, &facts.artifact.to_string())
        && says(target, annotation::IMAGE_DIGEST, &facts.image_digest.to_string())
}

fn says(object: &ConfigMap, key: &str, value: &str) -> bool {
    object.annotations().get(key).is_some_and(|said| said == value)
}

/// The last number in use. It is written down before the write that uses it, because that write may take effect although its
/// answer never comes, and a panic must not lose it. The stages of one pass share it.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Option<Given>>);

impl Ledger {
    /// Continues from the last number.
    #[must_use]
    pub const fn new(given: Option<Given>) -> Self {
        Self(Mutex::new(given))
    }

    /// The number that was used last.
    #[must_use]
    pub fn last(&self) -> Option<Given> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records a number.
    pub fn note(&self, given: Given) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(given);
    }
}

/// The places that hold the numbers of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'a> {
    /// The history of its status.
    pub history: &'a History,
    /// Its objects, as the watch reported them.
    pub watched: &'a [Arc<Watched>],
    /// The resource.
    pub owner: &'a Owner,
    /// The last number that this operator used.
    pub given: Option<&'a Given>,
    /// Its target, if it was read. With a limit of 0 no revision carries the number, so after a lost status only the
    /// target knows it.
    pub target: Option<&'a ConfigMap>,
}

impl Numbers<'_> {
    /// The number and time for applying `facts`: those of the newest entry if it is the same config for the same image,
    /// those that a killed operator left on the revision or on the target, those that were intended for it before, or
    /// new ones.
    #[must_use]
    pub fn stamp(&self, facts: &Facts, existing: Option<&ConfigMap>, now: Timestamp) -> Stamp {
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let same =
            self.history.current().filter(|current| current.is_of(facts) && is_plausible(current.number));
        if let Some(same) = same {
            return Stamp { number: same.number, applied_at: same.applied_at };
        }
        let recorded = self.history.highest_number();
        let left = existing.and_then(|existing| read_stamp(&existing.metadata));
        if let Some(left) = left.filter(|left| is_next(left.number, recorded)) {
            // Everyone can write the label and the time, so neither may lie in the future.
            return Stamp { number: left.number, applied_at: left.applied_at.min(now) };
        }
        let meant =
            self.given.filter(|given| given.number > recorded && given.facts.revision == facts.revision);
        let meant = meant.map(|given| given.number);
        let on_target =
            || self.on_target().filter(|_| self.target.is_some_and(|target| names(target, facts)));
        let number = meant.or_else(on_target).unwrap_or_else(|| self.history.next_number(self.highest()));
        Stamp { number, applied_at: now }
    }

    /// Highest number that a revision of the resource or its target has, or was intended to have. Only plausible
    /// numbers count: on an object that belongs to the resource, on a revision only if it has the name of one, and not
    /// far from those of the history.
    #[must_use]
    pub fn highest(&self) -> i64 {
        let recorded = self.history.highest_number();
        let is_revision =
            |object: &&Arc<Watched>| object.is_revision && object.is_of(self.owner) && is_name(&object.name);
        let revisions = self.watched.iter().filter(is_revision);
        let numbers =
            revisions.filter_map(|object| object.number).filter(|number| is_next(*number, recorded));
        let given = self.given.map(|given| given.number).filter(|number| is_plausible(*number));
        numbers.chain(given).chain(self.on_target()).max().unwrap_or(recorded)
    }

    /// The number on the annotation of the target, if it counts.
    fn on_target(&self) -> Option<i64> {
        let target = self.target.filter(|target| Watched::of(&target.metadata).is_of(self.owner))?;
        let number = target.annotations().get(annotation::REVISION)?.parse().ok()?;
        Some(number).filter(|number| is_next(*number, self.history.highest_number()))
    }
}

/// Number and time on a revision.
#[must_use]
pub fn read_stamp(metadata: &ObjectMeta) -> Option<Stamp> {
    let applied_at = metadata.annotations.as_ref()?.get(annotation::APPLIED_AT)?.parse().ok()?;
    let number = number(metadata).filter(|number| is_plausible(*number))?;
    Some(Stamp { number, applied_at })
}

fn is_next(number: i64, recorded: i64) -> bool {
    is_plausible(number) && number > recorded && number <= recorded.saturating_add(AHEAD)
}

#[cfg(test)]
mod tests {
    use super::super::stamp::LIMIT;
    use api::label;

    use super::*;
    use crate::revision::assemble;
    use crate::revision::tests::{applied, at, owner, rendered};
    use rstest::rstest;

    fn watched(map: &ConfigMap) -> Arc<Watched> {
        Arc::new(Watched::of(&map.metadata))
    }

    /// The stamp with a revision that exists or not.
    fn stamp(
        history: &History,
        watched: &[Arc<Watched>],
        given: Option<&Given>,
        facts: &Facts,
        existing: Option<&ConfigMap>,
    ) -> Stamp {
        Numbers { history, watched, owner: &owner(), given, target: None }.stamp(facts, existing, at(900))
    }

    /// The number without a revision that exists.
    fn number(history: &History, owned: &[Arc<Watched>], given: Option<&Given>, facts: &Facts) -> i64 {
        stamp(history, owned, given, facts, None).number
    }

    /// Design §2.8: an operator that was killed between the writes of revision and status continues with the number on
    /// the revision.
    #[test]
    fn a_killed_operator_goes_on_with_the_number_it_left() {
        let history = applied(&[("a", false)], 10);
        let next = rendered("b", "b");
        let left = assemble(&next, Stamp { number: 2, applied_at: at(50) });
        let owned = [watched(&left)];
        let again = stamp(&history, &owned, None, &next.facts, Some(&left));
        assert_eq!(again, Stamp { number: 2, applied_at: at(50) });
        // Another config in the meantime gets another number.
        assert_eq!(number(&history, &owned, None, &rendered("c", "c").facts), 3);
    }

    /// The watch may not have reported a revision yet when the next one is made, and no status names the first. If both
    /// had one number, a history that is rebuilt from the revisions could not distinguish the two configs.
    #[test]
    fn a_number_that_was_given_is_not_given_to_another_config() {
        let (history, b, c) =
            (applied(&[("a", false)], 10), rendered("b", "b").facts, rendered("c", "c").facts);
        let given = Given { number: 2, facts: Arc::clone(&b) };
        assert_eq!(number(&history, &[], Some(&given), &c), 3);
        assert_eq!(number(&history, &[], Some(&given), &b), 2, "it was meant for this one");
        // The later entries of the history continue from that number.
        let history = applied(&[("a", false), ("b", false), ("a", false)], 10);
        assert_eq!(number(&history, &[], Some(&given), &b), 4);
        assert_eq!(
            Numbers {
                history: &History::default(),
                watched: &[],
                owner: &owner(),
                given: Some(&given),
                target: None
            }
            .highest(),
            2,
            "an artifact that failed gets the next one"
        );
    }

    /// Everyone who may create `ConfigMaps` can write any number on a label.
    #[rstest]
    #[case::at_the_end("9223372036854775806", 2)]
    #[case::the_very_last("9223372036854775807", 2)]
    #[case::at_the_limit("9007199254740991", 2)]
    #[case::far_ahead("1002", 2)]
    #[case::none("0", 2)]
    #[case::beyond_all("99999999999999999999", 2)]
    #[case::near("1001", 1002)]
    fn a_forged_number_stops_nothing(#[case] forged: &str, #[case] expected: i64) {
        let history = applied(&[("a", false)], 10);
        let mut map = assemble(&rendered("x", "x"), Stamp { number: 1, applied_at: at(0) });
        map.metadata.labels.as_mut().unwrap().insert(label::REVISION.to_owned(), forged.to_owned());
        let b = rendered("b", "b");
        assert_eq!(number(&history, &[watched(&map)], None, &b.facts), expected);
        // Also on the label of the same revision that will be made.
        let mut own = assemble(&b, Stamp { number: 1, applied_at: at(5_000) });
        own.metadata.labels.as_mut().unwrap().insert(label::REVISION.to_owned(), forged.to_owned());
        let taken = stamp(&history, &[], None, &b.facts, Some(&own));
        assert_eq!(taken.number, if forged == "1001" { 1001 } else { 2 });
        assert!(taken.applied_at <= at(900), "nothing was applied in the future");
    }

    /// With a limit of 0 only the target has the number after the status is lost.
    #[test]
    fn a_number_that_only_the_target_has_is_not_given_to_another_config() {
        let (a, b) = (rendered("a", "a"), rendered("b", "b"));
        let target = a.clone().stamped(Stamp { number: 7, applied_at: at(0) }).config_map;
        let lost = History::default();
        let number = |target: &ConfigMap, history: &History, facts: &Facts| {
            let (owner, target) = (owner(), Some(target));
            Numbers { history, watched: &[], owner: &owner, given: None, target }
                .stamp(facts, None, at(900))
                .number
        };
        assert_eq!(number(&target, &lost, &b.facts), 8);
        assert_eq!(number(&target, &lost, &a.facts), 7, "it is in place already");
        // As on a label: a forged number only counts near the history, and the status comes first.
        let mut forged = target.clone();
        let annotations = forged.metadata.annotations.as_mut().unwrap();
        annotations.insert(annotation::REVISION.to_owned(), (LIMIT - 1).to_string());
        assert_eq!(number(&forged, &lost, &b.facts), 1);
        let history =
            applied(&["c", "d", "e", "f", "g", "h", "i", "j"].map(|artifact| (artifact, false)), 10);
        assert_eq!(number(&target, &history, &b.facts), 9);
        let mut foreign = target;
        foreign.metadata.owner_references.as_mut().unwrap()[0].uid = "another".to_owned();
        assert_eq!(number(&foreign, &lost, &b.facts), 1);
    }

    #[test]
    fn numbers_of_other_objects_do_not_count() {
        let history = applied(&[("a", false)], 10);
        let b = rendered("b", "b").facts;
        let revision = assemble(&rendered("x", "x"), Stamp { number: 7, applied_at: at(0) });
        assert_eq!(number(&history, &[watched(&revision)], None, &b), 8);
        let mut unnamed = revision.clone();
        unnamed.metadata.name = Some("x".to_owned());
        let mut foreign = revision;
        foreign.metadata.owner_references.as_mut().unwrap()[0].uid = "another".to_owned();
        for other in [unnamed, foreign] {
            assert_eq!(number(&history, &[watched(&other)], None, &b), 2, "{:?}", other.metadata);
        }
    }

    /// A resource whose history already has such a number gets normal numbers again, and they stay distinct.
    #[test]
    fn a_number_in_the_history_that_cannot_be_counted_on_stops_nothing() {
        for stuck in [i64::MAX, LIMIT, LIMIT - 1] {
            let mut entries = applied(&[("a", false), ("b", false)], 10).to_entries();
            entries[0].revision = stuck;
            let mut history = History::read(&entries);
            for artifact in ["c", "d", "e"] {
                let facts = rendered(artifact, artifact).facts;
                let stamp = stamp(&history, &[], None, &facts, None);
                assert!((1..LIMIT).contains(&stamp.number), "{stamp:?}");
                assert!(history.numbers().all(|number| number != stamp.number), "{stamp:?}");
                history = history.applied(&facts, stamp, false, 10);
            }
        }
    }
}
