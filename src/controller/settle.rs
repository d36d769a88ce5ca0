//! The report → status, event, metric and log line, then the revisions that the status no longer needs. The only place that
//! writes the status.

use std::time::Instant;

use api::{ArtifactConfigStatus, Class};
use decide::report::{Outcome, Report};
use decide::schedule::{self, Timers};
use decide::spec::Header;
use decide::turns::Next;
use decide::view::View;
use decide::{event, status};
use tracing::Instrument as _;

use crate::cluster::{Cluster, WriteError};
use crate::spans::{self, stage};

use super::awake::{self, Woken};
use super::base::Base;
use super::collect::{self, Current, Settled};
use super::context::Context;
use super::halt::AGAIN;
use super::memory::{Recall, Written};

/// Publishes a report, and returns when the next pass comes.
pub(super) async fn settle<R, C: Cluster>(
    context: &Context<R, C>,
    view: &View<'_>,
    base: &Base,
    report: &Report,
    recall: Recall,
    started: Instant,
) -> (Next, Recall) {
    let owner = &view.header.owner;
    let next = status::next(view, report, (context.now)());
    let writing = write(context, view, base.version.as_deref(), next, report, &recall);
    let settled = writing.instrument(stage!("status")).await;
    let recall = recall.seen(view.status, (context.now)());
    let mut woken = Woken::default();
    let (written, collected, failure) = match settled {
        Ok(Settled { status, version, collected }) => {
            // Without a version, the resource is gone.
            if version.is_some() {
                woken = awake::workload(context, view, &status.bindings, recall.woken).await;
            }
            (Written::new(base.written.clone(), base.version.clone(), version, status), collected, None)
        }
        Err(WriteError::Conflict) => {
            // Somebody else has written the resource, or our own write took effect without an answer. The next pass
            // computes everything again from the newer resource, including the number of the application.
            let written = base.written.clone().map(Box::new);
            return (
                Next::After(AGAIN),
                Recall { written, applied: None, due: None, collected: None, ..recall },
            );
        }
        Err(WriteError::Failure(failure)) => (base.written.clone(), None, Some(failure)),
    };
    let failures = match (&failure, report.outcome.class()) {
        (None, Class::Done | Class::Terminal | Class::Waiting) => 0,
        (Some(_), _) | (None, Class::Transient) => recall.failures.saturating_add(1),
    };
    let recall = Recall {
        failures,
        written: written.map(Box::new),
        // A status without an answer may have taken bindings out.
        collected: collected.map(Box::new).or(recall.collected.filter(|_| failure.is_none())),
        woken: woken.at,
        ..recall
    };
    let ended = failure.map_or_else(|| report.outcome.clone(), Outcome::Failed);
    trace(&ended);
    context.metrics.reconciled(owner, &ended, started.elapsed());
    let usual = schedule::usual(&ended, failures, view.interval(), started.elapsed(), &owner.uid);
    let now = (context.now)();
    let timers = Timers { wake: woken.again, ..recall.timers(now, usual, report) };
    let due = now.saturating_add(timers.full_pass()).ok();
    (Next::After(timers.next_pass()), Recall { due, ..recall })
}

async fn write<R, C: Cluster>(
    context: &Context<R, C>,
    view: &View<'_>,
    version: Option<&str>,
    next: ArtifactConfigStatus,
    report: &Report,
    recall: &Recall,
) -> Result<Settled, WriteError> {
    let (owner, outcome) = (&view.header.owner, &report.outcome);
    let transition = event::transition(view.status, &next, outcome, recall.contest.as_deref());
    // A write without a change does not change the version, and is refused if the given resource is outdated. Then the
    // next pass computes everything again from the present status.
    let is_due = view.status != Some(&next) || report.has_written();
    let version = if is_due {
        context.cluster.write_status(owner, &next, version).await?
    } else {
        version.map(str::to_owned)
    };
    log(&view.header, outcome, transition.is_some());
    // After the status: an event without its status would be published again by the next try.
    if let Some(event) = transition {
        context.cluster.publish(owner, &event).await;
    }
    let current = Current { status: next, version, is_certain: is_due };
    // Last: a revision is deleted only after no status names it.
    if matches!(outcome, Outcome::Synced { .. }) {
        return Box::pin(collect(context, view, current, recall)).await;
    }
    Ok(current.settled())
}

/// Takes bindings out of the status that nobody needs, and then deletes revisions.
async fn collect<R, C: Cluster>(
    context: &Context<R, C>,
    view: &View<'_>,
    current: Current,
    recall: &Recall,
) -> Result<Settled, WriteError> {
    let owner = &view.header.owner;
    let plan = match collect::plan(context, view, current, recall).await {
        Ok(plan) => plan,
        Err(settled) => return Ok(settled),
    };
    let version = if plan.must_write {
        context.cluster.write_status(owner, &plan.status, plan.version.as_deref()).await?
    } else {
        plan.version.clone()
    };
    Ok(plan.discard(context, owner, version, recall).await)
}

/// Records in the span of the pass how it ended.
fn trace(outcome: &Outcome) {
    let span = tracing::Span::current();
    span.record("artifactconfig.reason", outcome.reason().as_str());
    if let Outcome::Failed(failure) = outcome {
        spans::failed(&span, failure.reason.as_str(), &failure.message);
    }
}

fn log(header: &Header, outcome: &Outcome, transition: bool) {
    let Header { owner, generation, .. } = header;
    let reason = outcome.reason().as_str();
    match outcome {
        Outcome::Failed(failure) if transition => {
            tracing::warn!(
                namespace = owner.namespace,
                name = owner.name,
                generation,
                reason,
                error = failure.message,
                "not synced"
            );
        }
        Outcome::Synced { applied, .. } if transition => {
            let facts = applied.facts();
            tracing::info!(
                namespace = owner.namespace, name = owner.name, generation, reason, changed = applied.changed(),
                revision = applied.stamp().number, image = %facts.image_digest, artifact = %facts.artifact,
                target = facts.target, "synced"
            );
        }
        _ if transition => {
            tracing::info!(namespace = owner.namespace, name = owner.name, generation, reason, "changed");
        }
        _ => tracing::debug!(namespace = owner.namespace, name = owner.name, generation, reason, "unchanged"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use api::Reason;
    use decide::{Failure, spec};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A field named `message` would be a second member of that name in a JSON line, and parsers use only one of the
    /// two.
    #[test]
    fn a_line_says_each_thing_once() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
        let metadata = kube::api::ObjectMeta { name: Some("web".to_owned()), ..Default::default() };
        let outcome = Outcome::Failed(Failure::new(Reason::Forbidden, "it said no"));
        tracing::subscriber::with_default(subscriber, || log(&spec::header(&metadata), &outcome, true));
        let line = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(line.matches("\"message\"").count(), 1, "{line}");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["error"], "it said no");
    }
}
