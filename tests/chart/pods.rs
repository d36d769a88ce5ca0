//! Pods as the API server admits them where the Pod Security Standard `restricted` is enforced.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::stage::{Shared, eventually, same};

crate::stage::cases! {
    Shared [restricted_namespaces_admit_its_pods, a_pod_that_is_not_restricted_is_refused]
}

async fn install(shared: &Shared, args: &[&str]) -> Result<String> {
    let namespace = shared.namespace("pods").await?;
    let chart = shared.tools.chart();
    let install = ["install", "pods", &chart, "--namespace", &namespace, "--set=crds.install=false"];
    let install = [&install[..], args].concat();
    shared.cluster.helm(&install).await?.ok("helm install")?;
    Ok(namespace)
}

async fn replica_sets(shared: &Shared, namespace: &str) -> Result<Vec<Value>> {
    let get = ["get", "replicasets", "--namespace", namespace, "-o", "json"];
    let list: Value = serde_json::from_str(&shared.cluster.kubectl(&get).await?.ok("kubectl get")?.stdout)?;
    Ok(list["items"].as_array().context("no list")?.clone())
}

/// The status that the `ReplicaSet` controller writes counts Pods that were admitted.
async fn restricted_namespaces_admit_its_pods(shared: Shared) -> Result<()> {
    let full = shared.tools.values("full");
    // Objects of other projects have a test of their own; the class belongs into another namespace, and only one release of a
    // cluster can have the admission policies.
    let full = [
        "--values",
        &full,
        "--set=metrics.serviceMonitor.enabled=false,metrics.prometheusRule.enabled=false,priorityClassName=,bind.enabled=false",
    ];
    for (args, replicas) in [(&[] as &[&str], 2), (&full, 3)] {
        let namespace = install(&shared, &[args, &["--set=rbac.create=false"]].concat()).await?;
        eventually(format!("{replicas} Pods in {namespace}"), || async {
            let sets = replica_sets(&shared, &namespace).await?;
            let seen: Vec<_> = sets.iter().map(|set| set["status"].clone()).collect();
            Ok(match &seen[..] {
                [status] if status["replicas"] == replicas => Ok(()),
                _ => Err(format!("{seen:?}")),
            })
        })
        .await?;
        let get = ["get", "pods", "--namespace", &namespace, "-o", "name"];
        let pods = shared.cluster.kubectl(&get).await?.ok("kubectl get pods")?.stdout;
        same("Pods", pods.lines().count(), replicas)?;
    }
    Ok(())
}

/// Without this one, the test above would also pass where nothing is enforced.
async fn a_pod_that_is_not_restricted_is_refused(shared: Shared) -> Result<()> {
    let args = ["--set=rbac.create=false,securityContext.allowPrivilegeEscalation=true"];
    let namespace = install(&shared, &args).await?;
    let message = eventually("the Pods to be refused", || async {
        let sets = replica_sets(&shared, &namespace).await?;
        let failed =
            sets.iter().flat_map(|set| set["status"]["conditions"].as_array().cloned().unwrap_or_default());
        let failed = failed.into_iter().find(|condition| condition["type"] == "ReplicaFailure");
        Ok(failed.map(|condition| condition["message"].to_string()).ok_or_else(|| format!("{sets:?}")))
    })
    .await?;
    ensure!(message.contains("allowPrivilegeEscalation"), "refused for another reason: {message}");
    Ok(())
}
