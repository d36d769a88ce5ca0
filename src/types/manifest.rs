//! Manifests and indexes, read from the raw bytes that were verified.
//!
//! Own structs instead of those of a client library: unknown fields and unknown media types must not be errors
//! (image-spec, "Extensibility"), while a document that can be read in two ways must be (GHSA-mc8v-mgrf-8f4m).

use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::{Annotations, CREATED, Digest, Platform, TITLE, UNPACK};

/// Media types of manifests and of what they hold.
pub mod media_type {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Docker image manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// OCI artifact manifest of image-spec 1.1-rc1 and rc2; its `blobs` are layers.
    pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
    /// ORAS artifact manifest; its `blobs` are layers.
    pub const ORAS_ARTIFACT: &str = "application/vnd.cncf.oras.artifact.manifest.v1+json";
    /// The empty JSON object, which stands for "nothing here" (image-spec, "Guidance for an Empty Descriptor").
    pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
}

/// Points to content (image-spec, descriptor.md). `urls` are not read: content comes from the registry or not at all.
/// What most of them lack takes little room.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    #[serde(default)]
    pub media_type: Box<str>,
    /// Digest of the content.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    /// Annotations.
    #[serde(default, deserialize_with = "null_is_default")]
    pub annotations: Annotations,
    /// Artifact type, in lists of referrers.
    #[serde(default)]
    pub artifact_type: Option<Box<str>>,
    /// The content itself, base64; to be verified like any other.
    #[serde(default)]
    pub data: Option<Box<str>>,
    /// Platform, in an index of images.
    #[serde(default)]
    pub platform: Option<Box<Platform>>,
}

impl Descriptor {
    /// File name that the pusher gave, if any.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.annotations.get(TITLE)
    }

    /// Whether it is a packed directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.annotations.get(UNPACK) == Some("true")
    }
}

/// Every member that any of the readable documents has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    blobs: Option<Vec<Descriptor>>,
    // Left unread until it is known what the document is: an index may list digests of unknown algorithms.
    #[serde(default, deserialize_with = "present")]
    manifests: Option<Listed>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: Annotations,
}

/// A list that is there: `null`, as Go writes an empty one, or a list. One that is missing is another matter.
#[derive(Deserialize)]
#[serde(transparent)]
struct Listed(Option<Vec<serde_json::Value>>);

/// Takes `null` for a value of the type instead of for nothing.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Go writes an empty map as `null`.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A verified manifest that is attached to an image: what selection and pulling go by. Without slack, because thousands
/// are kept in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Media type of the manifest.
    pub media_type: String,
    /// Artifact type, or what stands for it (the config's media type).
    pub artifact_type: String,
    /// What it is attached to.
    pub subject: Option<Digest>,
    /// Annotations of the manifest.
    pub annotations: Annotations,
    /// Layers, without empty ones.
    pub layers: Box<[Descriptor]>,
    /// Manifests, where this one is an index. What describes an image instead of being one (`unknown/unknown`) is left
    /// out.
    pub children: Box<[Descriptor]>,
    /// How many of its entries could not be read.
    pub unreadable_children: usize,
    /// The manifest byte for byte, where a revision can keep it: it proves by its digest what the revision holds.
    pub manifest: Option<Arc<str>>,
}

/// Largest manifest that a revision keeps. One of twenty files has about 6 KiB; of the 256 KiB that Kubernetes allows for
/// all annotations of an object together, the rest is for those of `spec.target.annotations`.
pub const MAX_KEPT_MANIFEST: usize = 16 * 1024;

impl Artifact {
    /// `org.opencontainers.image.created`, as it stands there.
    #[must_use]
    pub fn created(&self) -> Option<&str> {
        self.annotations.get(CREATED)
    }
}

