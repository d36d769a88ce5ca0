//! What the watches report of the `ConfigMaps` that carry our label.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;

use crate::api::label;

/// Metadata of a `ConfigMap` that carries our label; its content is never held.
pub type TargetMeta = PartialObjectMeta<ConfigMap>;

/// What one watch reports. Clones share it.
///
/// In place of kube's reflector store, which can only be searched from end to end: every reconcile asks several times
/// what belongs to its resource, and with 10,000 resources that was most of what an idle operator did.
#[derive(Clone, Default)]
pub struct TargetStore(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    objects: HashMap<Name, Arc<ObjectMeta>>,
    /// The same objects by the UID of the resource that their label names.
    by_owner: HashMap<String, Vec<Arc<ObjectMeta>>>,
    /// A list that is still being read. Until it is whole, what was known before counts.
    listing: Vec<ObjectMeta>,
}

/// Namespace and name.
type Name = (String, String);

impl TargetStore {
    /// Takes in what the watch reports.
    pub fn note(&self, event: &Event<TargetMeta>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(object) => known.insert(object.metadata.clone()),
            Event::Delete(object) => {
                known.remove(&name_of(&object.metadata));
            }
            Event::Init => known.listing.clear(),
            Event::InitApply(object) => known.listing.push(object.metadata.clone()),
            Event::InitDone => {
                let listing = std::mem::take(&mut known.listing);
                *known = Known::default();
                for metadata in listing {
                    known.insert(metadata);
                }
            }
        }
    }

    /// `resourceVersion` of a `ConfigMap`.
    #[must_use]
    pub fn version(&self, namespace: &str, name: &str) -> Option<String> {
        let name = (namespace.to_owned(), name.to_owned());
        self.read().objects.get(&name).and_then(|metadata| metadata.resource_version.clone())
    }

    /// The `ConfigMaps` of a namespace that carry this UID.
    #[must_use]
    pub fn owned(&self, namespace: &str, uid: &str) -> Vec<ObjectMeta> {
        let known = self.read();
        let owned = known.by_owner.get(uid).into_iter().flatten();
        // The label can be copied to another namespace by anybody.
        let here = owned.filter(|metadata| metadata.namespace.as_deref() == Some(namespace));
        here.map(|metadata| ObjectMeta::clone(metadata)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        // Nothing in here can be left half changed but by running out of memory.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn insert(&mut self, metadata: ObjectMeta) {
        let name = name_of(&metadata);
        // It may have belonged to another.
        self.remove(&name);
        let metadata = Arc::new(metadata);
        if let Some(uid) = owner_of(&metadata) {
            self.by_owner.entry(uid.clone()).or_default().push(Arc::clone(&metadata));
        }
        self.objects.insert(name, metadata);
    }

    fn remove(&mut self, name: &Name) {
        let Some(metadata) = self.objects.remove(name) else { return };
        let Some(uid) = owner_of(&metadata) else { return };
        if let Some(owned) = self.by_owner.get_mut(uid) {
            owned.retain(|other| !Arc::ptr_eq(other, &metadata));
            if owned.is_empty() {
                self.by_owner.remove(uid);
            }
        }
    }
}

fn name_of(metadata: &ObjectMeta) -> Name {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn owner_of(metadata: &ObjectMeta) -> Option<&String> {
    metadata.labels.as_ref()?.get(label::OWNER_UID)
}

/// What all watches report: one over all namespaces, or one for each.
#[derive(Clone)]
pub enum Targets {
    /// Of all namespaces.
    All(TargetStore),
    /// Of each that is watched.
    Each(Arc<BTreeMap<String, TargetStore>>),
}

impl Targets {
    /// The store that the namespace is in, or nothing where it is not watched.
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
            store.owned(namespace, uid).into_iter().filter_map(|metadata| metadata.name).collect();
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
        // Broken off and begun anew.
        store.note(&Event::Init);
        store.note(&Event::InitApply(object("n", "newer", "u", 3)));
        store.note(&Event::InitDone);
        assert_eq!(names(&store, "n", "u"), ["newer"]);
        assert_eq!((store.version("n", "old"), store.version("n", "newer")), (None, Some("3".into())));
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
        /// Whatever happens, asking the index is the same as searching through everything.
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
            prop_assert_eq!(known.by_owner.values().map(Vec::len).sum::<usize>(), known.objects.len());
            prop_assert!(known.by_owner.values().all(|owned| !owned.is_empty()), "nothing is left of an owner that is gone");
        }
    }
}
