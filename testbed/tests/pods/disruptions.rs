//! Nodes that are drained, API servers that are restarted, and two of them.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;
use testbed::{Cluster, ImageId, eventually};

use crate::manifests::{apply, config_map, template, workload};
use crate::world::{LIMIT, container, is_ready, node, pods, ran, rough, until};

const IMAGE: &str = "r.example/shop/web:v1";

async fn web(cluster: &Cluster, namespace: &str, replicas: u32) -> Result<()> {
    let web = workload("Deployment", "web", replicas, &template("web", IMAGE, "web"));
    apply(cluster, namespace, &[config_map("web", &json!({})), web]).await?;
    cluster.rollout_status(namespace, "deployment/web").await
}

#[test]
fn a_drain_moves_pods() -> Result<()> {
    rough(async |cluster, namespace| {
        web(cluster, namespace, 6).await?;
        let before = pods(cluster, namespace, "web").await?;
        let left = node(&before[0]).to_owned();
        cluster.drain(&left).await?;
        let wanted =
            |pods: &[Pod]| pods.len() == 6 && pods.iter().all(|pod| is_ready(pod) && node(pod) != left);
        let after = until(cluster, namespace, "web", wanted).await?;
        cluster.uncordon(&left).await?;
        let uids = |pods: &[Pod]| pods.iter().map(|pod| pod.metadata.uid.clone()).collect::<BTreeSet<_>>();
        ensure!(uids(&before) != uids(&after));
        ensure!(ran(cluster, namespace, "web").await? == [["web"]]);
        Ok(())
    })
}

#[test]
fn a_restart_of_the_api_server_is_survived() -> Result<()> {
    rough(async |cluster, namespace| {
        web(cluster, namespace, 2).await?;
        let uids = |pods: &[Pod]| pods.iter().map(|pod| pod.metadata.uid.clone()).collect::<BTreeSet<_>>();
        let before = uids(&pods(cluster, namespace, "web").await?);
        cluster.restart_api_server().await?;
        cluster.scale(namespace, "deployment/web", 4).await?;
        let after =
            until(cluster, namespace, "web", |pods| pods.len() == 4 && pods.iter().all(is_ready)).await?;
        ensure!(before.is_subset(&uids(&after)), "pods that ran still run");
        Ok(())
    })
}

#[test]
fn a_second_api_server_has_the_same_objects() -> Result<()> {
    rough(async |cluster, namespace| {
        let second = cluster.second()?;
        web(cluster, namespace, 1).await?;
        let of_second: Api<Pod> = Api::namespaced(second.admin(), namespace);
        let seen = || async {
            let pods = of_second.list(&kube::api::ListParams::default()).await;
            Ok(match pods {
                Ok(pods) if pods.iter().any(is_ready) => Ok(()),
                other => Err(format!("{other:?}")),
            })
        };
        eventually("the pod at the second API server", LIMIT, seen).await?;
        cluster.stop_api_server().await?;
        ensure!(of_second.list(&kube::api::ListParams::default()).await?.items.len() == 1);
        cluster.start_api_server().await?;
        second.restart().await?;
        eventually("the pod after its restart", LIMIT, seen).await
    })
}

#[test]
fn image_ids_have_the_form_of_the_runtime() -> Result<()> {
    // For the whole cluster, so not beside tests that read them.
    rough(async |cluster, namespace| {
        cluster.player()?.set_image_id(ImageId::Config);
        let rolled_out = web(cluster, namespace, 1).await;
        cluster.player()?.set_image_id(ImageId::Repository);
        rolled_out?;
        let pods = pods(cluster, namespace, "web").await?;
        let id = container(&pods[0]).map(|container| container.image_id.clone());
        ensure!(id.as_ref().is_some_and(|id| id.starts_with("sha256:")), "{id:?}");
        Ok(())
    })
}
