//! The bare requests: what the API server needs for the same writes when nothing is decided and no registry is asked.
//! Figures beside them mean something on a machine of another speed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ObjectReference};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use testbed::Cluster;
use tokio::time::Instant;

use super::SIDE_BY_SIDE;
use super::burst::{configs, manifest};
use super::images::{FILE, content};

/// How long the bare requests took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bare {
    pub(super) count: usize,
    /// Creating the resources.
    pub(super) created: Duration,
    /// A `ConfigMap` and a status for each.
    pub(super) least: Duration,
    /// Everything that the operator writes: revision, `ConfigMap`, status, event.
    pub(super) same: Duration,
}

/// One resource, made before.
#[derive(Clone)]
struct Made {
    client: Client,
    namespace: String,
    name: String,
    uid: String,
    number: usize,
}

pub(super) async fn measure(cluster: &Cluster, count: usize) -> Result<Bare> {
    let (created, made) = make(cluster, count).await?;
    let begun = Instant::now();
    each(&made, |made| async move {
        made.config_map("", false).await?;
        made.status(1).await
    })
    .await?;
    let least = begun.elapsed();
    remove(cluster, &made).await?;

    let (_, made) = make(cluster, count).await?;
    let begun = Instant::now();
    each(&made, |made| async move {
        made.config_map("-0123456789", true).await?;
        made.config_map("", false).await?;
        made.status(2).await?;
        made.event().await
    })
    .await?;
    let same = begun.elapsed();
    remove(cluster, &made).await?;
    Ok(Bare { count, created, least, same })
}

async fn make(cluster: &Cluster, count: usize) -> Result<(Duration, Vec<Made>)> {
    let (client, namespace) = (cluster.admin(), cluster.create_namespace("bare").await?);
    let begun = Instant::now();
    let making: Vec<_> = (0..count)
        .map(|number| {
            let api: Api<DynamicObject> = configs(client.clone(), &namespace);
            let (client, namespace) = (client.clone(), namespace.clone());
            async move {
                let object = serde_json::from_value(manifest(number, "registry.invalid/bare"))?;
                let made = api.create(&PostParams::default(), &object).await?;
                let uid = made.uid().context("a resource without UID")?;
                anyhow::Ok(Made { client, namespace, name: made.name_any(), uid, number })
            }
        })
        .collect();
    let made = stream::iter(making).buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
    Ok((begun.elapsed(), made))
}

async fn each<F: Future<Output = Result<()>>>(made: &[Made], work: impl Fn(Made) -> F) -> Result<()> {
    let all: Vec<_> = made.iter().cloned().map(work).collect();
    stream::iter(all).buffer_unordered(SIDE_BY_SIDE).try_collect().await
}

/// With everything in it, so that it does not weigh upon what is measured next.
async fn remove(cluster: &Cluster, made: &[Made]) -> Result<()> {
    let Some(namespace) = made.first().map(|made| made.namespace.clone()) else { return Ok(()) };
    let api: Api<Namespace> = Api::all(cluster.admin());
    api.delete(&namespace, &DeleteParams::default()).await?;
    testbed::eventually(format!("namespace {namespace} to go"), Duration::from_mins(10), || async {
        Ok(match api.get_opt(&namespace).await? {
            None => Ok(()),
            Some(_) => Err("it is there".to_owned()),
        })
    })
    .await
}

impl Made {
    fn labels(&self) -> BTreeMap<String, String> {
        [
            // Not the operator's value: its watch is not to see these.
            ("app.kubernetes.io/managed-by", "bare"),
            ("artifactconfig.dev/name", self.name.as_str()),
            ("artifactconfig.dev/owner-uid", self.uid.as_str()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// As large as what the operator writes, with as much metadata.
    async fn config_map(&self, suffix: &str, immutable: bool) -> Result<()> {
        let digest = format!("sha256:{:064x}", self.number);
        let annotations =
            ["artifact-digest", "image-digest", "content-hash", "image", "artifact-created", "revision"]
                .map(|name| (format!("artifactconfig.dev/{name}"), digest.clone()));
        let config_map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(format!("{}{suffix}", self.name)),
                labels: Some(self.labels()),
                annotations: Some(annotations.into()),
                owner_references: Some(vec![OwnerReference {
                    api_version: "artifactconfig.dev/v1alpha1".into(),
                    kind: "ArtifactConfig".into(),
                    name: self.name.clone(),
                    uid: self.uid.clone(),
                    controller: Some(true),
                    block_owner_deletion: None,
                }]),
                ..ObjectMeta::default()
            },
            data: Some([(FILE.to_owned(), content(self.number))].into()),
            immutable: immutable.then_some(true),
            ..ConfigMap::default()
        };
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        api.create(&PostParams::default(), &config_map).await?;
        Ok(())
    }

    async fn status(&self, revision: u32) -> Result<()> {
        let digest = format!("sha256:{:064x}", self.number);
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let status = json!({
            "observedGeneration": 1,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Synced", "observedGeneration": 1,
                "message": format!("config {digest} of {digest}"), "lastTransitionTime": now,
            }],
            "image": {"reference": "registry.invalid/bare", "digest": digest},
            "artifact": {"digest": digest, "shortDigest": "sha256:000000000000", "size": 1024},
            "target": {"name": self.name, "hash": digest},
            "history": [{
                "revision": revision, "artifact": digest, "image": digest, "imageReference": "registry.invalid/bare",
                "configMap": self.name, "hash": digest, "appliedAt": now, "outcome": "Applied",
            }],
        });
        let object = json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": self.name, "uid": self.uid}, "status": status,
        });
        let api = configs(self.client.clone(), &self.namespace);
        api.patch_status(&self.name, &PatchParams::apply("bare").force(), &Patch::Apply(object)).await?;
        Ok(())
    }

    async fn event(&self) -> Result<()> {
        let event = Event {
            metadata: ObjectMeta { name: Some(format!("{}.1", self.name)), ..ObjectMeta::default() },
            event_time: Some(MicroTime(Timestamp::now())),
            type_: Some("Normal".into()),
            reason: Some("Synced".into()),
            action: Some("Apply".into()),
            note: Some(format!("config {} applied", self.number)),
            reporting_controller: Some("artifactconfig.dev/controller".into()),
            reporting_instance: Some("bare".into()),
            regarding: Some(ObjectReference {
                api_version: Some("artifactconfig.dev/v1alpha1".into()),
                kind: Some("ArtifactConfig".into()),
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                uid: Some(self.uid.clone()),
                ..ObjectReference::default()
            }),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        api.create(&PostParams::default(), &event).await?;
        Ok(())
    }
}
