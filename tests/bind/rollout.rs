//! A real Deployment: a new image whose config comes later, both images side by side, and `kubectl rollout undo`.

use anyhow::{Context as _, Result, ensure};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::Cluster;

use crate::place::{Place, bound, config, image, status};
use crate::stage::{Shared, eventually, same};

crate::stage::cases! {
    Shared [an_undo_brings_back_the_image_with_its_config]
}

const V1: (&str, &str, &str) = ("r.example/web:v1", "sha256:1", "web-1");
const V2: (&str, &str, &str) = ("r.example/web:v2", "sha256:2", "web-2");

/// Nobody runs pods here. So the pods of the new image are never ready, and the rolling update stays where both run.
async fn an_undo_brings_back_the_image_with_its_config(shared: Shared) -> Result<()> {
    let place = Place::new(&shared).await?;
    let web = Web { cluster: &shared.cluster, place: &place };
    place.write(&config("web", "web", &[V1])).await?;
    place.are_writes_seen().await?;
    web.kubectl_apply(&deployment()).await?;
    web.runs(&[V1, V1]).await?;
    web.all_are_ready().await?;
    let template = web.template().await?;

    web.kubectl(&["set", "image", "deployment/web", &format!("web={}", V2.0)]).await?;
    web.is_refused("no config is known yet for image 'r.example/web:v2' of container 'web'").await?;
    web.runs(&[V1, V1]).await?;

    place.set_status("web", &status("web", &[V2, V1])).await?;
    place.are_writes_seen().await?;
    let woken = format!("{}=1", api::annotation::woken("web"));
    web.kubectl(&["annotate", "deployment/web", &woken]).await?;
    web.runs(&[V1, V1, V2]).await?;

    web.kubectl(&["rollout", "undo", "deployment/web"]).await?;
    web.runs(&[V1, V1]).await?;
    same("template", web.template().await?, template)?;

    // The pods that a scale-up adds are bound without anything of ours, because nothing of ours runs here.
    web.kubectl(&["scale", "deployment/web", "--replicas=4"]).await?;
    web.runs(&[V1, V1, V1, V1]).await
}

struct Web<'a> {
    cluster: &'a Cluster,
    place: &'a Place,
}

impl Web<'_> {
    async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let args = [args, &["--namespace", &self.place.namespace]].concat();
        Ok(self.cluster.kubectl(&args).await?.ok("kubectl")?.stdout)
    }

    async fn kubectl_apply(&self, object: &Value) -> Result<()> {
        let args = ["apply", "-f", "-", "--namespace", &self.place.namespace];
        self.cluster.kubectl_with_stdin(&args, &object.to_string()).await?.ok("kubectl apply")?;
        Ok(())
    }

    async fn deployment(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&["get", "deployment/web", "-o=json"]).await?)?)
    }

    async fn template(&self) -> Result<Value> {
        Ok(self.deployment().await?["spec"]["template"].clone())
    }

    /// Says of all pods what a kubelet would say.
    async fn all_are_ready(&self) -> Result<()> {
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let ready = json!({"status": {"phase": "Running", "conditions": [ready]}});
        for pod in self.pods().await? {
            let name = pod["metadata"]["name"].as_str().context("no name")?;
            self.place.pods().patch_status(name, &PatchParams::default(), &Patch::Merge(&ready)).await?;
        }
        Ok(())
    }

    /// The pods that are not being deleted.
    async fn pods(&self) -> Result<Vec<Value>> {
        let pods = self.place.pods().list(&ListParams::default().labels("app=web")).await?.items;
        let left = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(left.map(serde_json::to_value).collect::<serde_json::Result<_>>()?)
    }

    /// Waits until the Deployment repeats the message of the refusal.
    async fn is_refused(&self, message: &str) -> Result<()> {
        eventually("the refusal to be in the status", || async {
            let conditions = self.deployment().await?["status"]["conditions"].to_string();
            Ok(if conditions.contains(message) { Ok(()) } else { Err(conditions) })
        })
        .await
    }

    /// Waits until pods of just these images run, each with its config in every place.
    async fn runs(&self, expected: &[(&str, &str, &str)]) -> Result<()> {
        eventually("the pods", || async {
            let mut images = Vec::new();
            for pod in self.pods().await? {
                let image = image(&pod).as_str().context("no image")?.to_owned();
                let of = |(name, digest, _): &&(&str, &str, &str)| image == format!("{name}@{digest}");
                let (.., revision) = [V1, V2].iter().find(of).with_context(|| image.clone())?;
                has_in_every_place(&pod, revision)?;
                images.push(image);
            }
            images.sort();
            let expected: Vec<_> =
                expected.iter().map(|(name, digest, _)| format!("{name}@{digest}")).collect();
            Ok(if images == expected { Ok(()) } else { Err(format!("{images:?}")) })
        })
        .await
    }
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web", "artifactconfig.dev/bind": "require"}},
                "spec": {
                    "containers": [{
                        "name": "web",
                        "image": V1.0,
                        "envFrom": [{"configMapRef": {"name": "web"}}],
                        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "web", "key": "a"}}}],
                    }],
                    "volumes": [
                        {"name": "plain", "configMap": {"name": "web"}},
                        {"name": "projected", "projected": {"sources": [{"configMap": {"name": "web"}}]}},
                    ],
                },
            },
        },
    })
}

fn has_in_every_place(pod: &Value, revision: &str) -> Result<()> {
    let mut names = std::collections::BTreeSet::new();
    decide::usage::config_maps_named_in(&pod["spec"], &mut names);
    ensure!(names.iter().eq([revision]), "the pod names {names:?}, should name {revision}");
    same("bound", bound(pod, "web"), Some(revision))
}
