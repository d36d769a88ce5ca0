//! Deployments: roll out, undo, scale.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::Cluster;

use crate::manifests::{apply, config_map, template, workload};
use crate::world::{calm, container, is_ready, node, pods, ran, until};

const V1: &str = "r.example:5000/shop/web:v1";
const V2: &str = "r.example:5000/shop/web:v2";

/// Two configs, and `web` with the first.
async fn web(cluster: &Cluster, namespace: &str, replicas: u32) -> Result<()> {
    let objects = [
        config_map("web-1", &json!({"greeting": "hello"})),
        config_map("web-2", &json!({"greeting": "hi"})),
        workload("Deployment", "web", replicas, &template("web", V1, "web-1")),
    ];
    apply(cluster, namespace, &objects).await?;
    cluster.rollout_status(namespace, "deployment/web").await
}

#[test]
fn a_deployment_rolls_out_on_three_nodes() -> Result<()> {
    calm(async |cluster, namespace| {
        let digest = format!("sha256:{}", "1".repeat(64));
        cluster.player()?.set_digest(V1, &digest);
        web(cluster, namespace, 6).await?;
        let pods =
            until(cluster, namespace, "web", |pods| pods.iter().filter(|pod| is_ready(pod)).count() == 6)
                .await?;
        let nodes: BTreeSet<_> = pods.iter().map(node).collect();
        ensure!(nodes.len() == 3, "{nodes:?}");
        for pod in &pods {
            let id = container(pod).map(|container| container.image_id.as_str());
            ensure!(id == Some(&format!("r.example:5000/shop/web@{digest}")), "{id:?}");
        }
        ensure!(ran(cluster, namespace, "web").await? == [["web-1"]]);
        Ok(())
    })
}

#[test]
fn undo_brings_back_the_image_and_its_config() -> Result<()> {
    calm(async |cluster, namespace| {
        web(cluster, namespace, 3).await?;
        let newer = workload("Deployment", "web", 3, &template("web", V2, "web-2"));
        apply(cluster, namespace, &[newer]).await?;
        cluster.rollout_status(namespace, "deployment/web").await?;
        ensure!(ran(cluster, namespace, "web").await? == [["web-2"]]);

        cluster.rollout_undo(namespace, "deployment/web").await?;
        cluster.rollout_status(namespace, "deployment/web").await?;
        ensure!(ran(cluster, namespace, "web").await? == [["web-1"]]);
        let images: BTreeSet<_> = pods(cluster, namespace, "web")
            .await?
            .iter()
            .filter_map(|pod| Some(container(pod)?.image.clone()))
            .collect();
        ensure!(images == BTreeSet::from([V1.to_owned()]), "{images:?}");
        Ok(())
    })
}

#[test]
fn a_deployment_is_scaled_up_and_down() -> Result<()> {
    calm(async |cluster, namespace| {
        web(cluster, namespace, 1).await?;
        for replicas in [40, 0, 2] {
            cluster.scale(namespace, "deployment/web", replicas).await?;
            let wanted = replicas as usize;
            until(cluster, namespace, "web", |pods| pods.len() == wanted && pods.iter().all(is_ready))
                .await?;
        }
        Ok(())
    })
}

#[test]
fn recreate_starts_no_pod_before_the_old_ones_are_gone() -> Result<()> {
    calm(async |cluster, namespace| {
        let mut old = workload("Deployment", "web", 2, &template("web", V1, "web-1"));
        old["spec"]["strategy"] = json!({"type": "Recreate"});
        let maps = ["web-1", "web-2"].map(|name| config_map(name, &json!({"name": name})));
        apply(cluster, namespace, &maps).await?;
        apply(cluster, namespace, &[old.clone()]).await?;
        cluster.rollout_status(namespace, "deployment/web").await?;
        old["spec"]["template"] = template("web", V2, "web-2");
        apply(cluster, namespace, &[old]).await?;
        cluster.rollout_status(namespace, "deployment/web").await?;

        let starts = cluster.player()?.all_starts();
        let maps: Vec<_> = starts
            .iter()
            .filter(|start| start.namespace == namespace)
            .flat_map(|start| start.config_maps.iter().map(|given| given.config_map.as_str()))
            .collect();
        ensure!(maps == ["web-1", "web-1", "web-2", "web-2"], "{maps:?}");
        Ok(())
    })
}
