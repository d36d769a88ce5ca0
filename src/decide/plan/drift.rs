//! What differs between an object that is there and what it should be, and what has to go besides.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::{CreationPolicy, FIELD_MANAGER};
use crate::decide::spec::Desired;

use super::owner::{field_manager, owned_keys};

/// Whether a write is needed. What others added to labels and annotations is theirs and stays; a key they added to
/// the content is drift.
pub(super) fn differs(desired: &ConfigMap, observed: &ConfigMap) -> bool {
    let (have, want) = (&observed.metadata, &desired.metadata);
    let controller = |metadata: &ObjectMeta| {
        metadata
            .owner_references
            .iter()
            .flatten()
            .find(|reference| reference.controller == Some(true))
            .cloned()
    };
    !includes(have.labels.as_ref(), want.labels.as_ref())
        || !includes(have.annotations.as_ref(), want.annotations.as_ref())
        || controller(have) != controller(want)
        || abandoned(have, want)
        || !same_entries(observed.data.as_ref(), desired.data.as_ref())
        || !same_entries(observed.binary_data.as_ref(), desired.binary_data.as_ref())
}

/// Whether something of ours is missing in somebody else's object, or something that was ours is left in it.
pub(super) fn is_unmerged(manager: &str, wanted: &ConfigMap, observed: &ConfigMap) -> bool {
    let entries = observed.metadata.managed_fields.iter().flatten();
    let left = entries.filter(|entry| entry.manager.as_deref() == Some(manager)).any(|entry| {
        let gone = |key: &String, map: bool| {
            if map { !has(wanted.data.as_ref(), key) } else { !has(wanted.binary_data.as_ref(), key) }
        };
        owned_keys(entry, "f:data").iter().any(|key| gone(key, true))
            || owned_keys(entry, "f:binaryData").iter().any(|key| gone(key, false))
    });
    left || !includes(observed.data.as_ref(), wanted.data.as_ref())
        || !includes(observed.binary_data.as_ref(), wanted.binary_data.as_ref())
        || !includes(observed.metadata.labels.as_ref(), wanted.metadata.labels.as_ref())
        || !includes(observed.metadata.annotations.as_ref(), wanted.metadata.annotations.as_ref())
}

/// Whether a label or annotation stands there only because an earlier version of the resource asked for it. The API
/// server keeps the record of that: what our field manager owns and the object no longer names.
fn abandoned(have: &ObjectMeta, want: &ObjectMeta) -> bool {
    let ours =
        have.managed_fields.iter().flatten().filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    ours.filter_map(|entry| entry.fields_v1.as_ref()?.0.get("f:metadata")).any(|fields| {
        [("f:labels", &want.labels), ("f:annotations", &want.annotations)].into_iter().any(
            |(member, wanted)| {
                let owned = fields.get(member).and_then(serde_json::Value::as_object);
                owned
                    .into_iter()
                    .flatten()
                    .filter_map(|(key, _)| key.strip_prefix("f:"))
                    .any(|key| !wanted.as_ref().is_some_and(|wanted| wanted.contains_key(key)))
            },
        )
    })
}

fn has<V>(map: Option<&BTreeMap<String, V>>, key: &str) -> bool {
    map.is_some_and(|map| map.contains_key(key))
}

/// Whether every entry of `want` is in `have`.
fn includes<V: PartialEq>(have: Option<&BTreeMap<String, V>>, want: Option<&BTreeMap<String, V>>) -> bool {
    want.into_iter().flatten().all(|(key, value)| have.and_then(|have| have.get(key)) == Some(value))
}

/// An absent map and an empty one hold the same.
pub(super) fn same_entries<V: PartialEq>(
    left: Option<&BTreeMap<String, V>>,
    right: Option<&BTreeMap<String, V>>,
) -> bool {
    left.into_iter().flatten().eq(right.into_iter().flatten())
}

/// A merge patch for an object in which keys of ours stand in the other of the two maps, because somebody moved them or
/// because what was text is binary now: an apply that adds a key to one map is refused while it stands in the other. The
/// patch brings the whole content at once, so that no reader ever finds half of it.
#[must_use]
pub fn misplaced(wanted: &ConfigMap, observed: &ConfigMap) -> Option<serde_json::Value> {
    fn in_both<V, W>(have: Option<&BTreeMap<String, V>>, want: Option<&BTreeMap<String, W>>) -> Nulls {
        nulls(have.into_iter().flatten().map(|(key, _)| key).filter(|key| has(want, key)))
    }
    fn with<V: serde::Serialize>(mut gone: Nulls, values: Option<&BTreeMap<String, V>>) -> Nulls {
        gone.extend(values.into_iter().flatten().map(|(key, value)| (key.clone(), serde_json::json!(value))));
        gone
    }
    let data = in_both(observed.data.as_ref(), wanted.binary_data.as_ref());
    let binary_data = in_both(observed.binary_data.as_ref(), wanted.data.as_ref());
    (!data.is_empty() || !binary_data.is_empty()).then(|| {
        let ObjectMeta { labels, annotations, .. } = &wanted.metadata;
        serde_json::json!({
            "data": with(data, wanted.data.as_ref()),
            "binaryData": with(binary_data, wanted.binary_data.as_ref()),
            // With what it says of the content, or the one would belie the other until the apply.
            "metadata": {
                "labels": with(Nulls::new(), labels.as_ref()),
                "annotations": with(Nulls::new(), annotations.as_ref()),
            },
        })
    })
}

type Nulls = serde_json::Map<String, serde_json::Value>;

fn nulls<'a>(keys: impl Iterator<Item = &'a String>) -> Nulls {
    keys.map(|key| (key.clone(), serde_json::Value::Null)).collect()
}

/// A merge patch that removes keys, where there are any.
fn removal(data: &Nulls, binary_data: &Nulls) -> Option<serde_json::Value> {
    (!data.is_empty() || !binary_data.is_empty())
        .then(|| serde_json::json!({"data": data, "binaryData": binary_data}))
}

/// Keys that have to go after an apply: of an object that is ours, those that others added, because server-side apply
/// leaves what it never owned; of somebody else's, those of ours that an earlier patch, and not an apply, put there.
#[must_use]
pub fn leftovers(desired: &Desired, wanted: &ConfigMap, observed: &ConfigMap) -> Option<serde_json::Value> {
    fn extra<V, W>(
        have: Option<&BTreeMap<String, V>>,
        want: Option<&BTreeMap<String, W>>,
        ours: Option<&[String]>,
    ) -> Nulls {
        let unwanted = |key: &&String| !has(want, key) && ours.is_none_or(|ours| ours.contains(key));
        nulls(have.into_iter().flatten().map(|(key, _)| key).filter(unwanted))
    }
    let ours = |member: &str| -> Option<Vec<String>> {
        let manager = field_manager(desired);
        let entries = observed.metadata.managed_fields.iter().flatten();
        let ours = entries.filter(|entry| entry.manager.as_deref() == Some(manager.as_str()));
        (desired.target.creation_policy == CreationPolicy::Merge)
            .then(|| ours.flat_map(|entry| owned_keys(entry, member)).collect())
    };
    removal(
        &extra(observed.data.as_ref(), wanted.data.as_ref(), ours("f:data").as_deref()),
        &extra(observed.binary_data.as_ref(), wanted.binary_data.as_ref(), ours("f:binaryData").as_deref()),
    )
}
