//! What the watches trigger: one controller for each scope, and the turn of a resource.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::Client;
use kube::Resource as _;
use kube::runtime::controller::{self, Action, Controller};
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use crate::cluster::{KubeCluster, Leadership};
use crate::oci::Registry;
use crate::spans;
use crate::telemetry::waited;

use super::context::Context;
use super::reconcile::{Next, reconcile};
use super::watch::{Guarded, Scope, Watches, name_of, namespace_of, owner_of, resources, targets};

/// How long running reconciles may take to end after the signal: what they write is written in a moment, and what they
/// ask of registries is broken off. Kubernetes kills after 30 s.
const GRACE: Duration = Duration::from_secs(10);

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Reconciles side by side, in all namespaces together.
    pub concurrency: u16,
    /// Nothing is reconciled without it.
    pub leadership: Leadership,
}

/// Runs until the context's `stop` comes, then lets running reconciles end.
///
/// # Errors
/// Where a controller ends by itself, which it never should.
pub async fn run<R: Registry>(
    watches: Watches,
    context: Arc<Context<R, KubeCluster>>,
    options: Options,
) -> anyhow::Result<()> {
    let Watches { client, scopes } = watches;
    let stop = context.stop.clone();
    let slots = Arc::new(Semaphore::new(options.concurrency.into()));
    let controllers = scopes.into_iter().map(|scope| {
        let worker = Arc::new(Worker {
            context: Arc::clone(&context),
            slots: Arc::clone(&slots),
            leadership: options.leadership.clone(),
        });
        controller(&client, scope, worker, options.concurrency)
    });
    tokio::select! {
        ended = futures::future::try_join_all(controllers) => { ended?; }
        () = async { stop.wait().await; tokio::time::sleep(GRACE).await } => {
            tracing::warn!(seconds = GRACE.as_secs(), "reconciles did not end in time; ending without them");
        }
    }
    Ok(())
}

/// What a reconcile is run with.
struct Worker<R> {
    context: Arc<Context<R, KubeCluster>>,
    /// The bound of all controllers together: each has its own, and with several namespaces there are several.
    slots: Arc<Semaphore>,
    leadership: Leadership,
}

/// One scope's controller, until `stop` comes.
async fn controller<R: Registry>(
    client: &Client,
    scope: Scope,
    worker: Arc<Worker<R>>,
    concurrency: u16,
) -> anyhow::Result<()> {
    let metrics = &worker.context.metrics;
    let (of_resources, of_targets) = (scope.api(client), scope.api(client));
    let Scope { namespace, resources: (store, writer), targets: target_store, known } = scope;
    let stop = worker.context.stop.clone();
    let stopping = stop.clone();
    let memory = worker.context.memory.clone();
    let resources =
        resources(of_resources, namespace.clone(), writer, known.resources, metrics.clone(), memory);
    let targets = targets(of_targets, target_store, known.targets, metrics.clone());
    Controller::for_stream(resources, store)
        .watches_stream(targets, |target| owner_of(&target))
        .with_config(controller::Config::default().concurrency(concurrency))
        .graceful_shutdown_on(async move { stopping.wait().await })
        .run(reconcile_guarded, |_, error: &Infallible, _| match *error {}, worker)
        .for_each(|result| {
            if let Err(error) = result {
                // A resource that went between its event and its turn is no error; the watches count their own.
                tracing::debug!(error = %error, "not reconciled");
            }
            std::future::ready(())
        })
        .await;
    let scope = namespace.map_or_else(|| "all namespaces".to_owned(), |name| format!("namespace {name}"));
    anyhow::ensure!(stop.has_come(), "the controller of {scope} ended although nobody asked it to");
    Ok(())
}

async fn reconcile_guarded<R: Registry>(
    object: Arc<Guarded>,
    worker: Arc<Worker<R>>,
) -> Result<Action, Infallible> {
    let Worker { context, slots, leadership } = &*worker;
    if !leadership.holds() {
        tokio::select! {
            () = leadership.wait() => {}
            () = context.stop.wait() => return Ok(Action::await_change()),
        }
        // The resource at hand is as old as the wait.
        return Ok(Action::requeue(Duration::ZERO));
    }
    // Never closed, so that there always is one to wait for.
    let _slot = slots.acquire().await;
    let turn = context.metrics.queue().begin(namespace_of(&*object), name_of(&*object));
    let span = tracing::info_span!(
        target: spans::TARGET,
        "reconcile",
        "k8s.namespace.name" = namespace_of(&*object),
        "artifactconfig.name" = name_of(&*object),
        "artifactconfig.generation" = object.meta().generation,
        "artifactconfig.reason" = tracing::field::Empty,
        "otel.status_code" = tracing::field::Empty,
        "otel.status_description" = tracing::field::Empty,
        "error.type" = tracing::field::Empty,
    );
    if let Some(time) = turn.waited() {
        waited(&span, "watch", time);
    }
    let next = match reconcile(&object, context).instrument(span).await {
        Next::After(wait) => Some(wait),
        Next::OnChange => None,
    };
    turn.end(next);
    Ok(next.map_or_else(Action::await_change, Action::requeue))
}
