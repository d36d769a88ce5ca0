//! `spec` of an `ArtifactConfig`. `kubectl explain` prints the doc comments of this file.

use std::collections::BTreeMap;

use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ArtifactConfigStatus;

/// Go durations without units below a millisecond, which are not useful for a registry.
const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";

/// Keeps a `ConfigMap` in step with the config that is attached to a container image.
///
/// The operator resolves the image to a digest, lists its referrers, selects one of the given artifact type, and writes
/// its files into a `ConfigMap`. If anything fails, the last good `ConfigMap` stays.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[kube(
    crates(kube = "::kube_derive", kube_core = "::kube_core"),
    attr = r#"x_kube(crates(kube_core = "::kube_core"))"#,
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
    printcolumn(name = "Image", type_ = "string", json_path = ".status.image.reference", description = "The image whose config is applied"),
    printcolumn(name = "Config", type_ = "string", json_path = ".status.artifact.shortDigest", description = "Shortened digest of the applied artifact"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target.name", description = "The ConfigMap"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.image) != has(self.workloadRef)").message("set exactly one of image and workloadRef"))]
pub struct ArtifactConfigSpec {
    /// The image that the config is attached to: `registry/repository:tag`, `…@digest`, or both (the digest decides).
    /// The operator resolves a tag again at every interval. Exactly one of `image` and `workloadRef` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("!self.contains('://')").message("image is registry/repository:tag, without 'https://' or 'http://'; for a registry that speaks HTTP set spec.registry.plainHttp"))]
    pub image: Option<String>,

    /// The workload whose pod template names the image, instead of `image`. The config follows the workload: a new image in
    /// the template brings the config that is attached to it, and `kubectl rollout undo` brings back both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_ref: Option<WorkloadRef>,

    /// Artifact type of the config, compared exactly with the value of `oras attach --artifact-type`,
    /// for example `custom/config`.
    #[schemars(length(min = 1, max = 255))]
    pub artifact_type: String,

    /// Selects one artifact if several of the type are attached: the annotations filter the artifacts, and the policy
    /// selects one of the rest. Default: the newest.
    #[serde(default)]
    pub selection: Selection,

    /// A platform such as `linux/arm64`. If the image is an index of several platforms, and nothing of the type is
    /// attached to the index itself, artifacts of this platform's manifest are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 3, max = 100),
        regex(pattern = r"^[-._a-zA-Z0-9]+/[-._a-zA-Z0-9]+(/[-._a-zA-Z0-9]+)?$")
    )]
    pub platform: Option<String>,

    /// Repository that holds the attached artifacts, if it differs from the image's repository: most tools that mirror
    /// images do not copy attached artifacts. Without tag and digest, such as `mirror.example.com/web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.contains('://')").message("referrersRepository is registry/repository, without 'https://' or 'http://'; for a registry that speaks HTTP set spec.registry.plainHttp"))]
    pub referrers_repository: Option<String>,

    /// Which files of the artifact to take, and under which key. Default: every file under its own name, with `/`
    /// replaced by `.`, because a key of a `ConfigMap` cannot contain `/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub files: Vec<FileMapping>,

    /// The `ConfigMap` to write: its name, labels, annotations and policies.
    #[serde(default)]
    pub target: TargetSpec,

    /// Digest of an artifact. The operator applies it and stays on it until this field is removed. An artifact that was
    /// applied before comes from its revision and needs no registry; any other must be attached to the image. During the
    /// rollback, `status.latest` names the artifact that would come next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 135), regex(pattern = r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"))]
    pub rollback_to: Option<String>,

    /// Number of earlier configs to keep as immutable `ConfigMaps` for a rollback, in addition to the applied one. `0` keeps
    /// none; a rollback then needs the registry. A `ConfigMap` that a workload still names is always kept.
    #[serde(default = "default_history_limit")]
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: i32,

    /// How to reach the registry: credentials, certificates, HTTP. All named objects are in the same namespace.
    #[serde(default)]
    pub registry: RegistrySpec,

    /// Time between two reconciles, as a Go duration such as `30s`, `5m`, `1h`. From `1s` to `24h`, varied at random by 5 %
    /// in both directions. A new value of the annotation `artifactconfig.dev/requestedAt` asks for a sync now.
    #[serde(default = "default_interval")]
    #[schemars(regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("interval must be from 1s to 24h"))]
    #[schemars(length(max = 32))]
    pub interval: String,

    /// Longest time for finding the config in the registry, and the same again for fetching it, as a Go duration. From `1s`
    /// to `10m`. Beyond it the reconcile fails with `RegistryUnavailable`, and the operator tries again.
    #[serde(default = "default_timeout")]
    #[schemars(regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('10m')").message("timeout must be from 1s to 10m"))]
    #[schemars(length(max = 32))]
    pub timeout: String,

    /// While this is true, the operator asks no registry, writes nothing, and does not repair edits of the `ConfigMap`. The
    /// applied config stays.
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

/// A workload in the namespace of the resource. `kind` alone is enough for the kinds of Kubernetes; any other kind with a
/// pod template needs `apiVersion` as well.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.kind in ['Deployment', 'StatefulSet', 'DaemonSet', 'CronJob', 'Job'] || has(self.apiVersion)").message("apiVersion is required, except for Deployment, StatefulSet, DaemonSet, CronJob and Job"))]
pub struct WorkloadRef {
    /// Group and version of the kind, such as `argoproj.io/v1alpha1`. Default: `apps/v1` or `batch/v1` for the kinds of
    /// Kubernetes. The core group, which has no name, is not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317), regex(pattern = r"^[-.a-z0-9]+/[a-z0-9]+$"))]
    pub api_version: Option<String>,

