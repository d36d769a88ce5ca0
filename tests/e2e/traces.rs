//! Traces: a reconcile as a collector sees it, and a collector that is not there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, span, status};
use prost::Message as _;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{Bench, cases, checked, eventually, same};

cases! {
    Embedded [
        a_reconcile_is_a_tree_of_stages_and_requests,
        a_collector_that_is_away_harms_nothing,
    ]
}

const FILES: [(&str, &str); 1] = [("config.json", "{}")];

/// The stages, in the order of the pipeline.
const STAGES: [&str; 10] =
    ["watch", "read", "resolve", "discover", "select", "pull", "render", "plan", "apply", "status"];

/// A collector that keeps what it gets.
#[derive(Clone, Default)]
struct Collector {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    /// Serves OTLP over HTTP until the test ends; returns its URL.
    async fn start(&self) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let kept = Arc::clone(&self.requests);
        let take = move |body: Bytes| async move {
            match ExportTraceServiceRequest::decode(body) {
                Ok(request) => {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                    StatusCode::OK
                }
                Err(_) => StatusCode::BAD_REQUEST,
            }
        };
        let router = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(url)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<ExportTraceServiceRequest>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.kept();
        let scopes = requests.iter().flat_map(|request| &request.resource_spans);
        scopes.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The traces of the reconciles of a namespace that have ended.
    fn reconciles(&self, namespace: &str) -> Vec<Trace> {
        let spans = self.spans();
        let is_root = |span: &&Span| text(span, "k8s.namespace.name").as_deref() == Some(namespace);
        let trace = |root: &Span| {
            let spans = spans.iter().filter(|span| span.trace_id == root.trace_id).cloned().collect();
            Trace { root: root.clone(), spans }
        };
        spans.iter().filter(is_root).map(trace).collect()
    }

    /// The first reconcile that went the whole way and asked for everything. It may have lost the race for the status
    /// against the other operator of the world; then a later one ends well, and finds the answers in memory.
    fn whole(&self, namespace: &str) -> Option<Trace> {
        self.reconciles(namespace).into_iter().find(|trace| {
            let has = |name: &&str| trace.stage(name).is_ok();
            STAGES.iter().all(has) && trace.spans.iter().any(|span| span.name == "GET blob")
        })
    }

    fn resource(&self) -> BTreeMap<String, String> {
        let requests = self.kept();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let attributes = resources.filter_map(|spans| spans.resource.as_ref()).flat_map(|it| &it.attributes);
        attributes.map(|pair| (pair.key.clone(), shown(pair.value.as_ref()))).collect()
    }
}

struct Trace {
    root: Span,
    spans: Vec<Span>,
}

impl Trace {
    fn children(&self, parent: &Span) -> Vec<&Span> {
        self.spans.iter().filter(|span| span.parent_span_id == parent.span_id).collect()
    }

    fn stage(&self, name: &str) -> Result<&Span> {
        let mut stages = self.children(&self.root).into_iter().filter(|span| span.name == name);
        stages.next().with_context(|| format!("no stage {name}"))
    }

    /// The requests of a stage.
    fn requests(&self, stage: &str) -> Result<Vec<&Span>> {
        Ok(self.children(self.stage(stage)?).into_iter().filter(|span| is_client(span)).collect())
    }
}

fn shown(value: Option<&opentelemetry_proto::tonic::common::v1::AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn text(span: &Span, key: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key == key).map(|pair| shown(pair.value.as_ref()))
}

async fn a_reconcile_is_a_tree_of_stages_and_requests(bench: Bench) -> Result<()> {
    let (image, digest, _) = bench.image_with("web:v1", &FILES).await?;
    bench.make_private().await?;
    let collector = Collector::default();
    let url = collector.start().await?;
    let operator = bench.world.replica("traced", &["--otlp-endpoint", &url]).await?;
    let registry = json!({"pullSecrets": [{"name": "regcred"}]});
    bench.apply("web", json!({"image": image, "registry": registry})).await?;
    bench.ready("web").await?;
    let trace = eventually("a trace of the reconcile", || async {
        Ok(collector.whole(&bench.namespace).ok_or_else(|| format!("{} spans", collector.spans().len())))
    })
    .await?;

    eventually("a trace that says how it ended", || async {
        let ends: Vec<_> = collector
            .reconciles(&bench.namespace)
            .iter()
            .map(|trace| text(&trace.root, "artifactconfig.reason"))
            .collect();
        let synced = ends.contains(&Some("Synced".to_owned()));
        Ok(if synced { Ok(()) } else { Err(format!("{ends:?}")) })
    })
    .await?;

    is_a_tree(&trace)?;
    follows_the_conventions(&bench, &trace, &digest)?;
    same("service", collector.resource().get("service.name").map(String::as_str), Some("artifactconfig"))?;
    // Nothing that opens a registry.
    let all = format!("{:?}", collector.kept());
    for secret in ["secret-word", "Bearer", "Basic", "scope="] {
        checked(&format!("no {secret} in any span"), !all.contains(secret), secret)?;
    }
    checked(
        "what is exported is counted",
        operator.metrics().await?.contains("artifactconfig_trace_spans_total{result=\"failed\"} 0"),
        (),
    )?;
    checked("spans are no log lines", !operator.log().contains("otel."), ())
}