/// A list of descriptors, as the Referrers API and the referrers tag give it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Descriptors that could be read.
    pub manifests: Vec<Descriptor>,
    /// How many could not, for example for a digest of an unknown algorithm.
    pub unreadable: usize,
    /// Why it is empty, where that is worth a remark.
    pub note: Option<String>,
}

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or members of the wrong type.
    #[error("it cannot be read: {0}")]
    Json(String),
    /// A member that the document must have.
    #[error("it has no member '{0}'")]
    Missing(&'static str),
    /// Readable in two ways.
    #[error("it is ambiguous: it has both '{0}' and '{1}'")]
    Ambiguous(&'static str, &'static str),
    /// The header says one thing, the document another.
    #[error("its Content-Type is {header}, its mediaType {document}")]
    ContentType {
        /// `Content-Type` of the answer.
        header: String,
        /// `mediaType` of the document.
        document: String,
    },
    /// A kind of document that is not expected here.
    #[error("its media type '{0}' is not {1}")]
    Kind(String, &'static str),
}

/// Reads an attached manifest: OCI image manifest, index, or OCI artifact manifest (and the ORAS one). `digest` is
/// what the bytes were verified against.
///
/// # Errors
/// [`ManifestError`] says which rule the document breaks.
pub fn parse_artifact(
    digest: Digest,
    bytes: &[u8],
    content_type: Option<&str>,
) -> Result<Artifact, ManifestError> {
    let document = parse(bytes)?;
    let media_type = effective_media_type(&document, content_type)?;
    // What an index lists is not in the index, so it proves nothing of the files.
    let kept = (bytes.len() <= MAX_KEPT_MANIFEST && !is_index(&media_type)).then_some(bytes);
    let manifest = kept.and_then(|bytes| std::str::from_utf8(bytes).ok()).map(Arc::from);
    let (layers, config) = match media_type.as_str() {
        media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => {
            (document.layers.unwrap_or_default(), document.config)
        }
        media_type::OCI_ARTIFACT | media_type::ORAS_ARTIFACT => (document.blobs.unwrap_or_default(), None),
        media_type::OCI_INDEX | media_type::DOCKER_LIST => (Vec::new(), None),
        _ => return Err(ManifestError::Kind(media_type, "a manifest or an index")),
    };
    // The artifact type of an image manifest without one is its config's media type (distribution-spec,
    // "Listing Referrers"); the empty type is never the type of anything.
    let artifact_type = document
        .artifact_type
        .filter(|artifact_type| !artifact_type.is_empty() && artifact_type != media_type::EMPTY)
        .or_else(|| config.map(|config| config.media_type.into()))
        .unwrap_or_default();
    let listed = document.manifests.and_then(|listed| listed.0).unwrap_or_default();
    let count = listed.len();
    let children = readable(listed);
    Ok(Artifact {
        digest,
        media_type,
        artifact_type,
        manifest,
        subject: document.subject.map(|subject| subject.digest),
        annotations: document.annotations,
        layers: layers.into_iter().filter(|layer| *layer.media_type != *media_type::EMPTY).collect(),
        unreadable_children: count - children.len(),
        children: children
            .into_iter()
            .filter(|child| child.platform.as_ref().is_none_or(|platform| platform.os != "unknown"))
            .collect(),
    })
}

/// Whether a media type is that of an index.
#[must_use]
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, media_type::OCI_INDEX | media_type::DOCKER_LIST)
}

/// Reads a list of descriptors.
///
/// # Errors
/// [`ManifestError`] where the document is no OCI image index.
pub fn parse_index(bytes: &[u8], content_type: Option<&str>) -> Result<Index, ManifestError> {
    let document = parse(bytes)?;
    let media_type = effective_media_type(&document, content_type)?;
    if media_type != media_type::OCI_INDEX {
        return Err(ManifestError::Kind(media_type, "an OCI image index"));
    }
    // Required (image-spec, image-index.md): without it the document says nothing, which is not that there is nothing.
    let listed = document.manifests.ok_or(ManifestError::Missing("manifests"))?.0.unwrap_or_default();
    let count = listed.len();
    let manifests = readable(listed);
    Ok(Index { unreadable: count - manifests.len(), manifests, note: None })
}

/// Reads the list of ORAS artifact manifests (`_oras/artifacts/referrers`, before OCI 1.1).
///
/// # Errors
/// [`ManifestError`] where the document is no such list.
pub fn parse_legacy_list(bytes: &[u8]) -> Result<Index, ManifestError> {
    #[derive(Deserialize)]
    struct List {
        // "references" in old drafts.
        #[serde(alias = "references")]
        referrers: Option<Vec<serde_json::Value>>,
    }
    let list: List = serde_json::from_slice(bytes).map_err(|error| ManifestError::Json(error.to_string()))?;
    let listed = list.referrers.unwrap_or_default();
    let count = listed.len();
    let manifests = readable(listed);
    Ok(Index { unreadable: count - manifests.len(), manifests, note: None })
}

/// The descriptors that can be read; one with a digest of an unknown algorithm must not hide the others.
fn readable(entries: Vec<serde_json::Value>) -> Vec<Descriptor> {
    entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect()
}

fn parse(bytes: &[u8]) -> Result<Document, ManifestError> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| ManifestError::Json(error.to_string()))?;
    let present = [
        ("manifests", matches!(document.manifests, Some(Listed(Some(_))))),
        ("layers", document.layers.is_some()),
        ("blobs", document.blobs.is_some()),
        ("config", document.config.is_some()),
    ];
    for (first, second) in [(0, 1), (0, 2), (0, 3), (2, 1), (2, 3)] {
        if present[first].1 && present[second].1 {
            return Err(ManifestError::Ambiguous(present[first].0, present[second].0));
        }
    }
    Ok(document)
}

