//! The values that all passes share: registries, API server, memory, metrics, clock and stop signal.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

use super::memory::Memory;

/// The values that all passes share.
pub struct Context<R, C> {
    /// The registries.
    pub registry: R,
    /// The API server.
    pub cluster: C,
    /// The memory of each resource.
    pub memory: Memory,
    /// The metrics.
    pub metrics: Metrics,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// Cancelled when the operator must end.
    pub stop: CancellationToken,
}
