//! Metrics of requests to registries: their number, cost, and cache hits.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use registry::Observation;

use super::hosts::Hosts;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Requested {
    host: Arc<str>,
    operation: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    host: Arc<str>,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Waited {
    host: Arc<str>,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Host {
    host: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cached {
    cache: &'static str,
    result: &'static str,
}

type Seconds = Counter<f64, AtomicU64>;

#[derive(Clone)]
pub(super) struct Registries {
    hosts: Hosts,
    requests: Family<Requested, Counter>,
    duration: Family<Asked, Histogram, fn() -> Histogram>,
    received: Family<Asked, Counter>,
    retries: Family<Asked, Counter>,
    throttled: Family<Host, Counter>,
    waited: Family<Waited, Seconds>,
    cache: Family<Cached, Counter>,
}

/// 1 ms to 16 s; longer requests are timeouts. Fewer buckets than for reconciles, because each host has its own.
fn request_duration() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

impl Registries {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self {
            hosts: Hosts::default(),
            requests: Family::default(),
            duration: Family::new_with_constructor(request_duration),
            received: Family::default(),
            retries: Family::default(),
            throttled: Family::default(),
            waited: Family::default(),
            cache: Family::default(),
        };
        registry.register(
            "registry_requests",
            "Requests to registries by host, operation and status or class of status",
            this.requests.clone(),
        );
        registry.register_with_unit(
            "registry_request_duration",
            "Time until the head of a registry's answer",
            Unit::Seconds,
            this.duration.clone(),
        );
        registry.register_with_unit(
            "registry_received",
            "Bytes of bodies read from registries",
            Unit::Bytes,
            this.received.clone(),
        );
        registry.register(
            "registry_retries",
            "Requests sent again, after an answer that asks for it or after no answer",
            this.retries.clone(),
        );
        registry.register(
            "registry_throttled",
            "Answers that ask for fewer requests: 429, or any with Retry-After",
            this.throttled.clone(),
        );
        registry.register_with_unit(
            "registry_waited",
            "Time that requests waited before they were sent",
            Unit::Seconds,
            this.waited.clone(),
        );
        registry.register(
            "cache_lookups",
            "Lookups in memory before a request to a registry",
            this.cache.clone(),
        );
        this
    }

    pub(super) fn observed(&self, observation: Observation<'_>) {
        let label = |host: &str| self.hosts.label(host);
        match observation {
            Observation::Requested(record) => {
                let (host, operation) = (label(&record.host), record.operation);
                self.duration
                    .get_or_create_owned(&Asked { host: Arc::clone(&host), operation })
                    .observe(record.took.as_secs_f64());
                let status = class(record.status);
                self.requests.get_or_create_owned(&Requested { host, operation, status }).inc();
            }
            Observation::Received { host, operation, bytes } => {
                let asked = Asked { host: label(host), operation };
                self.received.get_or_create_owned(&asked).inc_by(bytes);
            }
            Observation::Retried { host, operation } => {
                self.retries.get_or_create_owned(&Asked { host: label(host), operation }).inc();
            }
            Observation::Throttled { host } => {
                self.throttled.get_or_create_owned(&Host { host: label(host) }).inc();
            }
            Observation::Waited { host, cause, time } => {
                let waited = Waited { host: label(host), cause: cause.as_str() };
                self.waited.get_or_create_owned(&waited).inc_by(time.as_secs_f64());
            }
            Observation::Cached { cache, hit } => {
                let result = if hit { "hit" } else { "miss" };
                self.cache.get_or_create_owned(&Cached { cache: cache.as_str(), result }).inc();
            }
        }
    }
}

/// The status itself if the remedy depends on it, otherwise its class.
const fn class(status: Option<u16>) -> &'static str {
    match status {
        None => "none",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(401) => "401",
        Some(403) => "403",
        Some(404) => "404",
        Some(429) => "429",
        Some(400..=499) => "4xx",
        Some(_) => "5xx",
    }
}
