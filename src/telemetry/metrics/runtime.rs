//! Metrics of the runtime: tasks, panics, and exported spans.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use crate::telemetry::{SpanCounts, panics};

use super::{counter, gauge};

/// Read at each scrape. Outside of a runtime there are no values.
#[derive(Debug)]
pub(super) struct Runtime;

impl Collector for Runtime {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let panics = ("panics", "Panics; each is a bug, and the log has its location", None);
        counter(&mut encoder, panics, to_f64(panics::count()))?;
        let Ok(handle) = tokio::runtime::Handle::try_current() else { return Ok(()) };
        let runtime = handle.metrics();
        let workers = ("runtime_workers", "Threads that run tasks", None);
        gauge(&mut encoder, workers, to_f64(runtime.num_workers() as u64))?;
        let tasks = ("runtime_alive_tasks", "Tasks that were spawned and have not ended", None);
        gauge(&mut encoder, tasks, to_f64(runtime.num_alive_tasks() as u64))?;
        let queued = ("runtime_global_queue_tasks", "Tasks that wait for a free thread", None);
        gauge(&mut encoder, queued, to_f64(runtime.global_queue_depth() as u64))
    }
}

/// Spans by result.
#[derive(Debug)]
pub(super) struct Spans(pub(super) Arc<SpanCounts>);

impl Collector for Spans {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (exported, failed) = self.0.get();
        let help = "Spans that the collector accepted (exported) or did not accept (failed).";
        let mut metric = encoder.encode_descriptor("trace_spans", help, None, MetricType::Counter)?;
        let exemplar: Option<&Exemplar<NoLabelSet, f64>> = None;
        metric.encode_family(&[("result", "exported")])?.encode_counter(&exported, exemplar)?;
        metric.encode_family(&[("result", "failed")])?.encode_counter(&failed, exemplar)
    }
}

#[expect(clippy::cast_precision_loss, reason = "no number here comes near 2^53")]
const fn to_f64(number: u64) -> f64 {
    number as f64
}
