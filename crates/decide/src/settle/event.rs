//! Which outcomes are worth a Kubernetes event: changes, never repetitions.

use api::{ArtifactConfigStatus, Reason, condition};
use jiff::Timestamp;
use oci::truncate;

use crate::contest::Contest;
use crate::report::Outcome;

/// Longest note that `events.k8s.io/v1` takes (`NoteLengthLimit` in kubernetes `pkg/apis/core/validation`), in bytes.
const MAX_NOTE: usize = 1024;

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDraft {
    /// `Warning` instead of `Normal`.
    pub warning: bool,
    /// The closed reason.
    pub reason: &'static str,
    /// The action of the operator.
    pub action: &'static str,
    /// The message of the Ready condition.
    pub note: String,
    /// For repairs in a row: one event with a count, instead of one event for each repair.
    pub series: Option<Series>,
}

/// Which repair in a row it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// Time of the first repair. The name of the event consists of it and the resource.
    pub since: Timestamp,
    /// How many there were.
    pub count: u32,
}

/// The event for the change from one status to the next. `None` unless the reason, the status of `Ready`, the artifact
/// or the target changed.
#[must_use]
pub fn transition(
    previous: Option<&ArtifactConfigStatus>,
    next: &ArtifactConfigStatus,
    outcome: &Outcome,
    contest: Option<&Contest>,
) -> Option<EventDraft> {
    if outcome.reason() == Reason::NamespaceTerminating {
        // The namespace accepts no new objects, and no one would read the event.
        return None;
    }
    let ready = |status: &ArtifactConfigStatus| {
        let ready = status.condition(condition::READY)?;
        Some((ready.status.clone(), ready.reason.clone(), ready.message.clone()))
    };
    let (status, reason, message) = ready(next)?;
    let before = previous.and_then(ready).map(|(status, reason, _)| (status, reason));
    let same_verdict = before == Some((status, reason));
    let same_content = previous.is_some_and(|previous| {
        previous.artifact == next.artifact && previous.target == next.target && previous.image == next.image
    });
    let repaired = matches!(outcome, Outcome::Synced { applied, .. } if applied.changed());
    if same_verdict && same_content && !repaired {
        return None;
    }
    let is_repair = same_verdict && same_content;
    let note = if is_repair { format!("repaired: {message}") } else { message };
    let series = contest.filter(|_| is_repair);
    Some(EventDraft {
        warning: matches!(outcome, Outcome::Failed(_)),
        reason: outcome.reason().as_str(),
        action: match outcome {
            Outcome::Suspended => "Suspend",
            _ => "Sync",
        },
        note: truncate(&note, MAX_NOTE),
        series: series.map(|contest| Series { since: contest.since, count: contest.repairs }),
    })
}
