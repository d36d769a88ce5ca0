//! Everything that this process logs, at the finest level, for tests that search it for secrets.

use std::io::Write;
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::filter::LevelFilter;

static START: Once = Once::new();
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Begins to keep what is logged. To be called before anything that logs.
pub fn keep() {
    START.call_once(|| {
        let writer = || Keep;
        let subscriber =
            tracing_subscriber::fmt().with_writer(writer).with_max_level(LevelFilter::TRACE).with_ansi(false);
        subscriber.init();
    });
}

/// All of it so far, of every test of this process.
pub fn all() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

/// The lines that hold a text.
pub fn lines_with(text: &str) -> Vec<String> {
    all().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

struct Keep;

impl Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
