//! The steps.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use testbed::{Manifests, OperatorProcess};

use super::Stage;
use super::attach::{ORAS_CLOCK, V1, V2, attach};
use super::look::{NAMESPACE, get, holds, ready, show, wait_for};
use super::narrator::{Narrator, seconds};
use super::night;
use super::undo;
use crate::world::{World, sample};

/// How many there are.
pub(super) const COUNT: u32 = 9 + night::COUNT + undo::COUNT;

/// Nodes for the pods of the last steps.
const NODES: usize = 2;

/// Values of the chart that are off by default.
const VALUES: [&str; 2] = ["workloads.enabled=true", "bind.enabled=true"];

const BY_HAND: &str = r#"{"data":{"config.json":"edited by hand"}}"#;

pub(super) async fn cluster_and_registry(narrator: &mut Narrator, manifests: &Manifests) -> Result<World> {
    narrator.step(
        "A cluster and a registry",
        "etcd, kube-apiserver, kube-controller-manager and kube-scheduler on 127.0.0.1, an OCI registry, and two nodes
         whose pods are played: they start and report, but no container runs. The programs are built on first use, which takes minutes; after that it is seconds.",
    );
    let started = Instant::now();
    let world = World::start(vec![manifests.crd()], NODES).await?;
    world.cluster.kubectl(&["create", "namespace", NAMESPACE]).await?.ok("kubectl create namespace")?;
    show(narrator, &world.cluster, &["version"]).await?;
    narrator.seen(&format!(
        "ready after {}; the registry is {}",
        seconds(started.elapsed()),
        world.registry.host()
    ));
    Ok(world)
}

pub(super) async fn operator(
    narrator: &mut Narrator,
    world: &World,
    binary: &Path,
    manifests: &Manifests,
) -> Result<OperatorProcess> {
    narrator.step(
        "The operator",
        "The chart brings the custom resource, RBAC, a Deployment, and by choice the policies that bind pods. No container
         runs here, so the operator runs as a process, with its ServiceAccount's token: what its ClusterRole does not allow, it cannot do.",
    );
    narrator.command(&format!(
        "helm install artifactconfig charts/artifactconfig --namespace artifactconfig-system --set {}",
        VALUES.join(",")
    ));
    let operator = world.start_operator(binary, manifests, &VALUES).await?;
    narrator.command(&format!("artifactconfig controller --health-address {}", operator.health_address()));
    narrator.seen("/readyz answers 200");
    Ok(operator)
}

pub(super) async fn story(stage: &mut Stage) -> Result<()> {
    let image = format!("{}/testimage:v1", stage.world.registry.host());
    let (image_digest, first, attached_at) = attach_first(stage, &image).await?;
    apply(stage, &image_digest, &first).await?;
    tokio::time::sleep_until((attached_at + ORAS_CLOCK).into()).await;
    attach_second(stage, &image).await?;
    edit_by_hand(stage).await?;
    registry_down(stage).await?;
    registry_up(stage).await?;
    night::story(stage, &image).await?;
    undo::story(stage).await
}

/// Steps 3 and 4. Returns the digests of image and config, and when the config was attached.
async fn attach_first(stage: &mut Stage, image: &str) -> Result<(String, String, Instant)> {
    stage.narrator.step("An image", "Any image will do: the config does not become part of it.");
    let image_digest = stage.world.oras.push_image(image).await?;
    stage.narrator.seen(&format!("pushed {image}@{image_digest}"));

    stage.narrator.step(
        "A config is attached to it",
        "The registry keeps it as an artifact that refers to the image's digest (an OCI referrer).",
    );
    let digest = attach(stage, image, V1).await?;
    stage.narrator.seen(&format!("attached as {digest}"));
    Ok((image_digest, digest, Instant::now()))
}

async fn apply(stage: &mut Stage, image_digest: &str, digest: &str) -> Result<()> {
    stage.narrator.step(
        "An ArtifactConfig",
        "It names the image and the artifact type; the config becomes a ConfigMap.",
    );
    let cluster = &stage.world.cluster;
    let yaml = sample(&stage.world.registry.host(), NAMESPACE);
    stage.narrator.command("kubectl apply -f - <<EOF");
    stage.narrator.output(&yaml);
    stage.narrator.output("EOF");
    cluster.apply(&yaml).await?;
    let took = wait_for(cluster, "configmap", "web", holds("config.json", V1)).await?;
    wait_for(cluster, "artifactconfig", "web", ready("True", None)).await?;
    show(&stage.narrator, cluster, &["get", "acfg"]).await?;
    show(&stage.narrator, cluster, &["get", "configmap", "web", "-o", "yaml"]).await?;
    stage.narrator.seen(&format!("the ConfigMap has the attached bytes, {} after apply", seconds(took)));
    let object = get(cluster, "artifactconfig", "web").await?.context("the ArtifactConfig is gone")?;
    let (artifact, image) = (&object["status"]["artifact"]["digest"], &object["status"]["image"]["digest"]);
    ensure!(artifact == digest, "status.artifact.digest is {artifact}, not {digest}");
    ensure!(image == image_digest, "status.image.digest is {image}, not {image_digest}");
    stage.narrator.seen("its status names the digests of image and config");
    Ok(())
}

