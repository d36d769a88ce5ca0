//! The table of pods and their admission, `table.yaml`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use api::label;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The whole table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    configs: BTreeMap<String, Preset>,
    rows: Vec<Row>,
}

/// A resource.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Preset {
    name: String,
    spec: Value,
    #[serde(default)]
    status: Value,
}

/// A pod, the resources around it, and the answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    pod: Option<String>,
    bind: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    configs: Vec<String>,
    #[serde(default)]
    elsewhere: Vec<String>,
    spec: Value,
    #[serde(default)]
    out: BTreeMap<String, String>,
    #[serde(default)]
    bound: BTreeMap<String, String>,
    #[serde(default)]
    refused: Vec<String>,
}

/// A row, ready to be run.
pub struct Case {
    pub name: String,
    pub pod: Value,
    /// The resources in the namespace of the pod, as somebody may write them: with null in place of a missing field.
    pub configs: Vec<Value>,
    /// The resources in another namespace.
    pub elsewhere: Vec<Value>,
    /// The pod as it is admitted, or the messages of which one is the answer.
    pub expected: Result<Value, Vec<String>>,
}

/// Namespaces that stand for the real ones.
pub const HERE: &str = "here";
pub const ELSEWHERE: &str = "elsewhere";

/// Reads the table.
pub fn read() -> Result<Vec<Case>> {
    let Table { configs, rows } = serde_saphyr::from_str(include_str!("table.yaml"))?;
    let case = |row: Row| {
        let name = row.name.clone();
        row.ready(&configs).with_context(|| name)
    };
    rows.into_iter().map(case).collect()
}

impl Row {
    fn ready(self, presets: &BTreeMap<String, Preset>) -> Result<Case> {
        let pod = self.sent();
        let resources = |names: &[String], namespace: &str| -> Result<Vec<Value>> {
            let of = |name: &String| {
                presets
                    .get(name)
                    .with_context(|| format!("no preset {name}"))
                    .map(|preset| preset.resource(namespace))
            };
            names.iter().map(of).collect()
        };
        Ok(Case {
            configs: resources(&self.configs, HERE)?,
            elsewhere: resources(&self.elsewhere, ELSEWHERE)?,
            expected: if self.refused.is_empty() {
                Ok(self.admitted(pod.clone())?)
            } else {
                Err(self.refused)
            },
            name: self.name,
            pod,
        })
    }

    fn sent(&self) -> Value {
        let mut metadata = Map::new();
        match &self.pod {
            Some(name) => metadata.insert("name".to_owned(), json!(name)),
            None => metadata.insert("generateName".to_owned(), json!("pod-")),
        };
        let bind = self.bind.as_deref().unwrap_or("require");
        if bind != "none" {
            metadata.insert("labels".to_owned(), json!({label::BIND: bind}));
        }
        if !self.annotations.is_empty() {
            metadata.insert("annotations".to_owned(), json!(self.annotations));
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": self.spec})
    }

    fn admitted(&self, mut pod: Value) -> Result<Value> {
        for (pointer, value) in &self.out {
            *pod.pointer_mut(pointer).with_context(|| format!("the pod has no {pointer}"))? = json!(value);
        }
        for (config, revision) in &self.bound {
            pod["metadata"]["annotations"][decide::bind::bound_key(config)] = json!(revision);
        }
        Ok(pod)
    }
}

impl Preset {
    fn resource(&self, namespace: &str) -> Value {
        json!({
            "apiVersion": "artifactconfig.dev/v1alpha1",
            "kind": "ArtifactConfig",
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": self.spec,
            "status": self.status,
        })
    }
}
