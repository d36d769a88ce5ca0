//! `deploy/`, applied and deleted by the real kubectl, as the documentation says.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::stage::{Tools, cluster, eventually, served};

crate::stage::cases! {
    Alone [
        kubectl_applies_and_deletes_it,
        helm_takes_over_what_kubectl_has_applied,
        kubectl_takes_over_a_release_and_helm_gets_it_back,
        the_definition_is_applied_by_directory,
    ]
}

async fn kubectl_applies_and_deletes_it(tools: Tools) -> Result<()> {
    let cluster = cluster(Vec::new()).await?;
    let directory = tools.manifests.path("deploy").display().to_string();
    let file = tools.manifests.path("deploy/install.yaml").display().to_string();
    // One pass is enough on an empty cluster.
    let first = cluster.kubectl(&["apply", "-k", &directory]).await?.ok("kubectl apply -k deploy")?;
    ensure!(first.stdout.contains("deployment.apps/artifactconfig created"), "{}", first.stdout);
    // Not by a second apply: kubectl always reports a PodDisruptionBudget as "configured".
    let diff = cluster.kubectl(&["diff", "-f", &file]).await?;
    ensure!(diff.success() && diff.stdout.is_empty(), "a second apply would change something: {diff:?}");
    let namespace = "--namespace=artifactconfig-system";
    eventually("both Pods to be admitted", || async {
        let get = ["get", "deployment/artifactconfig", namespace, "-o", "json"];
        let seen: Value = serde_json::from_str(&cluster.kubectl(&get).await?.ok("kubectl get")?.stdout)?;
        let status = &seen["status"];
        Ok(if status["replicas"] == 2 { Ok(()) } else { Err(status.to_string()) })
    })
    .await?;
    cluster.service_account_kubeconfig("artifactconfig-system", "artifactconfig").await?;
    served(&cluster).await?;
    cluster.kubectl(&["delete", "-k", &directory, "--wait=false"]).await?.ok("kubectl delete -k deploy")?;
    let selector = "--selector=app.kubernetes.io/name=artifactconfig";
    eventually("everything to go", || async {
        let kinds =
            "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,deployments,leases";
        let get = ["get", kinds, "--all-namespaces", selector, "-o", "name"];
        let left = cluster.kubectl(&get).await?.ok("kubectl get")?.stdout;
        Ok(if left.is_empty() { Ok(()) } else { Err(left) })
    })
    .await?;
    cluster.stop().await
}

/// The way from `kubectl apply` to Helm that the chart's README describes: the same objects, and nothing in between.
async fn helm_takes_over_what_kubectl_has_applied(tools: Tools) -> Result<()> {
    let cluster = cluster(Vec::new()).await?;
    let directory = tools.manifests.path("deploy").display().to_string();
    cluster.kubectl(&["apply", "-k", &directory]).await?.ok("kubectl apply -k deploy")?;
    let chart = tools.chart();
    let identity = ["get", "deployment/artifactconfig", "crd/artifactconfigs.artifactconfig.dev"];
    let identity =
        [&identity[..], &["--namespace=artifactconfig-system", "-o", "jsonpath={.items[*].metadata.uid}"]]
            .concat();
    let before = cluster.kubectl(&identity).await?.ok("kubectl get")?.stdout;
    let install = ["install", "artifactconfig", &chart, "--namespace=artifactconfig-system"];
    let refused = cluster.helm(&install).await?;
    ensure!(refused.stderr.contains("invalid ownership metadata"), "it is not refused: {refused:?}");
    let take = [&install[..], &["--take-ownership", "--force-conflicts"]].concat();
    cluster.helm(&take).await?.ok("helm install --take-ownership --force-conflicts")?;
    let after = cluster.kubectl(&identity).await?.ok("kubectl get")?.stdout;
    ensure!(!before.is_empty() && before == after, "the objects are others: {before:?}, {after:?}");
    // kubectl stays an owner of the fields that it has set.
    let upgrade =
        ["upgrade", "artifactconfig", &chart, "--namespace=artifactconfig-system", "--set=replicas=3"];
    let upgrade = [&upgrade[..], &["--force-conflicts"]].concat();
    cluster.helm(&upgrade).await?.ok("helm upgrade")?;
    cluster.stop().await
}