/// `mediaType` of the document, else of the answer, else what the members say (old pushers left it out).
fn effective_media_type(document: &Document, content_type: Option<&str>) -> Result<String, ManifestError> {
    // Parameters such as charset do not take part (image-spec, "Media Type Conflicts").
    let header = content_type.and_then(|header| header.split(';').next()).map(str::trim);
    // A registry that serves manifests as plain JSON or bytes says nothing about them.
    let header = header.filter(|header| header.starts_with("application/vnd."));
    match (header, document.media_type.as_deref()) {
        (Some(header), Some(document)) if header != document => {
            Err(ManifestError::ContentType { header: header.to_owned(), document: document.to_owned() })
        }
        (_, Some(document)) => Ok(document.to_owned()),
        (Some(header), None) => Ok(header.to_owned()),
        (None, None) if document.manifests.is_some() => Ok(media_type::OCI_INDEX.to_owned()),
        (None, None) if document.layers.is_some() => Ok(media_type::OCI_MANIFEST.to_owned()),
        (None, None) => Ok(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SUBJECT: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn descriptor(media_type: &str) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": SUBJECT, "size": 3})
    }

    fn artifact(document: &serde_json::Value, content_type: Option<&str>) -> Result<Artifact, ManifestError> {
        let bytes = document.to_string();
        parse_artifact(Digest::sha256(bytes.as_bytes()), bytes.as_bytes(), content_type)
    }

    #[test]
    fn reads_what_oras_attach_writes() {
        let parsed = artifact(
            &json!({
                "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": "custom/config",
                "config": {"mediaType": media_type::EMPTY, "digest": SUBJECT, "size": 2, "data": "e30="},
                "layers": [descriptor("application/vnd.oci.image.layer.v1.tar"), descriptor(media_type::EMPTY)],
                "subject": descriptor(media_type::OCI_MANIFEST),
                "annotations": {CREATED: "2026-01-02T03:04:05Z"}
            }),
            Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
        )
        .unwrap();
        assert_eq!(parsed.artifact_type, "custom/config");
        assert_eq!(parsed.subject.as_ref().map(ToString::to_string).as_deref(), Some(SUBJECT));
        assert_eq!(parsed.created(), Some("2026-01-02T03:04:05Z"));
        assert_eq!(parsed.layers.len(), 1, "the empty layer is no content");
    }

    #[test]
    fn the_type_of_a_manifest_without_one_is_its_configs() {
        let mut document = json!({"mediaType": media_type::OCI_MANIFEST, "config": descriptor("custom/config"),
            "layers": [], "annotations": null, "subject": null});
        assert_eq!(artifact(&document, None).unwrap().artifact_type, "custom/config");
        document["artifactType"] = json!(media_type::EMPTY);
        assert_eq!(artifact(&document, None).unwrap().artifact_type, "custom/config");
    }

    #[test]
    fn the_artifact_manifest_of_the_release_candidate_is_read() {
        let document = json!({"mediaType": media_type::OCI_ARTIFACT, "artifactType": "custom/config",
            "blobs": [descriptor("text/plain")], "subject": descriptor(media_type::OCI_MANIFEST)});
        assert_eq!(artifact(&document, None).unwrap().layers.len(), 1);
    }

    #[rstest::rstest]
    #[case::two_readings(json!({"mediaType": media_type::OCI_INDEX, "manifests": [], "layers": []}), None, "ambiguous")]
    #[case::header_disagrees(json!({"mediaType": media_type::OCI_MANIFEST, "layers": []}), Some(media_type::OCI_INDEX), "Content-Type")]
    #[case::duplicate_member(json!("replaced"), None, "cannot be read")]
    #[case::something_else(json!({"mediaType": "application/vnd.example.thing+json"}), None, "is not a manifest")]
    #[case::bad_size(json!({"mediaType": media_type::OCI_MANIFEST, "layers": [{"digest": SUBJECT, "size": -1}]}), None, "cannot be read")]
    fn refuses(#[case] document: serde_json::Value, #[case] content_type: Option<&str>, #[case] says: &str) {
        let result = if document == json!("replaced") {
            parse_artifact(Digest::sha256(b""), br#"{"layers": [], "layers": []}"#, None)
        } else {
            artifact(&document, content_type)
        };
        let error = result.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn an_index_lists_what_can_be_read_and_counts_the_rest() {
        let document = json!({"mediaType": media_type::OCI_INDEX, "manifests": [
            descriptor(media_type::OCI_MANIFEST),
            {"mediaType": "x/y", "digest": "blake3:00", "size": 1},
            {"mediaType": media_type::OCI_MANIFEST, "digest": SUBJECT, "size": 1, "platform": {}},
        ]});
        let index = parse_index(document.to_string().as_bytes(), None).unwrap();
        assert_eq!((index.manifests.len(), index.unreadable), (2, 1));
        let manifest = json!({"mediaType": media_type::OCI_MANIFEST, "layers": []}).to_string();
        assert!(parse_index(manifest.as_bytes(), None).is_err(), "an image manifest is no list");
    }
}
