//! The target follows the image of a workload.

use anyhow::{Context as _, Result};
use api::Reason;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use testbed::registry::EmbeddedRegistry;

use crate::shop::{apply, deploy, follow, release, release_at, template, workloads};
use crate::support::{Bench, Ready as _, cases, checked, eventually, same, text};

cases! {
    Both [
        a_new_image_brings_its_config,
    ]
    Embedded [
        each_kind_of_kubernetes_is_followed,
        a_kind_of_others_is_followed_once_it_is_there,
        an_image_that_comes_back_brings_its_config_while_the_registry_is_down,
        a_workload_that_is_not_there_is_named_and_then_followed,
        a_container_that_is_not_clear_is_named,
        the_digest_of_the_pods_decides_where_that_is_asked_for,
        a_config_that_lacks_a_key_is_not_applied,
        exactly_one_of_image_and_workload_is_taken,
    ]
}

fn content(value: &str) -> std::collections::BTreeMap<String, String> {
    text(&[("config.json", value)])
}

async fn a_new_image_brings_its_config(bench: Bench) -> Result<()> {
    let (first, second) = (release(&bench, "v1", "one").await?, release(&bench, "v2", "two").await?);
    deploy(&bench, &first.image, None, 1).await?;
    follow(&bench, "Deployment").await?;
    bench.ready("web").await?;
    bench.wait_data("web", &content("one")).await?;
    bench.kubectl(&["set", "image", "deployment/web", &format!("web={}", second.image)]).await?;
    bench.wait_data("web", &content("two")).await?;
    // The target comes before the status, and the generation is the same as before.
    bench
        .wait("web", "to name the new image", |config| {
            let image = config.seen()?.image.as_ref().map(|image| image.digest.as_str());
            same("image", image, Some(&*second.digest))
        })
        .await?;
    bench.ready("web").await?;
    bench.kubectl(&["rollout", "undo", "deployment/web"]).await?;
    bench.wait_data("web", &content("one")).await?;
    Ok(())
}

/// The registry is down, but the revision of the image is there.
async fn an_image_that_comes_back_brings_its_config_while_the_registry_is_down(bench: Bench) -> Result<()> {
    let registry = EmbeddedRegistry::start().await?;
    let image = |tag: &str| format!("{}/{}/web:{tag}", registry.host(), bench.namespace);
    let first = release_at(&bench, &image("v1"), "one").await?;
    let second = release_at(&bench, &image("v2"), "two").await?;
    deploy(&bench, &first.image, None, 1).await?;
    follow(&bench, "Deployment").await?;
    bench.ready("web").await?;
    bench.kubectl(&["set", "image", "deployment/web", &format!("web={}", second.image)]).await?;
    bench.wait_data("web", &content("two")).await?;
    bench.ready("web").await?;
    registry.stop().await;
    bench.kubectl(&["rollout", "undo", "deployment/web"]).await?;
    bench.wait_data("web", &content("one")).await?;
    let config = bench.failed("web", Reason::RegistryUnavailable).await?;
    let message = config.message()?;
    checked("it says whose config is in place", message.contains(&format!("of {} (", first.image)), message)?;
    // An image that nobody has seen has no config to take.
    bench.kubectl(&["set", "image", "deployment/web", &format!("web={}", image("v3"))]).await?;
    bench
        .wait("web", "to ask for v3", |config| {
            checked("v3", config.message()?.contains("keeps config"), config.message()?)
        })
        .await?;
    bench.wait_data("web", &content("one")).await?;
    Ok(())
}

