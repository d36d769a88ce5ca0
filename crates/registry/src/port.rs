//! The port: the questions to a registry, and its answers.

use std::future::Future;
use std::sync::Arc;

use oci::{ConfigFile, Digest, ImageRef, Platform, RepositoryRef};

use crate::credentials::access::Access;
use crate::error::Error;
use crate::wanted::Wanted;

/// An artifact that is attached to an image. If it cannot be used, its `fault` says why.
pub type Artifact = oci::Artifact<Error>;

/// An image, and the digest that its reference stands for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The reference of the caller.
    pub image: ImageRef,
    /// The digest that it resolved to.
    pub digest: Digest,
}

/// Which artifacts to list.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The repository of the attached artifacts: that of the image, or a mirror.
    pub repository: &'a RepositoryRef,
    /// Only artifacts of this type.
    pub artifact_type: Option<&'a str>,
    /// If the subject is an index and nothing is attached to it, artifacts of the manifest for this platform are listed
    /// instead.
    pub platform: Option<&'a Platform>,
    /// How old an answer may be.
    pub freshness: Freshness,
}

/// How old an answer may be, if it can change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Up to a second: many callers with one question send one request.
    #[default]
    Recent,
    /// From a new request: somebody who has just attached an artifact wants to see it.
    Now,
}

/// All attached artifacts of a type. The listing is complete, otherwise the answer is an [`Error`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Verified manifests whose subject and type are the requested ones, ordered by digest. An unusable manifest is
    /// included if it may be of the type; its `fault` is set.
    pub artifacts: Vec<Artifact>,
    /// Sentences for a person: which manifests were skipped, and why.
    pub notes: Vec<String>,
    /// If no artifact of the type is attached, some of the types of the attached artifacts.
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

/// The questions to a registry.
pub trait Registry: Send + Sync + 'static {
    /// The digest that a reference stands for now. A pinned reference is its own answer and costs no request.
    ///
    /// # Errors
    /// [`Kind::ImageNotFound`](crate::Kind::ImageNotFound) only if the registry says so; any other error means that the
    /// answer is unknown.
    fn resolve(
        &self,
        access: &Access,
        image: &ImageRef,
        freshness: Freshness,
    ) -> impl Future<Output = Result<Subject, Error>> + Send;

    /// All artifacts that are attached to the subject and match the query. An empty listing means that the registry has
    /// confirmed it.
    ///
    /// # Errors
    /// If it is not certain that the listing is complete.
    fn referrers(
        &self,
        access: &Access,
        subject: &Subject,
        query: Query<'_>,
    ) -> impl Future<Output = Result<Listing, Error>> + Send;

    /// A usable artifact by its digest; `None` if the registry says that it does not exist.
    ///
    /// # Errors
    /// If the registry gives no clear answer, or sends other bytes than the requested ones.
    fn artifact(
        &self,
        access: &Access,
        repository: &RepositoryRef,
        digest: &Digest,
    ) -> impl Future<Output = Result<Option<Artifact>, Error>> + Send;

    /// The files of an artifact that are wanted.
    ///
    /// # Errors
    /// If any wanted file cannot be fetched completely.
    fn pull(
        &self,
        access: &Access,
        repository: &RepositoryRef,
        artifact: &Artifact,
        wanted: Arc<dyn Wanted>,
    ) -> impl Future<Output = Result<Pulled, Error>> + Send;
}
