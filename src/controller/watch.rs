//! The watches: what is listed, what is kept of it, and which changes matter.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use tokio::sync::watch;

use crate::api::{ArtifactConfig, MANAGER, annotation, label};
use crate::cluster::{TargetMeta, TargetStore, Targets};
use crate::telemetry::{Metrics, Queue, ResourceStates};
use crate::types::{Namespace, Namespaces};

use super::context::Memory;

pub(super) type Guarded = DeserializeGuard<ArtifactConfig>;

/// Objects per page of a list: a page is held in memory twice while it is read.
const PAGE: u32 = 100;

/// Longest watch, in seconds. Below the 240 s after which some load balancers drop a silent connection without a
/// word (kube#1798), so that a dead watch is noticed by its end.
const WATCH: u32 = 200;

/// The streams of the controllers and the stores that they fill.
pub struct Watches {
    pub(super) client: Client,
    pub(super) scopes: Vec<Scope>,
}

/// All namespaces, or one of several: a watch sees either, and a store is filled by one watch.
pub(super) struct Scope {
    pub(super) namespace: Option<Namespace>,
    pub(super) resources: (Store<Guarded>, Writer<Guarded>),
    pub(super) targets: TargetStore,
    pub(super) known: Known,
}

/// Which watches have delivered everything once. Not by `Store::wait_until_ready`: in kube-runtime 5 it wakes one
/// waiter only, and the controller is waiting already (`DelayedInit::get` polls one shared receiver).
#[derive(Clone)]
pub(super) struct Known {
    pub(super) resources: Arc<watch::Sender<bool>>,
    pub(super) targets: Arc<watch::Sender<bool>>,
}

impl Scope {
    fn new(namespace: Option<Namespace>) -> Self {
        let known = || Arc::new(watch::Sender::new(false));
        Self {
            namespace,
            resources: reflector::store(),
            targets: TargetStore::default(),
            known: Known { resources: known(), targets: known() },
        }
    }

    /// What can be listed and watched with rights in this scope only.
    pub(super) fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace.as_str()),
            None => Api::all(client.clone()),
        }
    }
}

impl Watches {
    /// Nothing is watched yet.
    #[must_use]
    pub fn new(client: Client, namespaces: &Namespaces) -> Self {
        let scopes = match namespaces {
            Namespaces::All => vec![Scope::new(None)],
            Namespaces::Only(named) => named.iter().cloned().map(Some).map(Scope::new).collect(),
        };
        Self { client, scopes }
    }

    /// What will be known of the targets.
    #[must_use]
    pub fn targets(&self) -> Targets {
        let store = |scope: &Scope| scope.targets.clone();
        match self.scopes.as_slice() {
            [all] if all.namespace.is_none() => Targets::All(store(all)),
            each => {
                let named = |scope: &Scope| Some((scope.namespace.as_ref()?.to_string(), store(scope)));
                Targets::Each(Arc::new(each.iter().filter_map(named).collect()))
            }
        }
    }

    /// The resources as they are known whenever it is asked.
    #[must_use]
    pub fn resources(&self) -> ResourceStates {
        let stores: Vec<_> = self.scopes.iter().map(|scope| scope.resources.0.clone()).collect();
        Arc::new(move || stores.iter().flat_map(Store::state).collect())
    }

    /// Ends once every resource and every target is known.
    pub fn known(&self) -> impl Future<Output = ()> + Send + 'static {
        let flags: Vec<_> = self
            .scopes
            .iter()
            .flat_map(|scope| [scope.known.resources.subscribe(), scope.known.targets.subscribe()])
            .collect();
        async move {
            for flag in flags {
                wait_for(flag).await;
            }
        }
    }
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

fn watch_config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE).timeout(WATCH)
}

/// The resources, whenever something of them changes that a reconcile answers to. Objects that cannot be parsed come
/// through as well, to be told so in their status.
pub(super) fn resources(
    api: Api<Guarded>,
    namespace: Option<Namespace>,
    writer: Writer<Guarded>,
    known: Arc<watch::Sender<bool>>,
    metrics: Metrics,
    memory: Memory,
) -> impl Stream<Item = Result<Guarded, watcher::Error>> + use<> {
    let (store, queue) = (writer.as_reader(), metrics.queue().clone());
    watcher(api, watch_config())
        .modify(|object| lighten(object.meta_mut()))
        .reflect(writer)
        .inspect(move |event| note_known(event, &known))
        .inspect(move |event| note_gone(event, namespace.as_ref(), &store, &queue, &memory))
        .applied_objects()
        .predicate_filter(interest, kube::runtime::PredicateConfig::default())
        .inspect(move |result| match result {
            Ok(object) => metrics.queue().changed(namespace_of(object), name_of(object)),
            Err(error) => noted("artifactconfigs", &metrics, error),
        })
        // After decoding: placed before it, every retry of a failing list would reset it (bitdriftlabs/pulse#52).
        .default_backoff()
}

