//! Pods are bound to the config of their own image when they are created.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use testbed::registry::EmbeddedRegistry;

use crate::shop::{
    Release, Runs, all_run, apply, bindings, bound, deploy, follow, own, release, release_at, running,
    template, workloads,
};
use crate::support::{Bench, Ready as _, cases, checked, eventually, same};

cases! {
    Embedded [
        two_images_run_side_by_side_each_with_its_own_config,
        undo_brings_back_image_and_config_with_operator_and_registry_stopped,
        a_refused_workload_is_woken,
        a_pod_that_only_prefers_it_starts_with_the_target,
        each_kind_binds_its_pods,
        a_config_of_a_known_image_is_taken_by_new_pods,
        the_config_of_an_old_replica_set_outlives_the_limit,
        nothing_is_written_at_rest,
    ]
}

/// Both images run while the rollout is paused in the middle.
async fn two_images_run_side_by_side_each_with_its_own_config(bench: Bench) -> Result<()> {
    let (first, second) = (release(&bench, "v1", "one").await?, release(&bench, "v2", "two").await?);
    deploy(&bench, &first.image, Some("require"), 4).await?;
    follow(&bench, "Deployment").await?;
    let old = own(&bench, &first).await?;
    all_run(&bench, 4, &old).await?;
    // v2 does not become ready, so that the rollout stops half way.
    bench.world.cluster.player()?.set_fate(&second.image, testbed::Fate::Exits(1));
    bench.kubectl(&["set", "image", "deployment/web", &format!("web={}", second.image)]).await?;
    let new = own(&bench, &second).await?;
    eventually("pods of both images", || async {
        let started: BTreeSet<Runs> = started(&bench)?.into_iter().collect();
        Ok(if started == BTreeSet::from([old.clone(), new.clone()]) {
            Ok(())
        } else {
            Err(format!("{started:?}"))
        })
    })
    .await?;
    bench.world.cluster.player()?.set_fate(&second.image, testbed::Fate::Runs);
    all_run(&bench, 4, &new).await?;
    // The workload itself names no revision.
    let deployment = workloads(&bench, "Deployment").get("web").await?;
    let spec = deployment.data["spec"]["template"].to_string();
    checked("the template is as its owner wrote it", !spec.contains("web-"), &spec)
}

/// Image and `ConfigMap` of everything that ever started here.
fn started(bench: &Bench) -> Result<Vec<Runs>> {
    let starts = bench.world.cluster.player()?.all_starts();
    let here = starts.into_iter().filter(|start| start.namespace == bench.namespace);
    let names = |start: &testbed::Start| {
        start.config_maps.iter().map(|given| given.config_map.clone()).collect::<Vec<_>>().join(",")
    };
    Ok(here.map(|start| Runs { config_map: names(&start), image: start.image }).collect())
}

