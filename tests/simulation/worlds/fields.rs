//! The owners of the fields of a `ConfigMap`, as in server-side apply.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::{Value, json};

/// The place of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Label,
    Annotation,
    Data,
    BinaryData,
    Owner,
}

type Path = (Member, String);

/// A field manager, and whether it applies or updates: the two own fields separately.
type Manager = (String, &'static str);

const APPLY: &str = "Apply";
const UPDATE: &str = "Update";

/// The fields of each manager.
#[derive(Clone, Debug, Default)]
pub struct Fields(BTreeMap<Manager, BTreeSet<Path>>);

fn paths(map: &ConfigMap) -> BTreeMap<Path, Vec<u8>> {
    fn texts(member: Member, map: Option<&BTreeMap<String, String>>) -> Vec<(Path, Vec<u8>)> {
        map.into_iter()
            .flatten()
            .map(|(key, value)| ((member, key.clone()), value.clone().into_bytes()))
            .collect()
    }
    let metadata = &map.metadata;
    let owners = metadata.owner_references.iter().flatten();
    let binary = map.binary_data.iter().flatten();
    [
        texts(Member::Label, metadata.labels.as_ref()),
        texts(Member::Annotation, metadata.annotations.as_ref()),
        texts(Member::Data, map.data.as_ref()),
        binary.map(|(key, value)| ((Member::BinaryData, key.clone()), value.0.clone())).collect(),
        owners.map(|owner| ((Member::Owner, owner.uid.clone()), owner.name.clone().into_bytes())).collect(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn remove(map: &mut ConfigMap, (member, key): &Path) {
    fn from<V>(map: &mut Option<BTreeMap<String, V>>, key: &str) {
        map.as_mut().map(|map| map.remove(key));
    }
    match member {
        Member::Label => from(&mut map.metadata.labels, key),
        Member::Annotation => from(&mut map.metadata.annotations, key),
        Member::Data => from(&mut map.data, key),
        Member::BinaryData => from(&mut map.binary_data, key),
        Member::Owner => {
            map.metadata.owner_references.get_or_insert_default().retain(|owner| owner.uid != *key);
        }
    }
}

/// Lays everything that `wanted` has over an object.
fn lay_over(map: &mut ConfigMap, wanted: &ConfigMap) {
    fn lay<V: Clone>(over: &mut Option<BTreeMap<String, V>>, map: Option<&BTreeMap<String, V>>) {
        if let Some(map) = map {
            let entries = map.iter().map(|(key, value)| (key.clone(), value.clone()));
            over.get_or_insert_default().extend(entries);
        }
    }
    lay(&mut map.metadata.labels, wanted.metadata.labels.as_ref());
    lay(&mut map.metadata.annotations, wanted.metadata.annotations.as_ref());
    lay::<String>(&mut map.data, wanted.data.as_ref());
    lay::<ByteString>(&mut map.binary_data, wanted.binary_data.as_ref());
    for owner in wanted.metadata.owner_references.iter().flatten() {
        let owners = map.metadata.owner_references.get_or_insert_default();
        owners.retain(|other| other.uid != owner.uid);
        owners.push(owner.clone());
    }
    map.immutable = wanted.immutable.or(map.immutable);
}

impl Fields {
    /// The manager that creates an object owns all its fields. The operator turns this ownership into that of an apply.
    pub fn created(map: &ConfigMap, manager: &str) -> Self {
        Self([((manager.to_owned(), APPLY), paths(map).into_keys().collect())].into())
    }

    /// A forced apply: fields that the manager no longer has are removed, unless another manager owns them as well.
    /// Fields that it changes lose their other owners.
    pub fn apply(&mut self, map: &mut ConfigMap, wanted: &ConfigMap, manager: &str) {
        let ours = (manager.to_owned(), APPLY);
        let (have, want) = (paths(map), paths(wanted));
        let before = self.0.remove(&ours).unwrap_or_default();
        for path in before.iter().filter(|path| !want.contains_key(*path)) {
            if !self.0.values().any(|fields| fields.contains(path)) {
                remove(map, path);
            }
        }
        for (path, value) in &want {
            if have.get(path) != Some(value) {
                for fields in self.0.values_mut() {
                    fields.remove(path);
                }
            }
        }
        lay_over(map, wanted);
        self.0.insert(ours, want.into_keys().collect());
    }

    /// Any other write: its manager becomes the only owner of the fields that it changes.
    pub fn updated(&mut self, before: &ConfigMap, after: &ConfigMap, manager: &str) {
        let (before, after) = (paths(before), paths(after));
        let changed: BTreeSet<Path> = before
            .keys()
            .chain(after.keys())
            .filter(|path| before.get(*path) != after.get(*path))
            .cloned()
            .collect();
        for fields in self.0.values_mut() {
            fields.retain(|path| !changed.contains(path));
        }
        let here = changed.into_iter().filter(|path| after.contains_key(path));
        self.0.entry((manager.to_owned(), UPDATE)).or_default().extend(here);
        self.0.retain(|_, fields| !fields.is_empty());
    }

    /// The part of `managedFields` that the operator reads.
    pub fn entries(&self) -> Option<Vec<ManagedFieldsEntry>> {
        let entry = |((manager, operation), fields): (&Manager, &BTreeSet<Path>)| {
            let named = |wanted: Member| -> Value {
                let of = fields.iter().filter(|(member, _)| *member == wanted);
                of.map(|(_, key)| (format!("f:{key}"), json!({}))).collect::<serde_json::Map<_, _>>().into()
            };
            ManagedFieldsEntry {
                manager: Some(manager.clone()),
                operation: Some((*operation).to_owned()),
                fields_v1: Some(FieldsV1(json!({
                    "f:data": named(Member::Data),
                    "f:binaryData": named(Member::BinaryData),
                    "f:metadata": {
                        "f:labels": named(Member::Label),
                        "f:annotations": named(Member::Annotation),
                    },
                }))),
                ..ManagedFieldsEntry::default()
            }
        };
        (!self.0.is_empty()).then(|| self.0.iter().map(entry).collect())
    }
}
