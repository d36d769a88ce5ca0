//! A pod and the state of its resource → the config that the pod runs with. Pure.

use std::collections::{BTreeMap, BTreeSet};

use api::{ArtifactConfig, Binding, HistoryEntry};
use decide::bind;
use decide::history;
use decide::usage::config_maps_named_in;
use jiff::Timestamp;
use kube::ResourceExt as _;
use oci::{ImageRef, text};
use serde::Serialize;
use serde_json::Value;

use crate::cli::table::short;

use super::reason::{self, Use};

/// A resource, and its revisions in the cluster.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The resource.
    pub config: &'a ArtifactConfig,
    /// The artifact of each revision that exists, as its annotation names it.
    pub revisions: BTreeMap<String, Option<String>>,
}

/// A `ConfigMap` of the resource that a pod uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Name of the pod.
    pub pod: String,
    /// The image of the container that the config is for, as the pod names it.
    pub image: Option<String>,
    /// Digest of that image: from the pod's spec, else as the kubelet reports it.
    pub image_digest: Option<String>,
    /// Digest of the artifact; absent if it is not known.
    pub artifact: Option<String>,
    /// The revision or the target.
    pub config_map: String,
    /// Whether a policy has bound the pod to this revision.
    pub bound: bool,
    /// When the container started; absent if it does not run.
    pub since: Option<String>,
    /// Whether the pod is ready.
    pub ready: bool,
    /// Why the pod is not bound, or what is wrong with the binding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Row {
    /// Tag and short digest.
    pub fn short_image(&self) -> String {
        let Some(image) = &self.image else { return "-".to_owned() };
        let digest = self.image_digest.as_deref().map(short);
        let tag = image.parse::<ImageRef>().ok().and_then(|image| image.tag().map(str::to_owned));
        match (tag, digest) {
            (Some(tag), Some(digest)) => format!("{tag}@{digest}"),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => text::brief(image),
        }
    }
}

/// One row for each `ConfigMap` of the resource that the pod uses. None for a pod that has ended.
pub fn rows(seen: &Seen<'_>, pod: &Value) -> Vec<Row> {
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return Vec::new();
    }
    let mut named = BTreeSet::new();
    config_maps_named_in(&pod["spec"], &mut named);
    let bound = pod["metadata"]["annotations"][bind::bound_key(&seen.config.name_any())].as_str();
    let ours = named.iter().map(String::as_str).filter(|name| seen.has(name));
    let uses: BTreeSet<&str> = ours.chain(bound).collect();
    let found = uses.into_iter().map(|config_map| Use {
        config: seen.config,
        pod,
        config_map,
        is_named: named.contains(config_map),
        is_bound: bound == Some(config_map),
        exists: seen.revisions.contains_key(config_map),
    });
    found.map(|found| row(seen, &found)).collect()
}

fn row(seen: &Seen<'_>, found: &Use<'_>) -> Row {
    let Use { pod, config_map, config, .. } = *found;
    let container = container(config, pod);
    let status = container.and_then(|container| status(pod, container));
    let image = container.and_then(|container| container["image"].as_str());
    let since = match container {
        Some(_) => status.and_then(|status| status["state"]["running"]["startedAt"].as_str()),
        None => pod["status"]["startTime"].as_str(),
    };
    let applied = current(config).filter(|_| config_map == bind::target(config) && !found.is_bound);
    let changed = applied.filter(|applied| is_later(&applied.applied_at, since));
    let artifact = match applied {
        Some(applied) => changed.is_none().then(|| applied.artifact.clone()),
        None => seen.artifact(config_map),
    };
    let reported = status.and_then(|status| status["imageID"].as_str());
    let digest = |image: &str| Some(image.rsplit_once('@')?.1.to_owned());
    Row {
        pod: pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        image: image.map(str::to_owned),
        image_digest: image.and_then(digest).or_else(|| reported.and_then(digest)),
        artifact,
        config_map: config_map.to_owned(),
        bound: found.is_bound,
        since: since.map(str::to_owned),
        ready: is_ready(pod),
        reason: reason::reason(found, applied, changed.is_some()),
    }
}

impl Seen<'_> {
    fn bindings(&self) -> &[Binding] {
        self.config.status.as_ref().map_or(&[], |status| &status.bindings)
    }

    fn history(&self) -> &[HistoryEntry] {
        self.config.status.as_ref().map_or(&[], |status| &status.history)
    }

    /// Whether a `ConfigMap` is the target, or a revision that exists or existed.
    fn has(&self, config_map: &str) -> bool {
        config_map == bind::target(self.config)
            || self.revisions.contains_key(config_map)
            || self.recorded(config_map).is_some()
    }

    /// The artifact of a revision, by the status.
    fn recorded(&self, config_map: &str) -> Option<&String> {
        let binding = self.bindings().iter().find(|binding| binding.config_map == config_map);
        let is_this = |entry: &&HistoryEntry| entry.config_map.as_deref() == Some(config_map);
        let applied = || self.history().iter().find(is_this).map(|entry| &entry.artifact);
        binding.map(|binding| &binding.artifact).or_else(applied)
    }

    /// The artifact of a revision: by the status, else by the annotation of the revision.
    fn artifact(&self, config_map: &str) -> Option<String> {
        self.recorded(config_map).cloned().or_else(|| self.revisions.get(config_map).cloned().flatten())
    }
}

/// The application whose config the target has now.
fn current(config: &ArtifactConfig) -> Option<&HistoryEntry> {
    history::current(&config.status.as_ref()?.history)
}

/// Whether a time is after the start. Without a start the content at the start is yet to come.
fn is_later(time: &str, start: Option<&str>) -> bool {
    let read = |time: &str| time.parse::<Timestamp>().ok();
    start.is_some_and(|start| read(time).zip(read(start)).is_none_or(|(time, start)| time > start))
}

/// The container that the config is for: the one of `spec.workloadRef`, else the one with the applied image, else the only
/// one.
fn container<'p>(config: &ArtifactConfig, pod: &'p Value) -> Option<&'p Value> {
    let all = pod["spec"]["containers"].as_array()?;
    let named = bind::container(config);
    if !named.is_empty() {
        return all.iter().find(|container| container["name"].as_str() == Some(named));
    }
    let applied = config.status.as_ref().and_then(|status| status.image.as_ref());
    let is_applied = |container: &&Value| {
        applied.is_some_and(|applied| container["image"].as_str() == Some(&applied.reference))
    };
    all.iter().find(is_applied).or_else(|| all.first().filter(|_| all.len() == 1))
}

fn status<'p>(pod: &'p Value, container: &Value) -> Option<&'p Value> {
    let all = pod["status"]["containerStatuses"].as_array()?;
    all.iter().find(|status| status["name"].is_string() && status["name"] == container["name"])
}

fn is_ready(pod: &Value) -> bool {
    let is_true = |condition: &Value| {
        condition["type"].as_str() == Some("Ready") && condition["status"].as_str() == Some("True")
    };
    pod["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(is_true))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
