//! `ConfigMaps` as an API server keeps them: versions, UIDs, immutability, fields by who applied them, garbage collection,
//! and the watch that reports them late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use api::{FIELD_MANAGER, MANAGER, label};
use decide::watched::Watched;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use oci::Digest;
use serde_json::{Value, json};

use super::fields::Fields;
use crate::names::{Bytes, NAMESPACE};

/// The true owner of an object, independent of its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// To somebody who has nothing to do with the operator.
    User,
    /// To the resource with this UID.
    Resource(String),
}

/// A `ConfigMap`, and facts that cannot be read from it.
#[derive(Clone, Debug)]
pub struct Object {
    pub map: ConfigMap,
    pub belongs: Belongs,
    fields: Fields,
}

impl Object {
    /// Whether a manager has this label.
    pub fn has_label_by(&self, key: &str, manager: &str) -> bool {
        self.map.metadata.managed_fields.iter().flatten().any(|entry| {
            let labels =
                entry.fields_v1.as_ref().and_then(|fields| fields.0["f:metadata"]["f:labels"].as_object());
            entry.manager.as_deref() == Some(manager)
                && labels.is_some_and(|labels| labels.contains_key(&format!("f:{key}")))
        })
    }
}

/// The field manager of everybody else.
const BY_HAND: &str = "kubectl-edit";

/// Why the API server did not write.
#[derive(Clone, Debug)]
pub enum Refusal {
    Conflict,
    Invalid(String),
}

/// All `ConfigMaps` of the namespace.
#[derive(Default)]
pub struct Objects {
    by_name: BTreeMap<String, Object>,
    versions: u64,
    pub watch: Watch,
}

/// The events that a watch with the operator's label has delivered, and those that will come.
#[derive(Default)]
pub struct Watch {
    pub view: BTreeMap<String, ObjectMeta>,
    pending: VecDeque<(String, Option<ObjectMeta>)>,
}

impl Watch {
    pub fn deliver(&mut self, events: usize) {
        for _ in 0..events {
            match self.pending.pop_front() {
                Some((name, Some(metadata))) => drop(self.view.insert(name, metadata)),
                Some((name, None)) => drop(self.view.remove(&name)),
                None => return,
            }
        }
    }

    /// Loses the waiting events until the next resync.
    pub fn miss(&mut self) {
        self.pending.clear();
    }
}

pub fn label_of<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}

pub fn annotation_of<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

pub fn controller_of(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|reference| reference.controller == Some(true))
}

pub fn is_revision(metadata: &ObjectMeta) -> bool {
    label_of(metadata, label::REVISION).is_some()
}

/// Content from `data` and `binaryData`.
pub fn content(map: &ConfigMap) -> Bytes {
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.as_bytes().to_vec()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    text.chain(binary).collect()
}

pub fn digest_annotation(map: &ConfigMap, key: &str) -> Option<Digest> {
    annotation_of(&map.metadata, key)?.parse().ok()
}

impl Objects {
    pub fn version(&mut self) -> String {
        self.versions += 1;
        self.versions.to_string()
    }

    pub fn get(&self, name: &str) -> Option<&Object> {
        self.by_name.get(name)
    }

    pub fn all(&self) -> impl Iterator<Item = (&String, &Object)> {
        self.by_name.iter()
    }

    /// Creates an object. Only what the operator creates counts as applied by it.
    pub fn create(&mut self, map: &ConfigMap, belongs: Belongs) -> Result<ConfigMap, Refusal> {
        let name = map.metadata.name.clone().unwrap();
        if self.by_name.contains_key(&name) {
            return Err(Refusal::Conflict);
        }
        let version = self.version();
        let mut map = map.clone();
        map.metadata.namespace = Some(NAMESPACE.to_owned());
        map.metadata.uid = Some(format!("cm-{version}"));
        map.metadata.resource_version = None;
        let maker = if belongs == Belongs::User { BY_HAND } else { FIELD_MANAGER };
        let fields = Fields::created(&map, maker);
        self.put(&name, Object { map, belongs, fields })
    }

    /// A server-side apply of everything that a manager has, forced, bound to the version that was observed.
    pub fn apply(
        &mut self,
        wanted: &ConfigMap,
        version: Option<&str>,
        manager: &str,
        actor: &str,
    ) -> Result<ConfigMap, Refusal> {
        let name = wanted.metadata.name.clone().unwrap();
        let mut object = self.bound(&name, version)?;
        object.fields.apply(&mut object.map, wanted, manager);
        if let (Belongs::Resource(owner), true) = (&mut object.belongs, manager == FIELD_MANAGER) {
            // A later resource of the same name takes over objects that were left behind.
            actor.clone_into(owner);
        }
        self.put(&name, object)
    }

    /// A merge patch, bound to the version that was observed.
    pub fn merge(
        &mut self,
        observed: &ConfigMap,
        patch: &Value,
        manager: &str,
    ) -> Result<ConfigMap, Refusal> {
        let name = observed.metadata.name.clone().unwrap();
        let mut object = self.bound(&name, observed.metadata.resource_version.as_deref())?;
        let mut value = serde_json::to_value(&object.map).unwrap();
        merge_json(&mut value, patch);
        let merged = serde_json::from_value(value).map_err(|error| Refusal::Invalid(error.to_string()))?;
        object.fields.updated(&object.map, &merged, manager);
        object.map = merged;
        self.put(&name, object)
    }

