//! A workload whose pods are bound to the config of their own image, and its way back with everything down.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;
use testbed::eventually;

use super::Stage;
use super::attach::attach;
use super::look::{NAMESPACE, holds, show, wait_for};
use super::narrator::seconds;

/// How many steps there are.
pub(super) const COUNT: u32 = 3;

const ONE: &str = "{\n  \"feature\": \"off\"\n}\n";
const TWO: &str = "{\n  \"feature\": \"on\"\n}\n";

/// A rollout takes seconds here; a loaded machine may need longer.
const LIMIT: Duration = Duration::from_mins(1);

/// The columns that say what each pod runs with.
const COLUMNS: &str = "custom-columns=POD:.metadata.name,IMAGE:.spec.containers[0].image,CONFIG:.spec.volumes[0].configMap.name";

pub(super) async fn story(stage: &mut Stage) -> Result<()> {
    let image = |tag: &str| format!("{}/shop:{tag}", stage.world.registry.host());
    let (first, second) = (image("v1"), image("v2"));
    let old = follow(stage, &first).await?;
    let new = roll_out(stage, &second, &old).await?;
    undo(stage, &old, &new).await
}

/// What a pod runs with: its image and its `ConfigMap`.
type Runs = (String, String);

async fn follow(stage: &mut Stage, image: &str) -> Result<Runs> {
    stage.narrator.step(
        "A Deployment, and a config that follows its image",
        "The ArtifactConfig names no image but the workload. The label on the pod template asks the API server to bind each
         pod to the config of its own image, by the policies of the chart. Nobody changes the Deployment.",
    );
    stage.world.oras.push_image(image).await?;
    attach(stage, image, ONE).await?;
    let yaml = manifests(image);
    stage.narrator.command("kubectl apply -f - <<EOF");
    stage.narrator.output(&yaml);
    stage.narrator.output("EOF");
    stage.world.cluster.apply(&yaml).await?;
    wait_for(&stage.world.cluster, "configmap", "shop", holds("config.json", ONE)).await?;
    let running = run(stage, 3, |running| running.len() == 1).await?;
    show(&stage.narrator, &stage.world.cluster, &["get", "pods", "-o", COLUMNS]).await?;
    stage.narrator.seen("each pod has the revision that belongs to its image, and the image by its digest");
    Ok(running.into_iter().next().unwrap_or_default())
}

async fn roll_out(stage: &mut Stage, image: &str, old: &Runs) -> Result<Runs> {
    stage.narrator.step(
        "The next image brings its own config",
        "Its config is attached before the rollout. While both images run, each pod has the config of its own.",
    );
    stage.world.oras.push_image(image).await?;
    attach(stage, image, TWO).await?;
    let set = format!("shop={image}");
    show(&stage.narrator, &stage.world.cluster, &["set", "image", "deployment/shop", &set]).await?;
    run(stage, 2, |running| running.len() == 2 && running.contains(old)).await?;
    show(&stage.narrator, &stage.world.cluster, &["get", "pods", "-o", COLUMNS]).await?;
    stage.narrator.seen("both images run side by side");
    let running = run(stage, 3, |running| running.len() == 1 && !running.contains(old)).await?;
    show(&stage.narrator, &stage.world.cluster, &["get", "pods", "-o", COLUMNS]).await?;
    Ok(running.into_iter().next().unwrap_or_default())
}

async fn undo(stage: &mut Stage, old: &Runs, new: &Runs) -> Result<()> {
    stage.narrator.step(
        "kubectl rollout undo, with registry and operator down",
        "What is known is in the cluster, and the API server alone binds.",
    );
    stage.operator.kill().await?;
    stage.world.registry.stop().await;
    stage
        .narrator
        .seen(&format!("the operator is killed, and {} refuses connections", stage.world.registry.host()));
    let cluster = &stage.world.cluster;
    show(&stage.narrator, cluster, &["scale", "deployment/shop", "--replicas=4"]).await?;
    run(stage, 4, |running| *running == BTreeSet::from([new.clone()])).await?;
    let started = Instant::now();
    show(&stage.narrator, cluster, &["rollout", "undo", "deployment/shop"]).await?;
    run(stage, 4, |running| *running == BTreeSet::from([old.clone()])).await?;
    let took = started.elapsed();
    show(&stage.narrator, cluster, &["get", "pods", "-o", COLUMNS]).await?;
    stage.narrator.seen(&format!("image and config are back together after {}", seconds(took)));
    stage.world.registry.restart().await?;
    stage.operator.restart().await?;
    Ok(())
}

/// Waits until at least so many pods are ready and run with what is wanted; returns what they run with.
async fn run(stage: &Stage, pods: usize, wanted: impl Fn(&BTreeSet<Runs>) -> bool) -> Result<BTreeSet<Runs>> {
    let wanted = &wanted;
    eventually("the pods of deployment/shop", LIMIT, || async move {
        let args = ["-n", NAMESPACE, "get", "pods", "-l", "app=shop", "-o", "json"];
        let output = stage.world.cluster.kubectl(&args).await?.ok("kubectl get pods")?;
        let list: Value = serde_json::from_str(&output.stdout)?;
        let ready: Vec<&Value> =
            list["items"].as_array().into_iter().flatten().filter(|pod| is_ready(pod)).collect();
        let running: BTreeSet<Runs> = ready.iter().map(|pod| runs(pod)).collect();
        let is_so = ready.len() >= pods && wanted(&running);
        Ok(if is_so { Ok(running) } else { Err(format!("{} are ready, with {running:?}", ready.len())) })
    })
    .await
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let is_true = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.is_some_and(|conditions| conditions.iter().any(is_true))
}

fn runs(pod: &Value) -> Runs {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let image = text(&pod["spec"]["containers"][0]["image"]);
    (image, text(&pod["spec"]["volumes"][0]["configMap"]["name"]))
}

fn manifests(image: &str) -> String {
    format!(
        "apiVersion: artifactconfig.dev/v1alpha1
kind: ArtifactConfig
metadata:
  name: shop
  namespace: {NAMESPACE}
spec:
  workloadRef: {{kind: Deployment, name: shop}}
  artifactType: custom/config
  registry:
    plainHttp: true
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  namespace: {NAMESPACE}
spec:
  replicas: 3
  minReadySeconds: 1
  selector:
    matchLabels: {{app: shop}}
  template:
    metadata:
      labels:
        app: shop
        artifactconfig.dev/bind: require
    spec:
      containers:
        - name: shop
          image: {image}
          volumeMounts:
            - {{name: config, mountPath: /etc/shop}}
      volumes:
        - name: config
          configMap: {{name: shop}}
"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_counts_once_it_is_ready_and_until_it_is_deleted() {
        let pod = |ready: &str, deleted: Option<&str>| json!({"metadata": {"deletionTimestamp": deleted}, "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        assert!(is_ready(&pod("True", None)));
        assert!(!is_ready(&pod("False", None)));
        assert!(!is_ready(&pod("True", Some("2026-01-01T00:00:00Z"))));
        assert!(!is_ready(&json!({})));
    }
}
