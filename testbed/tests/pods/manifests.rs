//! Manifests for the tests.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::Cluster;

/// A pod template of an app whose container `main` mounts a ConfigMap.
pub fn template(app: &str, image: &str, config_map: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {
            "terminationGracePeriodSeconds": 30,
            "containers": [{
                "name": "main",
                "image": image,
                "volumeMounts": [{"name": "config", "mountPath": "/config"}],
            }],
            "volumes": [{"name": "config", "configMap": {"name": config_map}}],
        },
    })
}

/// A workload of the group `apps`.
pub fn workload(kind: &str, app: &str, replicas: u32, template: &Value) -> Value {
    let mut workload = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": app},
        "spec": {"selector": {"matchLabels": {"app": app}}, "template": template},
    });
    if kind != "DaemonSet" {
        workload["spec"]["replicas"] = json!(replicas);
    }
    workload
}

pub fn pod(app: &str, template: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": app, "labels": {"app": app}},
        "spec": template["spec"],
    })
}

pub fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// Applies objects in a namespace.
pub async fn apply(cluster: &Cluster, namespace: &str, objects: &[Value]) -> Result<()> {
    let mut list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    for object in list["items"].as_array_mut().into_iter().flatten() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    cluster.apply(&list.to_string()).await
}
