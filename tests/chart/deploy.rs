//! `deploy/`, applied and deleted by the real kubectl, as the documentation says.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::stage::{Tools, cluster, eventually, served};

crate::stage::cases! {
    Alone [kubectl_applies_and_deletes_it, helm_takes_over_what_kubectl_has_applied]
}

async fn kubectl_applies_and_deletes_it(tools: Tools) -> Result<()> {
    let cluster = cluster(Vec::new()).await?;
    let directory = tools.manifests.path("deploy").display().to_string();
    let file = tools.manifests.path("deploy/install.yaml").display().to_string();
    // One pass is enough on an empty cluster.
    let first = cluster.kubectl(&["apply", "-k", &directory]).await?.ok("kubectl apply -k deploy")?;
    ensure!(first.stdout.contains("deployment.apps/artifactconfig created"), "{}", first.stdout);
    // Not by a second apply: kubectl calls a PodDisruptionBudget "configured" whatever it is.
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
    // What kubectl has set stays kubectl's as well.
    let upgrade =
        ["upgrade", "artifactconfig", &chart, "--namespace=artifactconfig-system", "--set=replicas=3"];
    let upgrade = [&upgrade[..], &["--force-conflicts"]].concat();
    cluster.helm(&upgrade).await?.ok("helm upgrade")?;
    cluster.stop().await
}
