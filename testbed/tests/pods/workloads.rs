//! `StatefulSet`, `DaemonSet`, `Job` and `CronJob`.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use testbed::{Cluster, Fate};

use crate::manifests::{apply, config_map, template, workload};
use crate::world::{calm, is_ready, kubectl, node, phase, pods, ran, until};

const IMAGE: &str = "r.example/shop/db:v1";

#[test]
fn a_stateful_set_uses_its_names_again() -> Result<()> {
    calm(async |cluster, namespace| {
        let set = |map| workload("StatefulSet", "db", 3, &template("db", IMAGE, map));
        let maps = ["db-1", "db-2"].map(|name| config_map(name, &json!({"name": name})));
        apply(cluster, namespace, &maps).await?;
        apply(cluster, namespace, &[set("db-1")]).await?;
        cluster.rollout_status(namespace, "statefulset/db").await?;
        ensure!(ran(cluster, namespace, "db").await? == [["db-1"]]);

        apply(cluster, namespace, &[set("db-2")]).await?;
        cluster.rollout_status(namespace, "statefulset/db").await?;
        let names: Vec<_> = pods(cluster, namespace, "db").await?.iter().map(Pod::name_any).collect();
        ensure!(names == ["db-0", "db-1", "db-2"], "{names:?}");
        ensure!(ran(cluster, namespace, "db").await? == [["db-2"]]);
        Ok(())
    })
}

#[test]
fn a_daemon_set_has_a_pod_on_each_node() -> Result<()> {
    calm(async |cluster, namespace| {
        let set = workload("DaemonSet", "agent", 0, &template("agent", IMAGE, "agent"));
        apply(cluster, namespace, &[config_map("agent", &json!({})), set]).await?;
        cluster.rollout_status(namespace, "daemonset/agent").await?;
        let pods = pods(cluster, namespace, "agent").await?;
        let nodes: BTreeSet<_> = pods.iter().map(node).collect();
        ensure!(pods.len() == 3 && nodes.len() == 3 && pods.iter().all(is_ready), "{nodes:?}");
        Ok(())
    })
}

fn job(app: &str, image: &str) -> Value {
    let mut template = template(app, image, app);
    template["spec"]["restartPolicy"] = json!("Never");
    template["spec"]["initContainers"] = json!([{"name": "prepare", "image": "r.example/shop/prepare:v1"}]);
    json!({"backoffLimit": 1, "template": template})
}

#[test]
fn a_job_ends_as_its_image_does() -> Result<()> {
    calm(async |cluster, namespace| {
        let player = cluster.player()?;
        let jobs = ["good", "bad"].map(|app| {
            let spec = job(app, &format!("r.example/shop/{app}:v1"));
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": app}, "spec": spec})
        });
        let maps = ["good", "bad"].map(|app| config_map(app, &json!({})));
        apply(cluster, namespace, &[&maps[..], &jobs].concat()).await?;
        // A long one first: it ends when it is said to.
        until(cluster, namespace, "good", |pods| pods.iter().any(is_ready)).await?;
        player.set_fate("r.example/shop/good:v1", Fate::Exits(0));
        player.set_fate("r.example/shop/bad:v1", Fate::Exits(3));
        for (job, condition) in [("job/good", "Complete"), ("job/bad", "Failed")] {
            let condition = format!("--for=condition={condition}");
            kubectl(cluster, namespace, &["wait", job, &condition, "--timeout=2m"]).await?;
        }
        let phases = |pods: &[Pod]| pods.iter().map(|pod| phase(pod).to_owned()).collect::<Vec<_>>();
        ensure!(phases(&pods(cluster, namespace, "good").await?) == ["Succeeded"]);
        ensure!(phases(&pods(cluster, namespace, "bad").await?) == ["Failed", "Failed"]);
        ensure!(ran(cluster, namespace, "good").await? == [["good"]]);
        Ok(())
    })
}

#[test]
fn a_cron_job_runs() -> Result<()> {
    calm(async |cluster, namespace| {
        cluster.player()?.set_fate("r.example/shop/nightly:v1", Fate::Exits(0));
        let cron = json!({
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "nightly"},
            "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job("nightly", "r.example/shop/nightly:v1")}},
        });
        apply(cluster, namespace, &[config_map("nightly", &json!({})), cron]).await?;
        miss_a_run(cluster, namespace, "nightly").await?;
        until(cluster, namespace, "nightly", |pods| pods.iter().any(|pod| phase(pod) == "Succeeded")).await?;
        ensure!(ran(cluster, namespace, "nightly").await? == [["nightly"]]);
        Ok(())
    })
}

/// The controller starts a run that it missed at once. Otherwise it waits for the next minute.
async fn miss_a_run(cluster: &Cluster, namespace: &str, name: &str) -> Result<()> {
    let earlier =
        jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_mins(2)).context("a clock")?;
    let patch = json!({"status": {"lastScheduleTime": format!("{earlier:.0}")}}).to_string();
    let args = ["patch", "cronjob", name, "--subresource=status", "--type=merge", "--patch", &patch];
    kubectl(cluster, namespace, &args).await
}