    /// `Deployment`, `StatefulSet`, `DaemonSet`, `CronJob`, `Job`, or another kind with a pod template.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Z][A-Za-z0-9]*$"))]
    pub kind: String,

    /// Name of the workload, in the namespace of this resource.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The container whose image counts. Required if the pod template has several containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub container: Option<String>,

    /// `Template` takes the image as the pod template names it, and resolves a tag in the registry. `Pods` takes the digest
    /// that its pods report; while they report several, or none, the config that was applied last stays. The first config
    /// goes by the pod template, because pods may wait for it.
    #[serde(default)]
    pub resolve: Resolve,

    /// Where the pod template is, as names of fields with dots between them. Default: `spec.template`, and for a `CronJob`
    /// `spec.jobTemplate.spec.template`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9]*)*$")
    )]
    pub template_path: Option<String>,
}

/// Where the digest of the image comes from.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolve {
    /// From the image that the pod template names.
    #[default]
    Template,
    /// From the image that the pods run, as the kubelet reports it.
    Pods,
}

/// Selects one artifact if several of the type are attached.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// Annotations that the artifact's manifest must carry, compared exactly by key and value with those of
    /// `oras attach --annotation`. All of them must match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_annotations: BTreeMap<String, String>,

    /// `Newest` selects the latest `org.opencontainers.image.created`, `HighestVersion` the highest semantic version in
    /// `org.opencontainers.image.version`. With `Only`, several matching artifacts are an error.
    #[serde(default)]
    pub policy: SelectionPolicy,
}

/// How one of several artifacts is selected.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelectionPolicy {
    /// Latest `org.opencontainers.image.created`; the digest decides between equal times.
    #[default]
    Newest,
    /// Highest `SemVer` precedence of `org.opencontainers.image.version`.
    HighestVersion,
    /// Exactly one may match.
    Only,
}

/// One file, or all files that a pattern matches.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.key) || self.path.matches('^([^*?\\\\[]|\\\\[[*?\\\\[\\\\]]\\\\])*$')").message("path must name one file when key is given, without * ? or [; as parts of a name these are written [*] [?] [[]"))]
pub struct FileMapping {
    /// Path of the file inside the artifact, as in `oras attach`. May be a pattern (`*`, `?`, `[a-z]` within one path
    /// segment, `**` across segments) if `key` is absent; a file with exactly that name comes first. In a name, write `*`,
    /// `?` and `[` as `[*]`, `[?]` and `[[]`.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,

    /// Key of the `ConfigMap`. Default: the path with `/` replaced by `.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    #[x_kube(validation = Rule::new("self != '.' && !self.startsWith('..')").message("key must not be '.' or start with '..'"))]
    pub key: Option<String>,
}

/// The `ConfigMap` to write.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
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

    /// Labels to set on the `ConfigMap`. `artifactconfig.dev/*` and `app.kubernetes.io/managed-by` are reserved for the
    /// operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('artifactconfig.dev/') && k != 'app.kubernetes.io/managed-by')").message("labels artifactconfig.dev/* and app.kubernetes.io/managed-by are set by the operator"))]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,

    /// Annotations to set on the `ConfigMap`. `artifactconfig.dev/*` is reserved for the operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('artifactconfig.dev/'))").message("annotations artifactconfig.dev/* are set by the operator"))]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,

    /// `Owner` creates and keeps the `ConfigMap`; the garbage collector deletes it together with this resource. `Orphan`
    /// does the same, but the `ConfigMap` stays when this resource is deleted. `Merge` creates nothing: it merges the keys
    /// of the config into an existing `ConfigMap`, does not change other keys, and removes nothing when this resource is
    /// deleted. `Owner` and `Orphan` refuse an existing `ConfigMap` that does not belong to this resource.
    #[serde(default)]
    pub creation_policy: CreationPolicy,

    /// With `Owner`: `Delete` lets the garbage collector delete the `ConfigMap` together with this resource, `Retain` keeps
    /// it. With `Orphan` and `Merge` the `ConfigMap` always stays.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Who owns the target.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreationPolicy {
    /// The operator creates and keeps the target, and it is deleted with the resource.
    #[default]
    Owner,
    /// The operator creates and keeps the target, but it stays when the resource is deleted.
    Orphan,
    /// The operator never creates the target: it merges the keys of the config into a `ConfigMap` that someone else creates
    /// and keeps. It does not change other keys.
    Merge,
}

/// Whether the target is deleted with the resource.
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
    /// Secrets of type `kubernetes.io/dockerconfigjson` in the same namespace, matched and tried by the kubelet's rules for
    /// the image pull secrets of a Pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub pull_secrets: Vec<SecretRef>,

    /// A `ServiceAccount` in the same namespace whose `imagePullSecrets` are used as well, after `pullSecrets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,

    /// A Secret in the same namespace with `ca.crt` (PEM, trusted in addition to the system's), or `tls.crt` and
    /// `tls.key` (PEM, sent to registries that ask for a client certificate), or all three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<SecretRef>,

    /// Speak plain HTTP to the registry. Credentials are then sent unencrypted.
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
