//! The watches, and the controller that they trigger.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use tokio::sync::watch;

use crate::api::{ArtifactConfig, MANAGER, annotation, label};
use crate::cluster::{KubeCluster, TargetStore};
use crate::oci::Registry;
use crate::telemetry::{Metrics, Queue, ResourceStates};

use super::context::Context;
use super::reconcile::{Next, reconcile};

type Guarded = DeserializeGuard<ArtifactConfig>;
type TargetMeta = PartialObjectMeta<ConfigMap>;

/// Objects per page of a list: a page is held in memory twice while it is read.
const PAGE: u32 = 100;

/// Longest watch, in seconds. Below the 240 s after which some load balancers drop a silent connection without a
/// word (kube#1798), so that a dead watch is noticed by its end.
const WATCH: u32 = 200;

/// How long running reconciles may take to end after the signal: what they write is written in a moment, and what they
/// ask of registries is broken off. Kubernetes kills after 30 s.
const GRACE: Duration = Duration::from_secs(10);

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Reconciles side by side.
    pub concurrency: u16,
}

/// The streams of one controller and the stores that they fill.
pub struct Watches {
    client: Client,
    resources: (Store<Guarded>, Writer<Guarded>),
    targets: (TargetStore, Writer<TargetMeta>),
    known: Known,
}

/// Which watches have delivered everything once. Not by `Store::wait_until_ready`: in kube-runtime 5 it wakes one
/// waiter only, and the controller is waiting already (`DelayedInit::get` polls one shared receiver).
#[derive(Clone)]
struct Known {
    resources: Arc<watch::Sender<bool>>,
    targets: Arc<watch::Sender<bool>>,
}

impl Watches {
    /// Nothing is watched yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let known = || Arc::new(watch::Sender::new(false));
        Self {
            client,
            resources: reflector::store(),
            targets: reflector::store(),
            known: Known { resources: known(), targets: known() },
        }
    }

    /// What will be known of the targets.
    #[must_use]
    pub fn targets(&self) -> TargetStore {
        self.targets.0.clone()
    }

    /// The resources as they are known whenever it is asked.
    #[must_use]
    pub fn resources(&self) -> ResourceStates {
        let store = self.resources.0.clone();
        Arc::new(move || store.state())
    }

    /// Ends once every resource and every target is known.
    pub fn known(&self) -> impl Future<Output = ()> + Send + 'static {
        let (resources, targets) = (self.known.resources.subscribe(), self.known.targets.subscribe());
        async move {
            wait_for(resources).await;
            wait_for(targets).await;
        }
    }
}

/// Runs until the context's `stop` comes, then lets running reconciles end.
///
/// # Errors
/// Where the controller ends by itself, which it never should.
pub async fn run<R: Registry>(
    watches: Watches,
    context: Arc<Context<R, KubeCluster>>,
    options: Options,
) -> anyhow::Result<()> {
    let Watches { client, resources: (store, writer), targets: (_, target_writer), known } = watches;
    let metrics = context.metrics.clone();
    let config = controller::Config::default().concurrency(options.concurrency);
    let stop = context.stop.clone();
    let stopping = stop.clone();
    let controller =
        Controller::for_stream(resources(&client, writer, known.resources.clone(), metrics.clone()), store)
            .watches_stream(targets(&client, target_writer, known.targets.clone(), metrics), |target| {
                owner_of(&target)
            })
            .with_config(config)
            .graceful_shutdown_on(async move { stopping.wait().await })
            .run(reconcile_guarded, |_, error: &Infallible, _| match *error {}, context)
            .for_each(|result| {
                if let Err(error) = result {
                    // A resource that went between its event and its turn is no error; the watches count their own.
                    tracing::debug!(error = %error, "not reconciled");
                }
                std::future::ready(())
            });
    tokio::select! {
        () = controller => {}
        () = async { stop.wait().await; tokio::time::sleep(GRACE).await } => {
            tracing::warn!(seconds = GRACE.as_secs(), "reconciles did not end in time; ending without them");
        }
    }
    if stop.has_come() { Ok(()) } else { anyhow::bail!("the controller ended although nobody asked it to") }
}

async fn wait_for(mut flag: watch::Receiver<bool>) {
    // A dropped sender means that the process is ending as well.
    let _ = flag.wait_for(|set| *set).await;
}

fn note_known<K>(event: &Result<watcher::Event<K>, watcher::Error>, known: &watch::Sender<bool>) {
    if matches!(event, Ok(watcher::Event::InitDone)) {
        known.send_replace(true);
    }
}

