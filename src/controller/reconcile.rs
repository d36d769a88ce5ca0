//! One pass over one resource, from top to bottom.
//!
//! ```text
//! watch → read → goal → find → gate → apply → settle
//! ```
//!
//! `watch` delivers the resource, `read` is [`View`], `goal` is [`Goal`]; the other stages are modules of these names.
//! Data goes one way: a stage returns its result, and only [`settle`] reports it.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use api::{ArtifactConfig, Reason};
use decide::Failure;
use decide::bind::{self, Offer};
use decide::goal::{Goal, Trigger};
use decide::numbers::{Ledger, Numbers};
use decide::plan::Applied;
use decide::report::{Latest, Outcome, Report};
use decide::schedule;
use decide::spec::{self, Owner};
use decide::turns::Next;
use decide::view::{USUAL_INTERVAL, View};
use futures::FutureExt as _;
use kube::Resource as _;
use kube::core::DeserializeGuard;
use registry::Registry;

use crate::cluster::Cluster;

use super::apply;
use super::base::Base;
use super::context::Context;
use super::find::{self, Config, Found};
use super::gate;
use super::halt::{AGAIN, Halt};
use super::memory::Recall;
use super::pass::Pass;
use super::read::{self, Read};
use super::settle::settle;
use super::turn::Turn;

/// Writes the desired config into the target of a resource, and the result into its status. Never fails: a failure is
/// an outcome like any other, including a panic. If the turn ends before the pass, the status stays unchanged.
pub async fn reconcile<R: Registry, C: Cluster>(
    object: &DeserializeGuard<ArtifactConfig>,
    context: &Context<R, C>,
    turn: &Turn,
) -> Next {
    if object.meta().deletion_timestamp.is_some() {
        return Next::OnChange;
    }
    let started = Instant::now();
    let owner = spec::header(object.meta()).owner;
    let recall = context.memory.of(&owner.uid);
    let ledger = Ledger::new(recall.last_number.clone());
    let distrusted = recall.distrusted();
    let (next, recall) = match catch_panic(&owner, pass(object, context, turn, recall, &ledger)).await {
        Ok(ended) => ended,
        Err(failure) => {
            // The panic came while the outcome was reported: the log and the metrics report it instead.
            let outcome = Outcome::Failed(failure);
            context.metrics.reconciled(&owner, &outcome, started.elapsed());
            let failures = distrusted.failures.saturating_add(1);
            let took = started.elapsed();
            let wait = schedule::usual(&outcome, failures, USUAL_INTERVAL, took, &owner.uid);
            (Next::After(wait), Recall { failures, ..distrusted })
        }
    };
    context.memory.keep(&owner.uid, Recall { last_number: ledger.last(), ..recall });
    next
}

/// One pass over a resource that is not being deleted.
async fn pass<R: Registry, C: Cluster>(
    object: &DeserializeGuard<ArtifactConfig>,
    context: &Context<R, C>,
    turn: &Turn,
    recall: Recall,
    ledger: &Ledger,
) -> (Next, Recall) {
    let started = Instant::now();
    // read: the resource, and the status that was written last
    let (base, recall) = Base::of(object, recall);
    let owner = spec::header(object.meta()).owner;
    let read = match catch_panic(&owner, read::read(object, context)).await {
        Ok(read) => read,
        Err(failure) => Read::panicked(object, failure),
    };
    let Read { stored, followed } = match read {
        Ok(read) => read,
        // Nothing may be written over a status that was not read.
        Err(failure) => {
            let recall = Recall { failures: recall.failures.saturating_add(1), ..recall };
            return (unread(object, context, &failure, recall.failures, started), base.keep_in(recall));
        }
    };
    let view = View::of(object, base.status().or(stored.as_deref()), followed);
    if let Some(rest) = recall.rest((context.now)()).filter(|_| !view.is_news()) {
        // Only the target or its revision can have changed, and somebody keeps changing it.
        return (Next::After(rest), base.keep_in(recall));
    }
    // goal, find, gate, apply
    let distrusted = recall.distrusted();
    let (report, recall) =
        match catch_panic(&view.header.owner, bring(&view, context, turn, recall, ledger)).await {
            Ok((Ok(report), recall)) => (report, recall),
            Ok((Err(next), recall)) => return (next, base.keep_in(recall)),
            Err(failure) => (Report::failed(failure), distrusted),
        };
    if is_void(&report, context, turn) {
        return (Next::OnChange, base.keep_in(recall));
    }
    let recall = recall.after(&report);
    let report = report.remarked(recall.contest.as_deref());
    // settle: status, event, log line, revisions, metric
    Box::pin(settle(context, &view, &base, &report, recall, started)).await
}

