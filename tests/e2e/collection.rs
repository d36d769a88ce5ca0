//! The collection of revisions: the limit of the history, and the revisions that workloads still name.

use anyhow::{Context as _, Result};
use api::{HistoryOutcome, Reason};
use serde_json::{Value, json};

use crate::revisions::{config, newest, outline, revision_of, update};
use crate::support::{Bench, Ready as _, cases, same};

cases! {
    Embedded [
        beyond_the_limit_the_oldest_are_collected,
        a_limit_of_zero_keeps_none,
        a_lowered_limit_is_followed_at_once,
        what_failed_costs_no_revision,
        what_a_pod_uses_is_not_collected,
        what_a_replica_set_at_zero_names_is_not_collected,
        what_a_deployment_names_is_not_collected,
        what_a_stateful_set_names_is_not_collected,
        what_a_daemon_set_names_is_not_collected,
        what_a_controller_revision_remembers_is_not_collected,
        what_a_job_names_is_not_collected,
        what_a_cron_job_names_is_not_collected,
    ]
}

/// The limit counts the kept configs in addition to the applied one.
async fn beyond_the_limit_the_oldest_are_collected(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image, "revisionHistoryLimit": 1})).await?;
    bench.ready("web").await?;
    let first = revision_of(&bench, "web").await?;
    update(&bench, &image, 2, "second").await?;
    let second = revision_of(&bench, "web").await?;
    same("the first revision is there", bench.has_config_map(&first).await?, true)?;
    update(&bench, &image, 3, "third").await?;
    bench.wait_gone(&first).await?;
    same("the second revision", bench.data(&second).await?, config("second"))?;
    let resource = bench.sync_ready("web").await?;
    let expected = vec![(3, HistoryOutcome::Applied), (2, HistoryOutcome::Superseded)];
    same("history", outline(&resource)?, expected)?;
    same("revisions", bench.written().await?.1.len(), 2)
}

/// The applied config has no revision either, and revisions of an earlier limit are deleted.
async fn a_limit_of_zero_keeps_none(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image, "revisionHistoryLimit": 0})).await?;
    bench.ready("web").await?;
    update(&bench, &image, 2, "second").await?;
    let resource = bench.get("web").await?;
    same("history", outline(&resource)?, vec![(2, HistoryOutcome::Applied)])?;
    same("a revision is named", &newest(&resource)?.config_map, &None)?;
    same("revisions", bench.written().await?, (vec!["web".to_owned()], Vec::new()))?;

    bench.apply("web", json!({"image": image, "revisionHistoryLimit": 3})).await?;
    bench.ready("web").await?;
    let kept = revision_of(&bench, "web").await?;
    same("the revision", bench.data(&kept).await?, config("second"))?;
    bench.apply("web", json!({"image": image, "revisionHistoryLimit": 0})).await?;
    bench.ready("web").await?;
    bench.wait_gone(&kept).await?;
    same("data", bench.data("web").await?, config("second"))
}

/// Not only with the next config, which may come much later.
async fn a_lowered_limit_is_followed_at_once(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let first = revision_of(&bench, "web").await?;
    update(&bench, &image, 2, "second").await?;
    update(&bench, &image, 3, "third").await?;
    bench.apply("web", json!({"image": image, "revisionHistoryLimit": 1})).await?;
    let resource = bench.ready("web").await?;
    let expected = vec![(3, HistoryOutcome::Applied), (2, HistoryOutcome::Superseded)];
    same("history", outline(&resource)?, expected)?;
    bench.wait_gone(&first).await?;
    same("revisions", bench.written().await?.1.len(), 2)
}

/// A limit of one keeps one config for a rollback, even after several unusable artifacts.
async fn what_failed_costs_no_revision(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    let spec = json!({"image": image, "revisionHistoryLimit": 1, "files": [{"path": "config.json"}]});
    bench.apply("web", spec).await?;
    bench.ready("web").await?;
    let first = revision_of(&bench, "web").await?;
    update(&bench, &image, 2, "second").await?;
    for minute in 3..5 {
        bench.attach_at(&image, minute, &[("other.json", "unusable")]).await?;
        bench.sync_failed("web", Reason::InvalidFiles).await?;
    }
    update(&bench, &image, 5, "second").await?;
    let resource = bench.sync_ready("web").await?;
    let applied: Vec<_> =
        resource.seen()?.history.iter().filter(|entry| entry.outcome != HistoryOutcome::Failed).collect();
    same("configs to go back to", applied.len(), 2)?;
    bench.wait_gone(&first).await?;
    let kept = applied[1].config_map.as_deref().context("no revision")?;
    same("the one before", bench.data(kept).await?, config("second"))
}