/// The way back that the chart's README describes, and the effect of applying `deploy/` over a release.
async fn kubectl_takes_over_a_release_and_helm_gets_it_back(tools: Tools) -> Result<()> {
    let cluster = cluster(Vec::new()).await?;
    let (directory, chart) = (tools.manifests.path("deploy").display().to_string(), tools.chart());
    let release = ["artifactconfig", &chart, "--namespace=artifactconfig-system"];
    let create = ["create", "namespace", "artifactconfig-system"];
    cluster.kubectl(&create).await?.ok("kubectl create namespace")?;
    let installed = cluster.helm(&[&["install"], &release[..]].concat()).await?.ok("helm install")?;
    ensure!(installed.stdout.contains("do not apply deploy/"), "the notes say nothing: {}", installed.stdout);
    let uids = async || -> Result<String> {
        let get = ["get", "deployment/artifactconfig", "crd/artifactconfigs.artifactconfig.dev"];
        let form = ["--namespace=artifactconfig-system", "-o", "jsonpath={.items[*].metadata.uid}"];
        Ok(cluster.kubectl(&[&get[..], &form].concat()).await?.ok("kubectl get")?.stdout)
    };
    let before = uids().await?;
    ensure!(!before.is_empty(), "nothing is installed");
    // By mistake: the release is blocked until it may reset the changes of kubectl.
    cluster.kubectl(&["apply", "-k", &directory]).await?.ok("kubectl apply -k deploy")?;
    let upgrade = [&["upgrade"], &release[..], &["--set=replicas=3"]].concat();
    let refused = cluster.helm(&upgrade).await?;
    ensure!(!refused.success() && refused.stderr.contains("conflict"), "it is not blocked: {refused:?}");
    let values = ["--reset-then-reuse-values", "--force-conflicts"];
    cluster.helm(&[&upgrade[..], &values].concat()).await?.ok("helm upgrade --force-conflicts")?;
    ensure!(before == uids().await?, "the objects are others");
    // On purpose: the release is forgotten, its objects stay.
    let apply = ["apply", "--server-side", "--force-conflicts", "-k", &directory];
    cluster.kubectl(&apply).await?.ok("kubectl apply --server-side --force-conflicts -k deploy")?;
    let forget =
        ["delete", "secret", "-l", "owner=helm,name=artifactconfig", "--namespace=artifactconfig-system"];
    let forgotten = cluster.kubectl(&forget).await?.ok("kubectl delete secret")?;
    ensure!(forgotten.stdout.contains("deleted"), "there is no release to forget: {}", forgotten.stdout);
    let left = cluster.helm(&["list", "--all-namespaces", "--short"]).await?.ok("helm list")?;
    ensure!(left.stdout.trim().is_empty(), "Helm still knows of it: {}", left.stdout);
    ensure!(before == uids().await?, "the objects are others");
    cluster.stop().await
}

/// The first command that people try: a directory, by `-f` or by `-k`.
async fn the_definition_is_applied_by_directory(tools: Tools) -> Result<()> {
    let cluster = cluster(Vec::new()).await?;
    let crds = tools.manifests.path("crds").display().to_string();
    for form in ["-f", "-k"] {
        let applied = cluster.kubectl(&["apply", "--server-side", form, &crds]).await?.ok("kubectl apply")?;
        ensure!(applied.stdout.contains("artifactconfigs.artifactconfig.dev"), "{form}: {}", applied.stdout);
    }
    let deploy = tools.manifests.path("deploy").display().to_string();
    cluster.kubectl(&["apply", "-f", &deploy]).await?.ok("kubectl apply -f deploy")?;
    cluster.stop().await
}
