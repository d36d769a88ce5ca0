//! (Resource, report) → next status.

use api::{AppliedArtifact, AppliedImage, AppliedTarget, ArtifactConfigStatus, NEXT_UNKNOWN, Reason};
use jiff::Timestamp;
use oci::{text, truncate};

use crate::bindings;
use crate::conditions::{self, Evidence};
use crate::history::History;
use crate::plan::{Applied, Facts};
use crate::report::{Outcome, Report};
use crate::view::View;

/// Longest message of a condition; the API's own limit is 32 KiB, but the message is a column of `kubectl get`.
const MAX_MESSAGE: usize = 1024;

/// The status after a pass. It is equal to the one before if nothing happened; then nothing is written.
///
/// `now` is used only if a condition changes its status.
#[must_use]
pub fn next(view: &View<'_>, report: &Report, now: Timestamp) -> ArtifactConfigStatus {
    let mut status = view.status.cloned().unwrap_or_default();
    status.observed_generation = Some(view.header.generation);
    // A request for a sync during a suspension is not handled, and must not be reported as handled.
    if !matches!(report.outcome, Outcome::Suspended) && !report.half_done {
        status.last_handled_requested_at.clone_from(&view.header.requested_at);
    }
    if let Outcome::Synced { rolled_back: true, .. } = &report.outcome {
        // Until discovery finds another one, the config before the rollback is the one that would come next.
        let given_up = status.artifact.as_ref().map(|artifact| artifact.digest.clone());
        status.latest = status.latest.take().or(given_up);
    }
    if let Some(applied) = report.applied() {
        record(&mut status, applied);
    }
    status.history = history(view, report, now).to_entries();
    if let Ok(desired) = &view.desired {
        status.bindings = bindings::after(&status.bindings, desired, report);
    }
    if let Some(latest) = &report.latest {
        status.latest = Some(latest.artifact.to_string());
    }
    // "Latest" is set only if it differs from the applied artifact.
    let applied = status.artifact.as_ref().map(|artifact| &artifact.digest);
    status.latest = status.latest.take().filter(|latest| Some(latest) != applied);
    let message = truncate(&text::line(&message(&status, report)), MAX_MESSAGE);
    let previous = std::mem::take(&mut status.conditions);
    let evidence = Evidence { report, previous: &previous, message: &message };
    status.conditions = conditions::all(evidence, view.header.generation, now);
    status
}

/// The history after a pass.
fn history(view: &View<'_>, report: &Report, now: Timestamp) -> History {
    let (limit, before) = (view.history_limit(), report.rebuilt.as_ref().unwrap_or(&view.history));
    let rolled_back = matches!(report.outcome, Outcome::Synced { rolled_back: true, .. });
    let history = report.applied().map_or_else(
        || before.clone(),
        |applied| before.applied(applied.facts(), applied.stamp(), rolled_back, limit),
    );
    match (&report.outcome, &report.latest) {
        (Outcome::Failed(failure), Some(latest)) if condemns_artifact(failure.reason) => {
            history.failed(&latest.artifact, &latest.image, report.highest, now, limit)
        }
        _ => history,
    }
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
    let (created_before, still) =
        same.map_or_else(Default::default, |before| (before.created, before.annotations));
    status.artifact = Some(AppliedArtifact {
        digest: artifact.to_string(),
        short_digest: artifact.short(),
        created: created.clone().or(created_before),
        annotations: if annotations.is_empty() { still } else { annotations.to_map() },
        size: i64::try_from(*size).unwrap_or(i64::MAX),
    });
    status.target = Some(AppliedTarget { name: target.clone(), hash: hash.clone() });
}

