//! Prometheus metrics. Every label takes its values from a closed set.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::api::Class;
use crate::decide::outcome::Outcome;
use crate::oci::RequestRecord;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciled {
    result: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Requested {
    operation: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watched {
    resource: &'static str,
}

/// The operator's metrics; clones share their numbers.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<Reconciled, Counter>,
    reconcile_duration: Histogram,
    requests: Family<Requested, Counter>,
    request_duration: Histogram,
    watch_errors: Family<Watched, Counter>,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let reconciles = Family::default();
        // 1 ms to about 65 s: from an answer out of memory to the default spec.timeout.
        let reconcile_duration = Histogram::new(exponential_buckets(0.001, 2.0, 17));
        let requests = Family::default();
        let request_duration = Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let watch_errors = Family::default();
        let mut registry = Registry::with_prefix("artifactconfig");
        registry.register("reconciles", "Reconciles by result and reason", reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Duration of reconciles",
            Unit::Seconds,
            reconcile_duration.clone(),
        );
        registry.register(
            "registry_requests",
            "Requests to registries by operation and class of status",
            requests.clone(),
        );
        registry.register_with_unit(
            "registry_request_duration",
            "Time until the head of a registry's answer",
            Unit::Seconds,
            request_duration.clone(),
        );
        registry.register("watch_errors", "Failures of watches on the API server", watch_errors.clone());
        registry.register(
            "build",
            "Version of the operator",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        Self {
            registry: Arc::new(registry),
            reconciles,
            reconcile_duration,
            requests,
            request_duration,
            watch_errors,
        }
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, outcome: &Outcome, took: Duration) {
        let result = match outcome.class() {
            Class::Done => "success",
            Class::Terminal => "terminal",
            Class::Waiting => "waiting",
            Class::Transient => "error",
        };
        self.reconciles.get_or_create_owned(&Reconciled { result, reason: outcome.reason().as_str() }).inc();
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    /// Counts a request to a registry.
    pub fn requested(&self, record: &RequestRecord) {
        let status = match record.status {
            None => "none",
            Some(200..=299) => "2xx",
            Some(300..=399) => "3xx",
            Some(401) => "401",
            Some(403) => "403",
            Some(404) => "404",
            Some(429) => "429",
            Some(400..=499) => "4xx",
            Some(_) => "5xx",
        };
        self.requests.get_or_create_owned(&Requested { operation: record.operation, status }).inc();
        self.request_duration.observe(record.took.as_secs_f64());
    }

    /// Counts a failed watch.
    pub fn watch_failed(&self, resource: &'static str) {
        self.watch_errors.get_or_create_owned(&Watched { resource }).inc();
    }

    /// `OpenMetrics` text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
