//! What a tag stands for now, and whether there is such an image.

use oci::{Digest, ImageRef, ManifestError, parse_artifact};

use crate::content::fetch::{MAX_MANIFEST, accept_manifests};
use crate::error::{Defect, Error, Kind};
use crate::fresh::shared;
use crate::http::call::RESOLVE;
use crate::observe::CacheKind;
use crate::port::{Freshness, Subject};
use crate::session::Session;

impl Session<'_> {
    /// The digest of a tag or digest, asked at most once at a time.
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

    /// `HEAD`, and `GET` wherever that does not tell the digest: registries need not say it in a header, and what stands
    /// in front of them may know `GET` alone. Nothing is said about an image that rests on `HEAD`.
    async fn ask_digest(&self, image: &ImageRef, reference: &str) -> Result<Digest, Error> {
        let path = format!("manifests/{reference}");
        match self.head(RESOLVE, &path, accept_manifests()).await? {
            Some(digest) => Ok(digest),
            None => self.digest_of_content(image, &path).await,
        }
    }

    /// The digest of what stands under a tag, once it is known to be a manifest: the page of a gateway has a digest too.
    async fn digest_of_content(&self, image: &ImageRef, path: &str) -> Result<Digest, Error> {
        let Some(content) = self.get(RESOLVE, path, Some(accept_manifests()), MAX_MANIFEST).await? else {
            return Err(self.image_not_found(image));
        };
        let bytes = content.inflated(MAX_MANIFEST).unwrap_or_else(|| content.bytes.clone());
        let digest = Digest::sha256(&bytes);
        match parse_artifact(digest.clone(), &bytes, content.content_type.as_deref()) {
            // That it is an image is all that has to be known of it.
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

    /// Makes sure that the registry has a manifest of this digest, where nothing else has shown it lately: "nothing is
    /// attached" to what does not exist would mislead, and the digest of a tag is only what a header said.
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
