//! The port: what there is to ask of a registry, and what it answers.

use std::future::Future;
use std::sync::Arc;

use oci::{ConfigFile, Digest, ImageRef, Platform, RepositoryRef};

use crate::credentials::access::Access;
use crate::error::Error;
use crate::wanted::Wanted;

/// An artifact that is attached to an image. Where it cannot be used, it says why.
pub type Artifact = oci::Artifact<Error>;

/// An image, and the digest that its reference stands for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// As the caller names it.
    pub image: ImageRef,
    /// What it resolved to.
    pub digest: Digest,
}

/// What to list.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Where what is attached lies: the image's own repository, or a mirror's.
    pub repository: &'a RepositoryRef,
    /// Only artifacts of this type.
    pub artifact_type: Option<&'a str>,
    /// Where the subject is an index that has nothing attached, the manifest to look at instead.
    pub platform: Option<&'a Platform>,
    /// How old an answer may be.
    pub freshness: Freshness,
}

/// How old an answer to a question that can change its answer may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// A second: many callers with one question ask it once.
    #[default]
    Recent,
    /// Asked anew: somebody who has just attached something wants to see it.
    Now,
}

/// Everything of a type that is attached: complete, or it would be an [`Error`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Verified manifests whose subject and type are the ones asked for, ordered by digest. One that cannot be used is
    /// among them where it may be of the type; it says so itself.
    pub artifacts: Vec<Artifact>,
    /// What was passed over and why, for a person.
    pub notes: Vec<String>,
    /// Where nothing of the type is attached, the types of what is, some of them.
    pub types: Vec<String>,
}

/// The files of an artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Wanted files, every byte verified.
    pub files: Vec<ConfigFile>,
    /// Paths of the files that were not wanted.
    pub others: Vec<String>,
}

/// What there is to ask of a registry.
pub trait Registry: Send + Sync + 'static {
    /// The digest that a reference stands for now. A pinned reference is its own answer and costs no request.
    ///
    /// # Errors
    /// [`Kind::ImageNotFound`](crate::Kind::ImageNotFound) only where the registry says so; any other error means that it is not known.
    fn resolve(
        &self,
        access: &Access,
        image: &ImageRef,
        freshness: Freshness,
    ) -> impl Future<Output = Result<Subject, Error>> + Send;

    /// Everything that is attached to the subject and that the query asks for. An empty listing is the registry's word
    /// that there is nothing.
    ///
    /// # Errors
    /// Whenever the listing is not known to be complete.
    fn referrers(
        &self,
        access: &Access,
        subject: &Subject,
        query: Query<'_>,
    ) -> impl Future<Output = Result<Listing, Error>> + Send;

    /// An artifact that can be used, by its digest, or nothing where the registry says that it does not exist.
    ///
    /// # Errors
    /// Where the registry does not say, or what it sends is not what was asked for.
    fn artifact(
        &self,
        access: &Access,
        repository: &RepositoryRef,
        digest: &Digest,
    ) -> impl Future<Output = Result<Option<Artifact>, Error>> + Send;

    /// The files of an artifact that are wanted.
    ///
    /// # Errors
    /// Whenever a wanted file is not to be had whole.
    fn pull(
        &self,
        access: &Access,
        repository: &RepositoryRef,
        artifact: &Artifact,
        wanted: Arc<dyn Wanted>,
    ) -> impl Future<Output = Result<Pulled, Error>> + Send;
}
