//! One resource, once: the pipeline as a table of contents.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;

use crate::api::{ArtifactConfig, ArtifactConfigStatus, Class, Reason, annotation};
use crate::cluster::{self, Cluster};
use crate::decide::outcome::Outcome;
use crate::decide::plan::{self, Applied};
use crate::decide::spec::{self, Desired, Header};
use crate::decide::{event, render, schedule, select, status};
use crate::oci::{Freshness, Query, Registry, Subject};
use crate::types::Failure;

use super::context::{Context, Entry, Question, Written};

/// Interval for a resource whose own cannot be read.
const DEFAULT_INTERVAL: Duration = Duration::from_mins(5);

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
    let (metadata, previous, interval) = match &object.0 {
        Ok(config) => (&config.metadata, config.status.as_ref(), spec::parse(config).map(|desired| desired.interval).ok()),
        Err(invalid) => (&invalid.metadata, None, None),
    };
    if metadata.deletion_timestamp.is_some() {
        return Next::OnChange;
    }
    let started = Instant::now();
    let header = spec::header(metadata);
    let mut entry = context.memory.of(&header.owner.uid);
    // What cannot be parsed has a status all the same, and it must not be lost to a write.
    let read = match &object.0 {
        Err(_) => context.cluster.status(&header.owner).await.unwrap_or_default(),
        Ok(_) => None,
    };
    let previous = previous.or(read.as_ref());
    // A panic is a bug in one resource's path and must not take the other resources along.
    let outcome = AssertUnwindSafe(outcome(object, context, &mut entry)).catch_unwind().await.unwrap_or_else(|_| {
        Outcome::Failed(Failure::new(Reason::InternalError, "the operator panicked; its log has the place; please report it"))
    });
    let settled = settle(metadata, previous, &header, &outcome, context, &mut entry).await;
    entry.failures = match (&settled, outcome.class()) {
        (Ok(()), Class::Done | Class::Terminal | Class::Waiting) => 0,
        (Err(_), _) | (Ok(()), Class::Transient) => entry.failures.saturating_add(1),
    };
    let ended = settled.err().map_or(outcome, Outcome::Failed);
    context.metrics.reconciled(&ended, started.elapsed());
    let next = schedule::next(&ended, entry.failures, interval.unwrap_or(DEFAULT_INTERVAL), &header.owner.uid);
    context.memory.keep(&header.owner.uid, entry);
    Next::After(next)
}

async fn outcome<R: Registry, C: Cluster>(
    object: &DeserializeGuard<ArtifactConfig>,
    context: &Context<R, C>,
    entry: &mut Entry,
) -> Outcome {
    let config = match &object.0 {
        Ok(config) if config.spec.suspend => return Outcome::Suspended,
        Ok(config) => config,
        Err(invalid) => {
            return Outcome::Failed(Failure::new(
                Reason::InvalidSpec,
                format!("the resource cannot be read: {}; install the definition that belongs to this operator", invalid.error),
            ));
        }
    };
    match sync(config, context, entry).await {
        Ok((applied, notes)) => Outcome::Synced { applied: Box::new(applied), notes },
        Err(failure) => Outcome::Failed(failure),
    }
}

/// The pipeline.
async fn sync<R: Registry, C: Cluster>(
    config: &ArtifactConfig,
    context: &Context<R, C>,
    entry: &mut Entry,
) -> Result<(Applied, Vec<String>), Failure> {
    let Context { registry, cluster, .. } = context;
    // read (pure): the resource, once
    let desired = spec::parse(config)?;
    // read (io): what it refers to
    let access = cluster::access(cluster, &desired).await?;
    // resolve, discover (io): what the image is now, and what is attached to it
    let (subject, listing) = in_time(&desired, async {
        let freshness = freshness(config);
        let subject = registry.resolve(&access, &desired.image, freshness).await?;
        let query = Query {
            repository: &desired.referrers,
            artifact_type: Some(&desired.artifact_type),
            platform: desired.platform.as_ref(),
            freshness,
        };
        let listing = registry.referrers(&access, &subject, query).await?;
        Ok((subject, listing))
    })
    .await?;
    // select (pure): which of it
    let selected = select::select(question(&desired, &subject), &listing.artifacts, &desired.selector)
        .map_err(|failure| failure.with_notes(&listing.notes))?;
    let notes = [selected.notes.clone(), listing.notes.clone()].concat();
    let question = Question {
        generation: desired.generation,
        image: subject.digest.clone(),
        artifact: selected.artifact.digest.clone(),
    };
    if let Some(applied) = still_applied(cluster, &desired, entry, &question) {
        return Ok((applied, notes));
    }
    // pull, verify (io): its files
    let pulled =
        in_time(&desired, registry.pull(&access, &desired.referrers, selected.artifact, &desired.files)).await?;
    // render (pure): the ConfigMap
    let data = render::render(&pulled.files, &pulled.others, &desired.files)?;
    let rendered = plan::assemble(&desired, &subject.digest, selected.artifact, data);
    // plan, apply (pure, io): what is there against what should be
    entry.applied = None;
    let applied = cluster::apply(cluster, &desired, rendered).await?;
    entry.applied = Some((question, applied.unchanged()));
    Ok((applied, notes))
}

