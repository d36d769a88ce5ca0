//! Seen from outside: logs, metrics, health.

mod http;
mod logs;
mod metrics;
mod panics;

pub use self::http::{Health, serve};
pub use self::logs::{LogFormat, init as init_logs};
pub use self::metrics::{Metrics, Queue, ResourceStates, Sources, Turn};
pub use self::panics::install as install_panic_hook;
