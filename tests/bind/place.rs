//! A namespace with resources whose status the test writes, and pods that are sent to it.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use api::ArtifactConfig;
use decide::bind::bound_key;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};
use testbed::Cluster;
use tokio::sync::OnceCell;

use crate::stage::{Shared, eventually};

/// The committed policies, as `kubectl apply` takes them.
pub const POLICIES: &str = "deploy/bind/policies.yaml";

/// The policies of the shared cluster are applied once.
static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// Makes each wait for the last write a new one.
static WAITS: AtomicU64 = AtomicU64::new(0);

/// A namespace.
#[derive(Clone)]
pub struct Place {
    pub client: Client,
    pub namespace: String,
}

/// A pod as it was admitted, or the message of the refusal.
pub type Answer = Result<Value, String>;

impl Place {
    /// A namespace of the shared cluster, in which the policies work.
    pub async fn new(shared: &Shared) -> Result<Self> {
        let install = || async {
            shared.cluster.apply_file(&shared.tools.manifests.path(POLICIES)).await?;
            Self::of(&shared.cluster).await?.are_policies_seen().await
        };
        INSTALLED.get_or_try_init(install).await?;
        Self::of(&shared.cluster).await
    }

    /// A namespace of a cluster.
    pub async fn of(cluster: &Cluster) -> Result<Self> {
        Ok(Self { client: cluster.admin(), namespace: cluster.create_namespace("bind").await? })
    }

    fn configs(&self) -> Api<DynamicObject> {
        self.objects(&ApiResource::erase::<ArtifactConfig>(&()))
    }

    pub fn pods(&self) -> Api<DynamicObject> {
        self.objects(&ApiResource::erase::<Pod>(&()))
    }

    /// Objects as they are in JSON, where null and a missing field differ.
    fn objects(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, resource)
    }

    /// Creates a resource and its status.
    pub async fn write(&self, config: &Value) -> Result<()> {
        let mut sent: DynamicObject = serde_json::from_value(config.clone())?;
        sent.metadata.namespace = Some(self.namespace.clone());
        let name = sent.metadata.name.clone().context("no name")?;
        self.configs().create(&PostParams::default(), &sent).await?;
        if config["status"].is_null() { Ok(()) } else { self.set_status(&name, &config["status"]).await }
    }

    /// Applies the status, as the operator does.
    pub async fn set_status(&self, name: &str, status: &Value) -> Result<()> {
        let applied = json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig", "metadata": {"name": name}, "status": status,
        });
        let params = PatchParams::apply(api::STATUS_FIELD_MANAGER).force();
        self.configs().patch_status(name, &params, &Patch::Apply(applied)).await?;
        Ok(())
    }

    /// Sends a pod without creating it.
    pub async fn try_pod(&self, pod: &Value) -> Result<Answer> {
        self.send(pod, true).await
    }

    /// Sends a pod.
    pub async fn send(&self, pod: &Value, dry_run: bool) -> Result<Answer> {
        let params = PostParams { dry_run, ..PostParams::default() };
        let object: DynamicObject = serde_json::from_value(pod.clone())?;
        match self.pods().create(&params, &object).await {
            Ok(admitted) => Ok(Ok(serde_json::to_value(admitted)?)),
            Err(kube::Error::Api(status)) => Ok(Err(status.message.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until admission knows everything that was written before. Writes of one kind arrive in their order, so a
    /// resource that is written now arrives last.
    pub async fn are_writes_seen(&self) -> Result<()> {
        let name = format!("last{}", WAITS.fetch_add(1, Ordering::Relaxed));
        self.write(&config(&name, "web", &[("r.example/last:v1", "sha256:last", "last-1")])).await?;
        let pod = pod("require", "r.example/last:v1", &name);
        eventually("the last resource to be seen", || async {
            Ok(match self.try_pod(&pod).await? {
                Ok(admitted) if bound(&admitted, &name) == Some("last-1") => Ok(()),
                other => Err(format!("{other:?}")),
            })
        })
        .await
    }

    /// Waits until both policies work.
    pub async fn are_policies_seen(&self) -> Result<()> {
        self.write(&config("unknown", "web", &[])).await?;
        self.are_writes_seen().await?;
        let pod = pod("require", "r.example/web:v1", "unknown");
        eventually("pods to be refused", || async {
            Ok(self.try_pod(&pod).await?.err().ok_or_else(|| "the pod is admitted".to_owned()).map(drop))
        })
        .await
    }
}

/// A resource that follows the container `web`, and its bindings: image, digest, revision.
pub fn config(name: &str, container: &str, bindings: &[(&str, &str, &str)]) -> Value {
    json!({
        "apiVersion": "artifactconfig.dev/v1alpha1",
        "kind": "ArtifactConfig",
        "metadata": {"name": name},
        "spec": {"artifactType": "custom/config", "workloadRef": {"kind": "Deployment", "name": "web"}},
        "status": status(container, bindings),
    })
}

/// A status with these bindings: image, digest, revision.
pub fn status(container: &str, bindings: &[(&str, &str, &str)]) -> Value {
    let binding = |(image, digest, revision): &(&str, &str, &str)| {
        json!({
            "image": image,
            "digest": digest,
            "container": container,
            "pinned": format!("{image}@{digest}"),
            "artifact": "sha256:a",
            "configMap": revision,
        })
    };
    json!({"bindings": bindings.iter().map(binding).collect::<Vec<_>>()})
}

/// A pod with a container `web` and a volume with that target.
pub fn pod(bind: &str, image: &str, target: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "web-", "labels": {"artifactconfig.dev/bind": bind}},
        "spec": {
            "containers": [{"name": "web", "image": image}],
            "volumes": [{"name": "config", "configMap": {"name": target}}],
        },
    })
}

/// The revision that a pod was bound to, by its annotation.
pub fn bound<'a>(pod: &'a Value, config: &str) -> Option<&'a str> {
    pod["metadata"]["annotations"][bound_key(config)].as_str()
}

/// The `ConfigMap` of the first volume.
pub fn mounted(pod: &Value) -> &Value {
    &pod["spec"]["volumes"][0]["configMap"]["name"]
}

/// The image of the first container.
pub fn image(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]["image"]
}

/// Checks that a pod has the config and the digest of its image, in every part.
pub fn is_whole(pod: &Value, config: &str, pinned: &str, revision: &str) -> Result<()> {
    let seen = (bound(pod, config), image(pod).as_str(), mounted(pod).as_str());
    ensure!(
        seen == (Some(revision), Some(pinned), Some(revision)),
        "the pod has {seen:?}, should have {pinned} and {revision}"
    );
    Ok(())
}
