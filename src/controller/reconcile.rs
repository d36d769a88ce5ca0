//! One resource, once: what happens to every outcome, whatever it is.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;

use crate::api::{ArtifactConfig, ArtifactConfigStatus, Class, Reason};
use crate::cluster::{self, Cluster, WriteError};
use crate::decide::outcome::{Outcome, Seen};
use crate::decide::spec::{self, Header};
use crate::decide::{event, schedule, status};
use crate::oci::Registry;
use crate::types::Failure;

use super::context::{Collected, Context, Entry, Written};
use super::pipeline::sync;

/// Interval and history of a resource whose own cannot be read: nothing is dropped because of that.
const UNREADABLE: (Duration, usize) = (Duration::from_mins(5), 100);

/// How soon the second half of going back is looked at: first the config, then what would come next, which may take a
/// registry that does not answer its time-out.
const SECOND_HALF: Duration = Duration::from_secs(1);

/// How soon a resource is looked at again that changed while its status was to be written. The watch usually comes first.
const AGAIN: Duration = Duration::from_secs(1);

/// How often revisions that a workload keeps beyond the limit are looked at again.
const KEPT_FOR: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// After this time.
    After(Duration),
    /// When something changes.
    OnChange,
}

/// Looks at a resource, brings its target up to date, and says so in its status. Never fails: what goes wrong is an
/// outcome like any other.
pub async fn reconcile<R: Registry, C: Cluster>(
    object: &DeserializeGuard<ArtifactConfig>,
    context: &Context<R, C>,
) -> Next {
    let (metadata, status) = match &object.0 {
        Ok(config) => (&config.metadata, config.status.as_ref()),
        Err(invalid) => (&invalid.metadata, None),
    };
    if metadata.deletion_timestamp.is_some() {
        return Next::OnChange;
    }
    let started = Instant::now();
    let header = spec::header(metadata);
    let (interval, limit) = match &object.0 {
        Ok(config) => {
            spec::parse(config).map_or(UNREADABLE, |desired| (desired.interval, desired.history_limit))
        }
        Err(_) => UNREADABLE,
    };
    let mut entry = context.memory.of(&header.owner.uid);
    // What cannot be parsed has a status all the same, and it must not be lost to a write.
    let read = match &object.0 {
        Err(_) => context.cluster.status(&header.owner).await.unwrap_or_default(),
        Ok(_) => None,
    };
    // The resource at hand may be older than the status that was written last.
    let written = entry.written.take().filter(|written| written.from == metadata.resource_version);
    let previous = written.as_ref().map(|written| &written.status).or(status).or(read.as_ref());
    let version = written.as_ref().map_or(&metadata.resource_version, |written| &written.version).clone();
    let mut seen = Seen::default();
    // A panic is a bug in one resource's path and must not take the other resources along.
    let outcome = AssertUnwindSafe(outcome(object, previous, context, &mut entry, &mut seen));
    let outcome = outcome.catch_unwind().await.unwrap_or_else(|_| {
        Outcome::Failed(Failure::new(
            Reason::InternalError,
            "the operator panicked; its log has the place; please report it",
        ))
    });
    if matches!(outcome, Outcome::Failed(_)) && context.stop.has_come() {
        // Broken off in the middle of a question: no news of the resource.
        return Next::OnChange;
    }
    let next = status::next(previous, &header, &outcome, &seen, limit, (context.now)());
    let change = Change { metadata, previous, version, next };
    let settled = match settle(change, &header, &outcome, context, &mut entry).await {
        Err(WriteError::Conflict) => {
            // Somebody, or an answer of the API server that never came, was faster. Everything is computed anew from the
            // resource as it is then, the number of what was applied included.
            entry.applied = None;
            context.memory.keep(&header.owner.uid, entry);
            return Next::After(AGAIN);
        }
        Err(WriteError::Failure(failure)) => Err(failure),
        Ok(()) => Ok(()),
    };
    entry.failures = match (&settled, outcome.class()) {
        (Ok(()), Class::Done | Class::Terminal | Class::Waiting) => 0,
        (Err(_), _) | (Ok(()), Class::Transient) => entry.failures.saturating_add(1),
    };
    let half_done = matches!(&outcome, Outcome::Synced { back: true, .. })
        && seen.latest.is_none()
        && entry.failures == 0;
    let ended = settled.err().map_or(outcome, Outcome::Failed);
    context.metrics.reconciled(&header.owner, &ended, started.elapsed());
    let wait = match &ended {
        Outcome::Synced { applied, .. } if half_done && applied.changed() => SECOND_HALF,
        _ => schedule::next(&ended, entry.failures, interval, &header.owner.uid),
    };
    context.memory.keep(&header.owner.uid, entry);
    Next::After(wait)
}

async fn outcome<R: Registry, C: Cluster>(
    object: &DeserializeGuard<ArtifactConfig>,
    previous: Option<&ArtifactConfigStatus>,
    context: &Context<R, C>,
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
    sync(config, previous, context, entry, seen).await.unwrap_or_else(Outcome::Failed)
}

/// A status to be written over another.
struct Change<'a> {
    metadata: &'a ObjectMeta,
    previous: Option<&'a ArtifactConfigStatus>,
    version: Option<String>,
    next: ArtifactConfigStatus,
}

/// Outcome → status, event and log line, and then the revisions that it no longer needs; the only place that does.
async fn settle<R: Registry, C: Cluster>(
    change: Change<'_>,
    header: &Header,
    outcome: &Outcome,
    context: &Context<R, C>,
    entry: &mut Entry,
) -> Result<(), WriteError> {
    let Change { metadata, previous, version, next } = change;
    let owner = &header.owner;
    let transition = event::transition(previous, &next, outcome);
    let version = if previous == Some(&next) {
        version
    } else {
        context.cluster.write_status(owner, &next, version.as_deref()).await?
    };
    log(header, outcome, transition.is_some());
    // Only now: an event without its status would be published again by the next try.
    if let Some(event) = transition {
        context.cluster.publish(owner, &event).await;
    }
    // Last of all: a revision goes only once no status speaks of it.
    if matches!(outcome, Outcome::Synced { .. }) {
        collect(header, &next, context, entry).await;
    }
    entry.written = Some(Written { from: metadata.resource_version.clone(), version, status: next });
    Ok(())
}

/// Deletes surplus revisions. What fails here fails again at the next change and harms nothing until then.
async fn collect<R: Registry, C: Cluster>(
    header: &Header,
    status: &ArtifactConfigStatus,
    context: &Context<R, C>,
    entry: &mut Entry,
) {
    let now = (context.now)();
    let newest = status.history.first().map(|entry| entry.revision);
    let looked_at = entry.collected.as_ref();
    if looked_at.is_some_and(|looked| {
        (looked.newest, looked.generation) == (newest, header.generation)
            && now.duration_since(looked.at) < KEPT_FOR
    }) {
        return;
    }
    match cluster::collect(&context.cluster, &header.owner, &status.history).await {
        Ok(_) => entry.collected = Some(Collected { newest, generation: header.generation, at: now }),
        Err(failure) => {
            let owner = &header.owner;
            tracing::warn!(
                namespace = owner.namespace,
                name = owner.name,
                message = failure.message,
                "revisions not collected"
            );
        }
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
                message = failure.message,
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
