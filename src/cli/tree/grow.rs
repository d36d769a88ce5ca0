//! Builds the tree from its inputs. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use api::{ArtifactConfig, Binding, HistoryEntry, HistoryOutcome};
use decide::{bindings, history};
use kube::{Resource as _, ResourceExt as _};
use oci::text;
use registry::Artifact;
use serde::Serialize;

use crate::cli::applied;
use crate::cli::table::short;
use crate::cli::verdict;

/// The artifacts that are attached to the present digest of the image.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Digest of the image.
    pub image: String,
    /// The image, as the resource or its workload names it now.
    pub reference: String,
    /// Artifacts of every type.
    pub artifacts: Vec<Artifact>,
}

/// A pod that names a `ConfigMap`.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its phase.
    pub phase: String,
}

/// All inputs of the tree.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The attached artifacts, or why they are not known.
    pub attached: Result<Attached, String>,
    /// `ConfigMaps` of the resource that exist.
    pub config_maps: BTreeSet<String>,
    /// Pods by the `ConfigMaps` that they name, or why the pods are not known.
    pub pods: Result<BTreeMap<String, Vec<Pod>>, String>,
}

/// A node of the tree, with its children.
#[derive(Debug, PartialEq, Serialize)]
pub struct Node {
    /// Its kind.
    kind: Cow<'static, str>,
    /// Its name.
    name: String,
    /// Notes on its state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    /// Its children.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<Node>,
}

impl Node {
    fn new(kind: impl Into<Cow<'static, str>>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), name: name.into(), notes: Vec::new(), children: Vec::new() }
    }

