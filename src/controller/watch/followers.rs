//! Which resources follow which workload.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::Resolve;
use decide::turns::Key;
use decide::workload_kind::WorkloadKind;
use tokio::sync::watch;

use super::kind::Guarded;

/// Most kinds beyond those of Kubernetes that are watched in a scope: each is a separate watch. A resource that follows a
/// further one is reconciled at its interval.
const MAX_OTHER_KINDS: usize = 16;

/// A workload that resources follow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) kind: WorkloadKind,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// Which resources of a scope follow which workload.
#[derive(Clone, Default)]
pub(super) struct Followers(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    by_workload: HashMap<Address, HashMap<Key, Resolve>>,
    of: HashMap<Key, Address>,
    /// The kinds beyond those of Kubernetes, each with the number of workloads that are followed. An event costs as much with
    /// 10,000 resources as with one.
    used: BTreeMap<WorkloadKind, usize>,
    /// Those of them that are watched.
    others: watch::Sender<BTreeSet<WorkloadKind>>,
}

/// The resources that follow a workload.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Following {
    pub(super) keys: Vec<Key>,
    /// One of them wants to know which image the pods run.
    pub(super) needs_pods: bool,
}

impl Followers {
    /// A resource exists.
    pub(super) fn seen(&self, key: &Key, resource: &Guarded) {
        let mut known = self.known();
        known.remove(key);
        known.add(key, resource);
        known.publish();
    }

    /// A resource is gone.
    pub(super) fn gone(&self, key: &Key) {
        let mut known = self.known();
        known.remove(key);
        known.publish();
    }

