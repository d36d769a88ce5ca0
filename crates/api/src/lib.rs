//! The custom resource: its types, names and conditions, and nothing else.
//!
//! It uses `kube-core` and `kube-derive` instead of `kube`, so that a crate which knows the resource gets no client with it.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod reason;
mod spec;
mod status;

pub use reason::{Class, Reason};
pub use spec::{
    ArtifactConfig, ArtifactConfigSpec, CreationPolicy, DeletionPolicy, FileMapping, RegistrySpec, Resolve,
    SecretRef, Selection, SelectionPolicy, TargetSpec, WorkloadRef,
};
pub use status::{
    AppliedArtifact, AppliedImage, AppliedTarget, ArtifactConfigStatus, Binding, HistoryEntry,
    HistoryOutcome, condition,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt as _;

/// API group of every resource, label and annotation of this operator.
pub const GROUP: &str = "artifactconfig.dev";

/// Value of `app.kubernetes.io/managed-by` on every object that the operator writes.
pub const MANAGER: &str = "artifactconfig";

/// Server-side apply field manager for `ConfigMaps`. Renaming it would orphan the fields it owns.
pub const FIELD_MANAGER: &str = "artifactconfig";

/// Server-side apply field manager for the status subresource. It differs from the one for targets, so that neither drops
/// fields of the other.
pub const STATUS_FIELD_MANAGER: &str = "artifactconfig/status";

/// Part of the message during a rollback, if the last reconcile could not find the config that would come next.
/// `status.latest` is then as old as the last answer of the registry.
pub const NEXT_UNKNOWN: &str = "what would come next is not known";

/// Labels that the operator sets.
pub mod label {
    /// Recommended label of Kubernetes; the watch on `ConfigMaps` selects by it.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// Name of the `ArtifactConfig` that writes the object.
    pub const NAME: &str = "artifactconfig.dev/name";
    /// UID of the `ArtifactConfig` that writes the object. It distinguishes a later resource with the same name.
    pub const OWNER_UID: &str = "artifactconfig.dev/owner-uid";
    /// On revisions only: number of the last application of this revision.
    pub const REVISION: &str = "artifactconfig.dev/revision";
    /// On a pod template: `require` or `prefer` asks for the config of the pod's own image.
    pub const BIND: &str = "artifactconfig.dev/bind";
}

/// Annotations that the operator sets or reads.
pub mod annotation {
    /// On an `ArtifactConfig`: any new value asks for a sync now.
    pub const REQUESTED_AT: &str = "artifactconfig.dev/requestedAt";
    /// On a `ConfigMap`: digest of the manifest of the artifact whose files it holds.
    pub const ARTIFACT_DIGEST: &str = "artifactconfig.dev/artifact-digest";
    /// On a `ConfigMap`: the image as the resource names it.
    pub const IMAGE: &str = "artifactconfig.dev/image";
    /// On a `ConfigMap`: digest of the image that the artifact is attached to.
    pub const IMAGE_DIGEST: &str = "artifactconfig.dev/image-digest";
    /// On a `ConfigMap`: hash over `data` and `binaryData`; equal content, equal hash.
    pub const CONTENT_HASH: &str = "artifactconfig.dev/content-hash";
    /// On a `ConfigMap`: creation time of the artifact, from its own annotation.
    pub const ARTIFACT_CREATED: &str = "artifactconfig.dev/artifact-created";
    /// On a target: number of the current application.
    pub const REVISION: &str = "artifactconfig.dev/revision";
    /// On a revision: time of its last application, RFC 3339.
    pub const APPLIED_AT: &str = "artifactconfig.dev/applied-at";
    /// On a revision: the manifest of the artifact, byte for byte. It proves the content of the revision.
    pub const MANIFEST: &str = "artifactconfig.dev/manifest";
    /// On a workload: the operator changes it to make a controller try again to create pods that were refused. Each resource
    /// has its own, so that two which follow one workload do not answer each other.
    #[must_use]
    pub fn woken(resource: &str) -> String {
        format!("{resource}.{}/woken", super::GROUP)
    }
}

/// The custom resource definition: the schema of the types, and a default that a derive cannot express.
///
/// `status.observedGeneration` defaults to -1, like that of Flux: for kstatus an object without status is "Current", so a
/// resource that no operator has reconciled yet would count as healthy.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let mut crd = ArtifactConfig::crd();
    for version in &mut crd.spec.versions {
        let status = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
            .and_then(|schema| schema.properties.as_mut())
            .and_then(|properties| properties.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSON(
                serde_json::json!({"observedGeneration": -1}),
            ));
        }
    }
    crd
}
