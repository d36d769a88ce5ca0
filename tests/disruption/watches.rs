//! Watches that start and end with the resources that need them, and one that cannot be started.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use testbed::manifests::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use testbed::{OperatorOptions, OperatorProcess};

use crate::support::{Bench, World, cases, checked, eventually, same, text};

cases! {
    Embedded [
        config_maps_are_watched_while_a_resource_needs_it,
        config_maps_that_cannot_be_watched_stall_nothing,
    ]
}

/// A metric of a watched kind.
async fn of(operator: &OperatorProcess, metric: &str, kind: &str) -> Result<u32> {
    let metrics = operator.metrics().await?;
    let series = format!("{metric}{{resource=\"{kind}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value.with_context(|| format!("there is no {series}"))?.parse().context(series)
}

async fn watches(operator: &OperatorProcess, kind: &str, count: u32) -> Result<()> {
    eventually(format!("{count} watches of {kind}"), || async {
        let running = of(operator, "artifactconfig_watches", kind).await?;
        Ok(if running == count { Ok(()) } else { Err(format!("{running} run")) })
    })
    .await
}

/// A new config comes, and what was edited by hand is repaired: that needs the watch.
async fn works(bench: &Bench, name: &str) -> Result<()> {
    let (image, _, _) = bench.image_with(&format!("{name}:v1"), &[("config.json", "first")]).await?;
    bench.apply(name, json!({"image": image})).await?;
    bench.ready(name).await?;
    bench.edit(name, &json!({"data": {"config.json": "by hand"}})).await?;
    bench.wait_data(name, &text(&[("config.json", "first")])).await?;
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    bench.sync_ready(name).await?;
    same("data", bench.data(name).await?, text(&[("config.json", "second")]))
}

/// No resource, no watch, and the operator is ready without one. The watch outlives its last resource for half a minute,
/// and works again afterwards.
async fn config_maps_are_watched_while_a_resource_needs_it(bench: Bench) -> Result<()> {
    bench.world.operator.terminate().await?;
    let mark = bench.world.audit.mark()?;
    let operator = bench.world.replica("demand", &["--namespaces", &bench.namespace]).await?;
    watches(&operator, "artifactconfigs", 1).await?;
    watches(&operator, "configmaps", 0).await?;
    let asked = bench.world.audit.all_since(mark)?;
    let of_config_maps: Vec<_> = asked.iter().filter(|request| request.resource == "configmaps").collect();
    checked("it asks for no ConfigMap", of_config_maps.is_empty(), &of_config_maps)?;

    works(&bench, "web").await?;
    watches(&operator, "configmaps", 1).await?;
    bench.delete("web").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    watches(&operator, "configmaps", 1).await?;
    watches(&operator, "configmaps", 0).await?;
    works(&bench, "other").await?;
    watches(&operator, "configmaps", 1).await?;
    same("failed watches", of(&operator, "artifactconfig_watch_errors_total", "configmaps").await?, 0)?;
    operator.terminate().await?;
    bench.world.operator.restart().await
}

/// An account with all rights of the operator but these two; the role can be given them later.
struct Blind<'a> {
    bench: &'a Bench,
    name: &'static str,
}

impl Blind<'_> {
    fn roles(&self) -> Api<ClusterRole> {
        Api::all(self.bench.world.cluster.admin())
    }

    async fn create(&self) -> Result<PathBuf> {
        let whole = format!("{OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}");
        let mut rules = self.roles().get(&whole).await?.rules.context("the chart's role has no rules")?;
        for rule in rules.iter_mut().filter(|rule| is_of_config_maps(rule.resources.as_deref())) {
            rule.verbs.retain(|verb| !["list", "watch"].contains(&verb.as_str()));
        }
        let role = json!({"metadata": {"name": self.name}, "rules": rules});
        self.roles().create(&PostParams::default(), &serde_json::from_value(role)?).await?;
        let name = self.name;
        let cluster = &self.bench.world.cluster;
        cluster
            .apply(&format!(
                "apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}, namespace: {OPERATOR_NAMESPACE}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {name}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}}}
subjects: [{{kind: ServiceAccount, name: {name}, namespace: {OPERATOR_NAMESPACE}}}]
"
            ))
            .await?;
        cluster.service_account_kubeconfig(OPERATOR_NAMESPACE, name).await
    }

    async fn see(&self) -> Result<()> {
        let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]});
        let patch = serde_json::from_value(json!([{"op": "add", "path": "/rules/-", "value": rule}]))?;
        self.roles().patch(self.name, &PatchParams::default(), &Patch::<()>::Json(patch)).await?;
        Ok(())
    }

    async fn delete(&self) -> Result<()> {
        self.roles().delete(self.name, &DeleteParams::default()).await?;
        let binding = ["delete", "clusterrolebinding", self.name];
        self.bench.world.cluster.kubectl(&binding).await?;
        let account = ["--namespace", OPERATOR_NAMESPACE, "delete", "serviceaccount", self.name];
        self.bench.world.cluster.kubectl(&account).await.map(drop)
    }
}

fn is_of_config_maps(resources: Option<&[String]>) -> bool {
    resources.is_some_and(|resources| resources.iter().any(|resource| resource == "configmaps"))
}

/// Every resource is reconciled, new configs come, and what fails is visible. Once the right is there, everything works.
async fn config_maps_that_cannot_be_watched_stall_nothing(bench: Bench) -> Result<()> {
    bench.world.operator.terminate().await?;
    let blind = Blind { bench: &bench, name: "blind" };
    let mut options = OperatorOptions::new(World::binary(), blind.create().await?);
    options.args = vec!["--namespaces".to_owned(), bench.namespace.clone()];
    options.wait_ready = false;
    let operator = OperatorProcess::start(options).await?;
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "first")]).await?;
    for name in ["web", "other"] {
        bench.apply(name, json!({"image": image})).await?;
    }
    for name in ["web", "other"] {
        bench.ready(name).await?;
        same("data", bench.data(name).await?, text(&[("config.json", "first")]))?;
    }
    bench.attach_at(&image, 2, &[("config.json", "second")]).await?;
    for name in ["web", "other"] {
        bench.sync_ready(name).await?;
        same("data", bench.data(name).await?, text(&[("config.json", "second")]))?;
    }
    let failed = of(&operator, "artifactconfig_watch_errors_total", "configmaps").await?;
    checked("the failures are counted", failed > 0, failed)?;
    same("others", of(&operator, "artifactconfig_watch_errors_total", "artifactconfigs").await?, 0)?;
    same("/readyz", operator.get("/readyz").await?.0, 503)?;
    checked("the log says why", operator.log().contains("watch failed"), operator.log())?;

    blind.see().await?;
    operator.wait_ready().await?;
    bench.edit("web", &json!({"data": {"config.json": "by hand"}})).await?;
    bench.wait_data("web", &text(&[("config.json", "second")])).await?;
    operator.terminate().await?;
    blind.delete().await?;
    bench.world.operator.restart().await
}
