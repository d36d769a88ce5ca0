//! Drift: the difference between an object and its desired state, and the parts that must be removed.

use std::collections::{BTreeMap, BTreeSet};

use api::{CreationPolicy, FIELD_MANAGER};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::spec::Desired;

use super::owner::{field_manager, owned_keys};

/// Whether a write is needed. Labels and annotations of others stay. A key that others added to the content is drift.
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
        || !abandoned(FIELD_MANAGER, have, want).is_empty()
        || !same_entries(observed.data.as_ref(), desired.data.as_ref())
        || !same_entries(observed.binary_data.as_ref(), desired.binary_data.as_ref())
}

/// For `Merge`: whether a part of ours is missing in the object, or an old part of ours is left in it.
///
/// A key that has our value, but is not ours by `managedFields`, counts as missing, too: its owner could remove it,
/// another resource would not see that it is merged, and later it would be unknown which part of the object is ours.
pub(super) fn is_unmerged(manager: &str, wanted: &ConfigMap, observed: &ConfigMap) -> bool {
    let owns = |member: &str, wanted: BTreeSet<&String>| {
        owned_keys(&observed.metadata, manager, &[member]).iter().collect::<BTreeSet<_>>() == wanted
    };
    !owns("f:data", wanted.data.iter().flatten().map(|(key, _)| key).collect())
        || !owns("f:binaryData", wanted.binary_data.iter().flatten().map(|(key, _)| key).collect())
        || !abandoned(manager, &observed.metadata, &wanted.metadata).is_empty()
        || !includes(observed.data.as_ref(), wanted.data.as_ref())
        || !includes(observed.binary_data.as_ref(), wanted.binary_data.as_ref())
        || !includes(observed.metadata.labels.as_ref(), wanted.metadata.labels.as_ref())
        || !includes(observed.metadata.annotations.as_ref(), wanted.metadata.annotations.as_ref())
}

/// The keys that the resource has merged into the object of someone else: those that its field manager owns.
#[must_use]
pub fn own_part(desired: &Desired, observed: &ConfigMap) -> ConfigMap {
    fn part<V: Clone>(
        of: Option<&BTreeMap<String, V>>,
        ours: &BTreeSet<String>,
    ) -> Option<BTreeMap<String, V>> {
        let ours = of?.iter().filter(|(key, _)| ours.contains(*key));
        Some(ours.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
    let ours = |member: &str| owned_keys(&observed.metadata, &field_manager(desired), &[member]);
    ConfigMap {
        data: part(observed.data.as_ref(), &ours("f:data")),
        binary_data: part(observed.binary_data.as_ref(), &ours("f:binaryData")),
        ..ConfigMap::default()
    }
}

/// Labels and annotations of an earlier config or version of the resource, as members of a merge patch that removes
/// them. They are the fields that our field manager owns in `managedFields` and that the desired object no longer has.
fn abandoned(manager: &str, have: &ObjectMeta, want: &ObjectMeta) -> Nulls {
    let members =
        [("labels", &have.labels, &want.labels), ("annotations", &have.annotations, &want.annotations)];
    let left = members.into_iter().map(|(member, have_keys, wanted)| {
        let owned = owned_keys(have, manager, &["f:metadata", &format!("f:{member}")]);
        let left = owned.iter().filter(|key| has(have_keys.as_ref(), key) && !has(wanted.as_ref(), key));
        (member.to_owned(), serde_json::Value::from(nulls(left)))
    });
    left.filter(|(_, left)| left.as_object().is_some_and(|left| !left.is_empty())).collect()
}

fn has<V>(map: Option<&BTreeMap<String, V>>, key: &str) -> bool {
    map.is_some_and(|map| map.contains_key(key))
}

/// Whether every entry of `want` is in `have`.
fn includes<V: PartialEq>(have: Option<&BTreeMap<String, V>>, want: Option<&BTreeMap<String, V>>) -> bool {
    want.into_iter().flatten().all(|(key, value)| have.and_then(|have| have.get(key)) == Some(value))
}

/// An absent map is equal to an empty one.
pub(super) fn same_entries<V: PartialEq>(
    left: Option<&BTreeMap<String, V>>,
    right: Option<&BTreeMap<String, V>>,
) -> bool {
    left.into_iter().flatten().eq(right.into_iter().flatten())
}

/// A merge patch for keys that move between `data` and `binaryData`, because someone moved them, or because text became
/// binary. The API server refuses an apply that adds a key to one map while it is in the other. The patch replaces the
/// whole content at once, so that no reader sees a part of it.
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
            // Includes the annotations about the content; otherwise they would contradict it until the apply.
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

/// The parts to remove after an apply. In the content of our own object these are keys that others added, because
/// server-side apply keeps fields that it never owned. Elsewhere these are fields that we own by an earlier patch and
/// not by an apply.
#[must_use]
pub fn leftovers(desired: &Desired, wanted: &ConfigMap, observed: &ConfigMap) -> Option<serde_json::Value> {
    fn extra<V, W>(
        have: Option<&BTreeMap<String, V>>,
        want: Option<&BTreeMap<String, W>>,
        ours: Option<&BTreeSet<String>>,
    ) -> Nulls {
        let unwanted = |key: &&String| !has(want, key) && ours.is_none_or(|ours| ours.contains(*key));
        nulls(have.into_iter().flatten().map(|(key, _)| key).filter(unwanted))
    }
    let manager = field_manager(desired);
    let ours = |member: &str| {
        (desired.target.creation_policy == CreationPolicy::Merge)
            .then(|| owned_keys(&observed.metadata, &manager, &[member]))
    };
    let data = extra(observed.data.as_ref(), wanted.data.as_ref(), ours("f:data").as_ref());
    let binary_data =
        extra(observed.binary_data.as_ref(), wanted.binary_data.as_ref(), ours("f:binaryData").as_ref());
    let metadata = abandoned(&manager, &observed.metadata, &wanted.metadata);
    let all = [("data", data), ("binaryData", binary_data), ("metadata", metadata)];
    let patch: Nulls = all
        .into_iter()
        .filter(|(_, members)| !members.is_empty())
        .map(|(member, members)| (member.to_owned(), members.into()))
        .collect();
    (!patch.is_empty()).then(|| patch.into())
}
