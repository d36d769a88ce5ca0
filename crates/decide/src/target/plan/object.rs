//! The desired object, and the facts about it for the status.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{ArtifactConfig, CreationPolicy, DeletionPolicy, MANAGER, annotation, label};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube_core::Resource as _;
use oci::{Annotations, Artifact, Digest, text, truncate};

use crate::name;
use crate::render::Content;
use crate::spec::{Desired, Target};
use crate::stamp::Stamp;

/// The source of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The image as the resource names it, or named it then.
    pub image: String,
    /// The digest of the image at that time.
    pub image_digest: Digest,
    /// Digest of the artifact.
    pub artifact: Digest,
    /// `org.opencontainers.image.created` of the artifact.
    pub created: Option<String>,
    /// Annotations of the artifact, at most 4 KiB of them.
    pub annotations: Annotations,
    /// Manifest of the artifact, if it is available and short enough to be kept in a revision.
    pub manifest: Option<Arc<str>>,
    /// Whether the content is proven to be that of the artifact: by the registry's bytes, by the recorded hash in the
    /// status, or by a kept manifest. Otherwise only the object itself claims it.
    pub proven: bool,
}

impl Origin {
    /// Of an artifact that is attached to an image.
    #[must_use]
    pub fn of<E>(image: String, image_digest: Digest, artifact: &Artifact<E>) -> Self {
        Self {
            image,
            image_digest,
            artifact: artifact.digest.clone(),
            created: artifact.created().map(|created| truncate(&text::escape(created), MAX_CREATED)),
            annotations: bounded(&artifact.annotations),
            manifest: artifact.manifest.clone(),
            proven: true,
        }
    }
}

/// The facts about the content of a `ConfigMap` that the status repeats. Small, because one is kept in memory for each
/// resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Name of the `ConfigMap`.
    pub target: String,
    /// The image as the resource names it.
    pub image: String,
    /// The digest of the image.
    pub image_digest: Digest,
    /// Digest of the artifact.
    pub artifact: Digest,
    /// `org.opencontainers.image.created` of the artifact.
    pub created: Option<String>,
    /// Annotations of the artifact, at most 4 KiB of them.
    pub annotations: Annotations,
    /// Bytes of content.
    pub size: u64,
    /// Hash over the content.
    pub hash: String,
    /// Name of the revision that keeps it, if one does.
    pub revision: Option<String>,
    /// Whether the content is proven, as in [`Origin`].
    pub proven: bool,
}

/// The desired object.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The whole object.
    pub config_map: ConfigMap,
    /// The facts about it.
    pub facts: Arc<Facts>,
    /// Manifest of the artifact, for the revision.
    pub manifest: Option<Arc<str>>,
}

/// Proof that a [`Rendered`] is in the cluster. Only an apply creates one, and the status accepts nothing else. Clones
/// share the facts, because every reconcile takes one from memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    confirmed: Arc<Confirmed>,
    changed: bool,
    undone: Option<Arc<str>>,
}

/// The object that the API server has confirmed.
#[derive(Debug, PartialEq, Eq)]
struct Confirmed {
    facts: Arc<Facts>,
    stamp: Stamp,
    resource_version: String,
    revision_version: Option<String>,
}

impl Applied {
    /// Only for `cluster::apply`, after the API server has confirmed the object.
    #[must_use]
    pub fn confirmed(
        facts: impl Into<Arc<Facts>>,
        stamp: Stamp,
        resource_version: String,
        revision_version: Option<String>,
        changed: bool,
    ) -> Self {
        let confirmed = Confirmed { facts: facts.into(), stamp, resource_version, revision_version };
        Self { confirmed: Arc::new(confirmed), changed, undone: None }
    }

    /// The same, after undoing a change of this field manager.
    #[must_use]
    pub fn undoing(self, manager: Option<&str>) -> Self {
        Self { undone: manager.map(Arc::from), ..self }
    }

    /// The same, found unchanged by a later reconcile.
    #[must_use]
    pub fn unchanged(&self) -> Self {
        Self { changed: false, undone: None, ..self.clone() }
    }

    /// The field manager that had changed the target, if the API server knows it.
    #[must_use]
    pub fn undone(&self) -> Option<&str> {
        self.undone.as_deref()
    }

    /// The facts about the object in the cluster.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.confirmed.facts
    }

    /// The application.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.confirmed.stamp
    }

    /// `resourceVersion` of the `ConfigMap` that holds it.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        &self.confirmed.resource_version
    }

    /// `resourceVersion` of the revision that keeps it, if one does.
    #[must_use]
    pub fn revision_version(&self) -> Option<&str> {
        self.confirmed.revision_version.as_deref()
    }

    /// Whether anything had to be written.
    #[must_use]
    pub const fn changed(&self) -> bool {
        self.changed
    }
}

