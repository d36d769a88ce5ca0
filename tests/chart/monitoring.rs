//! Every object of every set of values, as the real API server and the definitions of the Prometheus Operator take it:
//! an unknown or misspelled field is an error.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::Definitions;

use crate::release::{objects, the};
use crate::stage::{Shared, same};

crate::stage::cases! {
    Shared [every_object_is_valid, alerts_are_those_of_the_file, the_dashboard_is_that_of_the_file]
}

async fn every_object_is_valid(shared: Shared) -> Result<()> {
    shared.cluster.define(&[Definitions::PrometheusOperator]).await?;
    // Not restricted: other tests check the Pods.
    let namespace = shared.cluster.create_namespace("valid").await?;
    for set in ["full", "minimal", "namespaced"] {
        let values = shared.tools.values(set);
        let args = ["--values", &values, "--namespace", &namespace];
        let rendered = shared.tools.template(&args).await?;
        let apply = ["apply", "--dry-run=server", "--validate=strict", "--filename=-"];
        let output = shared
            .cluster
            .kubectl_with_stdin(&apply, &rendered)
            .await?
            .ok(&format!("kubectl apply ({set})"))?;
        let count = objects(&rendered)?.len();
        same(&format!("objects of {set}"), output.stdout.lines().count(), count)?;
        // Definitions that were applied by somebody else, and nothing else.
        let warnings: Vec<_> =
            output.stderr.lines().filter(|line| !line.contains("last-applied-configuration")).collect();
        ensure!(warnings.is_empty(), "warnings about {set}: {warnings:?}");
    }
    Ok(())
}

async fn alerts_are_those_of_the_file(shared: Shared) -> Result<()> {
    let file = shared.tools.manifests.chart().join("files/alerts.yaml");
    let alerts: Value = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
    let enabled = "--set=metrics.prometheusRule.enabled=true";
    let rendered = objects(&shared.tools.template(&[enabled]).await?)?;
    same("groups", &the(&rendered, "PrometheusRule")?["spec"]["groups"], &alerts["groups"])?;

    let rules = |groups: &Value| -> Vec<String> {
        let groups = groups.as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        rules.filter_map(|rule| rule["alert"].as_str()).map(str::to_owned).collect()
    };
    let mut names = rules(&alerts["groups"]);
    ensure!(names.len() > 1, "there are no alerts");
    let without = format!("--set=metrics.prometheusRule.disabled={{{}}}", names.remove(0));
    let rendered = objects(&shared.tools.template(&[enabled, &without]).await?)?;
    same("alerts that are left", rules(&the(&rendered, "PrometheusRule")?["spec"]["groups"]), names)
}

async fn the_dashboard_is_that_of_the_file(shared: Shared) -> Result<()> {
    let file = shared.tools.manifests.chart().join("files/dashboard.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let rendered = objects(&shared.tools.template(&["--set=metrics.dashboard.enabled=true"]).await?)?;
    let shown = the(&rendered, "ConfigMap")?;
    let text = shown["data"]["artifactconfig.json"].as_str().context("no dashboard")?;
    ensure!(serde_json::from_str::<Value>(text)? == dashboard, "the dashboard is another one");
    same("for the sidecar", &shown["metadata"]["labels"]["grafana_dashboard"], "1")
}