async fn attach_second(stage: &mut Stage, image: &str) -> Result<()> {
    stage.narrator.step(
        "A newer config is attached",
        "Same image, same tag. The operator looks every interval (here 1m); the annotation asks it to look now.",
    );
    let digest = attach(stage, image, V2).await?;
    request_sync(stage).await?;
    let cluster = &stage.world.cluster;
    let took = wait_for(cluster, "configmap", "web", holds("config.json", V2)).await?;
    wait_for(cluster, "artifactconfig", "web", |object| {
        let found = &object["status"]["artifact"]["digest"];
        if found == digest.as_str() { Ok(()) } else { Err(format!("its status still names {found}")) }
    })
    .await?;
    show(&stage.narrator, cluster, &["get", "configmap", "web", "-o", r"jsonpath={.data.config\.json}"])
        .await?;
    stage
        .narrator
        .seen(&format!("the ConfigMap changed {} after the request, and the status with it", seconds(took)));
    Ok(())
}

async fn edit_by_hand(stage: &mut Stage) -> Result<()> {
    stage.narrator.step(
        "Somebody edits the ConfigMap by hand",
        "What is attached to the image counts; the edit is undone.",
    );
    let cluster = &stage.world.cluster;
    let version = |object: &serde_json::Value| object["metadata"]["resourceVersion"].clone();
    let before = get(cluster, "configmap", "web").await?.as_ref().map(version);
    show(&stage.narrator, cluster, &["patch", "configmap", "web", "--type=merge", "-p", BY_HAND]).await?;
    let took = wait_for(cluster, "configmap", "web", |object| {
        // The same content under the same version would be an edit that never happened.
        if Some(version(object)) == before {
            Err("it was not edited".to_owned())
        } else {
            holds("config.json", V2)(object)
        }
    })
    .await?;
    show(&stage.narrator, cluster, &["get", "configmap", "web", "-o", r"jsonpath={.data.config\.json}"])
        .await?;
    stage.narrator.seen(&format!("repaired within {}", seconds(took)));
    Ok(())
}

async fn registry_down(stage: &mut Stage) -> Result<()> {
    stage.narrator.step(
        "The registry goes down",
        "That the registry does not answer does not mean that nothing is attached.",
    );
    stage.world.registry.stop().await;
    stage.narrator.seen(&format!("{} refuses connections", stage.world.registry.host()));
    request_sync(stage).await?;
    let cluster = &stage.world.cluster;
    wait_for(cluster, "artifactconfig", "web", ready("False", Some("RegistryUnavailable"))).await?;
    show(&stage.narrator, cluster, &["get", "acfg"]).await?;
    let message = r#"jsonpath={.status.conditions[?(@.type=="Ready")].message}"#;
    show(&stage.narrator, cluster, &["get", "acfg", "web", "-o", message]).await?;
    let kept = get(cluster, "configmap", "web").await?.context("the ConfigMap is gone")?;
    holds("config.json", V2)(&kept).map_err(anyhow::Error::msg)?;
    stage.narrator.seen("Ready says why, and the ConfigMap still has the last good config");
    Ok(())
}

async fn registry_up(stage: &mut Stage) -> Result<()> {
    stage.narrator.step("The registry comes back", "Nothing has to be done by hand.");
    stage.world.registry.restart().await?;
    request_sync(stage).await?;
    let took = wait_for(&stage.world.cluster, "artifactconfig", "web", ready("True", None)).await?;
    show(&stage.narrator, &stage.world.cluster, &["get", "acfg"]).await?;
    stage.narrator.seen(&format!("Ready again after {}", seconds(took)));
    Ok(())
}

async fn request_sync(stage: &Stage) -> Result<()> {
    let annotation = format!("artifactconfig.dev/requestedAt={}", jiff::Timestamp::now());
    show(&stage.narrator, &stage.world.cluster, &["annotate", "--overwrite", "acfg", "web", &annotation])
        .await
}
