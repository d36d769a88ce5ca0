//! (Previous status, outcome) → next status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::{
    AppliedArtifact, AppliedImage, AppliedTarget, ArtifactConfigStatus, Class, NEXT_UNKNOWN, Reason,
    condition,
};

use super::outcome::{Outcome, Seen};
use super::plan::{Applied, Facts};
use super::revision;
use super::spec::Header;
use crate::types::{text, truncate};

/// Longest message of a condition; the API's own limit is 32 KiB, but the message is a column of `kubectl get`.
const MAX_MESSAGE: usize = 1024;

/// The status after an outcome. It is equal to `previous` if nothing happened; then nothing is written.
///
/// `now` is used only if a condition changes its status.
#[must_use]
pub fn next(
    previous: Option<&ArtifactConfigStatus>,
    header: &Header,
    outcome: &Outcome,
    seen: &Seen,
    limit: usize,
    now: Timestamp,
) -> ArtifactConfigStatus {
    let mut status = previous.cloned().unwrap_or_default();
    status.observed_generation = Some(header.generation);
    // A request for a sync during a suspension is not handled, and must not be reported as handled.
    if !matches!(outcome, Outcome::Suspended) && !seen.half_done {
        status.last_handled_requested_at.clone_from(&header.requested_at);
    }
    if let Some(rebuilt) = &seen.rebuilt {
        status.history.clone_from(rebuilt);
    }
    if let Some(held) = &seen.held {
        record(&mut status, held);
        status.history = revision::record(&status.history, held.facts(), held.stamp(), false, limit);
    }
    match outcome {
        Outcome::Synced { applied, back, .. } => {
            // Until discovery finds another one, the config before the rollback is the one that would come next.
            let given_up = status.artifact.as_ref().map(|artifact| artifact.digest.clone()).filter(|_| *back);
            status.latest = status.latest.take().or(given_up);
            record(&mut status, applied);
            status.history =
                revision::record(&status.history, applied.facts(), applied.stamp(), *back, limit);
        }
        Outcome::Failed(failure) if condemns_artifact(failure.reason) => {
            if let Some((artifact, image)) = &seen.latest {
                status.history =
                    revision::record_failure(&status.history, (artifact, image), seen.highest, now, limit);
            }
        }
        Outcome::Failed(_) | Outcome::Suspended => {}
    }
    if let Some((latest, _)) = &seen.latest {
        status.latest = Some(latest.to_string());
    }
    // "Latest" is set only if it differs from the applied artifact.
    let applied = status.artifact.as_ref().map(|artifact| &artifact.digest);
    status.latest = status.latest.take().filter(|latest| Some(latest) != applied);
    let message = truncate(&text::line(&message(&status, outcome, seen)), MAX_MESSAGE);
    let previous = std::mem::take(&mut status.conditions);
    let set = |r#type: &str, value: &str| Condition {
        type_: r#type.to_owned(),
        status: value.to_owned(),
        reason: outcome.reason().as_str().to_owned(),
        message: message.clone(),
        observed_generation: Some(header.generation),
        last_transition_time: transition(&previous, r#type, value, now),
    };
    status.conditions.push(set(condition::READY, ready(&previous, outcome)));
    match outcome.class() {
        Class::Done => {}
        Class::Terminal => status.conditions.push(set(condition::STALLED, "True")),
        Class::Waiting | Class::Transient => status.conditions.push(set(condition::RECONCILING, "True")),
    }
    if let Outcome::Synced { back: true, .. } = outcome {
        status.conditions.push(set(condition::ROLLED_BACK, "True"));
    }
    status
}

/// Failures of the artifact itself: another try has the same result.
const fn condemns_artifact(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::InvalidContent | Reason::UnsupportedArtifact | Reason::InvalidFiles | Reason::TooLarge
    )
}