/// The reconcile, its stages in the order of the pipeline, the requests below them.
fn is_a_tree(trace: &Trace) -> Result<()> {
    same("name", trace.root.name.as_str(), "reconcile")?;
    checked("it has no parent", trace.root.parent_span_id.is_empty(), &trace.root.parent_span_id)?;
    same("resource", text(&trace.root, "artifactconfig.name").as_deref(), Some("web"))?;
    let mut starts = Vec::new();
    for name in STAGES {
        let stage = trace.stage(name)?;
        checked("it ends after it begins", stage.end_time_unix_nano >= stage.start_time_unix_nano, stage)?;
        starts.push(stage.start_time_unix_nano);
    }
    checked("the stages follow each other", starts.is_sorted(), starts)?;
    let names = |stage: &str| -> Result<Vec<String>> {
        Ok(trace.requests(stage)?.into_iter().map(|span| span.name.clone()).collect())
    };
    same("requests of resolve", names("resolve")?, ["HEAD resolve", "GET token", "HEAD resolve"])?;
    same("requests of pull", names("pull")?, ["GET blob"])?;
    let discovered = names("discover")?;
    checked("requests of discover", discovered.contains(&"GET referrers".to_owned()), &discovered)
}

/// The attributes of requests have the names and values of the conventions of OpenTelemetry.
fn follows_the_conventions(bench: &Bench, trace: &Trace, digest: &str) -> Result<()> {
    let refused = trace.requests("resolve")?[0];
    let (host, port) = bench.world.embedded.host().rsplit_once(':').map(own).context("no port")?;
    for (key, value) in [
        ("http.request.method", "HEAD"),
        ("server.address", &host),
        ("server.port", &port),
        ("url.scheme", "http"),
        ("url.path", &format!("/v2/{}/web/manifests/v1", bench.namespace)),
        ("http.response.status_code", "401"),
        ("error.type", "401"),
    ] {
        same(key, text(refused, key).as_deref(), Some(value))?;
    }
    let code = refused.status.as_ref().map(|status| status.code);
    same("status", code, Some(status::StatusCode::Error as i32))?;
    let listed = trace.requests("discover")?.into_iter().find(|span| span.name == "GET referrers");
    let path = listed.and_then(|span| text(span, "url.path"));
    let expected = format!("/v2/{}/web/referrers/{digest}", bench.namespace);
    same("the path of a question with a query", path, Some(expected))
}

fn own((host, port): (&str, &str)) -> (String, String) {
    (host.to_owned(), port.to_owned())
}

fn is_client(span: &Span) -> bool {
    span.kind == span::SpanKind::Client as i32
}

/// Export fails for ever: the config is applied all the same, and the log says so once.
async fn a_collector_that_is_away_harms_nothing(bench: Bench) -> Result<()> {
    // Bound and given up, so that nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let operator = bench.world.replica("traced", &["--otlp-endpoint", &format!("http://{address}")]).await?;
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    bench.apply("web", json!({"image": image, "interval": "1s"})).await?;
    bench.ready("web").await?;
    let failed = async || -> Result<f64> {
        let text = operator.metrics().await?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("artifactconfig_trace_spans_total{result=\"failed\"} "));
        Ok(line.context("no count of spans")?.parse()?)
    };
    let first = eventually("failed exports", || async {
        let count = failed().await?;
        Ok(if count > 0.0 { Ok(count) } else { Err("none failed".to_owned()) })
    })
    .await?;
    eventually("further failed exports", || async {
        let count = failed().await?;
        Ok(if count > first { Ok(()) } else { Err(format!("{count} as before")) })
    })
    .await?;
    let lines = operator.log().lines().filter(|line| line.contains("traces not exported")).count();
    same("lines about it", lines, 1)?;
    let ended = operator.terminate().await?;
    checked("it ends as it should", ended.success(), ended)
}
