//! The registry: what is attached to an image, and its verified bytes.
//!
//! [`Registry`] is the port that the reconcile works against; [`OciRegistry`] answers it from real registries.
//! From the outside in: [`client`] answers the port, [`referrers`] lists, [`content`] fetches by digest and verifies,
//! [`archive`] unpacks, [`transport`] sends requests and [`auth`] earns the right to.
//!
//! Every answer is one of three: found, none, or a [`Failure`], which is "unknown" and decides nothing.

mod access;
mod archive;
mod auth;
mod challenge;
mod client;
mod content;
mod keyring;
mod referrers;
mod transport;

use std::future::Future;

pub use access::{Access, Repository};
pub use client::{Limits, OciRegistry};
pub use keyring::{Credential, Keyring, KeyringError};
pub use transport::{Observer, RequestRecord};

use crate::decide::files::FileRules;
use crate::types::{Artifact, ConfigFile, Digest, Failure, ImageRef};

/// An image, and the digest that its reference stands for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// As the resource names it.
    pub image: ImageRef,
    /// What it resolved to.
    pub digest: Digest,
}

/// Everything of a type that is attached: complete, or it would be a [`Failure`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Verified manifests whose subject and type are the ones asked for, ordered by digest.
    pub artifacts: Vec<Artifact>,
    /// What was passed over and why, for a person.
    pub notes: Vec<String>,
}

/// What the reconcile needs of a registry.
pub trait Registry: Send + Sync + 'static {
    /// The digest that a reference stands for now. A pinned reference is its own answer and costs no request.
    ///
    /// # Errors
    /// `ImageNotFound` only where the registry says so; any other failure means that it is not known.
    fn resolve(&self, access: &Access, image: &ImageRef) -> impl Future<Output = Result<Subject, Failure>> + Send;

    /// Everything of `artifact_type` (or of any type) that is attached to the subject. An empty listing is the
    /// registry's word that there is nothing.
    ///
    /// # Errors
    /// Whenever the listing is not known to be complete.
    fn referrers(
        &self,
        access: &Access,
        subject: &Subject,
        artifact_type: Option<&str>,
    ) -> impl Future<Output = Result<Listing, Failure>> + Send;

    /// The files of an artifact that the rules want, every byte verified.
    ///
    /// # Errors
    /// Whenever a wanted file is not to be had whole.
    fn pull(
        &self,
        access: &Access,
        subject: &Subject,
        artifact: &Artifact,
        rules: &FileRules,
    ) -> impl Future<Output = Result<Vec<ConfigFile>, Failure>> + Send;
}
