//! One resource, once: what happens to every outcome, whatever it is.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use kube::Resource as _;
use kube::core::DeserializeGuard;
use registry::Registry;
use tracing::Instrument as _;

use crate::api::{ArtifactConfig, ArtifactConfigStatus, Class, Reason};
use crate::cluster::{self, Cluster, WriteError};
use crate::decide::outcome::{Outcome, Seen};
use crate::decide::plan::Applied;
use crate::decide::spec::{self, Header, Owner};
use crate::decide::turns::Next;
use crate::decide::{event, revision, schedule, status};
use crate::spans::{self, stage};
use crate::types::Failure;

use super::context::{Collected, Context, Entry, Written};
use super::pipeline::sync;
use super::turn::Turn;

/// Interval and history of a resource whose own cannot be read: nothing is dropped because of that.
const UNREADABLE: (Duration, usize) = (Duration::from_mins(5), 100);

/// How soon the second half of going back is looked at: first the config, then what would come next, which may take a
/// registry that does not answer its time-out.
const SECOND_HALF: Duration = Duration::from_secs(1);

/// How soon a resource is looked at again that changed while its status was to be written. The watch usually comes first.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// Looks at a resource, brings its target up to date, and says so in its status. Never fails: what goes wrong is an
/// outcome like any other, a panic included. Where the turn ends before it, nothing of it is told.
pub async fn reconcile<R: Registry, C: Cluster>(
    object: &DeserializeGuard<ArtifactConfig>,
    context: &Context<R, C>,
    turn: &Turn,
) -> Next {
    let metadata = object.meta();
    if metadata.deletion_timestamp.is_some() {
        return Next::OnChange;
    }
    let started = Instant::now();
    let Header { owner, .. } = spec::header(metadata);
    let mut entry = context.memory.of(&owner.uid);
    let next = match guarded(&owner, attend(object, context, turn, &mut entry)).await {
        Ok(next) => next,
        Err(failure) => {
            // While the outcome was being told: whoever looks at the log and the metrics hears of it all the same.
            entry = entry.distrusted();
            entry.failures = entry.failures.saturating_add(1);
            let outcome = Outcome::Failed(failure);
            context.metrics.reconciled(&owner, &outcome, started.elapsed());
            let took = started.elapsed();
            Next::After(schedule::next(&outcome, entry.failures, UNREADABLE.0, took, &owner.uid))
        }
    };
    context.memory.keep(&owner.uid, entry);
    next
}

/// Where every panic of a reconcile ends: it is a bug in one resource's path and must not take the other resources along,
/// which a task that panics does (kube-runtime raises it once more where the controller is polled).
///
/// No `async fn`, which would hold the work twice: as its argument, and where it waits for it.
fn guarded<T>(
    owner: &Owner,
    work: impl Future<Output = T> + Send,
) -> impl Future<Output = Result<T, Failure>> + Send {
    AssertUnwindSafe(work).catch_unwind().map(|ended| {
        ended.map_err(|_| {
            let Owner { namespace, name, .. } = owner;
            tracing::error!(namespace, name, "the reconcile panicked; the line of the panic has the place");
            Failure::new(
                Reason::InternalError,
                "the operator panicked; its log has the place; please report it",
            )
        })
    })
}

