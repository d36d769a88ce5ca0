//! The keys of `ConfigMaps` that the pods of a workload cannot start without.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The keys of each `ConfigMap` that a pod template names and does not call optional.
pub type Keys = BTreeMap<String, BTreeSet<String>>;

/// Reads the keys that a pod template cannot do without: `configMapKeyRef` in `env`, `items` of volumes, and a volume that is
/// mounted by `subPath`, where the kubelet makes an empty directory in place of a missing file.
#[must_use]
pub fn keys(template: &Value) -> Keys {
    let (mut keys, spec) = (Keys::new(), &template["spec"]);
    let containers = || list(&spec["initContainers"]).chain(list(&spec["containers"]));
    let env = containers().flat_map(|container| list(&container["env"]));
    for source in env.map(|env| &env["valueFrom"]["configMapKeyRef"]) {
        add(&mut keys, source, source["key"].as_str());
    }
    for volume in list(&spec["volumes"]) {
        let projected = list(&volume["projected"]["sources"]).map(|source| &source["configMap"]);
        for source in projected.chain([&volume["configMap"]]) {
            for item in list(&source["items"]) {
                add(&mut keys, source, item["key"].as_str());
            }
        }
        let mounts = containers().flat_map(|container| list(&container["volumeMounts"]));
        let of_volume = mounts.filter(|mount| mount["name"] == volume["name"]);
        let source = &volume["configMap"];
        for path in of_volume.filter_map(|mount| mount["subPath"].as_str()) {
            // With items a path is not a key.
            add(
                &mut keys,
                source,
                Some(path).filter(|path| source["items"].is_null() && !path.contains('/')),
            );
        }
    }
    keys
}

fn add(keys: &mut Keys, source: &Value, key: Option<&str>) {
    let is_optional = source["optional"].as_bool() == Some(true);
    if let (Some(name), Some(key), false) = (source["name"].as_str(), key, is_optional) {
        keys.entry(name.to_owned()).or_default().insert(key.to_owned());
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_keys_that_a_pod_cannot_do_without_are_found() {
        let template = json!({"spec": {
            "volumes": [
                {"name": "items", "configMap": {"name": "web", "items": [{"key": "a.json", "path": "b.json"}]}},
                {"name": "all", "configMap": {"name": "web"}},
                {"name": "optional", "configMap": {"name": "web", "optional": true, "items": [{"key": "no", "path": "x"}]}},
                {"name": "projected", "projected": {"sources": [
                    {"configMap": {"name": "web", "items": [{"key": "p.json", "path": "p"}]}}, {"secret": {"name": "no"}},
                ]}},
            ],
            "initContainers": [{"env": [{"name": "I", "valueFrom": {"configMapKeyRef": {"name": "other", "key": "INIT"}}}]}],
            "containers": [{
                "envFrom": [{"configMapRef": {"name": "web"}}],
                "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "web", "key": "LEVEL"}}},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "web", "key": "no", "optional": true}}},
                    {"name": "C", "value": "no"},
                ],
                "volumeMounts": [
                    {"name": "all", "mountPath": "/etc/app.json", "subPath": "app.json"},
                    {"name": "all", "mountPath": "/etc/web"},
                    {"name": "items", "mountPath": "/etc/b.json", "subPath": "b.json"},
                ],
            }],
        }});
        let found = keys(&template);
        let of = |name: &str| found[name].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(of("web"), ["LEVEL", "a.json", "app.json", "p.json"]);
        assert_eq!(of("other"), ["INIT"]);
        assert_eq!(keys(&json!({"spec": null})), Keys::new());
    }
}
