//! The player at work: watches in, writes out.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::PoisonError;
use std::time::Duration;

use futures::stream::{BoxStream, FuturesUnordered};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Shared;
use super::content::Content;
use super::part::{Key, Part};
use super::stage::{Deed, Outcome, Stage, What};

/// Writes at the same time: enough to keep a local API server busy.
const WRITES: usize = 32;

/// Between two tries of a watch. The API server is on this machine, and tests stop and start it.
const RECONNECT: Duration = Duration::from_millis(200);

/// Objects that a list has named so far; `None` outside of one.
type Listed = Option<BTreeSet<Key>>;

/// A client for watches and another for writes.
///
/// kube 5 speaks HTTP/1.1, so each watch holds a connection. Tests that watch would take the idle ones of a shared
/// client, and a new one costs a TLS handshake of 50 ms.
pub(crate) struct Clients {
    pub(crate) watches: Client,
    pub(crate) writes: Client,
}

/// Until it is dropped.
pub(super) async fn run(clients: &Clients, shared: &Shared) {
    let mut stage = Stage::default();
    let mut pods = watch::<Pod>(&clients.watches, "spec.nodeName!=");
    let mut config_maps = watch::<ConfigMap>(&clients.watches, "");
    let (mut pods_listed, mut config_maps_listed): (Listed, Listed) = (None, None);
    // Without the ConfigMaps that exist, pods would start without their optional ones.
    while let Some(event) = config_maps.next().await {
        let listed = matches!(event, Event::InitDone);
        config_map(&mut stage, event, &mut config_maps_listed);
        if listed {
            break;
        }
    }
    let mut writes = FuturesUnordered::new();
    loop {
        while writes.len() < WRITES {
            let Some(deed) = next(&mut stage, shared) else { break };
            writes.push(carry_out(&clients.writes, deed));
        }
        let timer = stage.next_timer();
        tokio::select! {
            Some(event) = pods.next() => pod(&mut stage, event, &mut pods_listed),
            Some(event) = config_maps.next() => config_map(&mut stage, event, &mut config_maps_listed),
            Some((deed, outcome)) = writes.next() => stage.done(deed, outcome, Timestamp::now()),
            () = shared.changed.notified() => stage.script_changed(),
            () = until(timer) => stage.ring(Timestamp::now()),
        }
    }
}

fn next(stage: &mut Stage, shared: &Shared) -> Option<Deed> {
    let script = shared.script.lock().unwrap_or_else(PoisonError::into_inner);
    let mut starts = shared.starts.lock().unwrap_or_else(PoisonError::into_inner);
    stage.next(&script, &mut starts, Timestamp::now())
}

/// The events of a kind in all namespaces. It tries again by itself after each failure.
fn watch<K>(client: &Client, fields: &str) -> BoxStream<'static, Event<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let config = watcher::Config::default().fields(fields);
    watcher(Api::<K>::all(client.clone()), config)
        .backoff(Steady)
        .into_stream()
        .filter_map(|event| std::future::ready(event.ok()))
        .boxed()
}

/// A backoff that stays the same.
struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(RECONNECT)
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}

fn pod(stage: &mut Stage, event: Event<Pod>, listed: &mut Listed) {
    match event {
        Event::Init => *listed = Some(BTreeSet::new()),
        Event::Apply(pod) | Event::InitApply(pod) => {
            if let Some(part) = Part::of(&pod) {
                listed.as_mut().map(|listed| listed.insert(part.key.clone()));
                stage.pod(part, Timestamp::now());
            }
        }
        Event::Delete(pod) => {
            if let Some(key) = key(&pod) {
                stage.pod_gone(&key);
            }
        }
        Event::InitDone => stage.pods_listed(&listed.take().unwrap_or_default()),
    }
}

fn config_map(stage: &mut Stage, event: Event<ConfigMap>, listed: &mut Listed) {
    match event {
        Event::Init => *listed = Some(BTreeSet::new()),
        Event::Apply(map) | Event::InitApply(map) => {
            if let Some(key) = key(&map) {
                listed.as_mut().map(|listed| listed.insert(key.clone()));
                stage.config_map(key, Content::of(&map));
            }
        }
        Event::Delete(map) => {
            if let Some(key) = key(&map) {
                stage.config_map_gone(&key);
            }
        }
        Event::InitDone => stage.config_maps_listed(&listed.take().unwrap_or_default()),
    }
}

fn key(object: &impl Resource) -> Option<Key> {
    let meta = object.meta();
    Some(Key { namespace: meta.namespace.clone()?, name: meta.name.clone()? })
}

async fn carry_out(client: &Client, deed: Deed) -> (Deed, Outcome) {
    let api: Api<Pod> = Api::namespaced(client.clone(), &deed.key.namespace);
    let answer = match &deed.what {
        What::Write(status) => {
            let patch = Patch::Strategic(patch(&deed.uid, &json!(status)));
            api.patch_status(&deed.key.name, &PatchParams::default(), &patch).await.map(drop)
        }
        What::Delete => {
            let same = Preconditions { uid: Some(deed.uid.clone()), ..Preconditions::default() };
            let params = DeleteParams::default().grace_period(0).preconditions(same);
            api.delete(&deed.key.name, &params).await.map(drop)
        }
    };
    let outcome = match answer {
        Ok(()) => Outcome::Done,
        Err(kube::Error::Api(status)) if status.code == 404 => Outcome::Gone,
        Err(kube::Error::Api(status)) if status.code == 422 => {
            // Trying again would not help, and a pod that just stays Pending explains nothing.
            eprintln!("the player cannot write the status of {:?}: {}", deed.key, status.message);
            Outcome::Done
        }
        Err(_) => Outcome::Failed,
    };
    (deed, outcome)
}

/// With the UID, so that another pod of the same name is a conflict.
fn patch(uid: &str, status: &Value) -> Value {
    let mut status = status.clone();
    // A strategic merge keeps what a condition does not name.
    for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            condition.entry("reason").or_insert(Value::Null);
            condition.entry("message").or_insert(Value::Null);
        }
    }
    json!({"metadata": {"uid": uid}, "status": status})
}

async fn until(time: Option<Timestamp>) {
    match time {
        Some(time) => {
            let left = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
            tokio::time::sleep(left).await;
        }
        None => std::future::pending().await,
    }
}
