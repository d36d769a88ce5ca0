//! The runtime: tasks that live, and panics.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::telemetry::panics;

use super::{counter, gauge};

/// Asked at each scrape. Outside of a runtime there is nothing to say of one.
#[derive(Debug)]
pub(super) struct Runtime;

impl Collector for Runtime {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let panics = ("panics", "Panics, each of them a bug; the log has its place", None);
        counter(&mut encoder, panics, to_f64(panics::count()))?;
        let Ok(handle) = tokio::runtime::Handle::try_current() else { return Ok(()) };
        let runtime = handle.metrics();
        let workers = ("runtime_workers", "Threads that run tasks", None);
        gauge(&mut encoder, workers, to_f64(runtime.num_workers() as u64))?;
        let tasks = ("runtime_alive_tasks", "Tasks that were spawned and have not ended", None);
        gauge(&mut encoder, tasks, to_f64(runtime.num_alive_tasks() as u64))?;
        let queued = ("runtime_global_queue_tasks", "Tasks that wait for any thread", None);
        gauge(&mut encoder, queued, to_f64(runtime.global_queue_depth() as u64))
    }
}

#[expect(clippy::cast_precision_loss, reason = "no number here comes near 2^53")]
const fn to_f64(number: u64) -> f64 {
    number as f64
}