async fn each_kind_of_kubernetes_is_followed(bench: Bench) -> Result<()> {
    let (first, second) = (release(&bench, "v1", "one").await?, release(&bench, "v2", "two").await?);
    let selector = json!({"matchLabels": {"app": "web"}});
    let spec = |kind: &str, image: &str| {
        let mut template = template(image, None);
        match kind {
            "StatefulSet" => {
                json!({"replicas": 1, "serviceName": "web", "selector": selector, "template": template})
            }
            "DaemonSet" => json!({"selector": selector, "template": template}),
            "CronJob" => {
                template["spec"]["restartPolicy"] = json!("Never");
                json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}})
            }
            _ => {
                template["spec"]["restartPolicy"] = json!("Never");
                json!({"template": template})
            }
        }
    };
    for kind in ["StatefulSet", "DaemonSet", "CronJob", "Job"] {
        apply(&bench, kind, spec(kind, &first.image)).await?;
        follow(&bench, kind).await?;
        bench.ready("web").await.context(kind)?;
        bench.wait_data("web", &content("one")).await?;
        if kind == "Job" {
            // Its template never changes: a changed Job is another one.
            workloads(&bench, kind).delete("web", &DeleteParams::background()).await?;
            eventually("the Job to go", || async {
                let left = workloads(&bench, kind).get_opt("web").await?;
                Ok(if left.is_none() { Ok(()) } else { Err("it is there".to_owned()) })
            })
            .await?;
        }
        apply(&bench, kind, spec(kind, &second.image)).await?;
        bench.wait_data("web", &content("two")).await.context(kind)?;
        bench.ready("web").await?;
    }
    Ok(())
}

const ROLLOUTS: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.argoproj.io}
spec:
  group: argoproj.io
  names: {kind: Rollout, plural: rollouts}
  scope: Namespaced
  versions:
    - name: v1alpha1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

/// A kind that does not exist yet stalls nothing: another resource of the same namespace goes on.
async fn a_kind_of_others_is_followed_once_it_is_there(bench: Bench) -> Result<()> {
    let (first, second) = (release(&bench, "v1", "one").await?, release(&bench, "v2", "two").await?);
    let reference = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"});
    bench.apply("web", json!({"workloadRef": reference, "interval": "1s"})).await?;
    let message = bench.failed("web", Reason::WorkloadNotFound).await?.message()?.to_owned();
    checked("the kind is named", message.contains("no kind Rollout in argoproj.io/v1alpha1"), &message)?;
    bench.apply("other", json!({"image": first.image})).await?;
    bench.ready("other").await?;
    bench.world.cluster.apply(ROLLOUTS).await?;
    let rollout =
        |image: &str| json!({"selector": {"matchLabels": {"app": "web"}}, "template": template(image, None)});
    eventually("the kind to be served", || async {
        Ok(apply(&bench, "Rollout", rollout(&first.image)).await.map(drop).map_err(|why| format!("{why:#}")))
    })
    .await?;
    bench.wait_data("web", &content("one")).await?;
    apply(&bench, "Rollout", rollout(&second.image)).await?;
    bench.wait_data("web", &content("two")).await?;
    Ok(())
}

async fn a_workload_that_is_not_there_is_named_and_then_followed(bench: Bench) -> Result<()> {
    let first = release(&bench, "v1", "one").await?;
    follow(&bench, "Deployment").await?;
    let config = bench.failed("web", Reason::WorkloadNotFound).await?;
    let message = config.message()?;
    checked("it is named", message.contains("has no Deployment 'web'"), message)?;
    // The interval of this resource is an hour: only the watch can tell.
    deploy(&bench, &first.image, None, 1).await?;
    bench.wait_data("web", &content("one")).await?;
    bench.ready("web").await?;
    workloads(&bench, "Deployment").delete("web", &DeleteParams::default()).await?;
    bench.failed("web", Reason::WorkloadNotFound).await?;
    bench.wait_data("web", &content("one")).await?;
    Ok(())
}

async fn a_container_that_is_not_clear_is_named(bench: Bench) -> Result<()> {
    let first = release(&bench, "v1", "one").await?;
    let mut template = template(&first.image, None);
    let proxy = json!({"name": "proxy", "image": "registry.example.com/proxy:v1"});
    template["spec"]["containers"].as_array_mut().context("containers")?.insert(0, proxy);
    let spec = json!({"selector": {"matchLabels": {"app": "web"}}, "template": template});
    apply(&bench, "Deployment", spec).await?;
    follow(&bench, "Deployment").await?;
    let config = bench.failed("web", Reason::InvalidSpec).await?;
    let message = config.message()?;
    checked("both are named", message.contains("proxy, web"), message)?;
    let reference = json!({"kind": "Deployment", "name": "web", "container": "web"});
    bench.apply("web", json!({"workloadRef": reference})).await?;
    bench.wait_data("web", &content("one")).await?;
    Ok(())
}

