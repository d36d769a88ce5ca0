//! From bytes to an [`Artifact`].

use super::annotations::annotations_of;
use super::artifact::{Artifact, Fault, Known, MAX_KEPT_MANIFEST};
use super::descriptor::{Child, Descriptor, NoDigest, children, layers, optional, read_digest};
use super::error::{ManifestError, named};
use super::json::{Member, members, position, text, text_of};
use super::kind::{ambiguous, effective_media_type, is_index};
use super::media_type;
use crate::annotations::Annotations;
use crate::digest::Digest;

/// Reads an attached manifest: OCI image manifest, index, or OCI artifact manifest (and the ORAS one). The bytes must
/// be verified against `digest` before.
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

/// The same, but the artifact carries its fault, which `describe` turns into an error.
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
    // The place where the document breaks off helps a person most.
    let wrong = document.error.as_ref().map(position).or(wrong);
    if let Some(wrong) = wrong {
        artifact.fault = Some(Box::new(Fault { error: describe(&wrong), known, lasting: true }));
    } else if bytes.len() <= MAX_KEPT_MANIFEST && !is_index(&artifact.media_type) {
        // An index does not contain the digests of files, so it proves nothing about them.
        artifact.manifest = std::str::from_utf8(bytes).ok().map(std::sync::Arc::from);
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
    /// Why it breaks off. The members before that place were read.
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

    /// The members that distinguish an artifact from others, as far as they can be read. A damaged member does not
    /// affect the others.
    fn head<E>(&self, digest: Digest) -> (Artifact<E>, Known, Option<ManifestError>) {
        // If a document breaks off, a missing member may be in the lost part.
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
                    // It differs from every digest of a known algorithm.
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
