//! The custom resource: its types, names and conditions, and nothing else.

mod reason;
mod spec;
mod status;

pub use reason::{Class, Reason};
pub use spec::{
    ArtifactConfig, ArtifactConfigSpec, CreationPolicy, DeletionPolicy, FileMapping, RegistrySpec, SecretRef,
    Selection, SelectionPolicy, TargetSpec,
};
pub use status::{
    AppliedArtifact, AppliedImage, AppliedTarget, ArtifactConfigStatus, HistoryEntry, HistoryOutcome,
    condition,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// API group of every resource, label and annotation of this operator.
pub const GROUP: &str = "artifactconfig.dev";

/// Value of `app.kubernetes.io/managed-by` on every object that the operator writes.
pub const MANAGER: &str = "artifactconfig";

/// Server-side apply field manager for `ConfigMaps`. Renaming it would orphan the fields it owns.
pub const FIELD_MANAGER: &str = "artifactconfig";

/// Server-side apply field manager for the status subresource, apart from the one for targets so that neither
/// ever drops a field of the other.
pub const STATUS_FIELD_MANAGER: &str = "artifactconfig/status";

/// Words of a condition while `spec.rollbackTo` holds the config and the last look did not find out what would come without
/// it: `status.latest` is then as old as the last answer.
pub const NEXT_UNKNOWN: &str = "what would come next is not known";

/// Labels that the operator sets.
pub mod label {
    /// Recommended label of Kubernetes; the watch on `ConfigMaps` selects by it.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// Name of the `ArtifactConfig` that writes the object.
    pub const NAME: &str = "artifactconfig.dev/name";
    /// UID of the `ArtifactConfig` that writes the object: tells a namesake that was created later apart.
    pub const OWNER_UID: &str = "artifactconfig.dev/owner-uid";
    /// On revisions only: number of the last application of this revision.
    pub const REVISION: &str = "artifactconfig.dev/revision";
}

/// Annotations that the operator sets or reads.
pub mod annotation {
    /// On an `ArtifactConfig`: any new value asks for a sync now.
    pub const REQUESTED_AT: &str = "artifactconfig.dev/requestedAt";
    /// On a `ConfigMap`: digest of the artifact manifest that the content came from.
    pub const ARTIFACT_DIGEST: &str = "artifactconfig.dev/artifact-digest";
    /// On a `ConfigMap`: the image as the resource names it.
    pub const IMAGE: &str = "artifactconfig.dev/image";
    /// On a `ConfigMap`: digest of the image that the artifact is attached to.
    pub const IMAGE_DIGEST: &str = "artifactconfig.dev/image-digest";
    /// On a `ConfigMap`: hash over `data` and `binaryData`; equal content, equal hash.
    pub const CONTENT_HASH: &str = "artifactconfig.dev/content-hash";
    /// On a `ConfigMap`: when the artifact was made, by its own word.
    pub const ARTIFACT_CREATED: &str = "artifactconfig.dev/artifact-created";
    /// On a target: number of the application that it holds.
    pub const REVISION: &str = "artifactconfig.dev/revision";
    /// On a revision: when it was last applied.
    pub const APPLIED_AT: &str = "artifactconfig.dev/applied-at";
    /// On a revision: the manifest of the artifact, byte for byte, by which the revision proves what it holds.
    pub const MANIFEST: &str = "artifactconfig.dev/manifest";
}

/// The definition as it is installed: what the types say, and what a derive cannot say.
///
/// `status.observedGeneration` defaults to -1, as Flux does it: kstatus takes an object without status for
/// "Current", and so a resource that no operator has looked at yet would count as healthy.
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
