//! Values of OCI, checked once and then passed along: code that receives one cannot fail on its form.
//!
//! They are parsed as Go's clients and registries parse them, because those programs wrote most of them: digests,
//! references to images, platforms, annotations, manifests and indexes, the names of files. Unknown members and media
//! types are not an error (image-spec, "Extensibility"). A document that can be read in two ways is one. Every parser
//! has bounds, and errors only repeat escaped text of others ([`text`]).
//!
//! ```
//! let image: oci::ImageRef = "registry.example.com/shop/web:v1".parse()?;
//! assert_eq!(image.repository().host(), "registry.example.com");
//! # Ok::<(), oci::ImageError>(())
//! ```

mod annotations;
mod digest;
mod file;
mod image;
mod manifest;
mod platform;
mod reference;
pub mod text;

pub use annotations::{Annotations, CREATED, TITLE, UNPACK, UNPACKED_DIGEST, VERSION};
pub use digest::{Algorithm, Digest, DigestError, MismatchError};
pub use file::{ConfigFile, PathError, normalize_path};
pub use image::{ImageError, ImageRef, RepositoryRef};
pub use manifest::{
    Artifact, Child, Descriptor, Entry, Fault, Index, Known, MAX_ENTRIES, MAX_KEPT_MANIFEST, ManifestError,
    is_index, media_type, parse_artifact, parse_index, parse_legacy_list, read_artifact,
};
pub use platform::{Platform, PlatformError};
pub use text::truncate;
