//! Bindings that come and go while pods are created, and other plugins that change the same pods.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::place::{Place, bound, config, image, is_whole, mounted, pod, status};
use crate::stage::{Shared, eventually, same};

crate::stage::cases! {
    Shared [
        a_status_is_seen_within_a_second,
        a_binding_that_was_taken_out_binds_whole_or_not_at_all,
        a_dry_run_binds_and_creates_nothing,
        a_sidecar_that_another_policy_adds_is_bound_too,
        a_pod_that_runs_is_never_evaluated_again,
    ]
}

const V1: (&str, &str, &str) = ("r.example/web:v1", "sha256:1", "web-1");
const V2: (&str, &str, &str) = ("r.example/web:v2", "sha256:2", "web-2");

/// From the status to the first pod. The operator wakes a workload right after it has written the status.
const SEEN: Duration = Duration::from_secs(1);

/// One of several tries counts, because the tests of this suite share the machine with others.
async fn a_status_is_seen_within_a_second(shared: Shared) -> Result<()> {
    let place = Place::new(&shared).await?;
    place.write(&config("web", "web", &[])).await?;
    let mut fastest = Duration::MAX;
    for number in 0..10 {
        let (name, revision) = (format!("r.example/web:v{number}"), format!("web-{number}"));
        place.set_status("web", &status("web", &[(&name, "sha256:1", &revision)])).await?;
        let begin = Instant::now();
        let pod = pod("require", &name, "web");
        eventually("the binding to be seen", || async {
            Ok(match place.try_pod(&pod).await? {
                Ok(admitted) => Ok(is_whole(&admitted, "web", &format!("{name}@sha256:1"), &revision)?),
                Err(message) => Err(message),
            })
        })
        .await?;
        fastest = fastest.min(begin.elapsed());
    }
    ensure!(fastest < SEEN, "the fastest of ten took {fastest:?}");
    Ok(())
}

/// Until the API server sees the change, pods get the revision that was taken out. The operator keeps it for that time.
async fn a_binding_that_was_taken_out_binds_whole_or_not_at_all(shared: Shared) -> Result<()> {
    let place = Place::new(&shared).await?;
    place.write(&config("web", "web", &[V2, V1])).await?;
    place.are_writes_seen().await?;
    let (old, new) = (pod("require", V1.0, "web"), pod("require", V2.0, "web"));
    place.set_status("web", &status("web", &[V2])).await?;
    let message = eventually("the pod to be refused", || async {
        Ok(match place.try_pod(&old).await? {
            Ok(admitted) => {
                is_whole(&admitted, "web", "r.example/web:v1@sha256:1", "web-1")?;
                Err("it is still bound".to_owned())
            }
            Err(message) => Ok(message),
        })
    })
    .await?;
    ensure!(message.contains("no config is known yet for image 'r.example/web:v1'"), "{message}");
    let kept = place.try_pod(&new).await?.map_err(anyhow::Error::msg)?;
    is_whole(&kept, "web", "r.example/web:v2@sha256:2", "web-2")?;
    let preferred = place.try_pod(&pod("prefer", V1.0, "web")).await?.map_err(anyhow::Error::msg)?;
    same("prefer", (mounted(&preferred), image(&preferred)), (&json!("web"), &json!(V1.0)))
}

/// The patch is the same, and no object comes of it.
async fn a_dry_run_binds_and_creates_nothing(shared: Shared) -> Result<()> {
    let place = Place::new(&shared).await?;
    place.write(&config("web", "web", &[V1])).await?;
    place.are_writes_seen().await?;
    let sent = pod("require", V1.0, "web");
    let tried = place.try_pod(&sent).await?.map_err(anyhow::Error::msg)?;
    same("pods", place.pods().list(&kube::api::ListParams::default()).await?.items.len(), 0)?;
    let created = place.send(&sent, false).await?.map_err(anyhow::Error::msg)?;
    same("spec", &tried["spec"], &created["spec"])?;
    same("annotations", &tried["metadata"]["annotations"], &created["metadata"]["annotations"])
}

/// A policy that adds a container which names the target as well, in one round before ours and in another after it.
async fn a_sidecar_that_another_policy_adds_is_bound_too(shared: Shared) -> Result<()> {
    let place = Place::new(&shared).await?;
    place.write(&config("web", "web", &[V1])).await?;
    place.are_writes_seen().await?;
    for name in ["a.sidecar.example", "z.sidecar.example"] {
        shared.cluster.apply(&sidecar(name, &place.namespace)).await?;
    }
    let sent = pod("require", V1.0, "web");
    let admitted = eventually("the sidecars to be added", || async {
        let admitted = place.try_pod(&sent).await?.map_err(anyhow::Error::msg)?;
        let count = admitted["spec"]["containers"].as_array().map_or(0, Vec::len);
        Ok(if count == 3 { Ok(admitted) } else { Err(format!("{count} containers")) })
    })
    .await?;
    is_whole(&admitted, "web", "r.example/web:v1@sha256:1", "web-1")?;
    for container in admitted["spec"]["containers"].as_array().into_iter().flatten().skip(1) {
        same("image", &container["image"], "r.example/proxy:v1")?;
        same("envFrom", &container["envFrom"], &json!([{"configMapRef": {"name": "web-1"}}]))?;
    }
    for name in ["a.sidecar.example", "z.sidecar.example"] {
        for kind in ["mutatingadmissionpolicy", "mutatingadmissionpolicybinding"] {
            shared.cluster.kubectl(&["delete", kind, name]).await?.ok("kubectl delete")?;
        }
    }
    Ok(())
}

fn sidecar(name: &str, namespace: &str) -> String {
    let container = name.split('.').next().unwrap_or_default();
    format!(
        r#"apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {{name: {name}}}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
    resourceRules: [{{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}}]
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: >-
        [JSONPatch{{op: "add", path: "/spec/containers/-", value: Object.spec.containers{{name: "sidecar-{container}",
        image: "r.example/proxy:v1", envFrom: [Object.spec.containers.envFrom{{configMapRef:
        Object.spec.containers.envFrom.configMapRef{{name: "web"}}}}]}}}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {{name: {name}}}
spec: {{policyName: {name}}}
"#
    )
}

/// Only a creation is matched. An update of a pod is never refused.
async fn a_pod_that_runs_is_never_evaluated_again(shared: Shared) -> Result<()> {
    let place = Place::new(&shared).await?;
    place.write(&config("web", "web", &[V1])).await?;
    place.are_writes_seen().await?;
    let created =
        place.send(&pod("prefer", "r.example/web:v7", "web"), false).await?.map_err(anyhow::Error::msg)?;
    same("bound", bound(&created, "web"), None)?;
    let name = created["metadata"]["name"].as_str().context("no name")?;
    // Now it would be refused.
    let label: Value = json!({"metadata": {"labels": {"artifactconfig.dev/bind": "require", "a": "b"}}});
    let params = kube::api::PatchParams::default();
    let patched = place.pods().patch(name, &params, &kube::api::Patch::Merge(label)).await?;
    same("labels", patched.metadata.labels.map_or(0, |labels| labels.len()), 2)
}
