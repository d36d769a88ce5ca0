//! Pods that wait, crash, and cannot start.

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::Fate;

use crate::manifests::{apply, config_map, pod, template, workload};
use crate::world::{calm, container, is_ready, phase, until, waits};

const IMAGE: &str = "r.example/shop/web:v1";

#[test]
fn a_pod_waits_for_its_config_map_and_starts_when_it_comes() -> Result<()> {
    calm(async |cluster, namespace| {
        apply(cluster, namespace, &[pod("web", &template("web", IMAGE, "web"))]).await?;
        until(cluster, namespace, "web", |pods| {
            pods.iter().any(|pod| waits(pod) == Some("ContainerCreating") && phase(pod) == "Pending")
        })
        .await?;
        ensure!(cluster.player()?.ran(namespace, "web").is_empty());
        apply(cluster, namespace, &[config_map("web", &json!({"greeting": "hello"}))]).await?;
        until(cluster, namespace, "web", |pods| pods.iter().any(is_ready)).await?;
        ensure!(cluster.player()?.ran(namespace, "web") == ["web"]);
        Ok(())
    })
}

#[test]
fn a_container_waits_for_the_key_that_its_environment_names() -> Result<()> {
    calm(async |cluster, namespace| {
        let mut template = template("web", IMAGE, "web");
        let from = json!({"configMapKeyRef": {"name": "web", "key": "mode"}});
        template["spec"]["containers"][0]["env"] = json!([{"name": "MODE", "valueFrom": from}]);
        let map = config_map("web", &json!({"greeting": "hello"}));
        apply(cluster, namespace, &[map, pod("web", &template)]).await?;
        let pods = until(cluster, namespace, "web", |pods| {
            pods.iter().any(|pod| waits(pod) == Some("CreateContainerConfigError"))
        })
        .await?;
        let message = format!("{:?}", container(&pods[0]));
        ensure!(message.contains("couldn't find key mode"), "{message}");
        apply(cluster, namespace, &[config_map("web", &json!({"mode": "dark"}))]).await?;
        until(cluster, namespace, "web", |pods| pods.iter().any(is_ready)).await?;
        Ok(())
    })
}

#[test]
fn a_crash_loop_is_reported_and_ends_with_a_better_config() -> Result<()> {
    calm(async |cluster, namespace| {
        let bad = config_map("web", &json!({"crash": "7"}));
        let web = workload("Deployment", "web", 1, &template("web", IMAGE, "web"));
        apply(cluster, namespace, &[bad, web]).await?;
        let crashed = until(cluster, namespace, "web", |pods| {
            let restarts = pods.iter().filter_map(container).map(|container| container.restart_count).max();
            restarts >= Some(3) && pods.iter().all(|pod| waits(pod) == Some("CrashLoopBackOff"))
        })
        .await?;
        ensure!(crashed.len() == 1 && phase(&crashed[0]) == "Running" && !is_ready(&crashed[0]));
        let last = container(&crashed[0]).and_then(|container| container.last_state.clone()?.terminated);
        ensure!(last.as_ref().is_some_and(|last| last.exit_code == 7), "{last:?}");

        apply(cluster, namespace, &[config_map("web", &json!({"greeting": "hello"}))]).await?;
        let pods = until(cluster, namespace, "web", |pods| pods.iter().any(is_ready)).await?;
        ensure!(pods[0].metadata.uid == crashed[0].metadata.uid, "the pod is the same");
        Ok(())
    })
}

#[test]
fn an_image_that_no_registry_has_is_not_pulled() -> Result<()> {
    calm(async |cluster, namespace| {
        let image = "r.example/shop/missing:v1";
        cluster.player()?.set_fate(image, Fate::Missing);
        let map = config_map("web", &json!({}));
        apply(cluster, namespace, &[map, pod("web", &template("web", image, "web"))]).await?;
        until(cluster, namespace, "web", |pods| {
            pods.iter().any(|pod| waits(pod) == Some("ImagePullBackOff"))
        })
        .await?;
        cluster.player()?.set_fate(image, Fate::Runs);
        until(cluster, namespace, "web", |pods| pods.iter().any(is_ready)).await?;
        Ok(())
    })
}

#[test]
fn equal_content_has_an_equal_hash() -> Result<()> {
    calm(async |cluster, namespace| {
        let maps = [("a", "1"), ("b", "1"), ("c", "2")]
            .map(|(name, value)| config_map(name, &json!({"key": value})));
        let pods = ["a", "b", "c"].map(|name| pod(name, &template(name, IMAGE, name)));
        apply(cluster, namespace, &[&maps[..], &pods].concat()).await?;
        let mut hashes = Vec::new();
        for name in ["a", "b", "c"] {
            until(cluster, namespace, name, |pods| pods.iter().any(is_ready)).await?;
            let starts = cluster.player()?.starts_of(namespace, name);
            hashes.push(starts[0].config_maps[0].hash.clone());
        }
        ensure!(hashes[0] == hashes[1] && hashes[0] != hashes[2], "{hashes:?}");
        Ok(())
    })
}
