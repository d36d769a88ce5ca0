//! `spec` of an `ArtifactConfig`. The doc comments here are what `kubectl explain` prints.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ArtifactConfigStatus;

/// Go-style durations without the sub-millisecond units, which make no sense for a registry.
const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";

/// Keeps a `ConfigMap` in step with the config that is attached to a container image.
///
/// The image is resolved to a digest, its referrers are listed, one of the given artifact type is selected, and its
/// files become the data of a `ConfigMap`. The last good `ConfigMap` stays in place whatever fails.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "artifactconfig.dev",
    version = "v1alpha1",
    kind = "ArtifactConfig",
    plural = "artifactconfigs",
    shortname = "acfg",
    namespaced,
    status = "ArtifactConfigStatus",
    derive = "PartialEq",
    doc = "Keeps a ConfigMap in step with the config that is attached to a container image (an OCI referrer).",
    validation = Rule::new("size(self.metadata.name) <= 63").message("metadata.name must be at most 63 characters: it becomes a label value"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", description = "The image that the config is attached to"),
    printcolumn(name = "Config", type_ = "string", json_path = ".status.artifact.shortDigest", description = "Digest of the artifact that is applied, shortened"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target.name", description = "The ConfigMap"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactConfigSpec {
    /// The image that the config is attached to: `registry/repository:tag`, `…@digest`, or both (the digest decides).
    /// A tag is resolved anew at every interval.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("!self.contains('://')").message("image is registry/repository:tag, without 'https://' or 'http://'; for a registry that speaks HTTP set spec.registry.plainHttp"))]
    pub image: String,

    /// Artifact type of the config, compared exactly with what `oras attach --artifact-type` was given,
    /// for example `custom/config`.
    #[schemars(length(min = 1, max = 255))]
    pub artifact_type: String,

    /// Which artifact to take where several of the type are attached: first those with the annotations, of these the one
    /// that the policy takes. Default: the newest.
    #[serde(default)]
    pub selection: Selection,

    /// Where the image is an index of several platforms and nothing is attached to the index itself: look at the
    /// manifest of this platform, as `linux/arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 3, max = 100),
        regex(pattern = r"^[-._a-zA-Z0-9]+/[-._a-zA-Z0-9]+(/[-._a-zA-Z0-9]+)?$")
    )]
    pub platform: Option<String>,

    /// Repository that holds what is attached, where it is not the image's own: most tools that mirror images leave
    /// what is attached behind. Without tag and digest, as `mirror.example.com/web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.contains('://')").message("referrersRepository is registry/repository, without 'https://' or 'http://'; for a registry that speaks HTTP set spec.registry.plainHttp"))]
    pub referrers_repository: Option<String>,

    /// Which files of the artifact to take, and under which key. Default: every file under its own name, with `/`
    /// turned into `.` because a `ConfigMap` key cannot hold it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub files: Vec<FileMapping>,

    /// The `ConfigMap` to write: its name, labels and annotations, and what becomes of it.
    #[serde(default)]
    pub target: TargetSpec,

    /// Digest of an artifact to stay on until this field is removed again. One that was applied before is restored from
    /// its revision and needs no registry; any other must be attached to the image. What would come next is in
    /// `status.latest` meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 135), regex(pattern = r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"))]
    pub rollback_to: Option<String>,

    /// How many configs are kept besides the one that is applied, as immutable `ConfigMaps` to go back to. `0` keeps none,
    /// and going back then needs the registry. One that a workload still names is kept in any case.
    #[serde(default = "default_history_limit")]
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: i32,

    /// How to reach the registry: credentials, certificates, HTTP. Everything that it names is in the same namespace.
    #[serde(default)]
    pub registry: RegistrySpec,

    /// How often the registry is asked, as a Go duration such as `30s`, `5m`, `1h`. From `1s` to `24h`, spread by 5 % to
    /// either side. A new value of the annotation `artifactconfig.dev/requestedAt` asks for a look now.
    #[serde(default = "default_interval")]
    #[schemars(regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("interval must be from 1s to 24h"))]
    #[schemars(length(max = 32))]
    pub interval: String,

    /// Longest time for finding the config in the registry, and once more for fetching it, as a Go duration. From `1s` to
    /// `10m`. Beyond it the look fails with `RegistryUnavailable` and is tried again.
    #[serde(default = "default_timeout")]
    #[schemars(regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('10m')").message("timeout must be from 1s to 10m"))]
    #[schemars(length(max = 32))]
    pub timeout: String,

    /// Pause: nothing is asked, nothing is written, edits of the `ConfigMap` are not repaired, and what was applied stays,
    /// until this is false again.
    #[serde(default)]
    pub suspend: bool,
}

const fn default_history_limit() -> i32 {
    10
}