/// When the next pass comes after one that could not read the status. Only the log and the metrics report it.
fn unread<R, C>(
    object: &DeserializeGuard<ArtifactConfig>,
    context: &Context<R, C>,
    failure: &Failure,
    failures: u32,
    started: Instant,
) -> Next {
    let owner = spec::header(object.meta()).owner;
    tracing::warn!(namespace = owner.namespace, name = owner.name, error = failure.message, "not reconciled");
    let outcome = Outcome::Failed(failure.clone());
    context.metrics.reconciled(&owner, &outcome, started.elapsed());
    Next::After(schedule::usual(&outcome, failures, USUAL_INTERVAL, started.elapsed(), &owner.uid))
}

/// Whether a report means nothing for the resource: the resource has changed, or the operator ends and cancels all
/// requests. If anything but the status was written, the report always counts.
fn is_void<R, C>(report: &Report, context: &Context<R, C>, turn: &Turn) -> bool {
    let is_cut_short = matches!(report.outcome, Outcome::Failed(_)) && context.stop.is_cancelled();
    is_cut_short || (turn.holds().is_err() && !report.has_written())
}

/// Catches every panic of a pass: a bug for one resource must not affect the other resources. A task that panics would,
/// because kube-runtime raises its panic again when the controller is polled.
///
/// Not an `async fn`, which would hold the work twice: as its argument, and as the future that it awaits.
fn catch_panic<T>(
    owner: &Owner,
    work: impl Future<Output = T> + Send,
) -> impl Future<Output = Result<T, Failure>> + Send {
    AssertUnwindSafe(work).catch_unwind().map(|ended| {
        ended.map_err(|_| {
            let Owner { namespace, name, .. } = owner;
            tracing::error!(
                namespace,
                name,
                "reconcile panicked; see the panic message above for the location"
            );
            Failure::new(
                Reason::InternalError,
                "the operator panicked; report it with the location in its log",
            )
        })
    })
}

/// Tries one goal after the other: a repair if nothing else is due, then the goal that the resource states, and if that
/// fails, the config that was applied last.
async fn bring<R: Registry, C: Cluster>(
    view: &View<'_>,
    context: &Context<R, C>,
    turn: &Turn,
    recall: Recall,
    ledger: &Ledger,
) -> (Result<Report, Next>, Recall) {
    let desired = match &view.desired {
        _ if view.suspended => return (Ok(Report::of(Outcome::Suspended)), recall),
        Ok(desired) => desired,
        Err(failure) => return (Ok(Report::failed(failure.clone())), recall),
    };
    let rebuilt = match find::rebuilt(&context.cluster, desired, &view.history).await {
        Ok(rebuilt) => rebuilt,
        Err(failure) => return (Ok(Report::failed(failure)), recall),
    };
    let pass = Pass {
        context,
        turn,
        desired,
        status: view.status,
        history: rebuilt.as_ref().unwrap_or(&view.history),
        is_rollback_reported: view.is_rollback_reported(),
        ledger,
    };
    let recall = recall.begin((context.now)(), rebuilt.is_some());
    let trigger = Trigger::of(view, recall.is_image_new(desired, view.status));
    let (ended, recall) = Box::pin(reach(&pass, trigger, recall)).await;
    (ended.map(|report| Report { rebuilt, ..report }), recall)
}

