//! The digest that a tag stands for now, and whether the image exists.

use oci::{Digest, ImageRef, ManifestError, parse_artifact};

use crate::content::fetch::{MAX_MANIFEST, accept_manifests};
use crate::error::{Defect, Error, Kind};
use crate::fresh::shared;
use crate::http::call::RESOLVE;
use crate::observe::CacheKind;
use crate::port::{Freshness, Subject};
use crate::session::Session;

impl Session<'_> {
    /// The digest of a tag or digest. Callers at the same time share one request.
    pub(crate) async fn resolve(
        &self,
        image: &ImageRef,
        reference: &str,
        freshness: Freshness,
    ) -> Result<Digest, Error> {
        let key = (self.repository.key(), reference.to_owned());
        let (digest, hit) =
            shared(&self.client.digests, key, freshness, || self.ask_digest(image, reference)).await?;
        self.client.note_cached(CacheKind::Digest, hit);
        Ok(digest)
    }

    /// `HEAD`, and `GET` if that does not give the digest: registries need not send it in a header, and gateways in
    /// front of them may support only `GET`. No error about an image follows from `HEAD` alone.
    async fn ask_digest(&self, image: &ImageRef, reference: &str) -> Result<Digest, Error> {
        let path = format!("manifests/{reference}");
        match self.head(RESOLVE, &path, accept_manifests()).await? {
            Some(digest) => Ok(digest),
            None => self.digest_of_content(image, &path).await,
        }
    }

    /// The digest of the content under a tag, after a check that it is a manifest: the page of a gateway has a digest,
    /// too.
    async fn digest_of_content(&self, image: &ImageRef, path: &str) -> Result<Digest, Error> {
        let Some(content) = self.get(RESOLVE, path, Some(accept_manifests()), MAX_MANIFEST).await? else {
            return Err(self.image_not_found(image));
        };
        let bytes = content.inflated(MAX_MANIFEST).unwrap_or_else(|| content.bytes.clone());
        let digest = Digest::sha256(&bytes);
        match parse_artifact(digest.clone(), &bytes, content.content_type.as_deref()) {
            // It is enough to know that it is an image.
            Ok(_)
            | Err(ManifestError::Member(..) | ManifestError::Entry { .. } | ManifestError::TooMany(..)) => {
                Ok(digest)
            }
            Err(why) => Err(Error::new(
                Kind::Invalid(Defect::Other),
                format!("{}: what the registry has as {image} is no image: {why}", self.repository),
            )),
        }
    }

    /// Makes sure that the registry has a manifest of this digest, unless another answer has shown it lately. "Nothing
    /// is attached" would mislead for an image that does not exist, and the digest of a tag is only the value of a
    /// header.
    pub(crate) async fn confirm(&self, subject: &Subject, freshness: Freshness) -> Result<(), Error> {
        let key = (self.repository.key(), subject.digest.clone());
        if !self.client.confirmed.contains_key(&key) {
            self.resolve(&subject.image, &subject.digest.to_string(), freshness).await?;
            self.client.confirmed.insert(key, ());
        }
        Ok(())
    }

    fn image_not_found(&self, image: &ImageRef) -> Error {
        let message = format!("the registry {} does not have the image {image}", self.repository.host);
        Error::new(Kind::ImageNotFound, message)
    }
}
