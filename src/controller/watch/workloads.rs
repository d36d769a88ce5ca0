//! The watches of the workloads that resources follow: one for each kind of Kubernetes, and one for all other kinds.
//!
//! A pass reads the workload itself. So a watch only tells that something about it has changed which matters, and no pass
//! waits for a watch.

use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use decide::workload;
use decide::workload_kind::WorkloadKind;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use kube::api::DynamicObject;
use kube::core::ApiResource;
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use kube::{Api, ResourceExt as _};

use crate::cluster::workload_resource;

use super::followers::{Address, Followers, Following, followed};
use super::kind::{Change, Guarded, Kind, Place, key_of, told, watch_config};

/// The name of all kinds beyond those of Kubernetes, in metrics and log lines.
const OTHERS: &str = "workloads";

/// The pause before the API server is asked again for a kind that it does not serve yet.
const NOT_SERVED: Duration = Duration::from_secs(30);

/// What is known of each followed workload of a kind: a number that changes with what matters.
#[derive(Clone, Default)]
struct Marks(Arc<Mutex<HashMap<Address, u64>>>);

impl Marks {
    /// Whether the mark is another than before.
    fn set(&self, address: &Address, mark: u64) -> bool {
        self.lock(|marks| marks.insert(address.clone(), mark) != Some(mark))
    }

    fn remove(&self, address: &Address) {
        self.lock(|marks| marks.remove(address));
    }

    fn clear(&self) {
        self.lock(HashMap::clear);
    }

    fn lock<T>(&self, act: impl FnOnce(&mut HashMap<Address, u64>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The workloads of one kind of Kubernetes.
pub(super) struct Workloads {
    kind: WorkloadKind,
    plural: &'static str,
    followers: Followers,
    marks: Marks,
}

impl Workloads {
    /// One for each kind of Kubernetes.
    pub(super) fn known(followers: &Followers) -> impl Iterator<Item = Self> {
        WorkloadKind::known().filter_map(|kind| {
            let plural = kind.plural()?;
            Some(Self { kind, plural, followers: followers.clone(), marks: Marks::default() })
        })
    }
}

impl Kind for Workloads {
    fn name(&self) -> &'static str {
        self.plural
    }

    fn is_needed_by(&self, resource: &Guarded) -> bool {
        followed(&key_of(resource), resource).is_some_and(|(address, _)| address.kind == self.kind)
    }

    fn watch(&self, place: &Place) -> BoxStream<'static, Change> {
        let resource = ApiResource::from_gvk_with_plural(&self.kind.gvk(), self.plural);
        let changes =
            changes(place, self.plural, &self.kind, &resource, self.followers.clone(), self.marks.clone());
        // Nothing waits for the list, because a pass reads the workload itself.
        stream::once(ready(Change::Listed)).chain(changes).boxed()
    }

    fn forget(&self) {
        self.marks.clear();
    }
}

/// The workloads of all other kinds.
pub(super) struct OtherWorkloads {
    followers: Followers,
    marks: Marks,
}

impl OtherWorkloads {
    pub(super) fn new(followers: &Followers) -> Self {
        Self { followers: followers.clone(), marks: Marks::default() }
    }
}

impl Kind for OtherWorkloads {
    fn name(&self) -> &'static str {
        OTHERS
    }

    fn is_needed_by(&self, resource: &Guarded) -> bool {
        followed(&key_of(resource), resource).is_some_and(|(address, _)| address.kind.plural().is_none())
    }

    fn watch(&self, place: &Place) -> BoxStream<'static, Change> {
        let (place, followers, marks) = (place.clone(), self.followers.clone(), self.marks.clone());
        // When the set of kinds changes, all of them are listed once more. That is rare.
        let each = stream::unfold(self.followers.others(), move |mut kinds| {
            let watched = kinds.borrow_and_update().clone();
            let streams = watched.into_iter().map(|kind| other(&place, kind, &followers, &marks));
            // Without a kind the stream would end at once.
            let all = stream::select_all(streams.chain([stream::pending().boxed()]));
            let mut next = kinds.clone();
            let all = all.take_until(async move { next.changed().await.is_ok() });
            ready(Some((all, kinds)))
        });
        stream::once(ready(Change::Listed)).chain(each.flatten()).boxed()
    }

    fn forget(&self) {
        self.marks.clear();
    }
}

/// The changes of a kind that the API server may not serve yet.
fn other(
    place: &Place,
    kind: WorkloadKind,
    followers: &Followers,
    marks: &Marks,
) -> BoxStream<'static, Change> {
    let (place, followers, marks) = (place.clone(), followers.clone(), marks.clone());
    stream::once(async move {
        let resource = served(&place, &kind).await;
        changes(&place, OTHERS, &kind, &resource, followers, marks)
    })
    .flatten()
    .boxed()
}

async fn served(place: &Place, kind: &WorkloadKind) -> ApiResource {
    loop {
        match workload_resource(&place.client, kind).await {
            Ok(resource) => return resource,
            Err(failure) => {
                place.metrics.watch_failed(OTHERS);
                tracing::warn!(watched = kind.kind, error = failure.message, "watch failed; trying again");
                tokio::time::sleep(NOT_SERVED).await;
            }
        }
    }
}

