//! Panics: counted, and logged like everything else, so that none goes unseen.

use std::any::Any;
use std::backtrace::Backtrace;
use std::sync::atomic::{AtomicU64, Ordering};

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics of this process since [`install`].
pub(super) fn count() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// From now on a panic is a log line with its place, and counted. The backtrace is there if `RUST_BACKTRACE` asks for it.
pub fn install() {
    std::panic::set_hook(Box::new(|info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        let backtrace = Backtrace::capture();
        tracing::error!(place, thread, cause = text(info.payload()), %backtrace, "panic");
    }));
}

fn text(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