fn record(status: &mut ArtifactConfigStatus, applied: &Applied) {
    // Without `..`, so that a new fact cannot be forgotten.
    let Facts {
        target,
        image,
        image_digest,
        artifact,
        created,
        annotations,
        size,
        hash,
        revision: _,
        proven: _,
    } = applied.facts();
    status.image = Some(AppliedImage { reference: image.clone(), digest: image_digest.to_string() });
    // A revision and the history do not keep all facts of a manifest. If the artifact is the same, the earlier ones
    // still hold.
    let same = status.artifact.take().filter(|before| before.digest == artifact.to_string());
    let (said, still) = same.map_or_else(Default::default, |before| (before.created, before.annotations));
    status.artifact = Some(AppliedArtifact {
        digest: artifact.to_string(),
        short_digest: artifact.short(),
        created: created.clone().or(said),
        annotations: if annotations.is_empty() { still } else { annotations.to_map() },
        size: i64::try_from(*size).unwrap_or(i64::MAX),
    });
    status.target = Some(AppliedTarget { name: target.clone(), hash: hash.clone() });
}

/// A suspension says nothing about the applied config, so `Ready` keeps its status.
fn ready(previous: &[Condition], outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Synced { .. } => "True",
        Outcome::Failed(_) => "False",
        Outcome::Suspended => match status_of(previous, condition::READY) {
            Some("True") => "True",
            Some("False") => "False",
            _ => "Unknown",
        },
    }
}

fn status_of<'a>(conditions: &'a [Condition], r#type: &str) -> Option<&'a str> {
    conditions.iter().find(|condition| condition.type_ == r#type).map(|condition| condition.status.as_str())
}

