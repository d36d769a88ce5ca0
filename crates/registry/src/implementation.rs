//! The port, implemented by [`OciRegistry`]. Every error names the repository and the digest of the request.

use std::sync::Arc;

use oci::{Digest, ImageRef, RepositoryRef};

use crate::client::OciRegistry;
use crate::credentials::access::Access;
use crate::error::Error;
use crate::port::{Artifact, Freshness, Listing, Pulled, Query, Registry, Subject};
use crate::wanted::Wanted;

impl OciRegistry {
    async fn digest_of(
        &self,
        access: &Access,
        image: &ImageRef,
        freshness: Freshness,
    ) -> Result<Digest, Error> {
        match (image.digest(), image.tag()) {
            (Some(digest), _) => {
                self.policy.check(&image.repository())?;
                Ok(digest.clone())
            }
            (None, tag) => {
                let session = self.session(access, &image.repository()).await?;
                session.resolve(image, tag.unwrap_or("latest"), freshness).await
            }
        }
    }

    async fn list(&self, access: &Access, subject: &Subject, query: Query<'_>) -> Result<Listing, Error> {
        let session = self.session(access, query.repository).await?;
        let mut listing = session.list(&subject.digest, query.artifact_type, query.freshness).await?;
        if !listing.artifacts.is_empty() {
            return Ok(listing);
        }
        let image = self.session(access, &subject.image.repository()).await?;
        image.confirm(subject, query.freshness).await?;
        if let Some(platform) = query.platform {
            match image.platform_manifest(&subject.digest, platform).await? {
                Some(manifest) => {
                    let mut below = session.list(&manifest, query.artifact_type, query.freshness).await?;
                    below.notes.insert(0, format!("looked at the {platform} manifest {manifest}"));
                    listing.notes.append(&mut below.notes);
                    listing.artifacts = below.artifacts;
                    listing.types.append(&mut below.types);
                }
                None => listing.notes.push(format!("the image has no {platform} manifest")),
            }
        }
        Ok(listing)
    }
}

impl Registry for OciRegistry {
    async fn resolve(
        &self,
        access: &Access,
        image: &ImageRef,
        freshness: Freshness,
    ) -> Result<Subject, Error> {
        let digest = self.digest_of(access, image, freshness).await;
        let digest = digest.map_err(|error| error.asked(&image.repository(), image.digest()))?;
        Ok(Subject { image: image.clone(), digest })
    }

    async fn referrers(
        &self,
        access: &Access,
        subject: &Subject,
        query: Query<'_>,
    ) -> Result<Listing, Error> {
        let listing = self.list(access, subject, query).await;
        listing.map_err(|error| error.asked(query.repository, Some(&subject.digest)))
    }

    async fn artifact(
        &self,
        access: &Access,
        repository: &RepositoryRef,
        digest: &Digest,
    ) -> Result<Option<Artifact>, Error> {
        let found = async { self.session(access, repository).await?.sound_manifest(digest).await };
        found.await.map_err(|error| error.asked(repository, Some(digest)))
    }

    async fn pull(
        &self,
        access: &Access,
        repository: &RepositoryRef,
        artifact: &Artifact,
        wanted: Arc<dyn Wanted>,
    ) -> Result<Pulled, Error> {
        let pulled = async { self.session(access, repository).await?.pull(artifact, wanted).await };
        pulled.await.map_err(|error| error.asked(repository, Some(&artifact.digest)))
    }
}
