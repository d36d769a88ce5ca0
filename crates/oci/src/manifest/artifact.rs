//! [`Artifact`]: a manifest that is attached to an image.

use std::sync::Arc;

use super::descriptor::{Child, Descriptor};
use super::error::ManifestError;
use crate::annotations::{Annotations, CREATED};
use crate::digest::Digest;

/// A manifest that is attached to an image, with the fields that selection and pulling need. It has no unused capacity,
/// because thousands are kept in memory. `E` is the error of an artifact that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact<E = ManifestError> {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Media type of the manifest.
    pub media_type: String,
    /// Artifact type, or its replacement (the config's media type).
    pub artifact_type: String,
    /// Digest of the manifest that it is attached to.
    pub subject: Option<Digest>,
    /// Annotations of the manifest.
    pub annotations: Annotations,
    /// Layers, without empty ones.
    pub layers: Box<[Descriptor]>,
    /// Manifests, if this one is an index. Entries that describe an image and are not one (`unknown/unknown`) are left
    /// out.
    pub children: Box<[Child]>,
    /// How many of its entries could not be read.
    pub unreadable_children: usize,
    /// Why it cannot be used; `None` if it can.
    pub fault: Option<Box<Fault<E>>>,
    /// The manifest byte for byte, if it is small enough to keep. Together with its digest it proves which files a copy
    /// must have.
    pub manifest: Option<Arc<str>>,
}

/// Largest manifest that is kept byte for byte. One of twenty files has about 6 KiB. It fits many times into the 256 KiB that
/// Kubernetes allows for all annotations of an object together.
pub const MAX_KEPT_MANIFEST: usize = 16 * 1024;

impl<E> Artifact<E> {
    /// `org.opencontainers.image.created`, unparsed.
    #[must_use]
    pub fn created(&self) -> Option<&str> {
        self.annotations.get(CREATED)
    }

    /// An unusable artifact of which only the digest and the error are known.
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

    /// Drops layers, children and manifest, if they are too large to keep.
    pub fn forget_content(&mut self, why: impl FnOnce() -> E) {
        let known = Known { artifact_type: true, subject: true, annotations: true };
        (self.layers, self.children, self.manifest) = (Box::default(), Box::default(), None);
        self.fault.get_or_insert_with(|| Box::new(Fault { error: why(), known, lasting: true }));
    }

    /// The same, or why it cannot be used.
    ///
    /// # Errors
    /// Its fault, if it has one.
    pub fn sound(self) -> Result<Self, E> {
        match self.fault {
            Some(fault) => Err(fault.error),
            None => Ok(self),
        }
    }
}

/// Why an artifact cannot be used, and which of its members are still known. They can show that it would not be
/// selected anyway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault<E = ManifestError> {
    /// Why.
    pub error: E,
    /// Which of its members have the values of the manifest.
    pub known: Known,
    /// Whether the fault is in the bytes that the digest names. These never change, unlike the bytes that were sent
    /// this time.
    pub lasting: bool,
}

/// Which members of an artifact are certain. The others may have any value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// `artifact_type`.
    pub artifact_type: bool,
    /// `subject`.
    pub subject: bool,
    /// All of `annotations`: an annotation that is not among them does not exist.
    pub annotations: bool,
}
