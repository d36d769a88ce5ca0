//! The watch cache of the `ConfigMaps` that carry our label.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use decide::watched::Watched;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;

/// Metadata of a `ConfigMap` that carries our label; its content is never asked for.
pub type TargetMeta = PartialObjectMeta<ConfigMap>;

/// The cache of one watch. Clones share it.
///
/// It replaces kube's reflector store, which has no index: every reconcile searches several times for the objects of
/// its resource, and with 10,000 resources this was most of the work of an idle operator.
#[derive(Clone, Default)]
pub struct TargetStore(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    namespaces: ByNamespace,
    /// A list that is still being read. Until it is complete, the earlier objects count.
    listing: ByNamespace,
}

#[derive(Default)]
struct ByNamespace(HashMap<Box<str>, Objects>);

/// The objects of one namespace. Anyone can copy a label to another namespace, so it counts only in its own.
#[derive(Default)]
struct Objects {
    by_name: HashMap<Box<str>, Arc<Watched>>,
    /// The same objects by the UID of the resource that their label names.
    by_owner: HashMap<Box<str>, Vec<Arc<Watched>>>,
}

impl TargetStore {
    /// Applies an event of the watch.
    pub fn note(&self, event: &Event<TargetMeta>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(object) => known.namespaces.insert(&object.metadata),
            Event::Delete(object) => known.namespaces.remove(&object.metadata),
            Event::Init => known.listing = ByNamespace::default(),
            Event::InitApply(object) => known.listing.insert(&object.metadata),
            Event::InitDone => known.namespaces = std::mem::take(&mut known.listing),
        }
    }

    /// Forgets everything, because the watch has ended.
    pub fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Known::default();
    }

    /// `resourceVersion` of a `ConfigMap`.
    #[must_use]
    pub fn version(&self, namespace: &str, name: &str) -> Option<String> {
        let known = self.read();
        let object = known.namespaces.0.get(namespace)?.by_name.get(name)?;
        object.version.as_deref().map(str::to_owned)
    }

    /// The `ConfigMaps` of a namespace that carry this UID.
    #[must_use]
    pub fn owned(&self, namespace: &str, uid: &str) -> Vec<Arc<Watched>> {
        let known = self.read();
        let objects = known.namespaces.0.get(namespace);
        objects.and_then(|objects| objects.by_owner.get(uid)).cloned().unwrap_or_default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        // A panic cannot leave this data half changed.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ByNamespace {
    fn insert(&mut self, metadata: &ObjectMeta) {
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let object = Arc::new(Watched::of(metadata));
        match self.0.get_mut(namespace) {
            Some(objects) => objects.insert(object),
            None => self.0.entry(namespace.into()).or_default().insert(object),
        }
    }

    fn remove(&mut self, metadata: &ObjectMeta) {
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let Some(objects) = self.0.get_mut(namespace) else { return };
        objects.remove(metadata.name.as_deref().unwrap_or_default());
        if objects.by_name.is_empty() {
            self.0.remove(namespace);
        }
    }
}

impl Objects {
    fn insert(&mut self, object: Arc<Watched>) {
        // It may have belonged to another.
        self.remove(&object.name);
        if let Some(uid) = &object.owner {
            // Mostly two: the target and its revision.
            let owned = self.by_owner.entry(uid.clone()).or_default();
            owned.reserve_exact(1);
            owned.push(Arc::clone(&object));
        }
        self.by_name.insert(object.name.clone(), object);
    }

    fn remove(&mut self, name: &str) {
        let Some(object) = self.by_name.remove(name) else { return };
        let Some(uid) = object.owner.as_deref() else { return };
        if let Some(owned) = self.by_owner.get_mut(uid) {
            owned.retain(|other| !Arc::ptr_eq(other, &object));
            if owned.is_empty() {
                self.by_owner.remove(uid);
            }
        }
    }
}

/// The caches of all watches: one over all namespaces, or one for each namespace.
#[derive(Clone)]
pub enum Targets {
    /// Of all namespaces.
    All(TargetStore),
    /// Of each that is watched.
    Each(Arc<BTreeMap<String, TargetStore>>),
}