/// One reconcile of a resource that is to stay.
async fn attend<R: Registry, C: Cluster>(
    object: &DeserializeGuard<ArtifactConfig>,
    context: &Context<R, C>,
    turn: &Turn,
    entry: &mut Entry,
) -> Next {
    let started = Instant::now();
    let metadata = object.meta();
    let header = spec::header(metadata);
    let (status, (interval, limit)) = match &object.0 {
        Ok(config) => {
            let read = spec::parse(config).map(|desired| (desired.interval, desired.history_limit));
            (config.status.as_ref(), read.unwrap_or(UNREADABLE))
        }
        Err(_) => (None, UNREADABLE),
    };
    // What cannot be parsed has a status all the same, and it must not be lost to a write.
    let read = match &object.0 {
        Err(_) => context.cluster.status(&header.owner).await.unwrap_or_default(),
        Ok(_) => None,
    };
    // The resource at hand may be older than the status that was written last.
    let at_hand = &metadata.resource_version;
    let written = entry.written.take().and_then(|written| written.newer_than(at_hand.as_ref()));
    let previous = written.as_ref().map(|written| &written.status).or(status).or(read.as_ref());
    let version = written.as_ref().map_or(at_hand, |written| &written.version).clone();
    let is_news = previous.is_none_or(|status| {
        status.observed_generation != Some(header.generation)
            || status.last_handled_requested_at != header.requested_at
    });
    if let Some(rest) = entry.rest((context.now)()).filter(|_| !is_news) {
        // Only the target or its revision can have changed, which somebody keeps doing.
        entry.written = written.map(Box::new);
        return Next::After(rest);
    }
    let mut seen = Seen::default();
    let looking = outcome(object, previous, context, turn, entry, &mut seen);
    let outcome = match guarded(&header.owner, looking).await {
        Ok(outcome) => outcome,
        Err(failure) => {
            (*entry, seen) = (std::mem::take(entry).distrusted(), Seen::default());
            Outcome::Failed(failure)
        }
    };
    // Broken off in the middle of a question: no news of the resource. What was written all the same is told.
    let broken_off = if matches!(outcome, Outcome::Failed(_)) && context.stop.has_come() {
        Some(Next::OnChange)
    } else {
        turn.broken_off().filter(|_| !touched(&outcome, &seen))
    };
    if let Some(next) = broken_off {
        entry.written = written.map(Box::new);
        return next;
    }
    let next = status::next(previous, &header, &outcome, &seen, limit, (context.now)());
    let change =
        Change { previous, version: version.clone(), next: &next, touched: touched(&outcome, &seen) };
    let settling = settle(change, &header, &outcome, context, entry).instrument(stage!("status"));
    let settled = match settling.await {
        Ok(now) => {
            entry.written = Written::new(written, version, now, next).map(Box::new);
            Ok(())
        }
        Err(error) => {
            entry.written = written.map(Box::new);
            match error {
                WriteError::Conflict => {
                    // Somebody, or an answer of the API server that never came, was faster. Everything is computed anew
                    // from the resource as it is then, the number of what was applied included.
                    (entry.applied, entry.due) = (None, None);
                    return Next::After(AGAIN);
                }
                WriteError::Failure(failure) => Err(failure),
            }
        }
    };
    entry.failures = match (&settled, outcome.class()) {
        (Ok(()), Class::Done | Class::Terminal | Class::Waiting) => 0,
        (Err(_), _) | (Ok(()), Class::Transient) => entry.failures.saturating_add(1),
    };
    let half_done = seen.half_done && entry.failures == 0;
    let ended = settled.err().map_or(outcome, Outcome::Failed);
    trace(&ended);
    context.metrics.reconciled(&header.owner, &ended, started.elapsed());
    let wait = match &ended {
        Outcome::Synced { .. } if half_done => SECOND_HALF,
        _ => schedule::next(&ended, entry.failures, interval, started.elapsed(), &header.owner.uid),
    };
    Next::After(entry.next((context.now)(), wait, seen.mended))
}

/// Whether anything but the status was written.
fn touched(outcome: &Outcome, seen: &Seen) -> bool {
    let applied = match outcome {
        Outcome::Synced { applied, .. } => Some(applied),
        Outcome::Failed(_) | Outcome::Suspended => None,
    };
    applied.or(seen.held.as_ref()).is_some_and(Applied::changed)
}

/// Says in the span of the reconcile how it ended.
fn trace(outcome: &Outcome) {
    let span = tracing::Span::current();
    span.record("artifactconfig.reason", outcome.reason().as_str());
    if let Outcome::Failed(failure) = outcome {
        spans::failed(&span, failure.reason.as_str(), &failure.message);
    }
}