fn message(status: &ArtifactConfigStatus, report: &Report) -> String {
    match &report.outcome {
        Outcome::Synced { applied, notes, rolled_back } => {
            let facts = applied.facts();
            let mut message = format!(
                "config {} (revision {}) of {} ({}) is in ConfigMap '{}'",
                facts.artifact.short(),
                applied.stamp().number,
                facts.image,
                facts.image_digest.short(),
                facts.target
            );
            if *rolled_back {
                message.push_str(", where spec.rollbackTo keeps it");
                match &status.latest {
                    // A stale answer must not be reported as the next config.
                    _ if report.latest.is_none() && !report.half_done => {
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
        Outcome::Failed(failure) => match last(status, report.in_doubt) {
            Some(last) => format!("{}. {last}", failure.message.trim_end_matches('.')),
            None => failure.message.clone(),
        },
    }
}

/// The config that was applied last, and whether it is still in place: the next question of a reader of a failure.
fn last(status: &ArtifactConfigStatus, in_doubt: bool) -> Option<String> {
    let (image, artifact, target) =
        (status.image.as_ref()?, status.artifact.as_ref()?, status.target.as_ref()?);
    let config = format!("config {} of {} ({})", artifact.short_digest, image.reference, image.digest);
    Some(if in_doubt {
        format!(
            "It is not known whether ConfigMap '{}' still holds {config}, which was applied last",
            target.name
        )
    } else {
        format!("ConfigMap '{}' keeps {config}", target.name)
    })
}

#[cfg(test)]
mod tests {
    use api::HistoryOutcome;

    use super::*;
    use crate::Failure;
    use crate::contest::Contest;
    use crate::event;
    use crate::numbers::Stamp;
    use crate::report::Latest;
    use crate::spec::Header;
    use crate::spec::Owner;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use oci::{Annotations, Digest};

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
        Outcome::Synced { applied, notes: Vec::new(), rolled_back: false }
    }

    /// The status after an outcome, without a result of discovery.
    fn next(
        previous: Option<&ArtifactConfigStatus>,
        header: &Header,
        outcome: &Outcome,
        now: Timestamp,
    ) -> ArtifactConfigStatus {
        reported(previous, header, &Report::of(outcome.clone()), now)
    }

    fn reported(
        status: Option<&ArtifactConfigStatus>,
        header: &Header,
        report: &Report,
        now: Timestamp,
    ) -> ArtifactConfigStatus {
        let history = status.map(|status| History::read(&status.history)).unwrap_or_default();
        let desired = Ok(crate::revision::tests::desired());
        super::next(&View { header: header.clone(), suspended: false, desired, status, history }, report, now)
    }

    fn latest(artifact: &[u8]) -> Latest {
        Latest { artifact: Digest::sha256(artifact), image: Digest::sha256(b"image") }
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

    /// A target of somebody else, or one that is gone, is not said to keep anything.
    #[test]
    fn a_failure_that_could_not_confirm_the_target_does_not_say_that_it_keeps_the_config() {
        let first = next(None, &header(1), &synced("a", true), at(0));
        let failed = Report { in_doubt: true, ..Report::of(failed(Reason::TargetConflict)) };
        let message = &reported(Some(&first), &header(1), &failed, at(1)).conditions[0].message;
        assert!(!message.contains("keeps"), "{message}");
        assert!(
            message.contains("It is not known whether ConfigMap 'web' still holds config sha256:"),
            "{message}"
        );
    }

    #[test]
    fn suspending_leaves_the_verdict_and_does_not_claim_a_request_as_handled() {
        let first = next(None, &header(1), &synced("a", true), at(0));
        let mut requested = header(2);
        requested.requested_at = Some("now".into());
        let second = next(Some(&first), &requested, &Outcome::Suspended, at(1));
        assert_eq!(types(&second), [("Ready", "True", "Suspended")]);
        assert_eq!(second.last_handled_requested_at, None);
        let third = next(Some(&second), &requested, &synced("a", false), at(2));
        assert_eq!(third.last_handled_requested_at.as_deref(), Some("now"));
    }

    /// Neither a revision nor the history keeps all facts of the manifest. A rollback by them must not change these
    /// facts in the status.
    #[test]
    fn what_was_known_of_the_same_artifact_stays() {
        let before = next(None, &header(3), &synced("a", true), at(1));
        let Outcome::Synced { applied, .. } = synced("a", false) else { unreachable!() };
        let facts = Facts { created: None, annotations: Annotations::default(), ..applied.facts().clone() };
        let applied = Applied::confirmed(facts, applied.stamp(), "1".into(), None, false);
        let outcome = Outcome::Synced { applied, notes: Vec::new(), rolled_back: false };
        assert_eq!(next(Some(&before), &header(3), &outcome, at(9)), before);
    }

    #[test]
    fn a_rollback_says_which_config_would_come_next() {
        let Outcome::Synced { applied, notes, .. } = synced("a", true) else { unreachable!() };
        let back = Outcome::Synced { applied, notes, rolled_back: true };
        let seen = |outcome| Report { latest: Some(latest(b"b")), ..Report::of(outcome) };
        let status = reported(None, &header(1), &seen(back), at(0));
        assert_eq!(types(&status), [("Ready", "True", "RolledBack"), ("RolledBack", "True", "RolledBack")]);
        assert_eq!(status.latest, Some(Digest::sha256(b"b").to_string()));
        assert!(
            status.conditions[1].message.contains(&Digest::sha256(b"b").to_string()),
            "{:?}",
            status.conditions
        );
        let forward = reported(Some(&status), &header(2), &seen(synced("b", true)), at(1));
        assert_eq!(forward.latest, None, "what is applied is not also what would come next");
        assert_eq!(types(&forward), [("Ready", "True", "Synced")]);
    }

    /// With the registry down the newest config is unknown. The config that was applied until now is the best answer.
    #[test]
    fn what_was_given_up_would_come_next() {
        let first = next(None, &header(1), &synced("b", true), at(0));
        let Outcome::Synced { applied, notes, .. } = synced("a", true) else { unreachable!() };
        let back = Outcome::Synced { applied, notes, rolled_back: true };
        let second = next(Some(&first), &header(2), &back, at(1));
        assert_eq!(second.latest, Some(Digest::sha256(b"b").to_string()));
        assert_eq!(next(Some(&second), &header(2), &back, at(9)), second);
    }

    /// If a reconcile got no answer from the registry, the status does not name the next config.
    #[test]
    fn the_next_config_is_not_reported_without_an_answer() {
        let back = |changed| {
            let Outcome::Synced { applied, notes, .. } = synced("a", changed) else { unreachable!() };
            Outcome::Synced { applied, notes, rolled_back: true }
        };
        let mut requested = header(1);
        requested.requested_at = Some("now".into());
        let seen = Report { latest: Some(latest(b"b")), ..Report::of(back(false)) };
        let half = Report { half_done: true, ..Report::of(back(true)) };
        let first = reported(None, &requested, &half, at(0));
        assert_eq!(
            first.last_handled_requested_at, None,
            "half of it is done, and the question is not asked yet"
        );
        let known = reported(Some(&first), &requested, &seen, at(1));
        assert_eq!(known.last_handled_requested_at.as_deref(), Some("now"));
        assert!(!known.conditions[0].message.contains(NEXT_UNKNOWN));
        let down = next(Some(&known), &requested, &back(false), at(2));
        let message = &down.conditions[0].message;
        assert!(message.contains(NEXT_UNKNOWN) && !message.contains("would come next;"), "{message}");
        assert!(!message.contains(&Digest::sha256(b"b").to_string()), "{message}");
        assert_eq!(down.latest, known.latest, "what was seen last is still the best guess");
    }

    /// An artifact that cannot be applied has one entry in the history over several reconciles, with the outcome
    /// `Failed`.
    #[test]
    fn an_unusable_artifact_is_recorded_once() {
        let first = next(None, &header(1), &synced("a", true), at(0));
        let failed = Report { latest: Some(latest(b"b")), ..Report::of(failed(Reason::TooLarge)) };
        let second = reported(Some(&first), &header(1), &failed, at(10));
        let outcomes: Vec<_> = second.history.iter().map(|entry| (entry.revision, entry.outcome)).collect();
        assert_eq!(outcomes, [(2, HistoryOutcome::Failed), (1, HistoryOutcome::Applied)]);
        assert_eq!(reported(Some(&second), &header(1), &failed, at(900)), second);
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
