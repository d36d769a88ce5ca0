//! Manifests and blobs by digest: bounded, verified, and fetched once.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use oci::{Child, Descriptor, Digest, ManifestError, Platform, media_type, read_artifact};

use crate::content::cache::{ContentKey, weight};
use crate::credentials::access::Repository;
use crate::error::{Bound, Defect, Error, Form, Kind};
use crate::http::answer::{Encoding, Read, Sent};
use crate::observe::CacheKind;
use crate::port::Artifact;
use crate::session::Session;

/// Largest manifest or index that is read: the minimum that registries must support (distribution-spec, "Pushing
/// Manifests"), and oras-go's own limit. 4 MiB.
pub(crate) const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

/// Memory that one manifest may take after it is parsed: twice the size of the largest config that is embedded in its
/// manifest. A larger manifest is not one of a config.
const MAX_ARTIFACT: u32 = 2 * 1024 * 1024;

/// Every manifest type, for an `Accept` header. Listed in full, because registries answer 404 for a type that is not
/// accepted.
pub(crate) fn accept_manifests() -> String {
    media_type::MANIFESTS.join(", ")
}

impl Session<'_> {
    /// An attached manifest; `None` if the registry says that it does not exist. The manifest may be unusable; then its
    /// `fault` is set.
    pub(crate) async fn manifest(&self, digest: &Digest) -> Result<Option<Arc<Artifact>>, Error> {
        let key = ContentKey { repository: self.repository.key(), digest: digest.clone() };
        let cached = &self.client.cache.manifests;
        let mut hit = true;
        let fetch = async {
            hit = false;
            self.fetch_manifest(digest).await
        };
        let found = cached.try_get_with(key.clone(), fetch).await.map_err(|error| Error::clone(&error))?;
        self.client.note_cached(CacheKind::Manifest, hit);
        let may_change = |artifact: &Artifact| artifact.fault.as_ref().is_some_and(|fault| !fault.lasting);
        if found.as_deref().is_none_or(may_change) {
            cached.invalidate(&key).await;
        }
        Ok(found)
    }

    /// The same for a caller that needs a usable manifest: an unusable one is an error.
    pub(crate) async fn sound_manifest(&self, digest: &Digest) -> Result<Option<Artifact>, Error> {
        let found = self.manifest(digest).await?;
        found.map(|artifact| Artifact::clone(&artifact).sound()).transpose()
    }

    async fn fetch_manifest(&self, digest: &Digest) -> Result<Option<Arc<Artifact>>, Error> {
        let path = format!("manifests/{digest}");
        let refused = |why: &ManifestError| {
            let kind = match why {
                ManifestError::TooMany("annotations", _) => Kind::TooLarge(Bound::Annotations),
                ManifestError::TooMany(..) => Kind::Unsupported(Form::Manifest),
                _ => Kind::Invalid(Defect::Manifest),
            };
            Error::new(kind, format!("{}@{digest}: the manifest is refused: {why}", self.repository))
        };
        let artifact = match self.read("manifest", &path, Some(accept_manifests()), MAX_MANIFEST).await? {
            None => return Ok(None),
            Some(Read::TooLong { beginning, error }) => {
                // Its first bytes show its type. They are not verified, so the type counts as much as the type in the
                // list. Nothing else of them is used.
                let error = error.of_kind(Kind::TooLarge(Bound::Manifest));
                let error = error.at(&format!("{}@{digest}", self.repository));
                let mut artifact = read_artifact(digest.clone(), &beginning, None, |_| error.clone());
                artifact.forget_content(|| error);
                if let Some(fault) = &mut artifact.fault {
                    fault.lasting = false;
                }
                artifact
            }
            Some(Read::Whole(content)) => {
                let content_type = content.content_type.clone();
                let bytes = verified(&self.repository, digest, None, &content, MAX_MANIFEST)?;
                let mut artifact = read_artifact(digest.clone(), &bytes, content_type.as_deref(), refused);
                if weight(&artifact) > MAX_ARTIFACT {
                    artifact.forget_content(|| {
                        let what = "it describes more files, or holds more of them, than any config has";
                        let message =
                            format!("{}@{digest}: the manifest is refused: {what}", self.repository);
                        Error::new(Kind::TooLarge(Bound::Bytes), message)
                    });
                }
                artifact
            }
        };
        Ok(Some(Arc::new(artifact)))
    }

    /// The manifest of a platform in an index of images; `None` if the index has no such manifest, or if it is not an
    /// index.
    pub(crate) async fn platform_manifest(
        &self,
        index: &Digest,
        platform: &Platform,
    ) -> Result<Option<Digest>, Error> {
        let Some(image) = self.manifest(index).await? else { return Ok(None) };
        let serves =
            |child: &&Child| child.platform.as_ref().is_some_and(|entry| platform.is_served_by(entry));
        if let Some(child) = image.children.iter().find(serves) {
            return Ok(Some(child.digest.clone()));
        }
        // The unreadable manifest may be the one for the platform.
        if let Some(fault) = &image.fault {
            return Err(fault.error.clone());
        }
        if image.unreadable_children > 0 {
            return Err(Error::new(
                Kind::Invalid(Defect::Other),
                format!(
                    "{}@{index}: the image lists {} manifests that cannot be read, and none that can is for {platform}",
                    self.repository, image.unreadable_children
                ),
            ));
        }
        Ok(None)
    }

    /// A layer: from its descriptor if the content is embedded there, else from the registry. Never from `urls`.
    pub(crate) async fn blob(&self, layer: &Descriptor) -> Result<Bytes, Error> {
        if let Some(data) = &layer.data {
            let bytes = STANDARD.decode(data.as_bytes()).map_err(|_| {
                Error::new(
                    Kind::Invalid(Defect::Other),
                    format!(
                        "{}@{}: the inline data of the layer is not base64",
                        self.repository, layer.digest
                    ),
                )
            })?;
            verify(&self.repository, &layer.digest, Some(layer.size), &bytes)?;
            return Ok(bytes.into());
        }
        let content = ContentKey { repository: self.repository.key(), digest: layer.digest.clone() };
        let key = (content, layer.size);
        let mut hit = true;
        let fetch = async {
            hit = false;
            self.fetch_blob(layer).await
        };
        let cached = &self.client.cache.blobs;
        let blob = cached.try_get_with(key, fetch).await.map_err(|error| Error::clone(&error))?;
        self.client.note_cached(CacheKind::Blob, hit);
        Ok(blob)
    }

    async fn fetch_blob(&self, layer: &Descriptor) -> Result<Bytes, Error> {
        let path = format!("blobs/{}", layer.digest);
        let Some(content) = self.get("blob", &path, None, layer.size).await.map_err(|error| match error.kind() {
            // A blob that is longer than its descriptor says is wrong, and not too large.
            Kind::TooLarge(_) => Error::new(
                Kind::DigestMismatch,
                format!("{}@{}: the blob is longer than the {} bytes of its descriptor; nothing of it is used", self.repository, layer.digest, layer.size),
            ),
            _ => error,
        })?
        else {
            return Err(Error::new(
                Kind::Invalid(Defect::Lost),
                format!("{}@{}: the registry lost this layer of the artifact (404)", self.repository, layer.digest),
            ));
        };
        verified(&self.repository, &layer.digest, Some(layer.size), &content, layer.size)
    }
}

