//! `status` of an `ArtifactConfig`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator last saw and did. Holds no time that changes by itself: no change, no write.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactConfigStatus {
    /// `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready` always; `Reconciling` (the operator goes on by itself), `Stalled` (somebody has to act) and `RolledBack`
    /// (`spec.rollbackTo` is applied) only while they are true. As kstatus reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The image whose config is in the `ConfigMap`. Stays as it is where a look fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<AppliedImage>,

    /// The artifact whose files are in the `ConfigMap`. Stays as it is where a look fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<AppliedArtifact>,

    /// The `ConfigMap` that holds the config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<AppliedTarget>,

    /// Digest of the newest artifact that discovery selected, where it is not the one that is applied: because of
    /// `spec.rollbackTo`, or because it could not be applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<String>,

    /// What was applied, newest first: which config, for which image, since when, and how it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,

    /// Value of the annotation `artifactconfig.dev/requestedAt` that was last acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_requested_at: Option<String>,
}

/// The image whose config is applied.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AppliedImage {
    /// The image as the resource named it then.
    pub reference: String,
    /// What that resolved to: the subject of the artifact.
    pub digest: String,
}

/// The artifact that is applied.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AppliedArtifact {
    /// Digest of the artifact's manifest.
    pub digest: String,
    /// The digest as far as a person needs it to tell one from another: algorithm and twelve characters.
    #[serde(default)]
    pub short_digest: String,
    /// `org.opencontainers.image.created` of the manifest, as it stands there.
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
    /// Hash over its keys and values: equal content has an equal hash, whatever artifact it came from.
    pub hash: String,
}

/// One application of a config.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Counts up with each application; never used again.
    pub revision: i64,
    /// Digest of the artifact's manifest; what `spec.rollbackTo` takes.
    pub artifact: String,
    /// Digest of the image that it was applied for, and attached to.
    pub image: String,
    /// The image as the resource named it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_reference: Option<String>,
    /// The immutable `ConfigMap` that keeps it; none where `spec.revisionHistoryLimit` is 0 or the artifact failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<String>,
    /// Hash over keys and values of the revision; content that does not have it is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// When it was applied (or found unusable), RFC 3339.
    pub applied_at: String,
    /// `Applied`: in the `ConfigMap` now. `Superseded`: a later one took its place. `RolledBack`: given up for an earlier
    /// one. `Failed`: the artifact could not be used, and what was applied before stayed.
    pub outcome: HistoryOutcome,
}

/// How an application went.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryOutcome {
    /// It is what is applied now.
    Applied,
    /// A later one took its place.
    Superseded,
    /// It was given up for an earlier one.
    RolledBack,
    /// The artifact could not be applied; what was applied before stayed.
    Failed,
}

/// Condition types.
pub mod condition {
    /// True when the newest selected config is in the target.
    pub const READY: &str = "Ready";
    /// Present and True while the operator is still trying (kstatus: in progress).
    pub const RECONCILING: &str = "Reconciling";
    /// Present and True when nothing will change until somebody acts (kstatus: failed).
    pub const STALLED: &str = "Stalled";
    /// Present and True while `spec.rollbackTo` holds an earlier config; says what would come next.
    pub const ROLLED_BACK: &str = "RolledBack";
}