/// The sentence of the README: a drained node, more replicas and `kubectl rollout undo` need neither operator nor registry.
async fn undo_brings_back_image_and_config_with_operator_and_registry_stopped(bench: Bench) -> Result<()> {
    let registry = EmbeddedRegistry::start().await?;
    let image = |tag: &str| format!("{}/{}/web:{tag}", registry.host(), bench.namespace);
    let first = release_at(&bench, &image("v1"), "one").await?;
    let second = release_at(&bench, &image("v2"), "two").await?;
    deploy(&bench, &first.image, Some("require"), 3).await?;
    follow(&bench, "Deployment").await?;
    let old = own(&bench, &first).await?;
    all_run(&bench, 3, &old).await?;
    bench.kubectl(&["set", "image", "deployment/web", &format!("web={}", second.image)]).await?;
    let new = own(&bench, &second).await?;
    all_run(&bench, 3, &new).await?;
    registry.stop().await;
    // The operator of this suite serves other tests, so this resource is taken from it: nothing of it is written any more.
    bench.kubectl(&["patch", "acfg/web", "--type=merge", "--patch", r#"{"spec":{"suspend":true}}"#]).await?;
    bench
        .wait("web", "to be suspended", |config| {
            same(
                "reason",
                config.current(api::condition::READY)?.context("no Ready")?.reason.as_str(),
                "Suspended",
            )
        })
        .await?;
    let cluster = &bench.world.cluster;
    cluster.scale(&bench.namespace, "deployment/web", 5).await?;
    all_run(&bench, 5, &new).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.admin(), &bench.namespace);
    pods.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    all_run(&bench, 5, &new).await?;
    cluster.rollout_undo(&bench.namespace, "deployment/web").await?;
    all_run(&bench, 5, &old).await
}

/// The pods of an image that is not known are refused, with the reason, and come as soon as its config is known.
async fn a_refused_workload_is_woken(bench: Bench) -> Result<()> {
    let first = release(&bench, "v1", "one").await?;
    deploy(&bench, &first.image, Some("require"), 2).await?;
    follow(&bench, "Deployment").await?;
    all_run(&bench, 2, &own(&bench, &first).await?).await?;
    // Without a config.
    let image = bench.image("web:v2");
    let digest = bench.push(&image).await?;
    bench.kubectl(&["set", "image", "deployment/web", &format!("web={image}")]).await?;
    eventually("pods to be refused", || async {
        let object = workloads(&bench, "Deployment").get("web").await?;
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let refused = conditions.iter().find(|condition| condition["type"] == "ReplicaFailure");
        let message = refused.map(|refused| refused["message"].to_string());
        Ok(message
            .filter(|message| message.contains("no config is known yet"))
            .ok_or("none is refused".to_owned()))
    })
    .await?;
    bench.attach_at(&image, 1, &[("config.json", "two")]).await?;
    bench.request("web").await?;
    all_run(&bench, 2, &own(&bench, &Release { image, digest }).await?).await?;
    let object = workloads(&bench, "Deployment").get("web").await?;
    ensure!(object.annotations().contains_key(&api::annotation::woken("web")), "it was not woken");
    Ok(())
}

async fn a_pod_that_only_prefers_it_starts_with_the_target(bench: Bench) -> Result<()> {
    let first = release(&bench, "v1", "one").await?;
    deploy(&bench, &first.image, Some("prefer"), 1).await?;
    follow(&bench, "Deployment").await?;
    bench.ready("web").await?;
    let image = bench.image("web:v2");
    bench.push(&image).await?;
    bench.kubectl(&["set", "image", "deployment/web", &format!("web={image}")]).await?;
    all_run(&bench, 1, &Runs { image, config_map: "web".to_owned() }).await
}

async fn each_kind_binds_its_pods(bench: Bench) -> Result<()> {
    let (first, second) = (release(&bench, "v1", "one").await?, release(&bench, "v2", "two").await?);
    let selector = json!({"matchLabels": {"app": "web"}});
    for kind in ["StatefulSet", "DaemonSet"] {
        let spec = |release: &Release| {
            let template = template(&release.image, Some("require"));
            if kind == "StatefulSet" {
                json!({"replicas": 3, "serviceName": "web", "selector": selector, "template": template})
            } else {
                json!({"selector": selector, "template": template})
            }
        };
        apply(&bench, kind, spec(&first)).await?;
        follow(&bench, kind).await?;
        all_run(&bench, 3, &own(&bench, &first).await?).await.context(kind)?;
        apply(&bench, kind, spec(&second)).await?;
        all_run(&bench, 3, &own(&bench, &second).await?).await.context(kind)?;
        workloads(&bench, kind).delete("web", &DeleteParams::default()).await?;
        eventually("the pods to go", || async {
            let left = running(&bench).await?;
            Ok(if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) })
        })
        .await?;
    }
    Ok(())
}

