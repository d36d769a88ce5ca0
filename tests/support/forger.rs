//! A forger may create and delete `ConfigMaps` and read `ArtifactConfigs`, and no more. It makes names, labels and
//! annotations that fit each other, because everyone can compute them.

use anyhow::{Context as _, Result};
use api::{MANAGER, annotation, label};
use decide::render::Content;
use decide::revision;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use serde_json::json;

use super::{Bench, text};

/// A revision of the resource `web` that nobody but the forger ever saw.
pub struct Forgery<'a> {
    pub artifact: &'a str,
    pub image: &'a str,
    pub number: i64,
    pub content: &'a str,
    /// Whether the operator's watch is to see it.
    pub is_seen: bool,
}

impl Forgery<'_> {
    /// The hash of the content.
    pub fn hash(&self) -> String {
        Content { data: text(&[("config.json", self.content)]), ..Content::default() }.hash()
    }

    /// Creates it; returns its name.
    pub async fn create(&self, bench: &Bench) -> Result<String> {
        let uid = bench.get("web").await?.metadata.uid.context("no UID")?;
        let (hash, number) = (self.hash(), self.number.to_string());
        let name = revision::name("web", &self.artifact.parse()?, &hash);
        let mut labels = vec![(label::NAME, "web"), (label::OWNER_UID, &uid), (label::REVISION, &number)];
        let owner = json!([{"apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "name": "web", "uid": uid, "controller": true}]);
        if self.is_seen {
            labels.push((label::MANAGED_BY, MANAGER));
        }
        let forged = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(text(&labels)),
                annotations: Some(text(&[
                    (annotation::ARTIFACT_DIGEST, self.artifact),
                    (annotation::CONTENT_HASH, &hash),
                    (annotation::IMAGE, "r.example/web:v1"),
                    (annotation::IMAGE_DIGEST, self.image),
                    (annotation::APPLIED_AT, "2026-01-01T00:00:00Z"),
                ])),
                owner_references: if self.is_seen { None } else { Some(serde_json::from_value(owner)?) },
                ..ObjectMeta::default()
            },
            data: Some(text(&[("config.json", self.content)])),
            immutable: Some(true),
            ..ConfigMap::default()
        };
        bench.config_maps().create(&PostParams::default(), &forged).await?;
        Ok(name)
    }
}
