//! What every pass shares: the two worlds, the memory, the metrics, the clock and the end.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

use super::memory::Memory;

/// The two worlds, the clock, and what is remembered of each resource.
pub struct Context<R, C> {
    /// The registries.
    pub registry: R,
    /// The API server.
    pub cluster: C,
    /// What is remembered.
    pub memory: Memory,
    /// Numbers for whoever watches.
    pub metrics: Metrics,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// Cancelled when the operator is to end.
    pub stop: CancellationToken,
}