/// It comes through the reconcile only, and takes the place of the one before for pods that start after that.
async fn a_config_of_a_known_image_is_taken_by_new_pods(bench: Bench) -> Result<()> {
    let first = release(&bench, "v1", "one").await?;
    deploy(&bench, &first.image, Some("require"), 1).await?;
    follow(&bench, "Deployment").await?;
    let before = own(&bench, &first).await?;
    all_run(&bench, 1, &before).await?;
    bench.attach_at(&first.image, 2, &[("config.json", "newer")]).await?;
    bench.sync_ready("web").await?;
    let after = own(&bench, &first).await?;
    ensure!(after != before, "the binding is the same: {after:?}");
    all_run(&bench, 1, &before).await?;
    bench.kubectl(&["delete", "pods", "--all"]).await?;
    all_run(&bench, 1, &after).await
}

/// The limit keeps no earlier revision, but `kubectl rollout undo` needs it.
async fn the_config_of_an_old_replica_set_outlives_the_limit(bench: Bench) -> Result<()> {
    let mut releases = Vec::new();
    for (tag, content) in [("v1", "one"), ("v2", "two"), ("v3", "three")] {
        releases.push(release(&bench, tag, content).await?);
    }
    deploy(&bench, &releases[0].image, Some("require"), 1).await?;
    let reference = json!({"kind": "Deployment", "name": "web"});
    bench.apply("web", json!({"workloadRef": reference, "revisionHistoryLimit": 1})).await?;
    for release in &releases {
        bench.kubectl(&["set", "image", "deployment/web", &format!("web={}", release.image)]).await?;
        all_run(&bench, 1, &own(&bench, release).await?).await?;
        bench.ready("web").await?;
    }
    bench.sync_ready("web").await?;
    let kept = bound(&bench, &releases[0].image).await?;
    checked("its revision is there", bench.has_config_map(&kept.config_map).await?, &kept.config_map)?;
    // Nothing names v1 any more.
    bench.kubectl(&["patch", "deployment/web", "--patch", r#"{"spec":{"revisionHistoryLimit":0}}"#]).await?;
    eventually("the old ReplicaSets to go", || async {
        let left = workloads(&bench, "ReplicaSet").list_metadata(&ListParams::default()).await?.items.len();
        Ok(if left == 1 { Ok(()) } else { Err(format!("{left} are there")) })
    })
    .await?;
    // Another limit is another question, and the answer of a moment ago does not count for it.
    bench.apply("web", json!({"workloadRef": reference, "revisionHistoryLimit": 0})).await?;
    bench.apply("web", json!({"workloadRef": reference, "revisionHistoryLimit": 1})).await?;
    eventually("the binding of v1 to go", || async {
        let images: Vec<String> = bindings(&bench).await?.into_iter().map(|binding| binding.image).collect();
        Ok(if images.contains(&releases[0].image) { Err(format!("{images:?}")) } else { Ok(()) })
    })
    .await?;
    // An API server may still bind by the index from before.
    checked("its revision stays for a while", bench.has_config_map(&kept.config_map).await?, &kept.config_map)
}

async fn nothing_is_written_at_rest(bench: Bench) -> Result<()> {
    let first = release(&bench, "v1", "one").await?;
    deploy(&bench, &first.image, Some("require"), 2).await?;
    follow(&bench, "Deployment").await?;
    all_run(&bench, 2, &own(&bench, &first).await?).await?;
    bench.sync_ready("web").await?;
    let (before, deployment) = (bench.snapshot().await?, workloads(&bench, "Deployment").get("web").await?);
    // Pods come and go, and the resource is reconciled meanwhile.
    bench.kubectl(&["delete", "pods", "--all"]).await?;
    all_run(&bench, 2, &own(&bench, &first).await?).await?;
    let after = bench.snapshot().await?;
    let ours = |snapshot: &crate::support::Snapshot| {
        snapshot
            .iter()
            .filter(|(name, _)| !name.starts_with("Event/"))
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect::<Vec<_>>()
    };
    same("objects", ours(&after), ours(&before))?;
    let template = |object: &kube::api::DynamicObject| object.data["spec"].to_string();
    let now = workloads(&bench, "Deployment").get("web").await?;
    same("spec of the Deployment", template(&now), template(&deployment))
}
