//! Bounds of requests to one registry: how many side by side, and how many a second.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use reqwest::Url;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::error::{Error, Kind};

/// Hosts whose state is kept; an idle one is forgotten after [`IDLE`].
const HOSTS: u64 = 1000;

/// The state of a host that nobody asked for this long is dropped.
const IDLE: Duration = Duration::from_mins(10);

/// Bounds for each registry host.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests side by side.
    pub concurrency: usize,
    /// Requests a second; with `None` only the registry limits them.
    pub per_second: Option<u32>,
}

impl Default for Rate {
    /// Sixteen side by side, so that one slow registry cannot use up more connections than that.
    fn default() -> Self {
        Self { concurrency: 16, per_second: None }
    }
}

/// Turns at a host. Another port of the host is another server with its own turns.
pub(crate) struct Throttle {
    rate: Rate,
    hosts: Cache<String, Arc<Host>>,
}

struct Host {
    turns: Arc<Semaphore>,
    next: Mutex<Instant>,
}

impl Throttle {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, hosts: Cache::builder().max_capacity(HOSTS).time_to_idle(IDLE).build() }
    }

    /// Waits for a turn at the server that a URL names. The turn lasts until the returned value is dropped.
    pub(crate) async fn turn(&self, url: &Url) -> Result<OwnedSemaphorePermit, Error> {
        let host = url.host_str().unwrap_or_default();
        let server = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
        let state = self.hosts.get_with(server, || {
            Arc::new(Host {
                turns: Arc::new(Semaphore::new(self.rate.concurrency.max(1))),
                next: Mutex::new(Instant::now()),
            })
        });
        let closed = |_| Error::new(Kind::Internal, "the throttle of a registry was closed");
        let permit = state.turns.clone().acquire_owned().await.map_err(closed)?;
        if let Some(per_second) = self.rate.per_second {
            let start = reserve(&mut *state.next.lock().await, Instant::now(), per_second);
            tokio::time::sleep_until(start).await;
        }
        Ok(permit)
    }
}

/// The start of the next turn; the one after it comes an even share of a second later.
fn reserve(next: &mut Instant, now: Instant, per_second: u32) -> Instant {
    let start = (*next).max(now);
    *next = start + Duration::from_secs(1) / per_second.max(1);
    start
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn requests_are_spaced_as_configured_and_idle_time_is_not_saved_up() {
        let now = Instant::now();
        let mut next = now;
        let starts: Vec<u128> =
            (0..11).map(|_| reserve(&mut next, now, 10).duration_since(now).as_millis()).collect();
        assert_eq!(starts, (0..11).map(|turn| turn * 100).collect::<Vec<_>>());
        let later = now + Duration::from_mins(1);
        assert_eq!(reserve(&mut next, later, 10), later);
        assert_eq!(reserve(&mut next, later, 10), later + Duration::from_millis(100));
    }

    #[tokio::test]
    async fn no_more_side_by_side_than_configured_for_each_host() {
        let throttle = Throttle::new(Rate { concurrency: 2, per_second: None });
        let url = |url: &str| url.parse::<Url>().unwrap();
        let registry = url("https://r.example/v2/a");
        let held = [throttle.turn(&registry).await.unwrap(), throttle.turn(&registry).await.unwrap()];
        for same in ["https://r.example/v2/b", "https://r.example:443/", "https://R.example/"] {
            assert!(throttle.turn(&url(same)).now_or_never().is_none(), "a third has to wait: {same}");
        }
        for other in ["https://other.example/", "https://r.example:8443/", "http://r.example/"] {
            assert!(throttle.turn(&url(other)).now_or_never().is_some(), "another server: {other}");
        }
        drop(held);
        assert!(throttle.turn(&registry).now_or_never().is_some());
    }
}
