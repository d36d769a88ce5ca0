//! A workload `web`, its images and configs, and its pods.

use std::collections::BTreeMap;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use api::Binding;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::support::{Bench, World, eventually};

/// An image in the registry, and the config that is attached to it.
pub struct Release {
    pub image: String,
    pub digest: String,
}

/// Pushes an image with a config whose `config.json` is `content`.
pub async fn release(bench: &Bench, tag: &str, content: &str) -> Result<Release> {
    release_at(bench, &bench.image(&format!("web:{tag}")), content).await
}

/// The same for an image of any registry.
pub async fn release_at(bench: &Bench, image: &str, content: &str) -> Result<Release> {
    let digest = bench.push(image).await?;
    bench.attach_at(image, 1, &[("config.json", content)]).await?;
    Ok(Release { image: image.to_owned(), digest })
}

/// Runs the program in the namespace of the test; returns its output, and its notes.
pub async fn types(bench: &Bench, args: &[&str]) -> Result<(String, String)> {
    let mut command = tokio::process::Command::new(World::binary());
    command.args(args).args(["-n", &bench.namespace]).env("KUBECONFIG", bench.world.cluster.kubeconfig());
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "{args:?}: {stdout}{stderr}");
    Ok((stdout, stderr))
}

/// A pod template whose container `web` mounts ConfigMap `web`.
pub fn template(image: &str, bind: Option<&str>) -> Value {
    let mut labels = json!({"app": "web"});
    if let Some(bind) = bind {
        labels["artifactconfig.dev/bind"] = json!(bind);
    }
    json!({
        "metadata": {"labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "web", "image": image,
                "volumeMounts": [{"name": "config", "mountPath": "/etc/web"}],
            }],
            "volumes": [{"name": "config", "configMap": {"name": "web"}}],
        },
    })
}

/// Applies a workload of `apps/v1` or `batch/v1` as `kubectl apply --server-side` does.
pub async fn apply(bench: &Bench, kind: &str, spec: Value) -> Result<DynamicObject> {
    let object =
        json!({"apiVersion": version(kind), "kind": kind, "metadata": {"name": "web"}, "spec": spec});
    let parameters = PatchParams::apply("kubectl").force();
    Ok(workloads(bench, kind).patch("web", &parameters, &Patch::Apply(object)).await?)
}

/// Applies a Deployment.
pub async fn deploy(bench: &Bench, image: &str, bind: Option<&str>, replicas: u32) -> Result<DynamicObject> {
    let spec = json!({
        "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(image, bind),
    });
    apply(bench, "Deployment", spec).await
}

pub fn workloads(bench: &Bench, kind: &str) -> Api<DynamicObject> {
    let (group, version) = version(kind).split_once('/').unwrap_or(("", "v1"));
    let plural = format!("{}s", kind.to_lowercase());
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural);
    Api::namespaced_with(bench.world.cluster.admin(), &bench.namespace, &resource)
}

fn version(kind: &str) -> &'static str {
    match kind {
        "Job" | "CronJob" => "batch/v1",
        "Rollout" => "argoproj.io/v1alpha1",
        _ => "apps/v1",
    }
}

/// An `ArtifactConfig` `web` that follows a workload `web`.
pub async fn follow(bench: &Bench, kind: &str) -> Result<()> {
    bench.apply("web", json!({"workloadRef": {"kind": kind, "name": "web"}})).await?;
    Ok(())
}

/// The bindings of `web`.
pub async fn bindings(bench: &Bench) -> Result<Vec<Binding>> {
    Ok(bench.get("web").await?.status.unwrap_or_default().bindings)
}

/// Waits until an image has a binding; returns its revision.
pub async fn bound(bench: &Bench, image: &str) -> Result<Binding> {
    eventually(format!("a binding of {image}"), || async {
        let all = bindings(bench).await?;
        let found = all.iter().find(|binding| binding.image == image).cloned();
        Ok(found.ok_or_else(|| format!("there are {all:?}")))
    })
    .await
}

/// What a pod runs with: the image of its container, and the text that its config had at the start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Runs {
    pub image: String,
    pub config_map: String,
}

/// What each ready pod runs with, by name.
pub async fn running(bench: &Bench) -> Result<BTreeMap<String, Runs>> {
    let player = bench.world.cluster.player()?;
    let pods: Api<Pod> = Api::namespaced(bench.world.cluster.admin(), &bench.namespace);
    let mut running = BTreeMap::new();
    for pod in pods.list(&ListParams::default()).await? {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let is_ready =
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        if !is_ready || pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let name = pod.name_any();
        let spec = pod.spec.context("a pod has a spec")?;
        let image = spec.containers[0].image.clone().unwrap_or_default();
        let config_map = player.ran(&bench.namespace, &name).join(",");
        running.insert(name, Runs { image, config_map });
    }
    Ok(running)
}

/// Waits until exactly so many pods are ready and each of them runs with this.
pub async fn all_run(bench: &Bench, pods: usize, expected: &Runs) -> Result<()> {
    eventually(format!("{pods} pods with {expected:?}"), || async {
        let running = running(bench).await?;
        let is_there = running.len() == pods && running.values().all(|runs| runs == expected);
        Ok(if is_there { Ok(()) } else { Err(format!("{running:?}")) })
    })
    .await
}

/// What a bound pod of a release runs with.
pub async fn own(bench: &Bench, release: &Release) -> Result<Runs> {
    let binding = bound(bench, &release.image).await?;
    let image = format!("{}@{}", release.image, release.digest);
    Ok(Runs { image, config_map: binding.config_map })
}