    fn noted(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    fn draw(&self, f: &mut fmt::Formatter<'_>, first: &str, rest: &str) -> fmt::Result {
        let notes =
            if self.notes.is_empty() { String::new() } else { format!(" ({})", self.notes.join(", ")) };
        let digest = self.kind == "artifact";
        let name = if digest { short(&self.name) } else { self.name.clone() };
        writeln!(f, "{first}{}", text::line(&format!("{} {name}{notes}", self.kind)))?;
        for (index, child) in self.children.iter().enumerate() {
            let (branch, trunk) = if index + 1 < self.children.len() {
                ("├── ", "│   ")
            } else {
                ("└── ", "    ")
            };
            child.draw(f, &format!("{rest}{branch}"), &format!("{rest}{trunk}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.draw(f, "", "")
    }
}

/// Builds the tree of a resource: each image, with the artifacts that are attached to it or were applied for it.
#[must_use]
pub fn grow(config: &ArtifactConfig, seen: &Seen) -> Node {
    let history = config.status.as_ref().map_or(&[][..], |status| &status.history);
    let name = format!("{}/{}", config.namespace().unwrap_or_default(), config.name_any());
    let mut root = Node::new(ArtifactConfig::kind(&()), name);
    root.notes.push(match verdict::ready(config) {
        Some(ready) if ready.status == "True" => format!("Ready, {}", ready.reason),
        Some(ready) => format!("not Ready, {}", ready.reason),
        None => "not reconciled yet".to_owned(),
    });
    if let Err(why) = &seen.attached {
        root.notes.push(format!("the attached artifacts are not known: {why}"));
    }
    if let Err(why) = &seen.pods {
        root.notes.push(format!("pods are not known: {why}"));
    }
    for (digest, reference) in images(config, history, seen) {
        root.children.push(image(config, history, seen, &digest, reference));
    }
    root
}

/// The bindings by which pods take their config.
fn counting(config: &ArtifactConfig) -> impl Iterator<Item = &Binding> {
    bindings::counting(config.status.as_ref().map_or(&[], |status| &status.bindings))
}

/// The present digest of the image first, then earlier digests for which a config was applied, newest first, then those that
/// have a binding only.
fn images(config: &ArtifactConfig, history: &[HistoryEntry], seen: &Seen) -> Vec<(String, String)> {
    let now = seen.attached.iter().map(|attached| (attached.image.clone(), attached.reference.clone()));
    let before = history.iter().map(|entry| {
        (entry.image.clone(), entry.image_reference.clone().unwrap_or_else(|| applied::image(config)))
    });
    let mut images: Vec<(String, String)> = Vec::new();
    let bound = counting(config).map(|binding| (binding.digest.clone(), binding.image.clone()));
    for (digest, reference) in now.chain(before).chain(bound) {
        if !images.iter().any(|(known, _)| *known == digest) {
            images.push((digest, reference));
        }
    }
    images
}

fn image(
    config: &ArtifactConfig,
    history: &[HistoryEntry],
    seen: &Seen,
    digest: &str,
    reference: String,
) -> Node {
    let mut node = Node::new("image", reference).noted([short(digest)]);
    let attached = seen.attached.as_ref().ok().filter(|attached| attached.image == digest);
    if seen.attached.is_ok() && attached.is_none() {
        node.notes.push("an earlier digest".to_owned());
    }
    let mut artifacts: Vec<&Artifact> = attached.iter().flat_map(|attached| &attached.artifacts).collect();
    artifacts.sort_by_key(|artifact| std::cmp::Reverse((artifact.created(), artifact.digest.to_string())));
    for artifact in &artifacts {
        let mut child =
            Node::new("artifact", artifact.digest.to_string()).noted([text::brief(&artifact.artifact_type)]);
        child.notes.extend(artifact.created().map(|created| format!("created {}", text::brief(created))));
        grown(&mut child, config, history, seen, digest);
        node.children.push(child);
    }
    let applied = history.iter().filter(|entry| entry.image == digest).map(|entry| &entry.artifact);
    let bound = counting(config).filter(|binding| binding.digest == digest).map(|binding| &binding.artifact);
    for artifact in applied.chain(bound) {
        if node.children.iter().any(|child| child.name == *artifact) {
            continue;
        }
        let mut child = Node::new("artifact", artifact.clone()).noted([config.spec.artifact_type.clone()]);
        if attached.is_some() {
            child.notes.push("not attached any more".to_owned());
        }
        grown(&mut child, config, history, seen, digest);
        node.children.push(child);
    }
    node
}

/// The nodes of an artifact: its revisions, its bindings, and the target if it has this artifact.
fn grown(artifact: &mut Node, config: &ArtifactConfig, history: &[HistoryEntry], seen: &Seen, image: &str) {
    let status = config.status.as_ref();
    if status.and_then(|status| status.latest.as_ref()) == Some(&artifact.name) {
        artifact.notes.push("next".to_owned());
    }
    let current = history::current(history);
    let entries: Vec<&HistoryEntry> =
        history.iter().filter(|entry| entry.artifact == artifact.name && entry.image == image).collect();
    let mut kept: BTreeSet<&str> = BTreeSet::new();
    for entry in &entries {
        let Some(name) = &entry.config_map else {
            let node = Node::new("revision", entry.revision.to_string())
                .noted([stated(entry), "not kept".to_owned()]);
            artifact.children.push(node);
            continue;
        };
        // One object for all applications of the same content.
        if !kept.insert(name) {
            continue;
        }
        let same = entries.iter().filter(|other| other.config_map.as_ref() == Some(name));
        let numbers: Vec<String> = same.map(|other| other.revision.to_string()).collect();
        let mut node =
            Node::new("revision", numbers.join(", ")).noted([stated(entry), format!("ConfigMap {name}")]);
        used(&mut node, name, seen);
        artifact.children.push(node);
    }
    let bound =
        counting(config).filter(|binding| binding.artifact == artifact.name && binding.digest == image);
    for binding in bound {
        let mut node = Node::new("binding", binding.image.clone())
            .noted([format!("container {}", binding.container), format!("ConfigMap {}", binding.config_map)]);
        // The pods of a revision stand below it, and below the first binding of a revision that the history has lost.
        if kept.insert(&binding.config_map) {
            used(&mut node, &binding.config_map, seen);
        }
        artifact.children.push(node);
    }
    if let Some(target) = status.and_then(|status| status.target.as_ref())
        && current.is_some_and(|current| current.artifact == artifact.name && current.image == image)
    {
        artifact.notes.push("applied".to_owned());
        let mut node = Node::new("target", format!("ConfigMap {}", target.name));
        used(&mut node, &target.name, seen);
        artifact.children.push(node);
    }
}

fn stated(entry: &HistoryEntry) -> String {
    match entry.outcome {
        HistoryOutcome::Applied => format!("Applied since {}", entry.applied_at),
        HistoryOutcome::Failed => format!("Failed {}", entry.applied_at),
        outcome => format!("{outcome:?}, applied {}", entry.applied_at),
    }
}

/// Adds the pods that name a `ConfigMap` as its children.
fn used(node: &mut Node, config_map: &str, seen: &Seen) {
    if !seen.config_maps.contains(config_map) {
        node.notes.push("gone".to_owned());
    }
    let pods = seen.pods.iter().filter_map(|pods| pods.get(config_map)).flatten();
    node.children.extend(pods.map(|pod| Node::new("pod", pod.name.clone()).noted([pod.phase.clone()])));
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Digest;
    use serde_json::json;

    fn digest(of: &str) -> String {
        Digest::sha256(of.as_bytes()).to_string()
    }

    fn config() -> ArtifactConfig {
        let entry = |revision: i64, artifact: &str, image: &str, outcome: &str| {
            json!({
                "revision": revision, "artifact": digest(artifact), "image": digest(image),
                "imageReference": "r.example/web:v1", "configMap": format!("web-{artifact}"), "hash": "sha256:0",
                "appliedAt": format!("2026-01-01T0{revision}:00:00Z"), "outcome": outcome
            })
        };
        let mut failed = entry(5, "worse", "image", "Failed");
        failed.as_object_mut().unwrap().remove("configMap");
        serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "generation": 1},
            "spec": {"image": "r.example/web:v2", "artifactType": "custom/config"},
            "status": {
                "latest": digest("worse"),
                "target": {"name": "web-config", "hash": "sha256:0"},
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "RolledBack", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"
                }],
                "history": [
                    failed, entry(4, "good", "image", "Applied"), entry(3, "bad", "image", "RolledBack"),
                    entry(2, "good", "image", "Superseded"), entry(1, "old", "older", "Superseded"),
                ]
            }
        }))
        .unwrap()
    }

    fn attached(of: &str, artifact_type: &str, created: &str) -> Artifact {
        Artifact {
            digest: Digest::sha256(of.as_bytes()),
            media_type: String::new(),
            artifact_type: artifact_type.to_owned(),
            subject: Some(Digest::sha256(b"image")),
            annotations: [("org.opencontainers.image.created", created)].into_iter().collect(),
            layers: Box::default(),
            children: Box::default(),
            unreadable_children: 0,
            fault: None,
            manifest: None,
        }
    }

    fn pod(name: &str) -> Pod {
        Pod { name: name.to_owned(), phase: "Running".to_owned() }
    }

    /// Newest first; a revision appears once, even if it was applied several times; missing objects are marked as gone.
    #[test]
    fn everything_is_known() {
        let seen = Seen {
            attached: Ok(Attached {
                image: digest("image"),
                reference: "r.example/web:v2".to_owned(),
                artifacts: vec![
                    attached("good", "custom/config", "2026-01-01T00:00:00Z"),
                    attached("worse", "custom/config", "2026-01-03T00:00:00Z"),
                    attached("signature", "application/vnd.example.sig", "2026-01-02T00:00:00Z"),
                ],
            }),
            config_maps: ["web-config", "web-good", "web-old"].map(str::to_owned).into(),
            pods: Ok([
                ("web-config".to_owned(), vec![pod("web-1"), pod("web-2")]),
                ("web-old".to_owned(), vec![pod("job-1")]),
                ("not-ours".to_owned(), vec![pod("other")]),
            ]
            .into()),
        };
        insta::assert_snapshot!(grow(&config(), &seen));
    }

    /// A binding stands below its artifact, also if the history has lost the revision; only those that count do.
    #[test]
    fn bindings_of_images() {
        let binding = |image: &str, of: &str, artifact: &str| {
            json!({
                "image": image, "digest": digest(of), "container": "web", "artifact": digest(artifact),
                "pinned": format!("{image}@{}", digest(of)), "configMap": format!("web-{artifact}"), "hash": "sha256:0"
            })
        };
        let mut config = config();
        let status = config.status.as_mut().unwrap();
        status.bindings = serde_json::from_value(json!([
            binding("r.example/web:v2", "image", "good"),
            binding("r.example/web:v2", "image", "bad"),
            binding("r.example/web:v0", "oldest", "lost"),
        ]))
        .unwrap();
        let seen = Seen {
            attached: Err("--offline".to_owned()),
            config_maps: ["web-config", "web-good", "web-lost"].map(str::to_owned).into(),
            pods: Ok([
                ("web-good".to_owned(), vec![pod("web-1")]),
                ("web-lost".to_owned(), vec![pod("job-0")]),
            ]
            .into()),
        };
        insta::assert_snapshot!(grow(&config, &seen));
    }

    /// The registry is down and pods may not be listed: the other nodes are still there.
    #[test]
    fn unknown_parts_are_reported() {
        let seen = Seen {
            attached: Err("RegistryUnavailable: connection refused".to_owned()),
            config_maps: BTreeSet::new(),
            pods: Err("forbidden".to_owned()),
        };
        insta::assert_snapshot!(grow(&config(), &seen));
    }
}