async fn reach<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    trigger: Trigger,
    recall: Recall,
) -> (Result<Report, Next>, Recall) {
    let is_due = trigger.needs_new_answer() || recall.until_due((pass.context.now)()).is_none();
    let (trigger, recall) = if is_due {
        (trigger, recall)
    } else {
        match repair(pass, trigger, recall).await {
            Ok(repaired) => return repaired,
            Err(unrepaired) => unrepaired,
        }
    };
    let goal = Goal::of(pass.desired.rollback_to.as_ref());
    let (Attempt { applied, latest, notes, .. }, recall) = attempt(pass, &goal, trigger, recall).await;
    // A pass that is broken off, for a turn at registries for instance, has asked nothing.
    let recall = if matches!(applied, Err(Halt::BrokenOff(_))) { recall } else { recall.asked(pass.desired) };
    match applied {
        Ok(Some(applied)) if goal.is_rollback() => {
            let report = rolled_back(pass, trigger, applied, notes).await;
            (noted(pass, report).await, recall)
        }
        Ok(Some(applied)) => {
            let outcome = Outcome::Synced { applied, notes, rolled_back: false };
            (noted(pass, Ok(Report { latest, ..Report::of(outcome) })).await, recall)
        }
        // A stated goal always has a config, which replaces any other one. The next pass computes it again.
        Ok(None) | Err(Halt::Overtaken) => (Err(Next::After(AGAIN)), recall),
        Err(Halt::BrokenOff(next)) => (Err(next), recall),
        Err(Halt::Failed(failure)) => keep_last(pass, failure, latest, trigger, recall).await,
    }
}

/// The report, with the reason why pods of the workload that ask for binding are not bound.
async fn noted<R, C: Cluster>(pass: &Pass<'_, R, C>, report: Result<Report, Next>) -> Result<Report, Next> {
    // Who asks for no binding pays no request.
    let offer =
        if bind::needs_offer(pass.desired) { pass.context.cluster.offer().await } else { Offer::Unknown };
    report.map(|report| report.noted(bind::hindrance(pass.desired, &offer)))
}

/// The result of one goal.
struct Attempt {
    /// The config in the target. `None` if the goal has no config for it.
    applied: Result<Option<Applied>, Halt>,
    latest: Option<Latest>,
    notes: Vec<String>,
}

/// find → gate → apply, for one goal.
async fn attempt<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    goal: &Goal,
    trigger: Trigger,
    recall: Recall,
) -> (Attempt, Recall) {
    let Found { config, latest, notes } = find::config(pass, goal, trigger, &recall).await;
    let (applied, recall) = match config {
        Ok(Some(Config::Wanted(wanted))) => match gate::judge(pass.desired, goal, *wanted) {
            Ok(passed) => apply::target(pass, goal, passed, recall).await,
            Err(halt) => (Err(halt), recall),
        },
        Ok(Some(Config::InPlace(applied))) => (Ok(Some(applied)), recall),
        Ok(None) => (Ok(None), recall),
        Err(halt) => (Err(halt), recall),
    };
    (Attempt { applied, latest, notes }, recall)
}

/// The report of a repair; `None` if the pass must continue, because nothing was changed or the memory is not
/// sufficient.
async fn repair<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    trigger: Trigger,
    recall: Recall,
) -> Result<(Result<Report, Next>, Recall), (Trigger, Recall)> {
    let Some(last) = recall.last.clone() else { return Err((trigger, recall)) };
    let (attempt, recall) = attempt(pass, &Goal::Repair, trigger, recall).await;
    match attempt.applied {
        Ok(Some(applied)) => Ok((Ok(last.repaired(applied)), recall)),
        Err(Halt::BrokenOff(next)) => Ok((Err(next), recall)),
        Err(Halt::Overtaken) => Err((Trigger::Overtaken, recall)),
        Ok(None) => match unchanged(pass, &recall).await {
            Some(applied) => Ok((Ok(last.repaired(applied)), recall)),
            None => Err((trigger, recall)),
        },
        Err(Halt::Failed(_)) => Err((trigger, recall)),
    }
}

