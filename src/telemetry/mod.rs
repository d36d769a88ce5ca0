//! Telemetry: logs and their level, metrics, traces, health.

mod admin;
mod http;
mod logs;
mod metrics;
mod panics;
mod traces;

pub use self::admin::{AdminAddress, serve as serve_admin};
pub use self::http::{Health, serve};
pub use self::logs::{LogFormat, LogLevel, init as init_logs};
pub use self::metrics::{Metrics, Queue, ResourceStates, Sources, Turn};
pub use self::panics::install as install_panic_hook;
pub use self::traces::{Endpoint, SpanCounts, TraceOptions, Traces, waited};
