//! Why a document is refused. No error repeats text of the document. People who may read a condition would see it, and
//! it can be anything that the registry, or a host that it redirects to, has.

use super::media_type;

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or no object.
    #[error("it cannot be read as a JSON object from line {line}, column {column} on")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A member that the document must have.
    #[error("it has no member '{0}'")]
    Missing(&'static str),
    /// A member with a wrong value.
    #[error("its member '{0}' cannot be read: expected {1}")]
    Member(&'static str, &'static str),
    /// An element of a list with a wrong value.
    #[error("entry {number} of its '{list}' cannot be read: expected {expected}")]
    Entry {
        /// The list.
        list: &'static str,
        /// Which of its entries, from 1.
        number: usize,
        /// The expected value.
        expected: &'static str,
    },
    /// More than is read.
    #[error("its '{0}' are too many: at most {1} are read")]
    TooMany(&'static str, usize),
    /// Readable in two ways: it has the members of two kinds of document.
    #[error("it is ambiguous: it has both '{0}' and '{1}'")]
    Ambiguous(&'static str, &'static str),
    /// Readable in two ways: some readers take the first, others the last.
    #[error("it is ambiguous: it has the member '{0}' more than once")]
    Twice(&'static str),
    /// The header and the document state different media types.
    #[error("its Content-Type is {header}, its mediaType {document}")]
    ContentType {
        /// `Content-Type` of the answer.
        header: &'static str,
        /// `mediaType` of the document.
        document: &'static str,
    },
    /// A kind of document that is not expected here.
    #[error("its media type, {0}, is not {1}")]
    Kind(&'static str, &'static str),
}

/// A media type in a message: only a known one is named, because any other is text of somebody else.
pub(super) fn named(media_type: &str) -> &'static str {
    const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    const SIGNED_SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let mut known = media_type::MANIFESTS.into_iter().chain([SCHEMA_1, SIGNED_SCHEMA_1]);
    match known.find(|known| *known == media_type) {
        Some(known) => known,
        None if media_type.is_empty() => "not given",
        None => "none that is known here",
    }
}
