//! Seen from outside: logs and their level, metrics, health.

mod admin;
mod http;
mod logs;
mod metrics;
mod panics;

pub use self::admin::{AdminAddress, serve as serve_admin};
pub use self::http::{Health, serve};
pub use self::logs::{LogFormat, LogLevel, init as init_logs};
pub use self::metrics::{Metrics, Queue, ResourceStates, Sources, Turn};
pub use self::panics::install as install_panic_hook;