/// The time of the last change of a condition's status: kept while it stays the same.
fn transition(previous: &[Condition], r#type: &str, value: &str, now: Timestamp) -> Time {
    previous
        .iter()
        .find(|condition| condition.type_ == r#type && condition.status == value)
        // The API stores whole seconds. A finer time would differ from the stored one.
        .map_or_else(
            || Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
            |condition| condition.last_transition_time.clone(),
        )
}

fn message(status: &ArtifactConfigStatus, outcome: &Outcome, seen: &Seen) -> String {
    match outcome {
        Outcome::Synced { applied, notes, back } => {
            let facts = applied.facts();
            let mut message = format!(
                "config {} (revision {}) of {} ({}) is in ConfigMap '{}'",
                facts.artifact.short(),
                applied.stamp().number,
                facts.image,
                facts.image_digest.short(),
                facts.target
            );
            if *back {
                message.push_str(", where spec.rollbackTo keeps it");
                match &status.latest {
                    // A stale answer must not be reported as the next config.
                    _ if seen.latest.is_none() && !seen.half_done => {
                        message.push_str("; ");
                        message.push_str(NEXT_UNKNOWN);
                    }
                    Some(latest) => {
                        message.push_str("; without it config ");
                        message.push_str(latest);
                        message.push_str(" would come next");
                    }
                    None => message.push_str("; nothing newer is known"),
                }
            }
            for note in notes {
                message.push_str("; note: ");
                message.push_str(note);
            }
            message
        }
        Outcome::Suspended => match (&status.artifact, &status.target) {
            (Some(artifact), Some(target)) => {
                format!(
                    "suspended; ConfigMap '{}' keeps config {} until spec.suspend is false",
                    target.name, artifact.short_digest
                )
            }
            _ => "suspended; nothing is applied until spec.suspend is false".to_owned(),
        },
        Outcome::Failed(failure) => match in_place(status) {
            Some(in_place) => format!("{}. {in_place}", failure.message.trim_end_matches('.')),
            None => failure.message.clone(),
        },
    }
}

/// The config that is still in place, which is the next question of a reader of a failure.
fn in_place(status: &ArtifactConfigStatus) -> Option<String> {
    let (image, artifact, target) =
        (status.image.as_ref()?, status.artifact.as_ref()?, status.target.as_ref()?);
    Some(format!(
        "ConfigMap '{}' keeps config {} of {} ({})",
        target.name, artifact.short_digest, image.reference, image.digest
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::HistoryOutcome;
    use crate::decide::contest::Contest;
    use crate::decide::event;
    use crate::decide::numbers::Stamp;
    use crate::decide::spec::Owner;
    use crate::types::{Annotations, Digest, Failure};

    fn header(generation: i64) -> Header {
        let owner = Owner { name: "web".into(), namespace: "shop".into(), uid: "u-1".into() };
        Header { owner, generation, requested_at: None }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn synced(artifact: &str, changed: bool) -> Outcome {
        let facts = Facts {
            target: "web".into(),
            image: "r.example/web:v1".into(),
            image_digest: Digest::sha256(b"image"),
            artifact: Digest::sha256(artifact.as_bytes()),
            created: Some("2026-01-01T00:00:00Z".into()),
            annotations: [("a", "b")].into_iter().collect(),
            size: 2,
            hash: "sha256:0".into(),
            revision: Some(format!("web-{artifact}")),
            proven: true,
        };
        let stamp = Stamp { number: 1, applied_at: at(50) };
        let applied = Applied::confirmed(facts, stamp, "1".into(), None, changed);
        Outcome::Synced { applied, notes: Vec::new(), back: false }
    }

    /// The status after an outcome, with nothing to say of discovery.
    fn next(
        previous: Option<&ArtifactConfigStatus>,
        header: &Header,
        outcome: &Outcome,
        now: Timestamp,
    ) -> ArtifactConfigStatus {
        super::next(previous, header, outcome, &Seen::default(), 10, now)
    }

    fn failed(reason: Reason) -> Outcome {
        Outcome::Failed(Failure::new(reason, "it went wrong"))
    }

    fn types(status: &ArtifactConfigStatus) -> Vec<(&str, &str, &str)> {
        status.conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str())).collect()
    }

    #[test]
    fn a_synced_status() {
        insta::assert_yaml_snapshot!(next(None, &header(3), &synced("a", true), at(1_800_000_000)));
    }

    /// kstatus: Reconciling and Stalled are there only while they are true, and never both.
    #[rstest::rstest]
    #[case(failed(Reason::RegistryUnavailable), &[("Ready", "False", "RegistryUnavailable"), ("Reconciling", "True", "RegistryUnavailable")])]
    #[case(failed(Reason::ArtifactNotFound), &[("Ready", "False", "ArtifactNotFound"), ("Reconciling", "True", "ArtifactNotFound")])]
    #[case(failed(Reason::InvalidFiles), &[("Ready", "False", "InvalidFiles"), ("Stalled", "True", "InvalidFiles")])]
    #[case(synced("a", false), &[("Ready", "True", "Synced")])]
    #[case(Outcome::Suspended, &[("Ready", "Unknown", "Suspended")])]
    fn conditions(#[case] outcome: Outcome, #[case] expected: &[(&str, &str, &str)]) {
        assert_eq!(types(&next(None, &header(1), &outcome, at(0))), expected);
    }

    /// Design §2.4: no change, no write.
    #[test]
    fn the_same_outcome_later_is_the_same_status() {
        for outcome in [
            synced("a", false),
            failed(Reason::RegistryUnavailable),
            failed(Reason::TooLarge),
            Outcome::Suspended,
        ] {
            let first = next(None, &header(1), &outcome, at(100));
            assert_eq!(next(Some(&first), &header(1), &outcome, at(900)), first);
        }
    }

    #[test]
    fn the_time_of_a_condition_moves_only_with_its_status() {
        let first = next(None, &header(1), &synced("a", true), at(100));
        let second = next(Some(&first), &header(2), &synced("b", true), at(200));
        assert_eq!(second.conditions[0].last_transition_time, Time(at(100)));
        let third = next(Some(&second), &header(2), &failed(Reason::ImageNotFound), at(300));
        assert_eq!(third.conditions[0].last_transition_time, Time(at(300)));
        let fourth = next(Some(&third), &header(2), &failed(Reason::Forbidden), at(400));
        assert_eq!(fourth.conditions[0].last_transition_time, Time(at(300)), "False stays False");
    }

    #[test]
    fn a_failure_keeps_what_is_applied_and_says_whose_config_is_in_place() {
        let first = next(None, &header(1), &synced("a", true), at(0));
        let second = next(Some(&first), &header(1), &failed(Reason::ArtifactNotFound), at(1));
        assert_eq!(
            (&second.artifact, &second.image, &second.target),
            (&first.artifact, &first.image, &first.target)
        );
        let message = &second.conditions[0].message;
        assert!(message.contains("it went wrong. ConfigMap 'web' keeps config sha256:"), "{message}");
        assert!(message.contains(&Digest::sha256(b"image").to_string()), "{message}");
    }

    #[test]
    fn suspending_leaves_the_verdict_and_does_not_claim_a_request_as_handled() {
        let first = next(None, &header(1), &synced("a", true), at(0));
        let mut asked = header(2);
        asked.requested_at = Some("now".into());
        let second = next(Some(&first), &asked, &Outcome::Suspended, at(1));
        assert_eq!(types(&second), [("Ready", "True", "Suspended")]);
        assert_eq!(second.last_handled_requested_at, None);
        let third = next(Some(&second), &asked, &synced("a", false), at(2));
        assert_eq!(third.last_handled_requested_at.as_deref(), Some("now"));
    }

    /// Neither a revision nor the history keeps all that the manifest said, and whoever goes back by them must not change the
    /// status because of that.
    #[test]
    fn what_was_known_of_the_same_artifact_stays() {
        let before = next(None, &header(3), &synced("a", true), at(1));
        let Outcome::Synced { applied, .. } = synced("a", false) else { unreachable!() };
        let facts = Facts { created: None, annotations: Annotations::default(), ..applied.facts().clone() };
        let applied = Applied::confirmed(facts, applied.stamp(), "1".into(), None, false);
        let outcome = Outcome::Synced { applied, notes: Vec::new(), back: false };
        assert_eq!(next(Some(&before), &header(3), &outcome, at(9)), before);
    }

    #[test]
    fn going_back_says_what_would_come_next() {
        let Outcome::Synced { applied, notes, .. } = synced("a", true) else { unreachable!() };
        let back = Outcome::Synced { applied, notes, back: true };
        let seen = Seen { latest: Some((Digest::sha256(b"b"), Digest::sha256(b"image"))), ..Seen::default() };
        let status = super::next(None, &header(1), &back, &seen, 10, at(0));
        assert_eq!(types(&status), [("Ready", "True", "RolledBack"), ("RolledBack", "True", "RolledBack")]);
        assert_eq!(status.latest, Some(Digest::sha256(b"b").to_string()));
        assert!(
            status.conditions[1].message.contains(&Digest::sha256(b"b").to_string()),
            "{:?}",
            status.conditions
        );
        let forward = super::next(Some(&status), &header(2), &synced("b", true), &seen, 10, at(1));
        assert_eq!(forward.latest, None, "what is applied is not also what would come next");
        assert_eq!(types(&forward), [("Ready", "True", "Synced")]);
    }

    /// With the registry down nobody can say what is newest; what was applied until now is the best answer.
    #[test]
    fn what_was_given_up_would_come_next() {
        let first = next(None, &header(1), &synced("b", true), at(0));
        let Outcome::Synced { applied, notes, .. } = synced("a", true) else { unreachable!() };
        let back = Outcome::Synced { applied, notes, back: true };
        let second = next(Some(&first), &header(2), &back, at(1));
        assert_eq!(second.latest, Some(Digest::sha256(b"b").to_string()));
        assert_eq!(next(Some(&second), &header(2), &back, at(9)), second);
    }

    /// A promise is as old as the answer that it rests on: where a look brought none, nothing is promised.
    #[test]
    fn what_would_come_next_is_not_said_where_nobody_answered() {
        let back = |changed| {
            let Outcome::Synced { applied, notes, .. } = synced("a", changed) else { unreachable!() };
            Outcome::Synced { applied, notes, back: true }
        };
        let mut asked = header(1);
        asked.requested_at = Some("now".into());
        let seen = Seen { latest: Some((Digest::sha256(b"b"), Digest::sha256(b"image"))), ..Seen::default() };
        let half = Seen { half_done: true, ..Seen::default() };
        let first = super::next(None, &asked, &back(true), &half, 10, at(0));
        assert_eq!(
            first.last_handled_requested_at, None,
            "half of it is done, and the question is not asked yet"
        );
        let known = super::next(Some(&first), &asked, &back(false), &seen, 10, at(1));
        assert_eq!(known.last_handled_requested_at.as_deref(), Some("now"));
        assert!(!known.conditions[0].message.contains(NEXT_UNKNOWN));
        let down = super::next(Some(&known), &asked, &back(false), &Seen::default(), 10, at(2));
        let message = &down.conditions[0].message;
        assert!(message.contains(NEXT_UNKNOWN) && !message.contains("would come next;"), "{message}");
        assert!(!message.contains(&Digest::sha256(b"b").to_string()), "{message}");
        assert_eq!(down.latest, known.latest, "what was seen last is still the best guess");
    }

    /// An artifact that cannot be applied is in the history once, however often it is looked at, and says that it failed.
    #[test]
    fn an_unusable_artifact_is_recorded_once() {
        let first = next(None, &header(1), &synced("a", true), at(0));
        let seen = Seen { latest: Some((Digest::sha256(b"b"), Digest::sha256(b"image"))), ..Seen::default() };
        let failed = failed(Reason::TooLarge);
        let second = super::next(Some(&first), &header(1), &failed, &seen, 10, at(10));
        let outcomes: Vec<_> = second.history.iter().map(|entry| (entry.revision, entry.outcome)).collect();
        assert_eq!(outcomes, [(2, HistoryOutcome::Failed), (1, HistoryOutcome::Applied)]);
        assert_eq!(super::next(Some(&second), &header(1), &failed, &seen, 10, at(900)), second);
        assert_eq!(second.latest, Some(Digest::sha256(b"b").to_string()));
    }

    /// One event that counts: every repair in a row has the same series, and nothing else has one.
    #[test]
    fn repairs_in_a_row_are_one_series() {
        let first = Contest::repaired(None, None, at(7));
        let second = Contest::repaired(Some(&first), None, at(9));
        let status = next(None, &header(1), &synced("a", true), at(0));
        let series = |previous: Option<&ArtifactConfigStatus>, contest: &Contest| {
            let outcome = synced("a", true);
            event::transition(previous, &status, &outcome, Some(contest)).unwrap().series
        };
        assert_eq!(series(Some(&status), &first), Some(event::Series { since: at(7), count: 1 }));
        assert_eq!(series(Some(&status), &second), Some(event::Series { since: at(7), count: 2 }));
        assert_eq!(series(None, &second), None, "news is no repair");
    }

    #[test]
    fn events_mark_changes_and_never_repetitions() {
        let steps = [
            (synced("a", true), Some("Synced")),
            (synced("a", false), None),
            (failed(Reason::RegistryUnavailable), Some("RegistryUnavailable")),
            (failed(Reason::RegistryUnavailable), None),
            (failed(Reason::RateLimited), Some("RateLimited")),
            (synced("a", false), Some("Synced")),
            (synced("b", true), Some("Synced")),
            (synced("b", true), Some("Synced")),
            (Outcome::Suspended, Some("Suspended")),
            (Outcome::Suspended, None),
        ];
        let mut previous = None;
        for (index, (outcome, expected)) in steps.iter().enumerate() {
            let status = next(previous.as_ref(), &header(1), outcome, at(0));
            let event = event::transition(previous.as_ref(), &status, outcome, None);
            assert_eq!(event.map(|event| event.reason), *expected, "step {index}");
            previous = Some(status);
        }
    }
}