    /// Deletes an object if it is still the observed one.
    pub fn delete_observed(&mut self, observed: &Watched) -> Option<Object> {
        let found = &self.by_name.get(&*observed.name)?.map.metadata;
        let bound = |have: &Option<String>, want: &Option<Box<str>>| {
            want.is_none() || have.as_deref() == want.as_deref()
        };
        let same = bound(&found.uid, &observed.uid) && bound(&found.resource_version, &observed.version);
        if same { self.delete(&observed.name) } else { None }
    }

    pub fn delete(&mut self, name: &str) -> Option<Object> {
        let gone = self.by_name.remove(name)?;
        self.report(name, Some(&gone.map.metadata));
        Some(gone)
    }

    /// Somebody edits an object by hand.
    pub fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Object)) -> Result<ConfigMap, Refusal> {
        let mut object = self.by_name.get(name).cloned().ok_or(Refusal::Conflict)?;
        let before = object.map.clone();
        edit(&mut object);
        object.fields.updated(&before, &object.map, BY_HAND);
        self.put(name, object)
    }

    /// Deletes objects of deleted resources. Returns the names.
    pub fn collect_garbage(&mut self, alive: &BTreeSet<String>) -> Vec<String> {
        let is_garbage = |object: &Object| {
            let owners = object.map.metadata.owner_references.as_deref().unwrap_or_default();
            !owners.is_empty() && owners.iter().all(|owner| !alive.contains(&owner.uid))
        };
        let names: Vec<String> = self
            .by_name
            .iter()
            .filter(|(_, object)| is_garbage(object))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &names {
            self.delete(name);
        }
        names
    }

    /// The watch starts again and reads the present state.
    pub fn resync(&mut self) {
        self.watch.pending.clear();
        self.watch.view = self
            .by_name
            .iter()
            .filter(|(_, object)| is_watched(&object.map.metadata))
            .map(|(name, object)| (name.clone(), reported(&object.map.metadata)))
            .collect();
    }

    fn bound(&self, name: &str, version: Option<&str>) -> Result<Object, Refusal> {
        let object = self.by_name.get(name).ok_or(Refusal::Conflict)?;
        let same = version.is_none() || version == object.map.metadata.resource_version.as_deref();
        if same { Ok(object.clone()) } else { Err(Refusal::Conflict) }
    }

    /// Validates and stores. A write that changes nothing gives no new version and no event.
    fn put(&mut self, name: &str, mut object: Object) -> Result<ConfigMap, Refusal> {
        object.map.metadata.managed_fields = object.fields.entries();
        normalize(&mut object.map);
        let before = self.by_name.get(name);
        let invalid = |why: &str| Err(Refusal::Invalid(format!("ConfigMap \"{name}\" is invalid: {why}")));
        let twice = |key: &String| object.map.binary_data.as_ref().is_some_and(|data| data.contains_key(key));
        if object.map.data.iter().flatten().any(|(key, _)| twice(key)) {
            return invalid("data: duplicate of a key in binaryData");
        }
        if let Some(before) = before.filter(|before| before.map.immutable == Some(true)) {
            let same = object.map.immutable == Some(true)
                && object.map.data.iter().flatten().eq(before.map.data.iter().flatten())
                && object.map.binary_data.iter().flatten().eq(before.map.binary_data.iter().flatten());
            if !same {
                return invalid("data: field is immutable when `immutable` is set");
            }
        }
        if before.is_some_and(|before| before.map == object.map) {
            self.by_name.insert(name.to_owned(), object.clone());
            return Ok(object.map);
        }
        let metadata = before.map(|before| before.map.metadata.clone());
        object.map.metadata.resource_version = Some(self.version());
        self.by_name.insert(name.to_owned(), object.clone());
        self.report(name, metadata.as_ref());
        Ok(object.map)
    }

    /// A watch by label reports an object that leaves the selection as deleted.
    fn report(&mut self, name: &str, before: Option<&ObjectMeta>) {
        let now = self.by_name.get(name).map(|object| &object.map.metadata);
        let now = now.filter(|metadata| is_watched(metadata)).map(reported);
        if now.is_some() || before.is_some_and(is_watched) {
            self.watch.pending.push_back((name.to_owned(), now));
        }
    }
}

fn is_watched(metadata: &ObjectMeta) -> bool {
    label_of(metadata, label::MANAGED_BY) == Some(MANAGER)
}

/// The operator's watch keeps no annotations.
fn reported(metadata: &ObjectMeta) -> ObjectMeta {
    ObjectMeta { annotations: None, ..metadata.clone() }
}

/// The API leaves out what is empty.
fn normalize(map: &mut ConfigMap) {
    fn some<V>(map: &mut Option<BTreeMap<String, V>>) {
        *map = map.take().filter(|map| !map.is_empty());
    }
    some(&mut map.data);
    some(&mut map.binary_data);
    some(&mut map.metadata.labels);
    some(&mut map.metadata.annotations);
    let owners = &mut map.metadata.owner_references;
    *owners = owners.take().filter(|owners| !owners.is_empty());
}

/// RFC 7396.
fn merge_json(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in members {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge_json(&mut target[key], value);
        }
    }
}
