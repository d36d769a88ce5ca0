//! The watches: what is listed, what is kept of it, and which changes matter.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{ArtifactConfig, MANAGER, annotation, label};
use decide::turns::Key;
use futures::{Stream, StreamExt as _};
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, Store, store::Writer};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use tokio::sync::SetOnce;

use crate::cluster::{TargetMeta, TargetStore, Targets};
use crate::namespace::{Namespace, Namespaces};
use crate::telemetry::{Metrics, ResourceStates};

pub(super) type Guarded = DeserializeGuard<ArtifactConfig>;

/// Objects per page of a list: a page is held in memory twice while it is read.
const PAGE: u32 = 100;

/// Longest watch, in seconds. One whose connection is dead without a word (some load balancers drop a silent one after
/// 240 s, kube#1798) is noticed by its end, which kube waits for 5 s longer: until then nothing that changes is seen. Two
/// requests a minute are what that costs.
const WATCH: u32 = 60;

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
    pub(super) resources: Arc<SetOnce<()>>,
    pub(super) targets: Arc<SetOnce<()>>,
}

impl Scope {
    fn new(namespace: Option<Namespace>) -> Self {
        let known = || Arc::new(SetOnce::new());
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
        let known: Vec<Known> = self.scopes.iter().map(|scope| scope.known.clone()).collect();
        async move {
            for Known { resources, targets } in &known {
                resources.wait().await;
                targets.wait().await;
            }
        }
    }
}

fn note_known<K>(event: &Result<watcher::Event<K>, watcher::Error>, known: &SetOnce<()>) {
    if matches!(event, Ok(watcher::Event::InitDone)) {
        // Refused where it was set before: a watch lists once more when it has lost its place.
        let _ = known.set(());
    }
}

fn watch_config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE).timeout(WATCH)
}

/// What the watches of a scope tell.
pub(super) enum News {
    /// A resource is there, or is another than before. Objects that cannot be parsed come through as well, to be told so
    /// in their status.
    Seen(Box<Guarded>),
    /// A resource is gone.
    Gone(Box<Guarded>),
    /// All resources of the scope are in its store: those that are not are gone.
    Listed,
    /// An object of a resource changed.
    Touched(Key),
}

/// News of resources, which the store has when they come.
pub(super) fn resources(
    api: Api<Guarded>,
    writer: Writer<Guarded>,
    known: Arc<SetOnce<()>>,
    metrics: Metrics,
) -> impl Stream<Item = News> + use<> {
    watcher(api, watch_config())
        .modify(|object| lighten(object.meta_mut()))
        .reflect(writer)
        .inspect(move |event| note_known(event, &known))
        .inspect(move |event| note_error("artifactconfigs", &metrics, event))
        .filter_map(|event| std::future::ready(event.map(news).transpose()))
        // After decoding: placed before it, every retry of a failing list would reset it (bitdriftlabs/pulse#52).
        .default_backoff()
        .filter_map(|news| std::future::ready(news.ok()))
}

fn news(event: watcher::Event<Guarded>) -> Option<News> {
    match event {
        watcher::Event::Apply(object) => Some(News::Seen(Box::new(object))),
        watcher::Event::Delete(object) => Some(News::Gone(Box::new(object))),
        watcher::Event::InitDone => Some(News::Listed),
        // In the store only once the list is whole.
        watcher::Event::Init | watcher::Event::InitApply(_) => None,
    }
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

/// News of targets, by label and as metadata.
pub(super) fn targets(
    api: Api<TargetMeta>,
    store: TargetStore,
    known: Arc<SetOnce<()>>,
    metrics: Metrics,
) -> impl Stream<Item = News> + use<> {
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
        .inspect(move |event| note_error("configmaps", &metrics, event))
        .touched_objects()
        .default_backoff()
        .filter_map(|target| std::future::ready(target.ok().as_ref().and_then(owner_of).map(News::Touched)))
}

fn note_error<K>(
    watched: &'static str,
    metrics: &Metrics,
    event: &Result<watcher::Event<K>, watcher::Error>,
) {
    if let Err(error) = event {
        metrics.watch_failed(watched);
        tracing::warn!(watched, error = %error, "watch failed; trying again");
    }
}

pub(super) fn key_of(object: &Guarded) -> Key {
    let name = |text: &Option<String>| text.as_deref().unwrap_or_default().to_owned();
    Key::new(&name(&object.meta().namespace), &name(&object.meta().name))
}

/// The resource that a target belongs to: its controller, or where it has none the one that its label names. The label
/// alone would not do, because it may be what somebody changed.
fn owner_of(target: &TargetMeta) -> Option<Key> {
    let controller = target.owner_references().iter().find(|reference| reference.controller == Some(true));
    let name = controller
        .filter(|controller| controller.kind == ArtifactConfig::kind(&()))
        .map(|controller| &controller.name)
        .or_else(|| target.labels().get(label::NAME))?;
    Some(Key::new(target.metadata.namespace.as_deref()?, name))
}

#[cfg(test)]
mod tests {
    use decide::turns::Version;

    use super::*;
    use serde_json::json;

    /// Also of one that cannot be read; and it is news by the same changes as before.
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
        let (mut held, seen) = (read(&full), Version::of(&read(&full)));
        lighten(held.meta_mut());
        assert_eq!(held.meta(), read(&bare).meta());
        assert_eq!(Version::of(&held), seen);
    }
}
