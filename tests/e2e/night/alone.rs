//! A cluster where no operator answers.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use testbed::{Cluster, ClusterOptions, Manifests};

use super::Person;
use crate::support::{Bench, cases, checked, same};

cases! {
    Embedded [
        where_no_operator_answers_it_says_what_is_missing,
        where_no_cluster_answers_it_says_so_soon,
    ]
}

const RESOURCE: &str = "apiVersion: artifactconfig.dev/v1alpha1
kind: ArtifactConfig
metadata: {name: web, namespace: default}
spec: {image: registry.example.com/web:v1, artifactType: custom/config}
";

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: operator, namespace: default, labels: {app.kubernetes.io/name: artifactconfig}}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec: {containers: [{name: a, image: b}]}
";

async fn where_no_operator_answers_it_says_what_is_missing(_bench: Bench) -> Result<()> {
    let options = ClusterOptions { controller_manager: false, ..ClusterOptions::default() };
    let cluster = Cluster::start(options).await?;
    let person = Person {
        home: tempfile::tempdir()?,
        kubeconfig: cluster.kubeconfig().to_owned(),
        namespace: "default".to_owned(),
    };
    for args in [&["get"][..], &["get", "web"], &["history", "web"], &["rollback", "web"]] {
        let said = person.types(args).await?.failed(1)?;
        checked("no definition", said.contains("does not know ArtifactConfigs"), said)?;
    }
    cluster.apply_file(&Manifests::find(None)?.crd()).await?;
    let nothing = person.types(&["history", "wbe"]).await?.failed(1)?;
    checked("no resource at all", nothing.contains("no ArtifactConfig exists"), nothing)?;
    cluster.apply(RESOURCE).await?;

    let table = person.types(&["get"]).await?.ok()?;
    checked("nobody has looked at it", table.contains("Unknown"), table)?;
    let history = person.types(&["history", "web"]).await?;
    checked(
        "no history",
        history.code == Some(0) && history.stderr.contains("Nothing has been applied yet"),
        history,
    )?;
    for args in [&["show", "web"][..], &["rollback", "web"]] {
        let said = person.types(args).await?.failed(1)?;
        checked("nothing to show", said.to_lowercase().contains("nothing has been applied yet"), said)?;
    }
    let sync = person.types(&["sync", "web", "--timeout", "1s"]).await?.failed(1)?;
    checked("what it waited for", sync.contains("the operator has not reconciled it yet"), &sync)?;
    checked("what to look at", sync.contains("No Deployment of the operator"), &sync)?;
    cluster.apply(DEPLOYMENT).await?;
    let digest = format!("sha256:{}", "0".repeat(64));
    let back = ["rollback", "web", "--to-digest", &digest, "--timeout", "1s"];
    let said = person.types(&back).await?.failed(1)?;
    checked("how the operator is", said.contains("default/operator: 0"), &said)?;
    checked(
        "how to undo it",
        said.contains("stays set until 'artifactconfig resume web -n default'"),
        &said,
    )?;
    let found =
        cluster.kubectl(&["get", "acfg", "web", "-o", "jsonpath={.spec.rollbackTo}"]).await?.ok("get")?;
    same("it stays set", found.stdout, digest)?;
    cluster.stop().await
}

/// Nobody waits for minutes to hear that the address is wrong.
async fn where_no_cluster_answers_it_says_so_soon(bench: Bench) -> Result<()> {
    let person = Person::at(&bench)?;
    let nowhere = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "users": [{"name": "a", "user": {}}],
    });
    let path = person.home().join("nowhere");
    std::fs::write(&path, nowhere.to_string())?;
    let started = Instant::now();
    let path = path.display().to_string();
    let said = person.types(&["history", "web", "--kubeconfig", &path]).await?.failed(1)?;
    checked("the API server", said.contains("API server"), &said)?;
    checked("the cause", said.to_lowercase().contains("refused"), &said)?;
    checked("soon", started.elapsed() < Duration::from_secs(10), started.elapsed())
}