/// The tag has moved in the registry, but the pods run the image from before.
async fn the_digest_of_the_pods_decides_where_that_is_asked_for(bench: Bench) -> Result<()> {
    let first = release(&bench, "v1", "one").await?;
    bench.world.cluster.player()?.set_digest(&first.image, &first.digest);
    deploy(&bench, &first.image, None, 2).await?;
    let reference = json!({"kind": "Deployment", "name": "web", "resolve": "Pods"});
    // Until pods run, nothing is known, and the watch tells of them.
    bench.apply("web", json!({"workloadRef": reference})).await?;
    bench.wait_data("web", &content("one")).await?;
    let moved = release(&bench, "v1", "two").await?;
    checked("the tag has moved", moved.digest != first.digest, &moved.digest)?;
    let status = bench.sync_ready("web").await?.status.context("a status")?;
    same("image", status.image.map(|image| image.digest), Some(first.digest.clone()))?;
    same("bindings", status.bindings, Vec::new())?;
    bench.wait_data("web", &content("one")).await?;
    // New pods run the new one.
    bench.world.cluster.player()?.set_digest(&first.image, &moved.digest);
    bench.kubectl(&["rollout", "restart", "deployment/web"]).await?;
    bench.wait_data("web", &content("two")).await?;
    Ok(())
}

async fn a_config_that_lacks_a_key_is_not_applied(bench: Bench) -> Result<()> {
    let (first, second) = (release(&bench, "v1", "one").await?, release(&bench, "v2", "two").await?);
    deploy(&bench, &first.image, None, 1).await?;
    follow(&bench, "Deployment").await?;
    bench.ready("web").await?;
    let mut template = template(&second.image, None);
    let level = json!({"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "web", "key": "level"}}});
    template["spec"]["containers"][0]["env"] = json!([level]);
    let spec = |template: &Value| json!({"selector": {"matchLabels": {"app": "web"}}, "template": template});
    apply(&bench, "Deployment", spec(&template)).await?;
    let config = bench.failed("web", Reason::KeyMissing).await?;
    let message = config.message()?;
    checked(
        "key and workload are named",
        message.contains("'level'") && message.contains("Deployment 'web'"),
        message,
    )?;
    bench.wait_data("web", &content("one")).await?;
    template["spec"]["containers"][0]["env"][0]["valueFrom"]["configMapKeyRef"]["optional"] = json!(true);
    apply(&bench, "Deployment", spec(&template)).await?;
    bench.wait_data("web", &content("two")).await?;
    Ok(())
}

async fn exactly_one_of_image_and_workload_is_taken(bench: Bench) -> Result<()> {
    let reference = json!({"kind": "Deployment", "name": "web"});
    for spec in [
        json!({"artifactType": "a/b"}),
        json!({"artifactType": "a/b", "image": "r.example/web:v1", "workloadRef": reference}),
    ] {
        let refused = bench.apply_raw("web", &spec).await.err().context("it is taken")?.to_string();
        checked("both fields are named", refused.contains("exactly one of image and workloadRef"), &refused)?;
    }
    let foreign = json!({"artifactType": "a/b", "workloadRef": {"kind": "Rollout", "name": "web"}});
    let refused = bench.apply_raw("web", &foreign).await.err().context("it is taken")?.to_string();
    checked("apiVersion is named", refused.contains("apiVersion is required"), &refused)?;
    // The operator may read Secrets, for another reason.
    let secret =
        json!({"artifactType": "a/b", "workloadRef": {"apiVersion": "v1", "kind": "Secret", "name": "web"}});
    let refused = bench.apply_raw("web", &secret).await.err().context("it is taken")?.to_string();
    checked("apiVersion is named", refused.contains("apiVersion"), &refused)?;
    Ok(())
}