/// Creates an object that names the first revision, and updates until that revision is beyond the limit. The revision
/// stays as long as the object names it, and not longer.
async fn kept_by(bench: &Bench, names: impl FnOnce(&str) -> Value) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "1")]).await?;
    bench.apply("web", json!({"image": image, "revisionHistoryLimit": 1})).await?;
    bench.ready("web").await?;
    let kept = revision_of(bench, "web").await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("user.json");
    std::fs::write(&file, names(&kept).to_string())?;
    let file = file.to_string_lossy();
    bench.kubectl(&["apply", "--filename", &file]).await?;
    update(bench, &image, 2, "2").await?;
    let idle = revision_of(bench, "web").await?;
    update(bench, &image, 3, "3").await?;
    update(bench, &image, 4, "4").await?;
    bench.wait_gone(&idle).await?;
    // Other surplus revisions are collected before the next reconcile.
    bench.sync_ready("web").await?;
    same("the revision in use", bench.data(&kept).await?, config("1"))?;

    bench.kubectl(&["delete", "--filename", &file, "--cascade=foreground"]).await?;
    update(bench, &image, 5, "5").await?;
    bench.wait_gone(&kept).await
}

/// A Pod's spec with one container, which `uses` is part of.
fn pod_spec(uses: Value, volumes: &Value) -> Value {
    let mut container = json!({"name": "web", "image": "registry.example.com/web:v1"});
    if let (Value::Object(container), Value::Object(uses)) = (&mut container, uses) {
        container.extend(uses);
    }
    json!({"containers": [container], "volumes": volumes})
}

fn template(spec: &Value) -> Value {
    json!({"metadata": {"labels": {"app": "user"}}, "spec": spec})
}

fn mounted(revision: &str) -> Value {
    pod_spec(json!({}), &json!([{"name": "config", "configMap": {"name": revision}}]))
}

/// Created directly, and never scheduled: there is no node.
async fn what_a_pod_uses_is_not_collected(bench: Bench) -> Result<()> {
    kept_by(&bench, |revision| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"}, "spec": mounted(revision)})
    })
    .await
}

/// A workload of `apps/v1` without a Pod.
fn workload(kind: &str, pod: &Value, more: Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": "user"}}, "template": template(pod)});
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "user"}, "spec": spec})
}

/// `kubectl rollout undo` returns to it.
async fn what_a_replica_set_at_zero_names_is_not_collected(bench: Bench) -> Result<()> {
    kept_by(&bench, |revision| {
        let projected = json!({"sources": [{"configMap": {"name": revision}}]});
        let pod = pod_spec(json!({}), &json!([{"name": "config", "projected": projected}]));
        workload("ReplicaSet", &pod, json!({"replicas": 0}))
    })
    .await
}

async fn what_a_deployment_names_is_not_collected(bench: Bench) -> Result<()> {
    kept_by(&bench, |revision| workload("Deployment", &mounted(revision), json!({"replicas": 0}))).await
}

async fn what_a_stateful_set_names_is_not_collected(bench: Bench) -> Result<()> {
    kept_by(&bench, |revision| {
        let more = json!({"replicas": 0, "serviceName": "user"});
        workload("StatefulSet", &mounted(revision), more)
    })
    .await
}

/// Without a node it has no Pod.
async fn what_a_daemon_set_names_is_not_collected(bench: Bench) -> Result<()> {
    kept_by(&bench, |revision| workload("DaemonSet", &mounted(revision), json!({}))).await
}

/// Stateful sets and daemon sets roll back to it.
async fn what_a_controller_revision_remembers_is_not_collected(bench: Bench) -> Result<()> {
    kept_by(&bench, |revision| {
        let reference = json!({"name": revision, "key": "config.json"});
        let env = json!([{"name": "CONFIG", "valueFrom": {"configMapKeyRef": reference}}]);
        let spec = json!({"template": template(&pod_spec(json!({"env": env}), &json!([])))});
        json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "user"},
            "revision": 1, "data": {"spec": spec},
        })
    })
    .await
}

fn job(revision: &str) -> Value {
    let env = json!([{"configMapRef": {"name": revision}}]);
    let mut pod = pod_spec(json!({"envFrom": env}), &json!([]));
    pod["restartPolicy"] = json!("Never");
    json!({"suspend": true, "template": {"spec": pod}})
}

/// Suspended, it has no Pod yet.
async fn what_a_job_names_is_not_collected(bench: Bench) -> Result<()> {
    kept_by(&bench, |revision| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "user"}, "spec": job(revision)})
    })
    .await
}

/// Between two runs there is neither a Pod nor a Job.
async fn what_a_cron_job_names_is_not_collected(bench: Bench) -> Result<()> {
    kept_by(&bench, |revision| {
        let template = json!({"spec": job(revision)});
        let spec = json!({"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": template});
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "user"}, "spec": spec})
    })
    .await
}
