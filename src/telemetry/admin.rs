//! `/log-level`, without authentication: it listens on the loopback address only, so a caller needs the right to
//! `kubectl port-forward`.

use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use super::LogLevel;

/// Largest filter, in bytes: longer than any useful filter, and small enough to parse at no cost.
const MAX_FILTER: usize = 4096;

/// Address of the admin endpoint; `None` switches it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminAddress(Option<SocketAddr>);

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if matches!(text, "" | "none") {
            return Ok(Self(None));
        }
        let address: SocketAddr =
            text.parse().map_err(|_| "it must be IP:PORT such as 127.0.0.1:8081, or none".to_owned())?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "{} is not a loopback address, such as 127.0.0.1 or [::1]: the admin endpoint has no authentication, so it \
                 may only listen on loopback; use kubectl port-forward",
                address.ip()
            ));
        }
        Ok(Self(Some(address)))
    }
}

/// Serves until `stop` ends.
///
/// # Errors
/// If the address cannot be bound.
pub async fn serve(
    address: AdminAddress,
    level: LogLevel,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let Some(address) = address.0 else {
        stop.await;
        return Ok(());
    };
    let router = Router::new()
        .route("/log-level", get(show).put(change))
        .layer(DefaultBodyLimit::max(MAX_FILTER))
        .with_state(level);
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "--admin-address {address} cannot be bound; is another operator running here? 'none' switches it off"
        )
    })?;
    tracing::info!(address = %listener.local_addr()?, "serving /log-level");
    axum::serve(listener, router).with_graceful_shutdown(stop).await.context("the admin server ended")
}

async fn show(State(level): State<LogLevel>) -> String {
    level.get() + "\n"
}

async fn change(State(level): State<LogLevel>, filter: String) -> (StatusCode, String) {
    match level.set(filter.trim()) {
        Ok(()) => (StatusCode::OK, level.get() + "\n"),
        Err(why) => (StatusCode::BAD_REQUEST, why + "\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("127.0.0.1:8081", Ok(true))]
    #[case("[::1]:8081", Ok(true))]
    #[case("none", Ok(false))]
    #[case("", Ok(false))]
    #[case("0.0.0.0:8081", Err("0.0.0.0 is not a loopback address"))]
    #[case("localhost", Err("IP:PORT"))]
    fn only_loopback_addresses(#[case] text: &str, #[case] expected: Result<bool, &str>) {
        match (text.parse::<AdminAddress>(), expected) {
            (Ok(address), Ok(serves)) => assert_eq!(address.0.is_some(), serves),
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (parsed, _) => panic!("{text}: {parsed:?}"),
        }
    }
}
