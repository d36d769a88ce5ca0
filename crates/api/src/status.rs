//! `status` of an `ArtifactConfig`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The result of the last reconcile. It holds no time that changes by itself: no change, no write.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct ArtifactConfigStatus {
    /// The `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready` always; `Reconciling` (the operator tries again by itself), `Stalled` (somebody must act) and `RolledBack`
    /// (`spec.rollbackTo` is applied) only while they are true. kstatus understands them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The image whose config is in the `ConfigMap`. A failed reconcile does not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<AppliedImage>,

    /// The artifact whose files are in the `ConfigMap`. A failed reconcile does not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<AppliedArtifact>,

    /// The `ConfigMap` that holds the config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<AppliedTarget>,

    /// Digest of the artifact that the policy selects, if another one is applied: because of `spec.rollbackTo`, or because
    /// the selected one could not be applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<String>,

    /// The applied configs, newest first: which config, for which image, since when, and how it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,

    /// With `spec.workloadRef`: which revision belongs to which image. Pods that ask for binding take their config from here
    /// when they are created. The first entry of an image is the one that counts. At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub bindings: Vec<Binding>,

    /// The last value of the annotation `artifactconfig.dev/requestedAt` that the operator has handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_requested_at: Option<String>,
}

impl ArtifactConfigStatus {
    /// The condition of a type, such as [`condition::READY`].
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == kind)
    }
}

/// The image whose config is applied.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AppliedImage {
    /// The image as the resource named it then.
    pub reference: String,
    /// Digest of the image at that time: the subject of the artifact.
    pub digest: String,
}

/// The artifact that is applied.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AppliedArtifact {
    /// Digest of the artifact's manifest.
    pub digest: String,
    /// The digest, shortened for people: algorithm and twelve characters.
    #[serde(default)]
    pub short_digest: String,
    /// `org.opencontainers.image.created` of the manifest, unchanged except for length and unprintable characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Annotations of the manifest, at most 4 KiB of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Bytes of content in the `ConfigMap`.
    pub size: i64,
}

/// The `ConfigMap` that holds the config.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AppliedTarget {
    /// Name of the `ConfigMap`: `spec.target.name`, or the name of this resource.
    pub name: String,
    /// Hash over its keys and values: equal content has an equal hash, even if it comes from different artifacts.
    pub hash: String,
}

/// One application of a config.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Number of the application. Each application has the next number; no number is used twice.
    pub revision: i64,
    /// Digest of the artifact's manifest; a value for `spec.rollbackTo`.
    pub artifact: String,
    /// Digest of the image that the artifact was attached to and applied for.
    pub image: String,
    /// The image as the resource named it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_reference: Option<String>,
    /// The immutable `ConfigMap` that keeps the config; absent if `spec.revisionHistoryLimit` is 0 or the artifact failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<String>,
    /// Hash over keys and values of the revision; content with another hash is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// When the config was applied (or found unusable), RFC 3339.
    pub applied_at: String,
    /// `Applied`: in the `ConfigMap` now. `Superseded`: a later config replaced it. `RolledBack`: an earlier config replaced
    /// it. `Failed`: the artifact could not be used, and the config that was applied before stayed.
    pub outcome: HistoryOutcome,
}

/// A revision that belongs to an image.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// The image as the pod template names it.
    #[schemars(length(max = 1024))]
    pub image: String,
    /// Digest of the image.
    #[schemars(length(max = 135))]
    pub digest: String,
    /// The container that the image is for.
    #[schemars(length(max = 63))]
    pub container: String,
    /// The image with its digest: what a bound pod runs.
    #[schemars(length(max = 1200))]
    pub pinned: String,
    /// Digest of the artifact whose files the revision holds.
    #[schemars(length(max = 135))]
    pub artifact: String,
    /// The revision: an immutable `ConfigMap`.
    #[schemars(length(max = 253))]
    pub config_map: String,
    /// Hash over keys and values of the revision; content with another hash is not used.
    #[serde(default)]
    #[schemars(length(max = 135))]
    pub hash: String,
}

/// How an application ended.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryOutcome {
    /// The config is applied now.
    Applied,
    /// A later config replaced it.
    Superseded,
    /// An earlier config replaced it, by a rollback.
    RolledBack,
    /// The artifact could not be applied; the config that was applied before stayed.
    Failed,
}

/// Condition types.
pub mod condition {
    /// True if the selected config, or the one of `spec.rollbackTo`, is in the target.
    pub const READY: &str = "Ready";
    /// Present and True while the operator is still trying (kstatus: in progress).
    pub const RECONCILING: &str = "Reconciling";
    /// Present and True if nothing will change until somebody acts (kstatus: failed).
    pub const STALLED: &str = "Stalled";
    /// Present and True during a rollback; its message names the config that would come next.
    pub const ROLLED_BACK: &str = "RolledBack";
}
