//! Finds the `ConfigMaps` that a workload names.

use std::collections::BTreeSet;

/// Every `ConfigMap` that an object with a pod template names, in volumes, projected volumes, `envFrom` and `env`. It
/// reads JSON, because a `ControllerRevision` holds JSON only.
pub fn config_maps_named_in(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (member, value) in members {
                if matches!(member.as_str(), "configMap" | "configMapRef" | "configMapKeyRef") {
                    names.extend(value.get("name").and_then(serde_json::Value::as_str).map(str::to_owned));
                }
                config_maps_named_in(value, names);
            }
        }
        serde_json::Value::Array(values) => {
            for value in values {
                config_maps_named_in(value, names);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_to_use_a_config_map_is_seen() {
        let template = json!({"spec": {"template": {"spec": {
            "volumes": [
                {"name": "a", "configMap": {"name": "volume"}},
                {"name": "b", "projected": {"sources": [{"configMap": {"name": "projected"}}, {"secret": {"name": "no"}}]}},
            ],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "env-from"}}]}],
            "containers": [{"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "k"}}}]}],
        }}}});
        let mut names = BTreeSet::new();
        config_maps_named_in(&json!({"data": template}), &mut names);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["env", "env-from", "projected", "volume"]);
    }
}