fn question<'a>(desired: &'a Desired, subject: &'a Subject) -> select::Question<'a> {
    select::Question { image: &desired.image, subject: &subject.digest, artifact_type: &desired.artifact_type }
}

/// Whoever asks for a sync by annotation has usually just attached something.
fn freshness(config: &ArtifactConfig) -> Freshness {
    let handled = config.status.as_ref().and_then(|status| status.last_handled_requested_at.as_ref());
    let requested = config.annotations().get(annotation::REQUESTED_AT);
    if requested.is_some() && requested != handled { Freshness::Now } else { Freshness::Recent }
}

/// What was applied before, where it answers the same question and the watch has seen no other version of the target
/// since. Then there is nothing to fetch, compare or write.
fn still_applied(
    cluster: &impl Cluster,
    desired: &Desired,
    entry: &Entry,
    question: &Question,
) -> Option<Applied> {
    let (answered, applied) = entry.applied.as_ref()?;
    let seen = cluster.target_version(&desired.owner, &desired.target.name)?;
    (answered == question && seen == applied.resource_version()).then(|| applied.unchanged())
}

/// Talks to the registry, but not for longer than `spec.timeout`.
async fn in_time<T>(desired: &Desired, talk: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(desired.timeout, talk).await.unwrap_or_else(|_| {
        Err(Failure::new(
            Reason::RegistryUnavailable,
            format!(
                "registry {} did not answer within spec.timeout ({} s)",
                desired.referrers.host(),
                desired.timeout.as_secs()
            ),
        ))
    })
}

/// Outcome → status, event and log line; the only place that writes them.
async fn settle<R: Registry, C: Cluster>(
    metadata: &ObjectMeta,
    previous: Option<&ArtifactConfigStatus>,
    header: &Header,
    outcome: &Outcome,
    context: &Context<R, C>,
    entry: &mut Entry,
) -> Result<(), Failure> {
    let owner = &header.owner;
    // The resource at hand may be older than the status that was written last.
    let written = entry.written.take().filter(|written| written.from == metadata.resource_version);
    let previous = written.as_ref().map(|written| &written.status).or(previous);
    let next = status::next(previous, header, outcome, (context.now)());
    let transition = event::transition(previous, &next, outcome);
    log(header, outcome, transition.is_some());
    let status_written = if previous == Some(&next) {
        Ok(())
    } else {
        context.cluster.write_status(owner, &next).await.map(|_| ())
    };
    if status_written.is_ok() {
        entry.written = Some(Written { from: metadata.resource_version.clone(), status: next });
        // Only now: an event without its status would be published again by the next try.
        if let Some(event) = transition {
            context.cluster.publish(owner, &event).await;
        }
    }
    status_written
}

fn log(header: &Header, outcome: &Outcome, transition: bool) {
    let Header { owner, generation, .. } = header;
    let reason = outcome.reason().as_str();
    match outcome {
        Outcome::Failed(failure) if transition => {
            tracing::warn!(namespace = owner.namespace, name = owner.name, generation, reason, message = failure.message, "not synced");
        }
        Outcome::Synced { applied, .. } if transition => {
            let facts = applied.facts();
            tracing::info!(
                namespace = owner.namespace, name = owner.name, generation, reason, changed = applied.changed(),
                image = %facts.image_digest, artifact = %facts.artifact, target = facts.target, "synced"
            );
        }
        _ if transition => {
            tracing::info!(namespace = owner.namespace, name = owner.name, generation, reason, "changed");
        }
        _ => tracing::debug!(namespace = owner.namespace, name = owner.name, generation, reason, "unchanged"),
    }
}
