//! The places where a pod names `ConfigMaps`, as CEL and in Rust.

use std::fmt::Write as _;
use std::slice;

use serde_json::Value;

/// A reference to a `ConfigMap`.
struct Reference {
    /// The list that holds it, by the fields that lead to it from an item of the outer list. Empty: that item holds it.
    inner: &'static [&'static str],
    /// The object with the name, by the fields that lead to it.
    object: &'static [&'static str],
}

const OF_VOLUMES: [Reference; 2] = [
    Reference { inner: &[], object: &["configMap"] },
    Reference { inner: &["projected", "sources"], object: &["configMap"] },
];

const OF_CONTAINERS: [Reference; 2] = [
    Reference { inner: &["envFrom"], object: &["configMapRef"] },
    Reference { inner: &["env"], object: &["valueFrom", "configMapKeyRef"] },
];

/// The lists of a pod's `spec`, and the references in their items.
const LISTS: [(&str, &[Reference]); 3] =
    [("volumes", &OF_VOLUMES), ("initContainers", &OF_CONTAINERS), ("containers", &OF_CONTAINERS)];

fn all() -> impl Iterator<Item = (&'static str, &'static Reference)> {
    LISTS.into_iter().flat_map(|(list, references)| references.iter().map(move |reference| (list, reference)))
}

/// CEL: whether the pod names the target in one of the places. The list of one item gives the target a name, so that it is
/// evaluated once for all places.
pub(super) fn is_named(target: &str) -> String {
    let place = |(list, reference): (&str, &Reference)| {
        let list = outer(list);
        match reference.inner {
            [] => format!("{list}.exists(o, {})", names("o", reference, "t")),
            inner => format!("{list}.exists(o, {}.exists(i, {}))", within(inner), names("i", reference, "t")),
        }
    };
    format!("[{target}].exists(t,\n{})", all().map(place).collect::<Vec<_>>().join(" ||\n"))
}

/// CEL: the patches that put the revision in place of the target.
pub(super) fn rewritten(target: &str, revision: &str) -> String {
    let place = |(list, reference): (&str, &Reference)| {
        let (item, path) = match reference.inner {
            [] => ("o", format!(r#""/spec/{list}/" + string(x) + "{}""#, pointer(reference))),
            inner => (
                "i",
                format!(
                    r#""/spec/{list}/" + string(x) + "/{}/" + string(y) + "{}""#,
                    inner.join("/"),
                    pointer(reference)
                ),
            ),
        };
        let replace = format!(r#"JSONPatch{{op: "replace", path: {path}, value: {revision}}}"#);
        let (list, condition) = (outer(list), names(item, reference, target));
        match reference.inner {
            [] => format!("{list}.transformList(x, o, {condition},\n  {replace})"),
            inner => format!(
                "{list}.transformList(x, o, {}.transformList(y, i, {condition},\n  {replace})).flatten()",
                within(inner)
            ),
        }
    };
    all().map(place).collect::<Vec<_>>().join(" +\n")
}

fn outer(list: &str) -> String {
    format!("object.spec.?{list}.orValue([])")
}

/// The inner list of the item `o`. Of a projected volume without sources the API server makes `sources: null`.
fn within(inner: &[&str]) -> String {
    format!("({}.orValue(null) == null ? [] : o.{})", optional("o", inner), inner.join("."))
}

fn names(item: &str, reference: &Reference, target: &str) -> String {
    format!(r#"{}.?name.orValue("") == {target}"#, optional(item, reference.object))
}

fn optional(item: &str, fields: &[&str]) -> String {
    fields.iter().fold(item.to_owned(), |path, field| format!("{path}.?{field}"))
}

fn pointer(reference: &Reference) -> String {
    let mut pointer = String::new();
    for field in reference.object.iter().chain(&["name"]) {
        // Writing to a String cannot fail.
        let _ = write!(pointer, "/{field}");
    }
    pointer
}

/// Whether the pod names the target in one of the places.
pub(super) fn has(pod: &Value, target: &str) -> bool {
    all().any(|(list, reference)| {
        let pointer = pointer(reference);
        let is_found = |item: &Value| item.pointer(&pointer).and_then(Value::as_str) == Some(target);
        let items = pod["spec"][list].as_array().into_iter().flatten();
        items.into_iter().any(|item| match reference.inner {
            [] => is_found(item),
            inner => {
                let inner = inner.iter().fold(item, |item, field| &item[*field]);
                inner.as_array().into_iter().flatten().any(is_found)
            }
        })
    })
}

/// Puts the revision in place of the target.
pub(super) fn rewrite(pod: &mut Value, target: &str, revision: &str) {
    for (list, reference) in all() {
        let pointer = pointer(reference);
        let items = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            let held = match reference.inner {
                [] => slice::from_mut(item),
                inner => inner
                    .iter()
                    .try_fold(item, |item, field| item.get_mut(*field))
                    .and_then(Value::as_array_mut)
                    .map_or_else(Default::default, Vec::as_mut_slice),
            };
            let names = held.iter_mut().filter_map(|item| item.pointer_mut(&pointer));
            for name in names.filter(|name| name.as_str() == Some(target)) {
                *name = revision.into();
            }
        }
    }
}
