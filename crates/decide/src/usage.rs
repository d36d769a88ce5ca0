//! Finds the `ConfigMaps` and the images that a workload names.

use std::collections::BTreeSet;

use api::{Binding, GROUP};
use serde_json::Value;

/// The names that pods and pod templates of a namespace use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Names of `ConfigMaps`.
    pub config_maps: BTreeSet<String>,
    /// Images, as they are written there.
    pub images: BTreeSet<String>,
}

impl Usage {
    /// Adds what an object with a pod template names. It reads JSON, because a `ControllerRevision` holds JSON only.
    pub fn add(&mut self, object: &Value) {
        config_maps_named_in(object, &mut self.config_maps);
        images_named_in(object, &mut self.images);
    }

    /// Whether the image of a binding is used, by its reference or its digest.
    #[must_use]
    pub fn has_image(&self, binding: &Binding) -> bool {
        let is_digest =
            |image: &String| image.rsplit_once('@').is_some_and(|(_, digest)| digest == binding.digest);
        self.images.contains(&binding.image) || self.images.iter().any(is_digest)
    }
}

/// Every `ConfigMap` that an object with a pod template names, in volumes, projected volumes, `envFrom` and `env`, and in the
/// annotations by which a pod template names a revision.
pub fn config_maps_named_in(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                if matches!(member.as_str(), "configMap" | "configMapRef" | "configMapKeyRef") {
                    names.extend(value.get("name").and_then(Value::as_str).map(str::to_owned));
                }
                if is_revision(member) {
                    names.extend(value.as_str().map(str::to_owned));
                }
                config_maps_named_in(value, names);
            }
        }
        Value::Array(values) => {
            for value in values {
                config_maps_named_in(value, names);
            }
        }
        _ => {}
    }
}

/// Whether an annotation names a revision: `<resource>.artifactconfig.dev/revision`, or `…/bound`.
fn is_revision(annotation: &str) -> bool {
    annotation.rsplit_once('/').is_some_and(|(prefix, name)| {
        matches!(name, "revision" | "bound")
            && prefix.strip_suffix(GROUP).is_some_and(|resource| resource.ends_with('.'))
    })
}

/// Every image that an object with a pod template names.
fn images_named_in(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                if member == "image" {
                    names.extend(value.as_str().map(str::to_owned));
                }
                images_named_in(value, names);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| images_named_in(value, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_to_use_a_config_map_is_seen() {
        let template = json!({"spec": {"template": {"metadata": {"annotations": {
            "web.artifactconfig.dev/revision": "pinned", "artifactconfig.dev/revision": "7", "a.example/revision": "no",
        }}, "spec": {
            "volumes": [
                {"name": "a", "configMap": {"name": "volume"}},
                {"name": "b", "projected": {"sources": [{"configMap": {"name": "projected"}}, {"secret": {"name": "no"}}]}},
            ],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "env-from"}}], "image": "r.example/init"}],
            "containers": [{
                "image": "r.example/web:v1",
                "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "k"}}}],
            }],
        }}}});
        let mut usage = Usage::default();
        usage.add(&json!({"data": template}));
        let all = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>();
        assert_eq!(all(usage.config_maps), ["env", "env-from", "pinned", "projected", "volume"]);
        assert_eq!(all(usage.images), ["r.example/init", "r.example/web:v1"]);
    }

    #[test]
    fn an_image_is_used_by_its_reference_or_its_digest() {
        let binding: Binding = serde_json::from_value(json!({
            "image": "r.example/web:v1", "digest": "sha256:1", "container": "web", "artifact": "sha256:2",
            "pinned": "r.example/web:v1@sha256:1", "configMap": "web-1", "hash": "sha256:3",
        }))
        .unwrap();
        let used =
            |image: &str| Usage { images: [image.to_owned()].into(), ..Usage::default() }.has_image(&binding);
        for image in ["r.example/web:v1", "r.example/web:v1@sha256:1", "mirror.example/web@sha256:1"] {
            assert!(used(image), "{image}");
        }
        for image in ["r.example/web:v2", "r.example/web:v1@sha256:2", "r.example/web"] {
            assert!(!used(image), "{image}");
        }
    }
}