fn default_interval() -> String {
    "5m".to_owned()
}

fn default_timeout() -> String {
    "60s".to_owned()
}

/// Which artifact to take where several of the type are attached.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// Annotations that the artifact's manifest must carry, key and value exactly: what `oras attach --annotation` was
    /// given. All of them must match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_annotations: BTreeMap<String, String>,

    /// `Newest` takes the latest `org.opencontainers.image.created`, `HighestVersion` the highest semantic version in
    /// `org.opencontainers.image.version`, `Only` refuses to choose: several are an error.
    #[serde(default)]
    pub policy: SelectionPolicy,
}

/// How one of several artifacts is chosen.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelectionPolicy {
    /// Latest `org.opencontainers.image.created`; equal times are decided by the digest.
    #[default]
    Newest,
    /// Highest `SemVer` precedence of `org.opencontainers.image.version`.
    HighestVersion,
    /// Exactly one may match.
    Only,
}

/// One file, or all files that a pattern matches.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.key) || self.path.matches('^([^*?\\\\[]|\\\\[[*?\\\\[\\\\]]\\\\])*$')").message("path must name one file when key is given, without * ? or [; as parts of a name these are written [*] [?] [[]"))]
pub struct FileMapping {
    /// Path of the file inside the artifact, as `oras attach` was given it. May be a pattern (`*`, `?`, `[a-z]` within
    /// one path segment, `**` across them) when `key` is absent; a file of just that name comes first. In a name, `*`, `?`
    /// and `[` are written `[*]`, `[?]` and `[[]`.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,

    /// Key of the `ConfigMap`. Default: the path with `/` turned into `.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    #[x_kube(validation = Rule::new("self != '.' && !self.startsWith('..')").message("key must not be '.' or start with '..'"))]
    pub key: Option<String>,
}

/// The `ConfigMap` to write.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.creationPolicy == 'Merge') == (oldSelf.creationPolicy == 'Merge')").message("creationPolicy cannot change to or from Merge; make another ArtifactConfig instead"))]
pub struct TargetSpec {
    /// Name of the `ConfigMap`. Default: the name of this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 242),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: Option<String>,

    /// Labels to set on the `ConfigMap`. Keys of `artifactconfig.dev/` and `app.kubernetes.io/managed-by` are the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('artifactconfig.dev/') && k != 'app.kubernetes.io/managed-by')").message("labels artifactconfig.dev/* and app.kubernetes.io/managed-by are set by the operator"))]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,

    /// Annotations to set on the `ConfigMap`. Keys of `artifactconfig.dev/` are the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('artifactconfig.dev/'))").message("annotations artifactconfig.dev/* are set by the operator"))]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,

    /// `Owner` creates the `ConfigMap`, keeps it, and lets the garbage collector take it when this resource is deleted.
    /// `Orphan` does the same, but the `ConfigMap` stays. `Merge` creates nothing: it merges the keys of the config into
    /// a `ConfigMap` that exists, leaves its other keys alone, and removes nothing when this resource is deleted.
    /// `Owner` and `Orphan` refuse a `ConfigMap` that exists already and is not theirs.
    #[serde(default)]
    pub creation_policy: CreationPolicy,

    /// With `Owner`: what becomes of the `ConfigMap` when this resource is deleted. `Delete` lets the garbage collector
    /// take it, `Retain` leaves it in place, as `Orphan` and `Merge` always do.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Whose the target is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreationPolicy {
    /// Created and kept by the resource, and deleted with it.
    #[default]
    Owner,
    /// Created and kept by the resource, but not owned: it stays when the resource is deleted.
    Orphan,
    /// Never created: the keys of the config are merged into a `ConfigMap` that somebody else makes and keeps. Its other
    /// keys are left alone.
    Merge,
}

/// What becomes of the target when the resource goes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// The garbage collector deletes it.
    #[default]
    Delete,
    /// It stays.
    Retain,
}

/// How to reach the registry.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RegistrySpec {
    /// Secrets of type `kubernetes.io/dockerconfigjson` in the same namespace, matched and tried as the kubelet does
    /// it for the image pull secrets of a Pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub pull_secrets: Vec<SecretRef>,

    /// A `ServiceAccount` in the same namespace whose `imagePullSecrets` are used as well, after `pullSecrets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,

    /// A Secret in the same namespace with `ca.crt` (PEM, trusted in addition to the system's), or `tls.crt` and
    /// `tls.key` (PEM, shown to registries that ask for a client certificate), or all three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<SecretRef>,

    /// Speak plain HTTP to the registry. Credentials are then sent in clear.
    #[serde(default)]
    pub plain_http: bool,
}

/// Reference to a Secret in the same namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SecretRef {
    /// Name of the Secret, in the namespace of this resource.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