/// The bytes that a digest names: as they were sent, or without an encoding that nobody asked for. In this order,
/// because stores of blobs declare a compressed layer as encoded, and its digest is the digest of the compressed bytes.
fn verified(
    repository: &Repository,
    digest: &Digest,
    size: Option<u64>,
    content: &Sent,
    most: u64,
) -> Result<Bytes, Error> {
    let Err(mismatch) = verify(repository, digest, size, &content.bytes) else {
        return Ok(content.bytes.clone());
    };
    match content.inflated(most) {
        Some(inflated) => verify(repository, digest, size, &inflated).map(|()| inflated),
        None if content.encoding == Encoding::None => Err(mismatch),
        None => Err(mismatch.and("it came in an encoding that was not asked for")),
    }
}

/// Size first, then digest (image-spec, descriptor.md, "Verification").
fn verify(repository: &Repository, digest: &Digest, size: Option<u64>, bytes: &[u8]) -> Result<(), Error> {
    if let Some(size) = size.filter(|size| *size != bytes.len() as u64) {
        return Err(Error::new(
            Kind::DigestMismatch,
            format!(
                "{repository}@{digest}: the registry sent {} bytes where the descriptor says {size}; nothing of it is used",
                bytes.len()
            ),
        ));
    }
    digest.verify(bytes).map_err(|mismatch| {
        Error::new(
            Kind::DigestMismatch,
            format!(
                "{repository}@{digest}: the registry sent other content ({}); nothing of it is used",
                mismatch.actual
            ),
        )
    })
}
