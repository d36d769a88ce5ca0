//! Being asked to stop.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGINT, SIGTERM or SIGHUP (the terminal was closed); returns the exit status that shells use for
/// it.
pub(crate) async fn requested() -> ExitCode {
    tokio::select! {
        code = on(SignalKind::interrupt()) => code,
        code = on(SignalKind::terminate()) => code,
        code = on(SignalKind::hangup()) => code,
    }
}

async fn on(kind: SignalKind) -> ExitCode {
    match signal(kind) {
        Ok(mut stream) => {
            stream.recv().await;
        }
        // Then the signal keeps its default effect: it ends the process, which also stops everything.
        Err(_) => std::future::pending().await,
    }
    ExitCode::from(u8::try_from(128 + kind.as_raw_value()).unwrap_or(u8::MAX))
}