/// Takes away what nobody reads of a resource, because each is held in memory; the annotation of `kubectl apply` alone is
/// as large as the `spec`. A resource is never written back whole, so that nothing is lost in the cluster.
fn lighten(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.labels = None;
    metadata.annotations = metadata
        .annotations
        .take()
        .and_then(|mut annotations| annotations.remove_entry(annotation::REQUESTED_AT))
        .map(|requested| BTreeMap::from([requested]));
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
pub(super) fn targets(
    api: Api<TargetMeta>,
    store: TargetStore,
    known: Arc<watch::Sender<bool>>,
    metrics: Metrics,
) -> impl Stream<Item = Result<TargetMeta, watcher::Error>> + use<> {
    let config = watch_config().labels(&format!("{}={MANAGER}", label::MANAGED_BY));
    watcher(api, config)
        .modify(|object| object.metadata.annotations = None)
        // Of the managed fields the store keeps whether the operator is among the managers.
        .inspect(move |event| {
            if let Ok(event) = event {
                store.note(event);
            }
        })
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

/// What is gone is no longer due, and nothing is remembered of it: by its deletion, or because it is not in a new list.
fn note_gone(
    event: &Result<watcher::Event<Guarded>, watcher::Error>,
    namespace: Option<&Namespace>,
    store: &Store<Guarded>,
    queue: &Queue,
    memory: &Memory,
) {
    match event {
        Ok(watcher::Event::Delete(object)) => {
            queue.gone(namespace_of(object), name_of(object));
            memory.forget(object.meta().uid.as_deref().unwrap_or_default());
        }
        // Comes after the store has it.
        Ok(watcher::Event::InitDone) => {
            queue.listed(namespace.map(Namespace::as_str), |namespace, name| {
                store.get(&ObjectRef::new(name).within(namespace)).is_some()
            });
        }
        _ => {}
    }
}

pub(super) fn namespace_of<K: kube::Resource>(object: &K) -> &str {
    object.meta().namespace.as_deref().unwrap_or_default()
}

pub(super) fn name_of<K: kube::Resource>(object: &K) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

/// The resource that a target belongs to: its controller, or where it has none the one that its label names. The label
/// alone would not do, because it may be what somebody changed.
pub(super) fn owner_of(target: &TargetMeta) -> Option<ObjectRef<Guarded>> {
    let controller = target.owner_references().iter().find(|reference| reference.controller == Some(true));
    let name = controller
        .filter(|controller| controller.kind == "ArtifactConfig")
        .map(|controller| &controller.name)
        .or_else(|| target.labels().get(label::NAME))?;
    Some(ObjectRef::new(name).within(&target.namespace()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Also of one that cannot be read; and the watch answers to the same changes as before.
    #[rstest::rstest]
    #[case::asked_for_a_look(json!({"image": "r.example/web:v1", "artifactType": "a/b"}), json!({annotation::REQUESTED_AT: "now"}))]
    #[case::never_asked(json!({"image": "r.example/web:v1", "artifactType": "a/b"}), json!(null))]
    #[case::unreadable(json!({"image": 1}), json!({annotation::REQUESTED_AT: "now"}))]
    fn what_nobody_reads_of_a_resource_is_not_held(
        #[case] spec: serde_json::Value,
        #[case] ours: serde_json::Value,
    ) {
        let bare = json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig", "spec": spec,
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "generation": 2, "resourceVersion": "7",
                "annotations": ours},
        });
        let mut full = bare.clone();
        full["metadata"]["labels"] = json!({"app.kubernetes.io/instance": "web"});
        full["metadata"]["managedFields"] = json!([{"manager": "kubectl", "operation": "Apply"}]);
        full["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!("{}");
        let read = |object: &serde_json::Value| serde_json::from_value::<Guarded>(object.clone()).unwrap();
        let (mut held, seen) = (read(&full), interest(&read(&full)));
        lighten(held.meta_mut());
        assert_eq!(held.meta(), read(&bare).meta());
        assert_eq!(interest(&held), seen);
    }
}
