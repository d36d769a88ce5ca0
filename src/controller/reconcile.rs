//! One pass over one resource, from top to bottom.
//!
//! ```text
//! watch → read → goal → find → gate → apply → settle
//! ```
//!
//! `watch` has brought the resource here, `read` is [`View`], `goal` is [`Goal`]; the other stages are modules of these names. Data goes one way: a stage returns
//! what it found, and [`settle`] alone tells of it.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use api::{ArtifactConfig, ArtifactConfigStatus, Reason};
use decide::Failure;
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
use super::settle::settle;
use super::turn::Turn;

/// Brings the target of a resource to what the resource asks for, and says so in its status. Never fails: a failure is an
/// outcome like any other, a panic included. Where the turn ends before the pass, the status stays as it is.
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
    let ledger = Ledger::new(recall.given.clone());
    let distrusted = recall.distrusted();
    let (next, recall) = match catch_panic(&owner, pass(object, context, turn, recall, &ledger)).await {
        Ok(ended) => ended,
        Err(failure) => {
            // The panic came while the outcome was told: the log and the metrics tell of it instead.
            let outcome = Outcome::Failed(failure);
            context.metrics.reconciled(&owner, &outcome, started.elapsed());
            let failures = distrusted.failures.saturating_add(1);
            let took = started.elapsed();
            let wait = schedule::usual(&outcome, failures, USUAL_INTERVAL, took, &owner.uid);
            (Next::After(wait), Recall { failures, ..distrusted })
        }
    };
    context.memory.keep(&owner.uid, Recall { given: ledger.last(), ..recall });
    next
}

/// One pass over a resource that is to stay.
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
    let stored = stored_status(object, context).await;
    let view = View::of(object, base.status().or(stored.as_deref()));
    if let Some(rest) = recall.rest((context.now)()).filter(|_| !view.is_news()) {
        // Only the target or its revision can have changed, which somebody keeps doing.
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
    settle(context, &view, &base, &report, recall, started).await
}

/// The status as the API server has it. A resource whose `spec` cannot be read has one as well, and a write must not lose it.
async fn stored_status<'o, R, C: Cluster>(
    object: &'o DeserializeGuard<ArtifactConfig>,
    context: &Context<R, C>,
) -> Option<Cow<'o, ArtifactConfigStatus>> {
    if let Ok(config) = &object.0 {
        return config.status.as_ref().map(Cow::Borrowed);
    }
    let owner = spec::header(object.meta()).owner;
    context.cluster.status(&owner).await.unwrap_or_default().map(Cow::Owned)
}

/// Whether a report is no news of the resource: the resource is another by now, or the operator is ending and with it every
/// question under way. A write besides the status is told in any case.
fn is_void<R, C>(report: &Report, context: &Context<R, C>, turn: &Turn) -> bool {
    let is_cut_short = matches!(report.outcome, Outcome::Failed(_)) && context.stop.is_cancelled();
    is_cut_short || (turn.holds().is_err() && !report.has_written())
}

/// Where every panic of a pass ends: it is a bug in one resource's path and must not take the other resources along, as a
/// task that panics does (kube-runtime raises it once more where the controller is polled).
///
/// No `async fn`, which would hold the work twice: as its argument, and where it waits for it.
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

/// Tries one goal after the other: a repair where nothing else is due, then the goal that the resource states, and where that
/// cannot be reached the config that was applied last.
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
    let (ended, recall) = reach(&pass, Trigger::of(view), recall).await;
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
    match applied {
        Ok(Some(applied)) if goal.is_rollback() => (rolled_back(pass, trigger, applied, notes).await, recall),
        Ok(Some(applied)) => {
            let outcome = Outcome::Synced { applied, notes, rolled_back: false };
            (Ok(Report { latest, ..Report::of(outcome) }), recall)
        }
        // A stated goal has a config, and is written over any other; the next pass computes it again.
        Ok(None) | Err(Halt::Overtaken) => (Err(Next::After(AGAIN)), recall),
        Err(Halt::BrokenOff(next)) => (Err(next), recall),
        Err(Halt::Failed(failure)) => keep_last(pass, failure, latest, trigger, recall).await,
    }
}

/// What came of one goal.
struct Attempt {
    /// The config in the target. `None` where the goal has nothing to put there.
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
        Ok(Some(Config::Wanted(wanted))) => match gate::judge(*wanted) {
            Ok(passed) => apply::target(pass, goal, passed, recall).await,
            Err(halt) => (Err(halt), recall),
        },
        Ok(Some(Config::InPlace(applied))) => (Ok(Some(applied)), recall),
        Ok(None) => (Ok(None), recall),
        Err(halt) => (Err(halt), recall),
    };
    (Attempt { applied, latest, notes }, recall)
}

/// The report of a repair, or why the pass goes on: nothing was changed, or the memory does not suffice.
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
        Ok(None) | Err(Halt::Failed(_)) => Err((trigger, recall)),
    }
}

/// The report of a rollback. First the config, and that it is back; then the config that would come next, because discovery
/// may have to wait for a registry that is down.
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

/// The report of a failure. Whatever keeps the next config away, the last one stays in place, and repaired. A failure here is
/// only logged: the status already says why the next config is missing.
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
    let given = pass.ledger.last();
    let (history, given) = (pass.history, given.as_ref());
    let highest = Numbers { history, watched: &objects, owner, given, target: None }.highest();
    (Ok(Report { latest, highest, kept, ..Report::failed(failure) }), recall)
}

/// Failures of writing the target: to write it again at once would fail the same.
const fn is_of_the_target(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ApplyFailed | Reason::NamespaceTerminating | Reason::TargetConflict | Reason::TargetNotFound
    )
}