async fn outcome<R: Registry, C: Cluster>(
    object: &DeserializeGuard<ArtifactConfig>,
    previous: Option<&ArtifactConfigStatus>,
    context: &Context<R, C>,
    turn: &Turn,
    entry: &mut Entry,
    seen: &mut Seen,
) -> Outcome {
    let config = match &object.0 {
        Ok(config) if config.spec.suspend => return Outcome::Suspended,
        Ok(config) => config,
        Err(invalid) => {
            return Outcome::Failed(Failure::new(
                Reason::InvalidSpec,
                format!(
                    "the resource cannot be read: {}; install the definition that belongs to this operator",
                    invalid.error
                ),
            ));
        }
    };
    sync(config, previous, context, turn, entry, seen).await.unwrap_or_else(Outcome::Failed)
}

/// A status to be written over another.
struct Change<'a> {
    previous: Option<&'a ArtifactConfigStatus>,
    version: Option<String>,
    next: &'a ArtifactConfigStatus,
    /// Something else was written already.
    touched: bool,
}

/// Outcome → status, event and log line, and then the revisions that it no longer needs; the only place that does.
/// Returns the version that the resource has then.
async fn settle<R: Registry, C: Cluster>(
    change: Change<'_>,
    header: &Header,
    outcome: &Outcome,
    context: &Context<R, C>,
    entry: &mut Entry,
) -> Result<Option<String>, WriteError> {
    let Change { previous, version, next, touched } = change;
    let owner = &header.owner;
    let transition = event::transition(previous, next, outcome, entry.contest.as_deref());
    // A write that changes nothing costs no version, and is refused where the resource at hand is outdated: what was done
    // by an old status is then done anew by the one that holds.
    let is_due = previous != Some(next) || touched;
    let version =
        if is_due { context.cluster.write_status(owner, next, version.as_deref()).await? } else { version };
    log(header, outcome, transition.is_some());
    // Only now: an event without its status would be published again by the next try.
    if let Some(event) = transition {
        context.cluster.publish(owner, &event).await;
    }
    // Last of all: a revision goes only once no status speaks of it.
    if matches!(outcome, Outcome::Synced { .. }) {
        let certain = is_due;
        return collect(header, next, version, certain, context, entry).await;
    }
    Ok(version)
}

/// Deletes surplus revisions. What fails here fails again at the next change and harms nothing until then. `certain`:
/// this status is known to be the one that holds, because it was just written. Returns the version that the resource has
/// then.
async fn collect<R: Registry, C: Cluster>(
    header: &Header,
    status: &ArtifactConfigStatus,
    version: Option<String>,
    certain: bool,
    context: &Context<R, C>,
    entry: &mut Entry,
) -> Result<Option<String>, WriteError> {
    let (owner, cluster, now) = (&header.owner, &context.cluster, (context.now)());
    let newest = status.history.first().map(|entry| entry.revision);
    let objects = cluster.owned(owner);
    let surplus = revision::surplus(&status.history, &objects, owner);
    if surplus.is_empty() {
        return Ok(version);
    }
    let names = surplus.iter().map(|revision| revision.name.to_string()).collect();
    let looked = entry.collected.as_ref();
    if looked.is_some_and(|looked| looked.answers(newest, header.generation, &names, now)) {
        return Ok(version);
    }
    let mut version = version;
    let collected = match cluster::unused(cluster, owner, surplus).await {
        Ok(unused) => {
            if !unused.is_empty() && !certain {
                version = cluster.write_status(owner, status, version.as_deref()).await?;
            }
            cluster::discard(cluster, owner, &unused).await
        }
        Err(failure) => Err(failure),
    };
    match collected {
        Ok(()) => {
            let generation = header.generation;
            let looked = Collected { newest, generation, surplus: names, at: now };
            entry.collected = Some(Box::new(looked));
        }
        Err(Failure { message: error, .. }) => {
            let Owner { namespace, name, .. } = owner;
            tracing::warn!(namespace, name, error, "revisions not collected");
        }
    }
    Ok(version)
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

    /// A field named `message` stood beside the line's own words, and readers of JSON take one of the two.
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
