//! Immutable content that was fetched before. Its size in memory is bounded.

use std::sync::Arc;

use bytes::Bytes;
use moka::future::Cache;
use oci::{Annotations, Child, Descriptor, Digest, Platform};

use crate::credentials::access::RepositoryKey;
use crate::port::Artifact;

/// The content that a digest names in a repository, as one identity may see it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct ContentKey {
    pub repository: RepositoryKey,
    pub digest: Digest,
}

/// Immutable content that was fetched before.
pub(crate) struct ContentCache {
    pub manifests: Cache<ContentKey, Option<Arc<Artifact>>>,
    /// The size in the descriptor belongs to the key: a descriptor with a wrong size must not profit from one with the
    /// right size.
    pub blobs: Cache<(ContentKey, u64), Bytes>,
}

impl ContentCache {
    /// `bytes` bounds the blobs. Manifests get half as much, because only their parsed form is kept.
    pub(crate) fn new(bytes: u64) -> Self {
        let manifests = Cache::builder()
            .max_capacity(bytes / 2)
            .weigher(|_, artifact: &Option<Arc<Artifact>>| {
                artifact.as_ref().map_or(256, |artifact| weight(artifact))
            })
            // That a manifest does not exist can change: somebody may push it again.
            .time_to_live(std::time::Duration::from_hours(24))
            .build();
        let blobs = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, bytes: &Bytes| u32::try_from(bytes.len() + 256).unwrap_or(u32::MAX))
            .build();
        Self { manifests, blobs }
    }
}

/// The approximate size of a parsed manifest in memory.
pub(crate) fn weight(artifact: &Artifact) -> u32 {
    let annotations = |annotations: &Annotations| -> usize {
        annotations.iter().map(|(key, value)| key.len() + value.len() + 64).sum()
    };
    let layer = |layer: &Descriptor| {
        let Descriptor { media_type, data, annotations: file, digest: _, size: _ } = layer;
        256 + media_type.len() + data.as_ref().map_or(0, |data| data.len()) + annotations(file)
    };
    let child = |child: &Child| {
        let texts = |platform: &Platform| {
            let Platform { os, architecture, variant } = platform;
            128 + os.len() + architecture.len() + variant.as_ref().map_or(0, String::len)
        };
        160 + child.platform.as_deref().map_or(0, texts)
    };
    let Artifact { media_type, artifact_type, layers, children, manifest, .. } = artifact;
    let own = 512
        + manifest.as_ref().map_or(0, |text| text.len())
        + media_type.len()
        + artifact_type.len()
        + annotations(&artifact.annotations);
    let listed = layers.iter().map(layer).sum::<usize>() + children.iter().map(child).sum::<usize>();
    u32::try_from(own + listed).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Megabytes count in every field of a manifest.
    #[rstest::rstest]
    #[case::type_of_the_artifact("/artifactType")]
    #[case::annotation("/annotations/a")]
    #[case::type_of_a_layer("/layers/0/mediaType")]
    #[case::name_of_a_file("/layers/0/annotations/org.opencontainers.image.title")]
    #[case::inline("/layers/0/data")]
    fn every_text_has_weight(#[case] place: &str) {
        let digest = Digest::sha256(b"layer");
        let layer = json!({"mediaType": "a/b", "digest": digest, "size": 5,
            "annotations": {oci::TITLE: "b"}, "data": "bGF5ZXI="});
        let mut document = json!({"mediaType": oci::media_type::OCI_MANIFEST, "artifactType": "a/b", "layers": [layer],
            "annotations": {"a": "b"}});
        let weight = |document: &serde_json::Value| {
            let text = document.to_string();
            weight(&oci::read_artifact(digest.clone(), text.as_bytes(), None, |why| panic!("{why}")))
        };
        let before = weight(&document);
        *document.pointer_mut(place).unwrap() = json!("x".repeat(10_000));
        assert!(weight(&document) > before + 9_900, "{before}");
    }
}
