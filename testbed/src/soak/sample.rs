//! Samples of the operator and of its objects, while everything runs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use axum::http::Request;
use kube::ResourceExt as _;
use kube::api::ListParams;
use tokio::time::Instant;

use super::stage::Stage;
use super::trouble::Troubles;
use crate::measure::Usage;

/// `ConfigMaps` of the operator.
pub(super) const MANAGED: &str = "app.kubernetes.io/managed-by=artifactconfig";

/// Longest wait for an answer: a sample that comes late is none.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One sample.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// Since churn began.
    pub(super) at: Duration,
    pub(super) usage: Usage,
    /// Connections to the API server.
    pub(super) api: u64,
    /// The operator's own metrics; `None` if it did not answer.
    pub(super) metrics: Option<Metrics>,
    /// Counts of objects in the cluster; `None` while the API server is down.
    pub(super) counts: Option<Counts>,
    /// The present trouble.
    pub(super) trouble: Option<&'static str>,
}

/// Of `/metrics`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Metrics {
    /// Time series.
    pub(super) series: u64,
    /// Living tasks of tokio, if the metric exists.
    pub(super) tasks: Option<f64>,
    /// Resources that wait for their turn, if the metric exists.
    pub(super) queue: Option<f64>,
}

/// Of the API server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) resources: u64,
    /// Targets and revisions.
    pub(super) config_maps: u64,
    /// The most revisions of one resource beyond its limit. For a moment there may be some: what is new is written first.
    pub(super) beyond: u64,
    /// Watches on `ArtifactConfigs`, those of the cluster's own controllers included.
    pub(super) watches: Option<u64>,
}

impl Sample {
    pub(super) async fn take(stage: &Stage, pid: u32, begun: Instant, troubles: &Troubles) -> Result<Self> {
        let at = begun.elapsed();
        let (metrics, counts) = tokio::join!(
            tokio::time::timeout(TIMEOUT, stage.operator.metrics()),
            tokio::time::timeout(TIMEOUT, counts(stage)),
        );
        Ok(Self {
            at,
            usage: Usage::of(pid)?,
            api: stage.proxy.open(),
            metrics: metrics.ok().and_then(Result::ok).map(|text| Metrics::parse(&text)),
            counts: counts.ok().and_then(Result::ok),
            trouble: troubles.now(),
        })
    }
}

async fn counts(stage: &Stage) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut limits = BTreeMap::new();
    let mut revisions: BTreeMap<String, u64> = BTreeMap::new();
    for namespace in &stage.namespaces {
        for resource in stage.configs(namespace).list(&ListParams::default()).await? {
            let limit = resource.data["spec"]["revisionHistoryLimit"].as_u64().unwrap_or_default();
            limits.insert(resource.uid().unwrap_or_default(), limit);
        }
        let managed = ListParams::default().labels(MANAGED);
        for config_map in stage.config_maps(namespace).list_metadata(&managed).await? {
            counts.config_maps += 1;
            if config_map.labels().contains_key("artifactconfig.dev/revision") {
                let owner = config_map.labels().get("artifactconfig.dev/owner-uid").cloned();
                *revisions.entry(owner.unwrap_or_default()).or_default() += 1;
            }
        }
    }
    counts.resources = limits.len() as u64;
    // In addition to the applied one, as many as the limit allows.
    let beyond = limits
        .iter()
        .map(|(uid, limit)| revisions.get(uid).copied().unwrap_or_default().saturating_sub(limit + 1));
    counts.beyond = beyond.max().unwrap_or_default();
    let text = stage.cluster.admin().request_text(Request::get("/metrics").body(Vec::new())?).await?;
    counts.watches = watches(&text);
    Ok(counts)
}

/// Watches on `ArtifactConfigs` in the metrics of an API server.
fn watches(text: &str) -> Option<u64> {
    let lines = text.lines().filter(|line| {
        line.starts_with("apiserver_longrunning_requests{") && line.contains("resource=\"artifactconfigs\"")
    });
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).reduce(|sum: u64, count: u64| sum + count)
}

impl Metrics {
    fn parse(text: &str) -> Self {
        let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let value = |part: &str| {
            let line = series
                .iter()
                .find(|line| line.split(['{', ' ']).next().is_some_and(|name| name.contains(part)))?;
            line.rsplit_once(' ')?.1.parse().ok()
        };
        Self { series: series.len() as u64, tasks: value("alive_tasks"), queue: value("queue_depth") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_that_are_not_there_are_tolerated() {
        let text = "# HELP a b\na_total{x=\"1\"} 3\nartifactconfig_tokio_alive_tasks 17\n# EOF\n";
        assert_eq!(Metrics::parse(text), Metrics { series: 2, tasks: Some(17.0), queue: None });
        assert_eq!(Metrics::parse(""), Metrics::default());
    }

    #[test]
    fn watches_of_one_kind_are_added_up() {
        let line = |resource: &str, verb: &str, count: u64| {
            format!(
                "apiserver_longrunning_requests{{component=\"a\",resource=\"{resource}\",verb=\"{verb}\"}} {count}\n"
            )
        };
        let text = line("configmaps", "WATCH", 9)
            + &line("artifactconfigs", "WATCH", 2)
            + &line("artifactconfigs", "WATCHLIST", 1);
        assert_eq!(watches(&text), Some(3));
        assert_eq!(watches(""), None);
    }
}
