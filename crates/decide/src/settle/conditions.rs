//! The conditions, each from a function of its own: its verdict, its reason and its message.
//!
//! kstatus reads them: `Reconciling` and `Stalled` are there only while they are true, and never both
//! (`kubernetes-sigs/cli-utils`, `pkg/kstatus`).

use api::{Class, Reason, condition};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::report::{Outcome, Report};

/// A condition before it has its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// Its type.
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// Why.
    pub reason: Reason,
    /// For a person.
    pub message: &'a str,
}

/// The facts that the verdicts follow from.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// How the pass ended.
    pub report: &'a Report,
    /// The conditions of the status before.
    pub previous: &'a [Condition],
    /// How the pass ended, in a sentence.
    pub message: &'a str,
}

/// Returns a condition; `None` if it is absent.
type Rule = for<'a> fn(Evidence<'a>) -> Option<Verdict<'a>>;

/// Every condition, in the order of the status.
const CONDITIONS: [Rule; 4] = [ready, stalled, reconciling, rolled_back];

/// The conditions after a pass. `generation` is that of the resource; `now` is used only if a condition changes its
/// status.
#[must_use]
pub fn all(evidence: Evidence<'_>, generation: i64, now: Timestamp) -> Vec<Condition> {
    let condition = |verdict: Verdict<'_>| Condition {
        type_: verdict.kind.to_owned(),
        status: verdict.status.to_owned(),
        reason: verdict.reason.as_str().to_owned(),
        message: verdict.message.to_owned(),
        observed_generation: Some(generation),
        last_transition_time: transition(evidence.previous, verdict.kind, verdict.status, now),
    };
    CONDITIONS.iter().filter_map(|rule| rule(evidence)).map(condition).collect()
}

/// A suspension says nothing about the applied config, so `Ready` keeps its status.
#[expect(clippy::unnecessary_wraps, reason = "every rule has one form")]
fn ready(evidence: Evidence<'_>) -> Option<Verdict<'_>> {
    let status = match &evidence.report.outcome {
        Outcome::Synced { .. } => "True",
        Outcome::Failed(_) => "False",
        Outcome::Suspended => match status_of(evidence.previous, condition::READY) {
            Some("True") => "True",
            Some("False") => "False",
            _ => "Unknown",
        },
    };
    Some(verdict(evidence, condition::READY, status))
}

fn stalled(evidence: Evidence<'_>) -> Option<Verdict<'_>> {
    let is_stalled = evidence.report.outcome.class() == Class::Terminal;
    is_stalled.then(|| verdict(evidence, condition::STALLED, "True"))
}

fn reconciling(evidence: Evidence<'_>) -> Option<Verdict<'_>> {
    let goes_on = matches!(evidence.report.outcome.class(), Class::Waiting | Class::Transient);
    goes_on.then(|| verdict(evidence, condition::RECONCILING, "True"))
}

fn rolled_back(evidence: Evidence<'_>) -> Option<Verdict<'_>> {
    let is_rolled_back = matches!(evidence.report.outcome, Outcome::Synced { rolled_back: true, .. });
    is_rolled_back.then(|| verdict(evidence, condition::ROLLED_BACK, "True"))
}

/// With the reason and the message of the whole pass.
const fn verdict<'a>(evidence: Evidence<'a>, kind: &'static str, status: &'static str) -> Verdict<'a> {
    Verdict { kind, status, reason: evidence.report.outcome.reason(), message: evidence.message }
}

fn status_of<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a str> {
    conditions.iter().find(|condition| condition.type_ == kind).map(|condition| condition.status.as_str())
}

/// The time of the last change of a condition's status: kept while it stays the same.
fn transition(previous: &[Condition], kind: &str, status: &str, now: Timestamp) -> Time {
    previous
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == status)
        // The API stores whole seconds. A finer time would differ from the stored one.
        .map_or_else(
            || Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
            |condition| condition.last_transition_time.clone(),
        )
}
