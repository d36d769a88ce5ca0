//! Rules for every status, at the instant it is written.

use std::collections::BTreeSet;

use api::{ArtifactConfigStatus, CreationPolicy, HistoryOutcome, Reason, condition};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::instant::{Actor, Finding, broken};
use super::merging;
use crate::worlds::resources::spec_of;
use crate::worlds::{ANOTHER_OPERATOR, State};

pub fn check(
    state: &mut State,
    actor: &Actor,
    before: &ArtifactConfigStatus,
    after: &ArtifactConfigStatus,
) -> Vec<Finding> {
    vec![
        a_panic_is_reported(state, actor, after),
        unknown_is_never_none(state, actor, after),
        what_is_not_applied_is_not_claimed(state, actor, before, after),
        the_history_forgets_nothing(actor, before, after),
        the_history_is_in_order(after),
        numbers_are_never_used_again(state, actor, after),
        everything_is_bounded(actor, before, after),
    ]
}

pub fn ready(status: &ArtifactConfigStatus) -> (&str, &str) {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == condition::READY)
        .map_or(("", ""), |ready| (ready.status.as_str(), ready.reason.as_str()))
}

/// A reconcile that panicked says so, and no other does.
fn a_panic_is_reported(state: &State, actor: &Actor, after: &ArtifactConfigStatus) -> Finding {
    let says = ready(after).1 == Reason::InternalError.as_str();
    broken("a panic is told, and nothing else is", says != state.runs[&actor.who].panicked(), || {
        after.conditions[0].message.clone()
    })
}

/// §2.1: found, none, unknown. "There is none" is said only where the registry said so.
fn unknown_is_never_none(state: &State, actor: &Actor, after: &ArtifactConfigStatus) -> Finding {
    let run = &state.runs[&actor.who];
    let reason = ready(after).1;
    let told = if reason == Reason::ArtifactNotFound.as_str() {
        run.listed.as_ref().is_some_and(Vec::is_empty)
    } else if reason == Reason::ImageNotFound.as_str() {
        run.no_image
    } else if reason == Reason::RevisionNotFound.as_str() {
        run.artifact_answered
    } else {
        true
    };
    broken("§2.1 unknown is never none", !told, || format!("{reason}, and the registry never said so"))
}

/// §2.8: then status. What it says is applied was written before, or was said before.
fn what_is_not_applied_is_not_claimed(
    state: &State,
    actor: &Actor,
    before: &ArtifactConfigStatus,
    after: &ArtifactConfigStatus,
) -> Finding {
    let claim = |status: &ArtifactConfigStatus| {
        Some((
            status.target.as_ref()?.name.clone(),
            status.artifact.as_ref()?.digest.clone(),
            status.image.as_ref()?.digest.clone(),
        ))
    };
    let now = claim(after);
    let applied = now.as_ref().and_then(|(target, ..)| state.ledger.written_to(&actor.uid, target));
    let applied = applied
        .map(|applied| (applied.target.clone(), applied.artifact.to_string(), applied.image.to_string()));
    let synced = [Reason::Synced.as_str(), Reason::RolledBack.as_str()].contains(&ready(after).1);
    let said = !synced && now == claim(before);
    let merges = spec_of(&actor.seen).target.creation_policy == CreationPolicy::Merge;
    let said = said || (merges && merging::is_merged(state, actor, after));
    // What this one found in place, another one may have written over since.
    let said = said || state.runs[&actor.who].disturbed.contains(ANOTHER_OPERATOR);
    // Nor has the watch told of it yet, by which this one goes as long as it remembers.
    let said = said || now.as_ref().is_some_and(|(target, ..)| is_unseen_of_another(state, actor, target));
    broken("§2.8 status says what was applied", now.is_some() && now != applied && !said, || {
        format!("status claims {now:?}, the target was written with {applied:?}")
    })
}

/// Whether another operator wrote a target last, and the watch has not delivered that.
pub fn is_unseen_of_another(state: &State, actor: &Actor, target: &str) -> bool {
    let version = |metadata: &ObjectMeta| metadata.resource_version.clone();
    let seen = state.watched().get(target).and_then(version);
    let there = state.objects.get(target).and_then(|object| version(&object.map.metadata));
    state.ledger.is_by_another(&actor.uid, target, actor.who.operator) && seen != there
}

/// An entry goes only to the limit.
fn the_history_forgets_nothing(
    actor: &Actor,
    before: &ArtifactConfigStatus,
    after: &ArtifactConfigStatus,
) -> Finding {
    let limit = usize::try_from(spec_of(&actor.seen).revision_history_limit).unwrap_or(0);
    let now: BTreeSet<i64> = after.history.iter().map(|entry| entry.revision).collect();
    let lost =
        before.history.iter().map(|entry| entry.revision).find(|number| {
            !now.contains(number) && now.iter().filter(|newer| *newer > number).count() < limit
        });
    broken("the history forgets nothing", lost.is_some(), || {
        format!("revision {lost:?} was in the history; now it holds {now:?}")
    })
}

/// Newest first, and at most one of them applied.
fn the_history_is_in_order(after: &ArtifactConfigStatus) -> Finding {
    let falling = after.history.windows(2).all(|pair| pair[0].revision > pair[1].revision);
    let applied =
        after.history.iter().filter(|entry| entry.outcome == HistoryOutcome::Applied).collect::<Vec<_>>();
    let current = after.history.iter().find(|entry| entry.outcome != HistoryOutcome::Failed);
    let first = applied.first().is_none_or(|applied| Some(*applied) == current);
    broken("the history is in order", !falling || applied.len() > 1 || !first, || {
        let outline: Vec<_> = after.history.iter().map(|entry| (entry.revision, entry.outcome)).collect();
        format!("{outline:?}")
    })
}

fn numbers_are_never_used_again(state: &mut State, actor: &Actor, after: &ArtifactConfigStatus) -> Finding {
    let numbers = &mut state.ledger.of(&actor.uid).numbers;
    let mut finding = None;
    for entry in &after.history {
        // What a history that was made anew does not prove comes to its hash later.
        let meaning = (format!("{} for {}", entry.artifact, entry.image), entry.hash.clone());
        let known = numbers.entry(entry.revision).or_insert_with(|| meaning.clone());
        let differs = known.0 != meaning.0
            || known.1.as_ref().zip(meaning.1.as_ref()).is_some_and(|(known, now)| known != now);
        finding = finding.or(broken("numbers are never used again", differs, || {
            format!("revision {} was {known:?}, now it is {meaning:?}", entry.revision)
        }));
        known.1 = meaning.1.or(known.1.take());
    }
    finding
}

/// §2.7: everything has a bound.
fn everything_is_bounded(
    actor: &Actor,
    before: &ArtifactConfigStatus,
    after: &ArtifactConfigStatus,
) -> Finding {
    let limit = usize::try_from(spec_of(&actor.seen).revision_history_limit).unwrap_or(0);
    // The limit counts what failed apart, and neither what is applied nor the newest, which keeps the count.
    let long = after.history.len() > (2 * limit + 2).max(before.history.len());
    let wordy = after.conditions.iter().any(|condition| condition.message.len() > 1024);
    broken("§2.7 everything is bounded", long || wordy, || {
        format!("{} entries with a limit of {limit}; too long a message: {wordy}", after.history.len())
    })
}
