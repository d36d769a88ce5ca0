//! The kind of a document.

use super::descriptor::optional;
use super::error::{ManifestError, named};
use super::json::{Member, text};
use super::media_type;

/// Whether a media type is that of an index.
#[must_use]
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, media_type::OCI_INDEX | media_type::DOCKER_LIST)
}

/// Refuses a document that can be read as two kinds.
pub(super) fn ambiguous(
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

/// `mediaType` of the document, else of the answer, else the type that follows from the members (old pushers left it
/// out).
pub(super) fn effective_media_type(
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
    // If a registry serves manifests as plain JSON or bytes, its header means nothing.
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
