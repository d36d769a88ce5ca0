//! Manifests and indexes, read from the raw bytes that were verified.
//!
//! Own readers instead of those of a client library: unknown fields and unknown media types must not be errors
//! (image-spec, "Extensibility"), a document that can be read in two ways must be (GHSA-mc8v-mgrf-8f4m), and of what
//! others put beside a config no more is read than it takes to know that it is something else.

mod descriptor;
mod error;
mod index;
mod json;
#[cfg(test)]
mod tests;

pub use descriptor::{Child, Descriptor};
pub use error::ManifestError;
pub use index::{Entry, Index, MAX_ENTRIES, parse_index, parse_legacy_list};

use std::ops::ControlFlow;
use std::sync::Arc;

use self::descriptor::{NoDigest, children, layers, optional, read_digest};
use self::error::named;
use self::json::{Member, Raw, each_member, members, position, text, text_of};
use super::{Annotations, CREATED, Digest};

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

/// Annotations of one manifest that are kept. Kubernetes has room for 256 KiB of them on an object, which is far more
/// than anybody reads.
const MAX_ANNOTATIONS: usize = 1024;

/// Bytes of the annotations of one manifest that are kept.
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// A manifest that is attached to an image: what selection and pulling go by. Without slack, because thousands are kept
/// in memory. `E` is what is said of one that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact<E = ManifestError> {
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
    pub children: Box<[Child]>,
    /// How many of its entries could not be read.
    pub unreadable_children: usize,
    /// Why it cannot be used, where it cannot.
    pub fault: Option<Box<Fault<E>>>,
    /// The manifest byte for byte, where it is small enough to keep: by its digest it proves what a copy of the files is.
    pub manifest: Option<Arc<str>>,
}

/// Largest manifest that is kept byte for byte. One of twenty files has about 6 KiB. It fits many times into the 256 KiB that
/// Kubernetes allows for all annotations of an object together.
pub const MAX_KEPT_MANIFEST: usize = 16 * 1024;

impl<E> Artifact<E> {
    /// `org.opencontainers.image.created`, as it stands there.
    #[must_use]
    pub fn created(&self) -> Option<&str> {
        self.annotations.get(CREATED)
    }

    /// One of which nothing is known but its digest and why.
    #[must_use]
    pub fn unknown(digest: Digest, error: E) -> Self {
        Self {
            digest,
            media_type: String::new(),
            artifact_type: String::new(),
            subject: None,
            annotations: Annotations::default(),
            layers: Box::default(),
            children: Box::default(),
            unreadable_children: 0,
            fault: Some(Box::new(Fault { error, known: Known::default(), lasting: false })),
            manifest: None,
        }
    }

    /// Lets go of what it is made of, where that is too much to keep.
    pub fn forget_content(&mut self, why: impl FnOnce() -> E) {
        let known = Known { artifact_type: true, subject: true, annotations: true };
        (self.layers, self.children, self.manifest) = (Box::default(), Box::default(), None);
        self.fault.get_or_insert_with(|| Box::new(Fault { error: why(), known, lasting: true }));
    }

    /// The same, or why it cannot be used.
    ///
    /// # Errors
    /// The fault, where it has one.
    pub fn sound(self) -> Result<Self, E> {
        match self.fault {
            Some(fault) => Err(fault.error),
            None => Ok(self),
        }
    }
}

/// Why an artifact cannot be used, and what is known of it all the same: enough to tell that it would not be chosen
/// anyway, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault<E = ManifestError> {
    /// Why.
    pub error: E,
    /// Which of its members say what the manifest says.
    pub known: Known,
    /// Whether it is one of the bytes that the digest names, which never change, and not of what was sent this time.
    pub lasting: bool,
}

/// What of an artifact is known for certain. What is not may be anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// `artifact_type`.
    pub artifact_type: bool,
    /// `subject`.
    pub subject: bool,
    /// All of `annotations`: one that is not there does not exist.
    pub annotations: bool,
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
    read_artifact(digest, bytes, content_type, ManifestError::clone).sound()
}

