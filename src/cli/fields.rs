//! Fields of a resource that its definition does not have. Pure.
//!
//! The API server drops such fields with a warning, or refuses them if kubectl validates strictly. Code that reads a
//! file without an API server must not ignore them silently.

use decide::near;
use serde_json::{Map, Value};

/// Most fields that an error names.
const MOST: usize = 10;

/// Fields of `metadata` (apimachinery, `ObjectMeta`). The definition leaves them to the API server.
const METADATA: [&str; 16] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
    "clusterName",
];

/// A sentence for each unknown field, with a suggestion.
#[must_use]
pub fn unknown(document: &Value) -> Vec<String> {
    let schema = schema();
    let mut found = Vec::new();
    walk(document, &schema, "", &mut found);
    let mut known = Vec::new();
    paths(&schema, "", &mut known);
    found.into_iter().take(MOST).map(|path| sentence(&path, &known)).collect()
}

/// The schema of the definition, with the fields that every object has.
fn schema() -> Value {
    let definition = serde_json::to_value(api::crd()).unwrap_or_default();
    let mut schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    let metadata: Map<String, Value> =
        METADATA.iter().map(|field| ((*field).to_owned(), Value::Object(Map::new()))).collect();
    schema["properties"]["metadata"] = serde_json::json!({"properties": metadata});
    for field in ["apiVersion", "kind"] {
        schema["properties"][field] = serde_json::json!({});
    }
    schema
}

fn walk(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let Some(properties) = schema["properties"].as_object() else {
                // A map, whose keys are not fields.
                for (key, value) in members {
                    walk(value, &schema["additionalProperties"], &below(path, key), found);
                }
                return;
            };
            for (key, value) in members {
                match properties.get(key) {
                    Some(property) => walk(value, property, &below(path, key), found),
                    None => found.push(below(path, key)),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &schema["items"], &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Every field that the schema allows.
fn paths(schema: &Value, path: &str, into: &mut Vec<String>) {
    let items = if schema["items"].is_object() { &schema["items"] } else { schema };
    for (key, property) in items["properties"].as_object().into_iter().flatten() {
        let path = below(path, key);
        if path != "status" {
            paths(property, &path, into);
            into.push(path);
        }
    }
}

/// Suggests a field of the same name at another place first, because fields are more often misplaced than misspelled.
fn sentence(path: &str, known: &[String]) -> String {
    let (parent, leaf) = split(path);
    let parent = without_indices(parent);
    let moved = known.iter().find(|known| split(known).1 == leaf);
    let beside: Vec<&String> = known.iter().filter(|known| split(known).0 == parent).collect();
    let intended =
        moved.or_else(|| closest(leaf, &beside)).or_else(|| closest(leaf, &known.iter().collect::<Vec<_>>()));
    match intended {
        Some(intended) => format!("there is no field '{path}'; did you mean '{intended}'?"),
        None => format!("there is no field '{path}'"),
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

fn closest<'a>(leaf: &str, among: &[&'a String]) -> Option<&'a String> {
    let leaves: Vec<&str> = among.iter().map(|path| split(path).1).collect();
    let intended = *near::closest(leaf, &leaves).first()?;
    among.iter().copied().find(|path| split(path).1 == intended)
}

fn without_indices(path: &str) -> String {
    path.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[rstest::rstest]
    #[case::in_the_wrong_place(json!({"spec": {"pullSecrets": []}}), "spec.pullSecrets", "spec.registry.pullSecrets")]
    #[case::one_letter(json!({"spec": {"file": []}}), "spec.file", "spec.files")]
    #[case::capitals(json!({"spec": {"Image": "x"}}), "spec.Image", "spec.image")]
    #[case::in_a_list(json!({"spec": {"files": [{"path": "a"}, {"pth": "b"}]}}), "spec.files[1].pth", "spec.files.path")]
    #[case::at_the_top(json!({"specs": {}}), "specs", "spec")]
    #[case::in_the_metadata(json!({"metadata": {"label": {}}}), "metadata.label", "metadata.labels")]
    #[case::nested(json!({"spec": {"target": {"policy": "x"}}}), "spec.target.policy", "spec.selection.policy")]
    fn slips(#[case] document: Value, #[case] path: &str, #[case] intended: &str) {
        assert_eq!(unknown(&document), [format!("there is no field '{path}'; did you mean '{intended}'?")]);
    }

    #[test]
    fn what_exists_passes() {
        let whole = json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {
                "name": "web", "labels": {"a.b/c": "d"}, "annotations": {"x": "y"},
                "managedFields": [{"fieldsV1": {"f:spec": {}}}], "ownerReferences": [{"name": "n"}]
            },
            "spec": {
                "image": "r.example/web", "artifactType": "a/b", "files": [{"path": "a", "key": "b"}],
                "selection": {"matchAnnotations": {"any.thing/at-all": "1"}, "policy": "Newest"},
                "target": {"name": "n", "labels": {"l": "1"}, "annotations": {"a": "1"}},
                "registry": {"pullSecrets": [{"name": "s"}], "plainHttp": true},
            },
            "status": {"conditions": [{"type": "Ready"}], "history": [{"revision": 1}]},
        });
        assert_eq!(unknown(&whole), [] as [String; 0]);
        assert_eq!(unknown(&json!({"spec": {"zzzzzzzzzz": 1}})), ["there is no field 'spec.zzzzzzzzzz'"]);
    }
}
