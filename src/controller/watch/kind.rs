//! A watched kind, and what all watches share.

use std::future::ready;

use api::ArtifactConfig;
use decide::turns::Key;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};

use crate::namespace::Namespace;
use crate::telemetry::Metrics;

pub(in crate::controller) type Guarded = DeserializeGuard<ArtifactConfig>;

/// Objects per page of a list: a page is held in memory twice while it is read.
const PAGE: u32 = 100;

/// Longest watch, in seconds. One whose connection is dead without a word (some load balancers drop a silent one after
/// 240 s, kube#1798) is noticed by its end, which kube waits for 5 s longer: until then nothing that changes is seen. Two
/// requests a minute are what that costs.
const WATCH: u32 = 60;

/// A kind that is watched in a scope while a resource there needs it.
pub(super) trait Kind: Send + Sync + 'static {
    /// Its name in rights, metrics and log lines.
    fn name(&self) -> &'static str;

    /// Whether this resource needs it.
    fn is_needed_by(&self, resource: &Guarded) -> bool;

    /// Watches it until the stream is dropped. After a failure it tries again by itself (see [`told`]).
    fn watch(&self, place: &Place) -> BoxStream<'static, Change>;

    /// Drops what was kept, because nobody watches any more whether it is still so.
    fn forget(&self);
}

/// News of a kind that is watched for resources.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// An object changed that matters to these resources.
    Touched(Vec<Key>),
    /// Every object has been told of once.
    Listed,
}

/// Where a watch looks, and where it reports its failures.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) client: Client,
    /// All namespaces if it is `None`.
    pub(super) namespace: Option<Namespace>,
    pub(super) metrics: Metrics,
}

impl Place {
    /// What can be listed and watched with rights in this scope only.
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace.as_str()),
            None => Api::all(self.client.clone()),
        }
    }
}

pub(super) fn watch_config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE).timeout(WATCH)
}

/// What a watch tells by its events. A failure is counted and logged, and each one makes the pause before the next try
/// longer, up to 30 s; other watches do not notice.
pub(super) fn told<K, T>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    name: &'static str,
    place: &Place,
    mut news: impl FnMut(watcher::Event<K>) -> Option<T> + Send + 'static,
) -> BoxStream<'static, T>
where
    K: Send + 'static,
    T: Send + 'static,
{
    let metrics = place.metrics.clone();
    events
        .inspect(move |event| {
            if let Err(error) = event {
                metrics.watch_failed(name);
                tracing::warn!(watched = name, error = %error, "watch failed; trying again");
            }
        })
        .filter_map(move |event| ready(event.map(&mut news).transpose()))
        // After decoding: placed before it, every retry of a failing list would reset it (bitdriftlabs/pulse#52).
        .default_backoff()
        .filter_map(|told| ready(told.ok()))
        .boxed()
}

/// The name of a resource.
pub(in crate::controller) fn key_of(object: &Guarded) -> Key {
    let name = |text: &Option<String>| text.as_deref().unwrap_or_default().to_owned();
    Key::new(&name(&object.meta().namespace), &name(&object.meta().name))
}
