//! Telemetry: logs and their level, metrics, traces, health.

mod admin;
mod health;
mod logs;
mod metrics;
mod panics;
mod traces;

pub use self::admin::{AdminAddress, router as admin_router};
pub use self::health::Health;
pub use self::logs::{LogFormat, LogLevel, init as init_logs};
pub use self::metrics::{Metrics, Queue, ResourceStates, Sources, Turn};
pub use self::panics::install as install_panic_hook;
pub use self::traces::{Endpoint, SpanCounts, TraceOptions, Traces, waited};