/// Bytes of manifest annotations that are kept and repeated in status.
const MAX_ANNOTATIONS: usize = 4096;

/// Longest `created` that is repeated; RFC 3339 with nanoseconds takes 35 characters. Text that is not a date is
/// escaped.
pub(crate) const MAX_CREATED: usize = 64;

/// Annotations in key order until their bytes are used up: a manifest may carry 4 MiB of them.
pub(crate) fn bounded(annotations: &Annotations) -> Annotations {
    let mut left = MAX_ANNOTATIONS;
    annotations
        .iter()
        .take_while(|(key, value)| {
            let size = key.len() + value.len();
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        })
        .collect()
}

/// Builds the object.
#[must_use]
pub fn assemble(desired: &Desired, origin: Origin, content: Content) -> Rendered {
    let (size, hash) = (content.size(), content.hash());
    let Origin {
        image,
        image_digest,
        artifact,
        created,
        annotations: artifact_annotations,
        manifest,
        proven,
    } = origin;
    let mut labels = desired.target.labels.clone();
    labels.insert(label::MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.insert(label::NAME.to_owned(), desired.owner.name.clone());
    if !desired.owner.uid.is_empty() {
        labels.insert(label::OWNER_UID.to_owned(), desired.owner.uid.clone());
    }
    let mut annotations = desired.target.annotations.clone();
    for (key, value) in [
        (annotation::ARTIFACT_DIGEST, Some(artifact.to_string())),
        (annotation::ARTIFACT_CREATED, created.clone()),
        (annotation::IMAGE, Some(image.clone())),
        (annotation::IMAGE_DIGEST, Some(image_digest.to_string())),
        (annotation::CONTENT_HASH, Some(hash.clone())),
    ] {
        annotations.extend(value.map(|value| (key.to_owned(), value)));
    }
    let Content { data, binary_data } = content;
    let config_map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(desired.target.name.clone()),
            namespace: Some(desired.owner.namespace.clone()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: owner_reference(desired).map(|reference| vec![reference]),
            ..ObjectMeta::default()
        },
        data: (!data.is_empty()).then_some(data),
        binary_data: (!binary_data.is_empty())
            .then(|| binary_data.into_iter().map(|(key, value)| (key, ByteString(value))).collect()),
        immutable: None,
    };
    let facts = Facts {
        target: desired.target.name.clone(),
        revision: (desired.history_limit > 0).then(|| name::name(&desired.target.name, &artifact, &hash)),
        image,
        image_digest,
        artifact,
        created,
        annotations: artifact_annotations,
        size,
        hash,
        proven,
    };
    Rendered { config_map, facts: Arc::new(facts), manifest }
}

impl Rendered {
    /// An annotation of the target names the application.
    #[must_use]
    pub fn stamped(mut self, stamp: Stamp) -> Self {
        let annotations = self.config_map.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation::REVISION.to_owned(), stamp.number.to_string());
        self
    }
}

/// The owner reference, by which the garbage collector deletes an object with the resource; `None` if the object must
/// stay. With `Merge` the target belongs to someone else, but the revisions belong to the resource.
fn owner_reference(desired: &Desired) -> Option<OwnerReference> {
    let Target { creation_policy, deletion_policy, .. } = &desired.target;
    let wanted = !desired.owner.uid.is_empty()
        && match creation_policy {
            CreationPolicy::Owner => *deletion_policy == DeletionPolicy::Delete,
            CreationPolicy::Orphan => false,
            CreationPolicy::Merge => true,
        };
    wanted.then(|| OwnerReference {
        api_version: ArtifactConfig::api_version(&()).into_owned(),
        kind: ArtifactConfig::kind(&()).into_owned(),
        name: desired.owner.name.clone(),
        uid: desired.owner.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    })
}

/// The target to write: the whole object, or with `Merge` only the merged part, without our labels and annotations.
#[must_use]
pub fn written(desired: &Desired, rendered: &Rendered) -> ConfigMap {
    let mut object = rendered.config_map.clone();
    if desired.target.creation_policy == CreationPolicy::Merge {
        let some = |map: &BTreeMap<String, String>| (!map.is_empty()).then(|| map.clone());
        object.metadata.labels = some(&desired.target.labels);
        object.metadata.annotations = some(&desired.target.annotations);
        object.metadata.owner_references = None;
    }
    object
}
