//! The end of a soak: what the cluster holds once it is quiet, how that is judged, and the circumstances of the run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::ListParams;
use tokio::time::{Instant, sleep};

use super::SoakArgs;
use super::churn::{Churn, tried};
use super::log::Summary;
use super::model::Files;
use super::pace::Pace;
use super::sample::{MANAGED, Sample};
use super::stage::Stage;
use super::trouble::Troubles;
use super::verdict::{self, Check, Complaints, Managed, Observed};
use crate::measure::machine;

/// How long everything may take to come to rest once nothing is done and nothing broken any more. Failures are tried
/// again after at most an interval, which is a minute; collecting what a deleted resource owned is up to Kubernetes.
const SETTLE: Duration = Duration::from_mins(4);

/// When a soak began, and on which machine.
pub(super) struct Start {
    pub(super) at: Timestamp,
    pub(super) machine: String,
}

/// Everything that the checks need to know about the end.
pub(super) struct End {
    complaints: Complaints,
    /// How long the operator took to settle.
    took: Duration,
    /// Objects that were written although nothing changed.
    written: Vec<String>,
    pub(super) settled: Sample,
    pub(super) log: Summary,
}

impl End {
    /// Waits until the operator has settled, then watches it for some time.
    pub(super) async fn observe(
        stage: &Stage,
        pace: &Pace,
        churn: &Churn<'_>,
        begun: Instant,
        troubles: &Troubles,
    ) -> Result<Self> {
        let (complaints, took) = settle(stage, churn).await?;
        let written = written_in(stage, pace.quiet).await?;
        stage.check_operator().await?;
        let settled = Sample::take(stage, stage.operator.pid().await, begun, troubles).await?;
        let log = Summary::of(&stage.operator.log());
        Ok(Self { complaints, took, written, settled, log })
    }
}

/// All checks, passed or not.
pub(super) fn judge(samples: &[Sample], end: &End, pace: &Pace) -> Vec<Check> {
    let End { complaints, written, settled, log, .. } = end;
    let mut checks = vec![
        Check::none("resources that are not what their model says", &complaints.state),
        Check::none("revisions beyond revisionHistoryLimit", &complaints.revisions),
        Check::none("ConfigMaps of deleted resources", &complaints.orphans),
        Check::none("objects written once it had settled", written),
        Check::none("panics, errors and foreign lines in the log", &log.alarming),
    ];
    checks.extend(verdict::of_samples(samples, settled, pace));
    checks
}

/// Names and values of the circumstances, for the report.
pub(super) fn circumstances(
    stage: &Stage,
    args: &SoakArgs,
    pace: &Pace,
    seed: u64,
    churn: &Churn<'_>,
    start: Start,
    end: &End,
) -> Vec<(&'static str, String)> {
    let model = &churn.model;
    let (cpu, at) = (end.settled.usage.cpu, end.settled.at);
    let took = end.took.as_secs_f64();
    let deleted = model.left.len() + model.gone.len();
    vec![
        ("operator", described(&args.operator)),
        ("started", start.at.strftime("%Y-%m-%d %H:%M UTC").to_string()),
        (
            "churn",
            format!(
                "{:?}, then settled within {took:.0} s, then watched for {:?}",
                pace.duration, pace.quiet
            ),
        ),
        ("seed", seed.to_string()),
        ("resources", format!("{}; {deleted} deleted on the way", args.resources)),
        ("artifacts attached", model.artifacts.len().to_string()),
        (
            "processor time of the operator",
            format!("{:.1} s, {:.2} % of a core", cpu.as_secs_f64(), share(cpu, at)),
        ),
        ("connections to the API server", format!("{} opened in all", stage.proxy.accepted())),
        ("machine before", start.machine),
        ("machine after", machine()),
    ]
}

/// Waits until nothing is wrong, or the time is up; returns what is wrong then, and how long it took.
pub(super) async fn settle(stage: &Stage, churn: &Churn<'_>) -> Result<(Complaints, Duration)> {
    let begun = Instant::now();
    loop {
        stage.check_operator().await?;
        let complaints = Complaints::of(&churn.model, &observe(stage).await?);
        if complaints.is_empty() || begun.elapsed() > SETTLE {
            return Ok((complaints, begun.elapsed()));
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn observe(stage: &Stage) -> Result<Observed> {
    let mut observed = Observed::default();
    let all = ListParams::default();
    for namespace in &stage.namespaces {
        let (configs, config_maps) = (stage.configs(namespace), stage.config_maps(namespace));
        for resource in tried(|| async { configs.list(&all).await }).await? {
            observed.resources.insert(resource.name_any(), serde_json::to_value(&resource)?);
        }
        for config_map in tried(|| async { config_maps.list(&all).await }).await? {
            let (name, labels) = (config_map.name_any(), config_map.labels());
            if labels.get("app.kubernetes.io/managed-by").is_some_and(|manager| manager == "artifactconfig") {
                observed.managed.push(Managed {
                    name: name.clone(),
                    owner: labels.get("artifactconfig.dev/owner-uid").cloned().unwrap_or_default(),
                    is_revision: labels.contains_key("artifactconfig.dev/revision"),
                });
            }
            observed.content.insert((namespace.clone(), name), content(config_map));
        }
    }
    Ok(observed)
}

/// Text and bytes together.
fn content(config_map: ConfigMap) -> Files {
    let text = config_map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
    let bytes = config_map.binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
    text.chain(bytes).collect()
}

/// What is written while nothing changes: nothing should be.
async fn written_in(stage: &Stage, time: Duration) -> Result<Vec<String>> {
    let before = versions(stage).await?;
    sleep(time).await;
    let after = versions(stage).await?;
    let changed = after.iter().filter(|(name, version)| before.get(*name) != Some(version));
    Ok(changed.map(|(name, _)| name.clone()).collect())
}

async fn versions(stage: &Stage) -> Result<BTreeMap<String, Option<String>>> {
    let mut versions = BTreeMap::new();
    let (all, managed) = (ListParams::default(), ListParams::default().labels(MANAGED));
    for namespace in &stage.namespaces {
        let (configs, config_maps) = (stage.configs(namespace), stage.config_maps(namespace));
        for object in tried(|| async { configs.list_metadata(&all).await }).await? {
            versions.insert(format!("ArtifactConfig {}", object.name_any()), object.resource_version());
        }
        for object in tried(|| async { config_maps.list_metadata(&managed).await }).await? {
            versions.insert(format!("ConfigMap {}", object.name_any()), object.resource_version());
        }
    }
    Ok(versions)
}

/// Percent of one core.
fn share(cpu: Duration, time: Duration) -> f64 {
    cpu.as_secs_f64() / time.as_secs_f64().max(f64::MIN_POSITIVE) * 100.0
}

/// Its last directory, which is the profile where cargo built it, and its name.
fn described(operator: &Path) -> String {
    let parts: Vec<_> = operator.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}
