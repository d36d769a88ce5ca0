//! `/log-level`, without authentication: it listens on the loopback address only, so a caller needs the right to
//! `kubectl port-forward`.

use std::net::SocketAddr;
use std::str::FromStr;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::get;

use super::LogLevel;

/// Largest filter, in bytes: longer than any useful filter, and small enough to parse at no cost.
const MAX_FILTER: usize = 4096;

/// Address of the admin endpoint; `None` switches it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminAddress(Option<SocketAddr>);

impl AdminAddress {
    /// Where to listen, if anywhere.
    #[must_use]
    pub const fn get(self) -> Option<SocketAddr> {
        self.0
    }
}

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

/// The paths for people who administer the process.
pub fn router(level: LogLevel) -> Router {
    Router::new()
        .route("/log-level", get(show).put(change))
        .layer(DefaultBodyLimit::max(MAX_FILTER))
        .with_state(level)
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
