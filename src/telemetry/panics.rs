//! Panics: counted, and logged like other errors.

use std::any::Any;
use std::backtrace::Backtrace;
use std::sync::atomic::{AtomicU64, Ordering};

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics of this process since [`install`].
pub(super) fn count() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Installs a hook that logs each panic with its location, and counts it. With `RUST_BACKTRACE` the line has a
/// backtrace.
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