async fn reconcile_guarded<R: Registry>(
    object: Arc<Guarded>,
    context: Arc<Context<R, KubeCluster>>,
) -> Result<Action, Infallible> {
    let turn = context.metrics.queue().begin(namespace_of(&*object), name_of(&*object));
    let next = match reconcile(&object, &context).await {
        Next::After(wait) => Some(wait),
        Next::OnChange => None,
    };
    turn.end(next);
    Ok(next.map_or_else(Action::await_change, Action::requeue))
}

fn watch_config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE).timeout(WATCH)
}

/// The resources, whenever something of them changes that a reconcile answers to. Objects that cannot be parsed come
/// through as well, to be told so in their status.
fn resources(
    client: &Client,
    writer: Writer<Guarded>,
    known: Arc<watch::Sender<bool>>,
    metrics: Metrics,
) -> impl Stream<Item = Result<Guarded, watcher::Error>> + use<> {
    let (store, queue) = (writer.as_reader(), metrics.queue().clone());
    watcher(Api::<Guarded>::all(client.clone()), watch_config())
        .modify(|object| object.meta_mut().managed_fields = None)
        .reflect(writer)
        .inspect(move |event| note_known(event, &known))
        .inspect(move |event| note_gone(event, &store, &queue))
        .applied_objects()
        .predicate_filter(interest, kube::runtime::PredicateConfig::default())
        .inspect(move |result| match result {
            Ok(object) => metrics.queue().changed(namespace_of(object), name_of(object)),
            Err(error) => noted("artifactconfigs", &metrics, error),
        })
        // After decoding: placed before it, every retry of a failing list would reset it (bitdriftlabs/pulse#52).
        .default_backoff()
}

/// What a reconcile answers to: not the status, which it writes itself.
#[expect(clippy::unnecessary_wraps, reason = "the signature is that of a predicate of kube")]
fn interest(object: &Guarded) -> Option<u64> {
    let metadata = object.meta();
    let mut hasher = DefaultHasher::new();
    metadata.generation.hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    object.annotations().get(annotation::REQUESTED_AT).hash(&mut hasher);
    Some(hasher.finish())
}

/// The targets, by label and as metadata. Errors end here: the controller would stop looking at all its streams while
/// it waits out the error of one (stackabletech/trino-operator#936).
fn targets(
    client: &Client,
    writer: Writer<TargetMeta>,
    known: Arc<watch::Sender<bool>>,
    metrics: Metrics,
) -> impl Stream<Item = Result<TargetMeta, watcher::Error>> + use<> {
    let config = watch_config().labels(&format!("{}={MANAGER}", label::MANAGED_BY));
    watcher(Api::<TargetMeta>::all(client.clone()), config)
        .modify(|object| {
            object.metadata.managed_fields = None;
            object.metadata.annotations = None;
        })
        .reflect(writer)
        .inspect(move |event| note_known(event, &known))
        .touched_objects()
        .inspect(move |result| match result {
            Ok(target) => {
                if let Some(owner) = owner_of(target) {
                    metrics.queue().touched(namespace_of(target), &owner.name);
                }
            }
            Err(error) => noted("configmaps", &metrics, error),
        })
        .default_backoff()
        .filter(|result| std::future::ready(result.is_ok()))
}

fn noted(watched: &'static str, metrics: &Metrics, error: &watcher::Error) {
    metrics.watch_failed(watched);
    tracing::warn!(watched, error = %error, "watch failed; trying again");
}

/// What is gone is no longer due: by its deletion, or because it is not in a new list.
fn note_gone(event: &Result<watcher::Event<Guarded>, watcher::Error>, store: &Store<Guarded>, queue: &Queue) {
    match event {
        Ok(watcher::Event::Delete(object)) => queue.gone(namespace_of(object), name_of(object)),
        // Comes after the store has it.
        Ok(watcher::Event::InitDone) => {
            queue
                .listed(None, |namespace, name| store.get(&ObjectRef::new(name).within(namespace)).is_some());
        }
        _ => {}
    }
}

fn namespace_of<K: kube::Resource>(object: &K) -> &str {
    object.meta().namespace.as_deref().unwrap_or_default()
}

fn name_of<K: kube::Resource>(object: &K) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

/// The resource that a target belongs to: its controller, or where it has none the one that its label names. The label
/// alone would not do, because it may be what somebody changed.
fn owner_of(target: &TargetMeta) -> Option<ObjectRef<Guarded>> {
    let controller = target.owner_references().iter().find(|reference| reference.controller == Some(true));
    let name = controller
        .filter(|controller| controller.kind == "ArtifactConfig")
        .map(|controller| &controller.name)
        .or_else(|| target.labels().get(label::NAME))?;
    Some(ObjectRef::new(name).within(&target.namespace()?))
}
