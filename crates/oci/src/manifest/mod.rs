//! Manifests and indexes, read from the raw bytes that were verified.
//!
//! Own readers instead of those of a client library: unknown fields and unknown media types must not be errors
//! (image-spec, "Extensibility"), a document that can be read in two ways must be one (GHSA-mc8v-mgrf-8f4m). Of other
//! artifacts beside a config, only the members are read that show that they are not a config.

mod annotations;
mod artifact;
mod descriptor;
mod document;
mod error;
mod index;
mod json;
mod kind;
pub mod media_type;
#[cfg(test)]
mod tests;

pub use artifact::{Artifact, Fault, Known, MAX_KEPT_MANIFEST};
pub use descriptor::{Child, Descriptor};
pub use document::{parse_artifact, read_artifact};
pub use error::ManifestError;
pub use index::{Entry, Index, MAX_ENTRIES, parse_index, parse_legacy_list};
pub use kind::is_index;
