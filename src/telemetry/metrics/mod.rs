//! Prometheus metrics, in `OpenMetrics` text. Every label has a closed or bounded set of values. The series of single
//! resources are read from the watch cache at each scrape, and bounded as well. `docs/metrics.md` lists all metrics.

mod hosts;
mod process;
mod queue;
mod registries;
mod resources;
mod runtime;
mod scrape;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use api::Class;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use registry::Observation;

pub use self::queue::{Queue, Turn};
pub use self::resources::ResourceStates;
use decide::report::Outcome;
use decide::spec::Owner;

use self::registries::Registries;
use crate::telemetry::SpanCounts;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciled {
    result: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watched {
    resource: &'static str,
}

/// Seconds since the epoch, settable from anywhere.
type Timestamp = Gauge<f64, AtomicU64>;

/// Sources for metrics other than counters.
#[derive(Clone, Default)]
pub struct Sources {
    /// The present resources; without them there are no series about resources.
    pub resources: Option<ResourceStates>,
    /// Whether each resource has its own series, or only their number is reported.
    pub each: bool,
    /// The kinds that may be watched.
    pub watched: Vec<&'static str>,
    /// Counts of spans, if traces are enabled.
    pub spans: Option<Arc<SpanCounts>>,
}

/// The operator's metrics; clones share their numbers.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<Reconciled, Counter>,
    reconcile_duration: Histogram,
    last_success: Timestamp,
    registries: Registries,
    watches: Family<Watched, Gauge>,
    watch_errors: Family<Watched, Counter>,
    leader: Gauge,
    queue: Queue,
}

impl Metrics {
    /// All metrics at zero, without series for single resources.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Sources::default())
    }

    /// All metrics at zero.
    #[must_use]
    pub fn with(sources: Sources) -> Self {
        let reconciles = Family::default();
        // 1 ms to about 65 s: from an answer from memory to the default spec.timeout.
        let reconcile_duration = Histogram::new(exponential_buckets(0.001, 2.0, 17));
        let (last_success, leader) = (Timestamp::default(), Gauge::default());
        let watches: Family<Watched, Gauge> = Family::default();
        let watch_errors: Family<Watched, Counter> = Family::default();
        // Starts at 0, because Prometheus does not see an increase of a series that did not exist.
        for resource in sources.watched {
            let _ = watches.get_or_create_owned(&Watched { resource });
            let _ = watch_errors.get_or_create_owned(&Watched { resource });
        }
        let queue = Queue::default();
        let mut all = Registry::default();
        all.register_collector(Box::new(process::Process));
        let registry = all.sub_registry_with_prefix("artifactconfig");
        registry.register("reconciles", "Reconciles by result and reason", reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Duration of reconciles",
            Unit::Seconds,
            reconcile_duration.clone(),
        );
        registry.register_with_unit(
            "last_success_timestamp",
            "When a reconcile of any resource last succeeded, 0 before the first",
            Unit::Seconds,
            last_success.clone(),
        );
        let registries = Registries::register(registry);
        registry.register("watches", "Watches on the API server that run", watches.clone());
        registry.register("watch_errors", "Failures of watches on the API server", watch_errors.clone());
        registry.register("leader", "1 while this process is the leader, otherwise 0", leader.clone());
        registry.register(
            "build",
            "Version of the operator",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register_collector(Box::new(runtime::Runtime));
        if let Some(counts) = sources.spans {
            registry.register_collector(Box::new(runtime::Spans(counts)));
        }
        queue.register(registry);
        if let Some(states) = sources.resources {
            registry.register_collector(Box::new(resources::Resources::new(
                states,
                sources.each,
                queue.clone(),
            )));
        }
        Self {
            registry: Arc::new(all),
            reconciles,
            reconcile_duration,
            last_success,
            registries,
            watches,
            watch_errors,
            leader,
            queue,
        }
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, owner: &Owner, outcome: &Outcome, took: Duration) {
        let result = match outcome.class() {
            Class::Done => "success",
            Class::Terminal => "terminal",
            Class::Waiting => "waiting",
            Class::Transient => "error",
        };
        if outcome.class() == Class::Done {
            self.last_success.set(seconds_since_epoch());
            self.queue.succeeded(&owner.namespace, &owner.name);
        }
        self.reconciles.get_or_create_owned(&Reconciled { result, reason: outcome.reason().as_str() }).inc();
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    /// Counts an observation of the registry client.
    pub fn observed(&self, observation: Observation<'_>) {
        self.registries.observed(observation);
    }

    /// A watch has started.
    pub fn watch_started(&self, resource: &'static str) {
        self.watches.get_or_create_owned(&Watched { resource }).inc();
    }

    /// A watch has been stopped.
    pub fn watch_stopped(&self, resource: &'static str) {
        self.watches.get_or_create_owned(&Watched { resource }).dec();
    }

    /// Counts a failed watch.
    pub fn watch_failed(&self, resource: &'static str) {
        self.watch_errors.get_or_create_owned(&Watched { resource }).inc();
    }

    /// Sets whether this process is the leader. The default is no.
    pub fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
        self.queue.lead(leads);
    }

    /// Which resources are due, and how long they wait for their turn.
    #[must_use]
    pub const fn queue(&self) -> &Queue {
        &self.queue
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

fn seconds_since_epoch() -> f64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A number that is read at each scrape.
fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, unit): (&str, &str, Option<&Unit>),
    value: f64,
) -> fmt::Result {
    encoder.encode_descriptor(name, &format!("{help}."), unit, MetricType::Gauge)?.encode_gauge(&value)
}

/// A count that is read at each scrape.
fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, unit): (&str, &str, Option<&Unit>),
    value: f64,
) -> fmt::Result {
    let exemplar: Option<&Exemplar<NoLabelSet, f64>> = None;
    let help = format!("{help}.");
    encoder.encode_descriptor(name, &help, unit, MetricType::Counter)?.encode_counter(&value, exemplar)
}