    /// These resources exist, and no others.
    pub(super) fn replace<'a>(&self, all: impl Iterator<Item = (&'a Key, &'a Guarded)>) {
        let mut known = self.known();
        known.by_workload.clear();
        known.of.clear();
        known.used.clear();
        for (key, resource) in all {
            known.add(key, resource);
        }
        known.publish();
    }

    /// The resources that follow a workload.
    pub(super) fn of(&self, workload: &Address) -> Following {
        let known = self.known();
        let Some(followers) = known.by_workload.get(workload) else { return Following::default() };
        let needs_pods = followers.values().any(|resolve| *resolve == Resolve::Pods);
        Following { keys: followers.keys().cloned().collect(), needs_pods }
    }

    /// The workloads of a kind that resources follow.
    pub(super) fn workloads(&self, kind: &WorkloadKind) -> Vec<Address> {
        self.known().by_workload.keys().filter(|address| address.kind == *kind).cloned().collect()
    }

    /// The kinds beyond those of Kubernetes, as they change.
    pub(super) fn others(&self) -> watch::Receiver<BTreeSet<WorkloadKind>> {
        self.known().others.subscribe()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The workload that a resource follows.
pub(super) fn followed(key: &Key, resource: &Guarded) -> Option<(Address, Resolve)> {
    let reference = resource.0.as_ref().ok()?.spec.workload_ref.as_ref()?;
    let kind = WorkloadKind::of(reference);
    kind.admit().ok()?;
    let (namespace, name) = (key.namespace.to_string(), reference.name.clone());
    Some((Address { kind, namespace, name }, reference.resolve))
}

impl Known {
    fn add(&mut self, key: &Key, resource: &Guarded) {
        let Some((address, resolve)) = followed(key, resource) else { return };
        let followers = self.by_workload.entry(address.clone()).or_default();
        if followers.is_empty() && address.kind.plural().is_none() {
            *self.used.entry(address.kind.clone()).or_default() += 1;
        }
        followers.insert(key.clone(), resolve);
        self.of.insert(key.clone(), address);
    }

    fn remove(&mut self, key: &Key) {
        let Some(address) = self.of.remove(key) else { return };
        if let Some(followers) = self.by_workload.get_mut(&address) {
            followers.remove(key);
            if followers.is_empty() {
                self.by_workload.remove(&address);
                self.unused(&address.kind);
            }
        }
    }

    /// A workload of this kind is not followed any more.
    fn unused(&mut self, kind: &WorkloadKind) {
        if let Some(count) = self.used.get_mut(kind) {
            *count -= 1;
            if *count == 0 {
                self.used.remove(kind);
            }
        }
    }

    fn publish(&self) {
        let others: BTreeSet<&WorkloadKind> = self.used.keys().collect();
        if others.len() > MAX_OTHER_KINDS {
            tracing::warn!(
                kinds = others.len(),
                most = MAX_OTHER_KINDS,
                "resources follow too many kinds of workloads; the rest is read at each interval only"
            );
        }
        let others: BTreeSet<WorkloadKind> = others.into_iter().take(MAX_OTHER_KINDS).cloned().collect();
        self.others.send_if_modified(|known| {
            let is_new = *known != others;
            *known = others;
            is_new
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource(name: &str, spec: &serde_json::Value) -> (Key, Guarded) {
        let object = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
        (Key::new("shop", name), serde_json::from_value(object).unwrap())
    }

    fn following(kind: &str, name: &str, resolve: &str) -> serde_json::Value {
        json!({"artifactType": "a/b", "workloadRef": {"kind": kind, "name": name, "resolve": resolve,
            "apiVersion": if kind == "Rollout" { Some("argoproj.io/v1alpha1") } else { None }}})
    }

    fn deployment(name: &str) -> Address {
        let kind = WorkloadKind::known().next().unwrap();
        Address { kind, namespace: "shop".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn several_resources_follow_one_workload() {
        let followers = Followers::default();
        let (web, spec) = resource("web", &following("Deployment", "web", "Template"));
        followers.seen(&web, &spec);
        assert_eq!(
            followers.of(&deployment("web")),
            Following { keys: vec![web.clone()], needs_pods: false }
        );
        let (flags, spec) = resource("flags", &following("Deployment", "web", "Pods"));
        followers.seen(&flags, &spec);
        let both = followers.of(&deployment("web"));
        assert_eq!((both.keys.len(), both.needs_pods), (2, true));
        // It follows another one now, and then names an image.
        let (_, spec) = resource("flags", &following("Deployment", "api", "Pods"));
        followers.seen(&flags, &spec);
        assert_eq!(followers.of(&deployment("web")).keys, std::slice::from_ref(&web));
        assert_eq!(followers.of(&deployment("api")).keys, std::slice::from_ref(&flags));
        let (_, spec) = resource("flags", &json!({"artifactType": "a/b", "image": "r.example/web:v1"}));
        followers.seen(&flags, &spec);
        assert_eq!(followers.of(&deployment("api")), Following::default());
        followers.gone(&web);
        assert!(followers.workloads(&deployment("web").kind).is_empty());
        assert!(followers.known().of.is_empty() && followers.known().used.is_empty());
    }

    #[test]
    fn another_kind_is_published_once_and_within_a_bound() {
        let followers = Followers::default();
        let mut others = followers.others();
        let (web, spec) = resource("web", &following("Deployment", "web", "Template"));
        followers.seen(&web, &spec);
        assert!(!others.has_changed().unwrap());
        let (web, spec) = resource("web", &following("Rollout", "web", "Template"));
        followers.seen(&web, &spec);
        assert_eq!(others.borrow_and_update().len(), 1);
        followers.seen(&web, &spec);
        assert!(!others.has_changed().unwrap());
        for number in 0..100 {
            let spec = json!({"artifactType": "a/b", "workloadRef": {"kind": format!("Kind{number}"), "name": "web", "apiVersion": "a/v1"}});
            let (key, spec) = resource(&format!("web-{number}"), &spec);
            followers.seen(&key, &spec);
        }
        assert_eq!(others.borrow_and_update().len(), MAX_OTHER_KINDS);
        for number in 0..100 {
            followers.gone(&Key::new("shop", &format!("web-{number}")));
        }
        assert_eq!(
            others.borrow_and_update().iter().map(|kind| &*kind.kind).collect::<Vec<_>>(),
            ["Rollout"]
        );
        followers.gone(&web);
        assert!(others.borrow_and_update().is_empty());
    }
}
