//! Seen from outside: logs, metrics, health.

mod http;
mod logs;
mod metrics;

pub use self::http::{Health, serve};
pub use self::logs::{LogFormat, init as init_logs};
pub use self::metrics::Metrics;