/// The changes of followed workloads.
fn changes(
    place: &Place,
    name: &'static str,
    kind: &WorkloadKind,
    resource: &ApiResource,
    followers: Followers,
    marks: Marks,
) -> BoxStream<'static, Change> {
    let api: Api<DynamicObject> = match &place.namespace {
        Some(namespace) => Api::namespaced_with(place.client.clone(), namespace.as_str(), resource),
        None => Api::all_with(place.client.clone(), resource),
    };
    let mut news = News { kind: kind.clone(), followers, marks, listed: HashSet::new() };
    told(watcher(api, watch_config()), name, place, move |event| news.of(event))
}

/// Events of a kind → changes that matter for its followers.
struct News {
    kind: WorkloadKind,
    followers: Followers,
    marks: Marks,
    /// The followed workloads in the list that is under way.
    listed: HashSet<Address>,
}

impl News {
    fn of(&mut self, event: Event<DynamicObject>) -> Option<Change> {
        match event {
            Event::Init => {
                self.listed.clear();
                None
            }
            Event::InitApply(object) => self.seen(&object, true),
            Event::Apply(object) => self.seen(&object, false),
            Event::Delete(object) => self.gone(&self.address(&object)),
            Event::InitDone => self.missing(),
        }
    }

    fn seen(&mut self, object: &DynamicObject, is_list: bool) -> Option<Change> {
        let address = self.address(object);
        let Following { keys, needs_pods } = self.followers.of(&address);
        if keys.is_empty() {
            self.marks.remove(&address);
            return None;
        }
        let mark = workload::mark(&self.kind.kind, object.metadata.generation, &object.data, needs_pods);
        if is_list {
            self.listed.insert(address.clone());
        }
        self.marks.set(&address, mark).then_some(Change::Touched(keys))
    }

    fn gone(&self, address: &Address) -> Option<Change> {
        self.marks.remove(address);
        let keys = self.followers.of(address).keys;
        (!keys.is_empty()).then_some(Change::Touched(keys))
    }

    /// Those that were deleted while nobody watched.
    fn missing(&mut self) -> Option<Change> {
        let listed = std::mem::take(&mut self.listed);
        let missing =
            self.followers.workloads(&self.kind).into_iter().filter(|address| !listed.contains(address));
        let keys: Vec<_> = missing.flat_map(|address| self.followers.of(&address).keys).collect();
        (!keys.is_empty()).then_some(Change::Touched(keys))
    }

    fn address(&self, object: &DynamicObject) -> Address {
        let namespace = object.namespace().unwrap_or_default();
        Address { kind: self.kind.clone(), namespace, name: object.name_any() }
    }
}

#[cfg(test)]
mod tests {
    use decide::turns::Key;
    use serde_json::json;

    use super::*;

    fn deployment(name: &str, generation: i64, ready: i64) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop", "generation": generation},
            "spec": {"replicas": 2}, "status": {"replicas": 2, "readyReplicas": ready},
        }))
        .unwrap()
    }

    fn news(resolve: &str) -> News {
        let followers = Followers::default();
        let key = Key::new("shop", "web");
        let resource = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {
            "artifactType": "a/b", "workloadRef": {"kind": "Deployment", "name": "web", "resolve": resolve}}});
        followers.seen(&key, &serde_json::from_value(resource).unwrap());
        let kind = WorkloadKind::known().next().unwrap();
        News { kind, followers, marks: Marks::default(), listed: HashSet::new() }
    }

    fn touched() -> Change {
        Change::Touched(vec![Key::new("shop", "web")])
    }

    #[test]
    fn only_what_matters_to_a_follower_is_a_change() {
        let mut news = news("Template");
        assert_eq!(news.of(Event::Apply(deployment("other", 1, 2))), None);
        assert_eq!(news.of(Event::Apply(deployment("web", 1, 2))), Some(touched()));
        assert_eq!(news.of(Event::Apply(deployment("web", 1, 1))), None, "pods come and go");
        assert_eq!(news.of(Event::Apply(deployment("web", 2, 1))), Some(touched()));
        assert_eq!(news.of(Event::Delete(deployment("web", 2, 1))), Some(touched()));
        assert!(news.marks.lock(|marks| marks.is_empty()));
    }

    #[test]
    fn a_follower_of_the_pods_hears_of_them() {
        let mut news = news("Pods");
        assert_eq!(news.of(Event::Apply(deployment("web", 1, 2))), Some(touched()));
        assert_eq!(news.of(Event::Apply(deployment("web", 1, 1))), Some(touched()));
    }

    #[test]
    fn a_workload_that_went_while_nobody_watched_is_missed() {
        let mut news = news("Template");
        for listed in [vec![Event::Init, Event::InitApply(deployment("web", 1, 2))], vec![Event::Init]] {
            let is_there = listed.len() == 2;
            for event in listed {
                news.of(event);
            }
            assert_eq!(news.of(Event::InitDone), if is_there { None } else { Some(touched()) });
        }
    }
}
