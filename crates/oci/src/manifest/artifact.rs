//! [`Artifact`]: a manifest that is attached to an image.

use std::sync::Arc;

use super::descriptor::{Child, Descriptor};
use super::error::ManifestError;
use crate::annotations::{Annotations, CREATED};
use crate::digest::Digest;

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
