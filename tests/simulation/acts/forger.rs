//! The forger may create, edit and delete `ConfigMaps` and read resources. It makes names, labels and annotations that
//! fit each other, for content that nobody attached.

use api::{MANAGER, annotation, label};
use decide::revision;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use oci::Digest;

use super::pick;
use crate::model;
use crate::worlds::State;
use crate::worlds::objects::{Belongs, content};

/// Content that nobody attached.
pub const EVIL: &str = "EVIL";

/// Numbers on labels: plausible ones far from each other, and the end of all numbers.
fn number(nth: usize, version: &str) -> i64 {
    let version: i64 = version.parse().unwrap();
    if nth.is_multiple_of(3) { i64::MAX - version } else { 1_000_000 * version }
}

impl State {
    /// Creates a revision of an artifact with other content. Returns its artifact, hash and number.
    pub(super) fn counterfeit(&mut self, name: &'static str, nth: usize) -> Option<(Digest, String, i64)> {
        let config = self.resources.actual(name)?;
        let (uid, status) = (config.metadata.uid.clone()?, config.status.clone().unwrap_or_default());
        let applied = status.artifact.as_ref().and_then(|artifact| artifact.digest.parse().ok());
        let known: Vec<Digest> = self.registry.known.keys().cloned().collect();
        // The applied artifact, or any other.
        let artifact: Digest = if nth.is_multiple_of(2) { applied? } else { pick(known, nth)? };
        let image = self.registry.known.get(&artifact)?.artifact.subject.clone()?;
        let number = number(nth, &self.objects.version());
        let mut map = ConfigMap {
            data: Some([("config.json".to_owned(), EVIL.to_owned())].into()),
            immutable: Some(true),
            ..ConfigMap::default()
        };
        let hash = model::hash(&content(&map));
        let pairs = |pairs: &[(&str, String)]| {
            Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
        };
        map.metadata = ObjectMeta {
            name: Some(revision::name(name, &artifact, &hash)),
            labels: pairs(&[
                (label::MANAGED_BY, MANAGER.to_owned()),
                (label::NAME, name.to_owned()),
                (label::OWNER_UID, uid.clone()),
                (label::REVISION, number.to_string()),
            ]),
            annotations: pairs(&[
                (annotation::ARTIFACT_DIGEST, artifact.to_string()),
                (annotation::CONTENT_HASH, hash.clone()),
                (annotation::IMAGE, "r.example/shop/web:v1".to_owned()),
                (annotation::IMAGE_DIGEST, image.to_string()),
                (annotation::APPLIED_AT, "2030-01-01T00:00:00Z".to_owned()),
            ]),
            ..ObjectMeta::default()
        };
        drop(self.objects.create(&map, Belongs::Resource(uid)));
        Some((artifact, hash, number))
    }

    /// The annotations of the target claim the config of a counterfeit.
    pub(super) fn impose(&mut self, name: &'static str, nth: usize) {
        let Some(target) = self.target(name) else { return };
        let Some((artifact, hash, number)) = self.counterfeit(name, nth) else { return };
        self.disturb(&target);
        drop(self.objects.edit(&target, |object| {
            if let Belongs::Resource(_) = object.belongs {
                let annotations = object.map.metadata.annotations.get_or_insert_default();
                annotations.insert(annotation::ARTIFACT_DIGEST.to_owned(), artifact.to_string());
                annotations.insert(annotation::CONTENT_HASH.to_owned(), hash);
                annotations.insert(annotation::REVISION.to_owned(), number.to_string());
                let data = object.map.data.get_or_insert_default();
                data.insert("config.json".to_owned(), EVIL.to_owned());
            }
        }));
    }
}
