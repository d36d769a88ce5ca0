//! Values that were checked once and are then passed along: a stage that receives one cannot fail on its form.

mod advice;
mod annotations;
mod digest;
mod failure;
mod file;
mod image;
mod manifest;
mod namespace;
mod platform;
mod reference;
mod text;

pub use advice::Advice;
pub use annotations::Annotations;
pub use digest::{Algorithm, Digest, DigestError, MismatchError};
pub use failure::Failure;
pub use file::{ConfigFile, PathError, normalize_path};
pub use image::{ImageError, ImageRef, RepositoryRef};
pub use manifest::{
    Artifact, Descriptor, Index, ManifestError, is_index, media_type, parse_artifact, parse_index,
    parse_legacy_list,
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