/// The config in the target, if the pass came because of a workload whose image is the same as before. A rollout changes a
/// workload many times, and none of these changes is a reason to ask the registry.
async fn unchanged<R: Registry, C: Cluster>(pass: &Pass<'_, R, C>, recall: &Recall) -> Option<Applied> {
    let (question, _) = recall.applied.as_ref().filter(|_| pass.desired.workload.is_some())?;
    let is_same = question.generation == pass.desired.generation && !question.provisional;
    if is_same { pass.still_applied(recall, question).await } else { None }
}

/// The report of a rollback. The first pass applies and reports the config. The next pass finds the config that would
/// come next, because discovery may have to wait for a registry that is down.
async fn rolled_back<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    trigger: Trigger,
    applied: Applied,
    mut notes: Vec<String>,
) -> Result<Report, Next> {
    let half_done = applied.changed() || !pass.is_rollback_reported;
    let mut latest = None;
    if !half_done && notes.is_empty() {
        match find::latest(pass, trigger).await {
            Ok(known) => latest = Some(known),
            Err(Halt::Failed(failure)) => notes.push(failure.message),
            Err(Halt::Overtaken) => {}
            Err(Halt::BrokenOff(next)) => return Err(next),
        }
    }
    let outcome = Outcome::Synced { applied, notes, rolled_back: true };
    Ok(Report { latest, half_done, ..Report::of(outcome) })
}

/// The report of a failure. For every failure, the last config stays in place, and is repaired. A failure of this
/// repair is only logged: the status already says why the next config is missing.
async fn keep_last<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    failure: Failure,
    latest: Option<Latest>,
    trigger: Trigger,
    recall: Recall,
) -> (Result<Report, Next>, Recall) {
    let (kept, recall) = if is_of_the_target(failure.reason) {
        (Ok(None), recall)
    } else {
        let (attempt, recall) = attempt(pass, &Goal::KeepLast, trigger, recall).await;
        (attempt.applied, recall)
    };
    let owner = &pass.desired.owner;
    let kept = match kept {
        Ok(kept) => kept,
        Err(Halt::Overtaken) => None,
        Err(Halt::BrokenOff(next)) => return (Err(next), recall),
        Err(Halt::Failed(failure)) => {
            let error = failure.message;
            tracing::warn!(namespace = owner.namespace, name = owner.name, error, "target not repaired");
            None
        }
    };
    if let Some(kept) = kept.as_ref().filter(|kept| kept.changed()) {
        let revision = kept.stamp().number;
        tracing::info!(
            namespace = owner.namespace,
            name = owner.name,
            revision,
            "target repaired from its revision"
        );
    }
    let objects = pass.context.cluster.owned(owner);
    let last_number = pass.ledger.last();
    let (history, last_number) = (pass.history, last_number.as_ref());
    let highest = Numbers { history, watched: &objects, owner, last_number, target: None }.highest();
    let in_doubt = kept.is_none() && is_of_this_target(pass);
    (Ok(Report { latest, highest, kept, in_doubt, ..Report::failed(failure) }), recall)
}

/// Whether what was applied last is in the target that the resource names, and not in one of an earlier name.
fn is_of_this_target<R, C>(pass: &Pass<'_, R, C>) -> bool {
    let target = pass.status.and_then(|status| status.target.as_ref());
    target.is_some_and(|target| target.name == pass.desired.target.name)
}

/// Failures of writing the target: a second write at once would fail the same way.
const fn is_of_the_target(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ApplyFailed | Reason::NamespaceTerminating | Reason::TargetConflict | Reason::TargetNotFound
    )
}
