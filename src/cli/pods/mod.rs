//! `artifactconfig pods`.

mod join;
mod reason;

use std::collections::BTreeMap;

use anyhow::Context as _;
use api::{ArtifactConfig, annotation, label};
use decide::workload::shown;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde::Serialize;
use serde_json::Value;

use crate::page::next_page;

use super::followed::{self, MAX_PODS};
use super::kubectl_flags::{ClusterArgs, Connection};
use super::output::{Format, print, say};
use super::resource::{self, explained};
use super::table::{Table, age, short};

use join::{Row, Seen};

const EXAMPLES: &str = "Examples:
  artifactconfig pods web
  artifactconfig pods web -n shop -o json";

/// Show which config each pod runs with, now.
///
/// The table has a line for each pod of the namespace that uses the target or a revision of the resource. Pods that have
/// ended are left out. REASON says why a pod is not bound to the config of its image.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Name of the `ArtifactConfig`.
    name: String,

    /// Form of the output [default: a table].
    #[arg(short, long, value_enum)]
    output: Option<Format>,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Revisions per page.
const PAGE: u32 = 100;

/// Most revisions that are read. A resource keeps at most a hundred applications and a hundred bindings.
const MAX_REVISIONS: usize = 1_000;

/// All output of the command.
#[derive(Debug, Serialize)]
struct Report {
    pods: Vec<Row>,
    /// Why the workload gets no more pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// Prints the pods.
///
/// # Errors
/// If the resource does not exist, or the user may not list `ConfigMaps` or pods.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let connection = args.cluster.connect()?;
    let config = resource::get(&connection, &args.name).await?;
    let seen = Seen { config: &config, revisions: revisions(&connection, &config).await? };
    let mut pods = Vec::new();
    let is_whole = followed::pods(&connection, None, |pod| {
        pods.extend(serde_json::to_value(pod).iter().flat_map(|pod| join::rows(&seen, pod)));
    })
    .await
    .context("the pods were not read; this command needs the right to list pods")?;
    pods.sort_by(|one, other| (&one.pod, &one.config_map).cmp(&(&other.pod, &other.config_map)));
    let (refused, unread) = refused(&connection, &config).await;
    let report = Report { pods, refused };
    print_report(&args, &connection, &config, &report)?;
    if !is_whole {
        say!("note: only {MAX_PODS} pods of the namespace were read; there are more");
    }
    if let Some(why) = unread {
        say!("note: it is not known whether pods are refused: {why}");
    }
    Ok(())
}

fn print_report(
    args: &Args,
    connection: &Connection,
    config: &ArtifactConfig,
    report: &Report,
) -> anyhow::Result<()> {
    if let Some(format) = args.output {
        return print(&format.text(report)?);
    }
    if report.pods.is_empty() {
        say!(
            "No pod of namespace '{}' uses ConfigMap '{}' or a revision of it. Name this ConfigMap in a volume, envFrom or env of a pod template.",
            connection.namespace,
            decide::bind::target(config)
        );
    } else {
        print(&table(&report.pods, Timestamp::now()).to_string())?;
    }
    if let (Some(why), Some(workload)) = (&report.refused, &config.spec.workload_ref) {
        say!("note: {} cannot create pods: {why}", shown(workload));
    }
    Ok(())
}

/// The revisions of the resource that exist, with the artifact of each.
async fn revisions(
    connection: &Connection,
    config: &ArtifactConfig,
) -> anyhow::Result<BTreeMap<String, Option<String>>> {
    let api: Api<ConfigMap> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let uid = config.metadata.uid.as_deref().unwrap_or_default();
    let selector = format!("{}={uid},{}", label::OWNER_UID, label::REVISION);
    let mut page = ListParams::default().labels(&selector).limit(PAGE);
    let mut revisions = BTreeMap::new();
    loop {
        let list = api.list_metadata(&page).await.map_err(explained)?;
        for object in &list.items {
            let artifact = object.annotations().get(annotation::ARTIFACT_DIGEST).cloned();
            revisions.insert(object.name_any(), artifact);
        }
        match next_page(&page, &list.metadata).filter(|_| revisions.len() < MAX_REVISIONS) {
            Some(next) => page = next,
            None => return Ok(revisions),
        }
    }
}

/// Why the workload gets no more pods, and why this is not known.
async fn refused(connection: &Connection, config: &ArtifactConfig) -> (Option<String>, Option<String>) {
    let Some(reference) = &config.spec.workload_ref else { return (None, None) };
    match followed::object(connection, reference).await {
        Ok(workload) => (refusal(&workload), None),
        Err(failure) => (None, Some(failure.message)),
    }
}

/// The message of the condition `ReplicaFailure`.
fn refusal(workload: &Value) -> Option<String> {
    let fails = |condition: &&Value| {
        condition["type"].as_str() == Some("ReplicaFailure") && condition["status"].as_str() == Some("True")
    };
    let condition = workload["status"]["conditions"].as_array()?.iter().find(fails)?;
    condition["message"].as_str().map(oci::text::message)
}

fn table(rows: &[Row], now: Timestamp) -> Table {
    let mut table = Table::new(&["POD", "IMAGE", "CONFIG", "REVISION", "SINCE", "READY", "REASON"]);
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    for row in rows {
        table.row([
            row.pod.clone(),
            row.short_image(),
            or_none(row.artifact.as_deref().map(short)),
            row.config_map.clone(),
            or_none(row.since.as_deref().map(|since| age(since, now))),
            if row.ready { "True" } else { "False" }.to_owned(),
            or_none(row.reason.clone()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_condition_that_is_true_tells_of_refused_pods() {
        let workload = |status: &str| {
            json!({"status": {"conditions": [
                {"type": "Available", "status": "True", "message": "no"},
                {"type": "ReplicaFailure", "status": status, "message": "pods \"web-1\" is forbidden"},
            ]}})
        };
        assert_eq!(refusal(&workload("True")).as_deref(), Some("pods \"web-1\" is forbidden"));
        assert_eq!(refusal(&workload("False")), None);
        assert_eq!(refusal(&json!({})), None);
    }

    #[test]
    fn one_line_for_each_pod() {
        let row = |pod: &str, artifact: Option<&str>, reason: Option<&str>| Row {
            pod: pod.to_owned(),
            image: Some("r.example/web:v1@sha256:1111111111111111".to_owned()),
            image_digest: Some("sha256:1111111111111111".to_owned()),
            artifact: artifact.map(str::to_owned),
            config_map: "web-1".to_owned(),
            bound: reason.is_none(),
            since: artifact.map(|_| "2026-01-01T00:00:00Z".to_owned()),
            ready: artifact.is_some(),
            reason: reason.map(str::to_owned),
        };
        let rows = [row("web-a", Some("sha256:aaaaaaaaaaaaaaaa"), None), row("web-b", None, Some("why"))];
        insta::assert_snapshot!(table(&rows, "2026-01-01T00:05:30Z".parse().unwrap()));
    }
}