impl Targets {
    /// The cache for a namespace; `None` if it is not watched.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Option<&TargetStore> {
        match self {
            Self::All(store) => Some(store),
            Self::Each(stores) => stores.get(namespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use api::label;
    use proptest::prelude::*;

    fn object(namespace: &str, name: &str, owner: &str, version: u32) -> TargetMeta {
        let metadata = ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            labels: Some([(label::OWNER_UID.to_owned(), owner.to_owned())].into()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        };
        TargetMeta { metadata, ..TargetMeta::default() }
    }

    fn names(store: &TargetStore, namespace: &str, uid: &str) -> Vec<String> {
        let mut names: Vec<_> =
            store.owned(namespace, uid).iter().map(|object| object.name.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_list_counts_once_it_is_whole() {
        let store = TargetStore::default();
        store.note(&Event::Apply(object("n", "old", "u", 1)));
        store.note(&Event::Init);
        store.note(&Event::InitApply(object("n", "new", "u", 2)));
        assert_eq!(names(&store, "n", "u"), ["old"]);
        // Broken off and begun again.
        store.note(&Event::Init);
        store.note(&Event::InitApply(object("n", "newer", "u", 3)));
        store.note(&Event::InitDone);
        assert_eq!(names(&store, "n", "u"), ["newer"]);
        assert_eq!((store.version("n", "old"), store.version("n", "newer")), (None, Some("3".into())));
    }

    #[test]
    fn nothing_is_known_once_it_is_cleared() {
        let store = TargetStore::default();
        store.note(&Event::Apply(object("n", "old", "u", 1)));
        store.note(&Event::Init);
        store.note(&Event::InitApply(object("n", "new", "u", 2)));
        store.clear();
        assert_eq!((names(&store, "n", "u"), store.version("n", "old")), (vec![], None));
        store.note(&Event::InitDone);
        assert!(names(&store, "n", "u").is_empty());
    }

    #[test]
    fn a_label_in_another_namespace_makes_nothing_owned() {
        let store = TargetStore::default();
        store.note(&Event::Apply(object("elsewhere", "a", "u", 1)));
        assert!(store.owned("n", "u").is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Apply(u8, u8),
        Delete(u8),
        List(Vec<(u8, u8)>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..6_u8, 0..3_u8).prop_map(|(name, owner)| Step::Apply(name, owner)),
            (0..6_u8).prop_map(Step::Delete),
            prop::collection::vec((0..6_u8, 0..3_u8), 0..5).prop_map(Step::List),
        ];
        prop::collection::vec(step, 0..40)
    }

    proptest! {
        /// After any events, asking the index is the same as searching through everything.
        #[test]
        fn the_index_is_what_a_search_would_find(steps in steps()) {
            let store = TargetStore::default();
            let mut plain = BTreeMap::new();
            for (version, step) in (0..).zip(steps) {
                let object = |name: u8, owner: u8| object("n", &name.to_string(), &owner.to_string(), version);
                match step {
                    Step::Apply(name, owner) => {
                        store.note(&Event::Apply(object(name, owner)));
                        plain.insert(name, (owner, version));
                    }
                    Step::Delete(name) => {
                        store.note(&Event::Delete(object(name, 0)));
                        plain.remove(&name);
                    }
                    Step::List(list) => {
                        store.note(&Event::Init);
                        for (name, owner) in &list {
                            store.note(&Event::InitApply(object(*name, *owner)));
                        }
                        store.note(&Event::InitDone);
                        plain = list.into_iter().map(|(name, owner)| (name, (owner, version))).collect();
                    }
                }
                for owner in 0..3_u8 {
                    let expected: Vec<String> =
                        plain.iter().filter(|(_, (of, _))| *of == owner).map(|(name, _)| name.to_string()).collect();
                    prop_assert_eq!(names(&store, "n", &owner.to_string()), expected);
                }
                for name in 0..6_u8 {
                    let expected = plain.get(&name).map(|(_, version)| version.to_string());
                    prop_assert_eq!(store.version("n", &name.to_string()), expected);
                }
            }
            let known = store.read();
            prop_assert!(known.listing.0.is_empty());
            for objects in known.namespaces.0.values() {
                prop_assert!(!objects.by_name.is_empty(), "nothing is left of a namespace that is gone");
                prop_assert_eq!(objects.by_owner.values().map(Vec::len).sum::<usize>(), objects.by_name.len());
                prop_assert!(objects.by_owner.values().all(|owned| !owned.is_empty()), "nothing is left of an owner that is gone");
            }
        }
    }
}