/// The same, where the artifact carries what is wrong with it, said by `describe`.
pub fn read_artifact<E>(
    digest: Digest,
    bytes: &[u8],
    content_type: Option<&str>,
    describe: impl FnOnce(&ManifestError) -> E,
) -> Artifact<E> {
    let text = text_of(bytes);
    let document = Document::read(&text);
    let (mut artifact, known, mut wrong) = document.head(digest);
    match document.kind(content_type).and_then(|media_type| {
        (*media_type).clone_into(&mut artifact.media_type);
        document.content(&media_type)
    }) {
        Ok(content) => {
            (artifact.layers, artifact.children, artifact.unreadable_children) = content;
        }
        Err(error) => wrong = wrong.or(Some(error)),
    }
    // Where it breaks off is what a person can look for.
    let wrong = document.error.as_ref().map(position).or(wrong);
    if let Some(wrong) = wrong {
        artifact.fault = Some(Box::new(Fault { error: describe(&wrong), known, lasting: true }));
    } else if bytes.len() <= MAX_KEPT_MANIFEST && !is_index(&artifact.media_type) {
        // What an index lists is not in the index, so it proves nothing of the files.
        artifact.manifest = std::str::from_utf8(bytes).ok().map(Arc::from);
    }
    artifact
}

/// Every member that any of the readable documents has.
struct Document<'a> {
    media_type: Member<'a>,
    artifact_type: Member<'a>,
    config: Member<'a>,
    layers: Member<'a>,
    blobs: Member<'a>,
    manifests: Member<'a>,
    subject: Member<'a>,
    annotations: Member<'a>,
    /// Where it breaks off; what stands before that was read.
    error: Option<serde_json::Error>,
}

/// Layers, children, and how many of these cannot be read.
type Content = (Box<[Descriptor]>, Box<[Child]>, usize);

impl<'a> Document<'a> {
    fn read(text: &'a str) -> Self {
        let names =
            ["mediaType", "artifactType", "config", "layers", "blobs", "manifests", "subject", "annotations"];
        let ([media_type, artifact_type, config, layers, blobs, manifests, subject, annotations], read) =
            members(text, names);
        let error = read.err();
        Self { media_type, artifact_type, config, layers, blobs, manifests, subject, annotations, error }
    }

    /// What tells an artifact from others, as far as it can be read: a member that is damaged spoils no other.
    fn head<E>(&self, digest: Digest) -> (Artifact<E>, Known, Option<ManifestError>) {
        // What is missing from a document that breaks off may have stood in the rest of it.
        let whole = self.error.is_none();
        let mut wrong = None;
        let artifact_type = self.artifact_type();
        let subject = self.subject();
        let (annotations, all) = match self.annotations {
            Member::Missing => (Annotations::default(), Ok(())),
            Member::There(value) => annotations_of(value),
            Member::Twice => (Annotations::default(), Err(ManifestError::Twice("annotations"))),
        };
        let there = |member: Member<'_>| whole || !matches!(member, Member::Missing);
        let known = Known {
            artifact_type: match &artifact_type {
                Ok(read) => whole || (read.is_some() && self.artifact_type.is_present()),
                Err(_) => false,
            },
            subject: there(self.subject) && subject.is_ok(),
            annotations: there(self.annotations) && all.is_ok(),
        };
        for result in [artifact_type.as_ref().err(), subject.as_ref().err(), all.as_ref().err()] {
            wrong = wrong.or_else(|| result.cloned());
        }
        let artifact = Artifact {
            digest,
            media_type: String::new(),
            artifact_type: artifact_type.ok().flatten().unwrap_or_default().into(),
            subject: subject.ok().flatten(),
            annotations,
            layers: Box::default(),
            children: Box::default(),
            unreadable_children: 0,
            fault: None,
            manifest: None,
        };
        (artifact, known, wrong)
    }

    /// The artifact type of an image manifest without one is its config's media type (distribution-spec, "Listing
    /// Referrers"); the empty type is never the type of anything.
    fn artifact_type(&self) -> Result<Option<Box<str>>, ManifestError> {
        let own = optional(self.artifact_type, text)
            .map_err(|()| ManifestError::Member("artifactType", "a text, once"))?;
        if let Some(own) = own.filter(|own| !own.is_empty() && **own != *media_type::EMPTY) {
            return Ok(Some(own));
        }
        let wrong = ManifestError::Member("config", "a descriptor with a media type");
        match self.config {
            Member::Twice => Err(ManifestError::Twice("config")),
            Member::There(config) if self.config.is_present() => {
                let ([media_type], read) = members(config.get(), ["mediaType"]);
                read.map_err(|_| wrong.clone())?;
                optional(media_type, text).map_err(|()| wrong)
            }
            _ => Ok(None),
        }
    }

    fn subject(&self) -> Result<Option<Digest>, ManifestError> {
        match self.subject {
            Member::Twice => Err(ManifestError::Twice("subject")),
            Member::There(subject) if self.subject.is_present() => {
                let ([digest], _) = members(subject.get(), ["digest"]);
                match read_digest(digest) {
                    Ok(digest) => Ok(Some(digest)),
                    // Something else than any digest that is known here.
                    Err(NoDigest::Algorithm) => Ok(None),
                    Err(NoDigest::Unreadable) => {
                        Err(ManifestError::Member("subject", "a descriptor with a digest"))
                    }
                }
            }
            _ => Ok(None),
        }
    }

