//! (Previous status, outcome) → next status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::{
    AppliedArtifact, AppliedImage, AppliedTarget, ArtifactConfigStatus, Class, condition,
};

use super::outcome::Outcome;
use super::plan::{Applied, Facts};
use super::spec::Header;

/// Longest message of a condition; the API's own limit is 32 KiB, but the message is a column of `kubectl get`.
const MAX_MESSAGE: usize = 1024;

/// The status after an outcome. Equal to `previous` where nothing happened: then there is nothing to write.
///
/// `now` only stands where a condition changes its status.
#[must_use]
pub fn next(
    previous: Option<&ArtifactConfigStatus>,
    header: &Header,
    outcome: &Outcome,
    now: Timestamp,
) -> ArtifactConfigStatus {
    let mut status = previous.cloned().unwrap_or_default();
    status.observed_generation = Some(header.generation);
    // A request that comes while suspended has not been handled; whoever waits for it must not be told so.
    if !matches!(outcome, Outcome::Suspended) {
        status.last_handled_requested_at.clone_from(&header.requested_at);
    }
    if let Outcome::Synced { applied, .. } = outcome {
        record(&mut status, applied);
    }
    let message = truncate(&message(&status, outcome), MAX_MESSAGE);
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
    status
}

fn record(status: &mut ArtifactConfigStatus, applied: &Applied) {
    // Without `..`, so that a new fact cannot be forgotten.
    let Facts { target, image, image_digest, artifact, created, annotations, size, hash } = applied.facts();
    status.image = Some(AppliedImage { reference: image.clone(), digest: image_digest.to_string() });
    status.artifact = Some(AppliedArtifact {
        digest: artifact.to_string(),
        short_digest: artifact.short(),
        created: created.clone(),
        annotations: annotations.clone(),
        size: i64::try_from(*size).unwrap_or(i64::MAX),
    });
    status.target = Some(AppliedTarget { name: target.clone(), hash: hash.clone() });
}

/// Suspending says nothing about what is applied, so it leaves the verdict as it was.
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
        // The API keeps whole seconds; anything finer would differ from what is read back.
        .map_or_else(|| Time(Timestamp::from_second(now.as_second()).unwrap_or(now)), |condition| condition.last_transition_time.clone())
}

fn message(status: &ArtifactConfigStatus, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Synced { applied, notes } => {
            let facts = applied.facts();
            let mut message = format!(
                "config {} of {} ({}) is in ConfigMap '{}'",
                facts.artifact.short(),
                facts.image,
                facts.image_digest.short(),
                facts.target
            );
            for note in notes {
                message.push_str("; note: ");
                message.push_str(note);
            }
            message
        }
        Outcome::Suspended => match (&status.artifact, &status.target) {
            (Some(artifact), Some(target)) => {
                format!("suspended; ConfigMap '{}' keeps config {} until spec.suspend is false", target.name, artifact.short_digest)
            }
            _ => "suspended; nothing is applied until spec.suspend is false".to_owned(),
        },
        Outcome::Failed(failure) => match in_place(status) {
            Some(in_place) => format!("{}. {in_place}", failure.message.trim_end_matches('.')),
            None => failure.message.clone(),
        },
    }
}

/// Whose config is still in place, which is what the reader of a failure needs to know next.
fn in_place(status: &ArtifactConfigStatus) -> Option<String> {
    let (image, artifact, target) = (status.image.as_ref()?, status.artifact.as_ref()?, status.target.as_ref()?);
    Some(format!(
        "ConfigMap '{}' keeps config {} of {} ({})",
        target.name, artifact.short_digest, image.reference, image.digest
    ))
}

/// Cuts on a character boundary and says that it did.
#[must_use]
pub fn truncate(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}
