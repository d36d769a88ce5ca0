//! Values that were checked once and are then passed along: a stage that receives one cannot fail on its form.

mod advice;
mod annotations;
mod digest;
mod failure;
mod file;
mod image;
pub mod json;
mod manifest;
mod namespace;
mod platform;
mod reference;
pub mod text;
mod unanswered;

pub use advice::Advice;
pub use annotations::Annotations;
pub use digest::{Algorithm, Digest, DigestError, MismatchError};
pub use failure::Failure;
pub use file::{ConfigFile, PathError, normalize_path};
pub use image::{ImageError, ImageRef, RepositoryRef};
pub use manifest::{
    Artifact, Child, Descriptor, Entry, Fault, Index, Known, MAX_ENTRIES, MAX_KEPT_MANIFEST, ManifestError,
    is_index, media_type, parse_artifact, parse_index, parse_legacy_list, read_artifact,
};
pub use namespace::{Namespace, NamespaceError, Namespaces};
pub use platform::{Platform, PlatformError};
pub use text::truncate;

/// Annotation with the time an artifact was made (image-spec, "Pre-Defined Annotation Keys"). RFC 3339.
pub const CREATED: &str = "org.opencontainers.image.created";
/// Annotation with the version of an artifact (image-spec, "Pre-Defined Annotation Keys").
pub const VERSION: &str = "org.opencontainers.image.version";
/// Annotation on a layer with the name of the file it holds (image-spec, "Pre-Defined Annotation Keys").
pub const TITLE: &str = "org.opencontainers.image.title";
/// Annotation on a layer that marks a packed directory for ORAS; the media type does not (a plain file has
/// `…layer.v1.tar` as well).
pub const UNPACK: &str = "io.deis.oras.content.unpack";
/// Annotation on a packed directory with the digest of the tar before compression.
pub const UNPACKED_DIGEST: &str = "io.deis.oras.content.digest";