    fn kind(&self, content_type: Option<&str>) -> Result<Box<str>, ManifestError> {
        ambiguous(self.manifests, self.layers, self.blobs, self.config)?;
        effective_media_type(self.media_type, content_type, self.manifests, self.layers)
    }

    fn content(&self, media_type: &str) -> Result<Content, ManifestError> {
        let read_layers = |name, member| match member {
            Member::Missing => Ok(Box::default()),
            Member::There(value) => layers(name, value),
            Member::Twice => Err(ManifestError::Twice(name)),
        };
        match media_type {
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => {
                Ok((read_layers("layers", self.layers)?, Box::default(), 0))
            }
            media_type::OCI_ARTIFACT | media_type::ORAS_ARTIFACT => {
                Ok((read_layers("blobs", self.blobs)?, Box::default(), 0))
            }
            media_type::OCI_INDEX | media_type::DOCKER_LIST => match self.manifests {
                Member::Missing => Ok((Box::default(), Box::default(), 0)),
                Member::There(value) => {
                    children(value).map(|(children, unreadable)| (Box::default(), children, unreadable))
                }
                Member::Twice => Err(ManifestError::Twice("manifests")),
            },
            other => Err(ManifestError::Kind(named(other), "a manifest or an index")),
        }
    }
}

/// Annotations, as far as they can be read, and whether these are all of them. Of several values for a key the last one
/// holds, as in Go.
fn annotations_of(value: Raw<'_>) -> (Annotations, Result<(), ManifestError>) {
    let mut kept: Vec<(String, Box<str>)> = Vec::new();
    let (mut wrong, mut bytes) = (Ok(()), 0);
    let is_object = each_member(value, |name, value| {
        bytes += name.len() + value.get().len();
        if kept.len() == MAX_ANNOTATIONS || bytes > MAX_ANNOTATION_BYTES {
            wrong = Err(ManifestError::TooMany("annotations", MAX_ANNOTATIONS));
            return ControlFlow::Break(());
        }
        match text(value) {
            Ok(value) => kept.push((name, value.unwrap_or_default())),
            Err(()) => wrong = Err(ManifestError::Member("annotations", "an object of texts")),
        }
        ControlFlow::Continue(())
    });
    if !is_object {
        wrong = Err(ManifestError::Member("annotations", "an object of texts"));
    }
    (kept.into_iter().collect(), wrong)
}

/// Whether a media type is that of an index.
#[must_use]
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, media_type::OCI_INDEX | media_type::DOCKER_LIST)
}

/// Refuses a document that can be read as two kinds.
fn ambiguous(
    manifests: Member<'_>,
    layers: Member<'_>,
    blobs: Member<'_>,
    config: Member<'_>,
) -> Result<(), ManifestError> {
    let names = ["manifests", "layers", "blobs", "config"];
    let present = [manifests, layers, blobs, config].map(Member::is_present);
    for (first, second) in [(0, 1), (0, 2), (0, 3), (2, 1), (2, 3)] {
        if present[first] && present[second] {
            return Err(ManifestError::Ambiguous(names[first], names[second]));
        }
    }
    Ok(())
}

/// `mediaType` of the document, else of the answer, else what the members say (old pushers left it out).
fn effective_media_type(
    media_type: Member<'_>,
    content_type: Option<&str>,
    manifests: Member<'_>,
    layers: Member<'_>,
) -> Result<Box<str>, ManifestError> {
    let document =
        optional(media_type, text).map_err(|()| ManifestError::Member("mediaType", "a text, once"))?;
    let document = document.filter(|document| !document.is_empty());
    // Parameters such as charset do not take part (image-spec, "Media Type Conflicts"), nor does case (RFC 9110, 8.3.1).
    let header = content_type.and_then(|header| header.split(';').next()).unwrap_or_default();
    let header = header.trim().to_ascii_lowercase();
    // A registry that serves manifests as plain JSON or bytes says nothing about them.
    let header = Some(header).filter(|header| header.starts_with("application/vnd."));
    match (header, document) {
        (Some(header), Some(document)) if header != *document => {
            Err(ManifestError::ContentType { header: named(&header), document: named(&document) })
        }
        (_, Some(document)) => Ok(document),
        (Some(header), None) => Ok(header.into()),
        (None, None) if !matches!(manifests, Member::Missing) => Ok(media_type::OCI_INDEX.into()),
        (None, None) if layers.is_present() => Ok(media_type::OCI_MANIFEST.into()),
        (None, None) => Ok(Box::default()),
    }
}
