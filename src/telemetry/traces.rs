//! Traces for an `OpenTelemetry` collector: OTLP over HTTP, in batches, only with `--otlp-endpoint`.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use bytes::Bytes;
use opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter,
};
use reqwest::Url;
use tokio::runtime::Handle;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::spans;

/// Most spans that wait to be sent; more are dropped. A reconcile makes about ten, so while the collector is down this
/// holds some hundred reconciles in a few megabytes.
const QUEUE: usize = 4096;

/// Spans in one request.
const BATCH: usize = 512;

/// Longest wait for a batch to fill.
const DELAY: Duration = Duration::from_secs(2);

/// Longest wait for the collector's answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of the collector's answer that are read: an empty message, or the cause of a refusal.
const MAX_ANSWER: usize = 64 * 1024;

/// Longest wait for the last batch when the operator ends.
const LAST: Duration = Duration::from_secs(2);

/// Shortest time between two log lines about failures.
const QUIET: Duration = Duration::from_mins(5);

/// Name of the instrumentation, and of the service if the environment does not name it.
const NAME: &str = "artifactconfig";

/// The destination of traces, and their share.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// Base URL of the collector.
    pub endpoint: Endpoint,
    /// Share of reconciles that are traced, 0 to 1.
    pub ratio: f64,
}

/// Base URL of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Url);

impl std::str::FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = "it must be the URL of a collector's OTLP/HTTP receiver, such as http://collector:4318";
        let url: Url = text.parse().map_err(|error| format!("{wanted}: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wanted.to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it must not hold credentials; give them in OTEL_EXPORTER_OTLP_HEADERS".to_owned());
        }
        Ok(Self(url))
    }
}

impl Endpoint {
    /// The URL for spans, derived from the base URL by the OTLP specification.
    fn of_traces(&self) -> String {
        let base = self.0.as_str().trim_end_matches('/');
        if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") }
    }
}

/// Counts of exported and failed spans.
#[derive(Debug, Default)]
pub struct SpanCounts {
    exported: AtomicU64,
    failed: AtomicU64,
}

impl SpanCounts {
    /// Spans that the collector accepted, and spans that it did not accept.
    pub(super) fn get(&self) -> (u64, u64) {
        (self.exported.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// The export of traces.
#[derive(Clone, Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    counts: Arc<SpanCounts>,
}

impl Traces {
    /// Starts the export; needs a runtime.
    ///
    /// # Errors
    /// If the client cannot be built. An unreachable collector is not an error.
    pub fn start(options: &TraceOptions) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .context("the client for --otlp-endpoint cannot be built")?;
        let client = Client { http, runtime: Handle::current() };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(options.endpoint.of_traces())
            .with_timeout(TIMEOUT)
            .build()
            .context("the exporter for --otlp-endpoint cannot be built")?;
        let counts = Arc::new(SpanCounts::default());
        let exporter = Counted { exporter, counts: Arc::clone(&counts), last_logged: Mutex::new(None) };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.ratio))))
            .with_resource(resource())
            .build();
        Ok(Self { provider, counts })
    }

    /// The layer that makes `OpenTelemetry` spans from the operator's spans only.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.tracer())
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| metadata.target() == spans::TARGET))
    }

    fn tracer(&self) -> SdkTracer {
        self.provider.tracer(NAME)
    }

    /// The counts, while the export runs.
    #[must_use]
    pub fn counts(&self) -> Arc<SpanCounts> {
        Arc::clone(&self.counts)
    }

    /// Sends the remaining spans, with a short timeout.
    pub async fn end(self) {
        let ended = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(LAST)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last traces were not exported");
        }
    }
}

/// Adds the wait before a span as its child. The wait began before the span existed.
pub fn waited(parent: &Span, name: &'static str, time: Duration) {
    let context: Context = parent.context();
    if !context.span().span_context().is_sampled() {
        return;
    }
    let tracer = opentelemetry::global::tracer(NAME);
    let now = SystemTime::now();
    let start = now.checked_sub(time).unwrap_or(now);
    let mut span = tracer.span_builder(name).with_start_time(start).start_with_context(&tracer, &context);
    span.end_with_timestamp(now);
}

impl Traces {
    /// Lets [`waited`] use the same tracer.
    pub(super) fn set_global(&self) {
        opentelemetry::global::set_tracer_provider(self.provider.clone());
    }
}

/// The sender: from the environment (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`), with defaults.
fn resource() -> Resource {
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty());
    let mut resource =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if !named {
        resource = resource.with_service_name(NAME);
    }
    if let Some(name) = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()) {
        resource = resource.with_attribute(KeyValue::new("service.instance.id", name));
    }
    resource.build()
}

/// The HTTP client of the exporter. The exporter calls it from a separate thread, outside of the runtime.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let http = self.http.clone();
        let exchange = async move {
            let mut response = http.execute(request).await.map_err(reqwest::Error::without_url)?;
            let (status, mut body) = (response.status(), Vec::new());
            while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
                body.extend_from_slice(&chunk);
                if body.len() > MAX_ANSWER {
                    return Err(HttpError::from("the answer is too long"));
                }
            }
            let mut answer = http::Response::new(Bytes::from(body));
            *answer.status_mut() = status;
            Ok(answer)
        };
        self.runtime.spawn(exchange).await?
    }
}

/// Counts exported spans, and logs failures at a limited rate.
struct Counted {
    exporter: opentelemetry_otlp::SpanExporter,
    counts: Arc<SpanCounts>,
    last_logged: Mutex<Option<Instant>>,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        match &result {
            Ok(()) => self.counts.exported.fetch_add(spans, Ordering::Relaxed),
            Err(_) => self.counts.failed.fetch_add(spans, Ordering::Relaxed),
        };
        if let Err(error) = &result {
            let mut last_logged = self.last_logged.lock().unwrap_or_else(PoisonError::into_inner);
            if last_logged.is_none_or(|last| last.elapsed() >= QUIET) {
                *last_logged = Some(Instant::now());
                let failed = self.counts.get().1;
                tracing::warn!(%error, failed, "traces not exported; nothing else depends on them");
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("http://collector:4318", Ok("http://collector:4318/v1/traces"))]
    #[case("https://otlp.example/tenant/", Ok("https://otlp.example/tenant/v1/traces"))]
    #[case("http://collector:4318/v1/traces", Ok("http://collector:4318/v1/traces"))]
    #[case("collector:4318", Err("OTLP/HTTP"))]
    #[case("grpc://collector:4317", Err("OTLP/HTTP"))]
    #[case("http://user:word@collector:4318", Err("OTEL_EXPORTER_OTLP_HEADERS"))]
    fn endpoints(#[case] text: &str, #[case] expected: Result<&str, &str>) {
        match (text.parse::<Endpoint>(), expected) {
            (Ok(endpoint), Ok(url)) => assert_eq!(endpoint.of_traces(), url),
            (Err(why), Err(part)) => assert!(why.contains(part) && !why.contains("word"), "{why}"),
            (parsed, _) => panic!("{text}: {parsed:?}"),
        }
    }
}
