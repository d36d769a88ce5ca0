//! How slowly a body may come. With only a limit for each read, one byte every half a minute could hold a turn at the
//! host, and block all callers that wait for it, without end.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::http::trouble::innermost;

/// Any body may take this long, which is also the longest silence within an answer.
const GRACE: Duration = Duration::from_secs(30);

/// After that, the average speed must be at least this, in bytes a second. A config of 1 MiB then takes a minute and a
/// half at the worst, and the slowest lines to registries are ten times as fast.
const SLOWEST: u64 = 16 * 1024;

/// Watches over one body.
pub(crate) struct Pace {
    begun: Instant,
    received: u64,
}

impl Pace {
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now(), received: 0 }
    }

    /// The next part of the body; `None` at its end.
    ///
    /// # Errors
    /// A clause for a message that says what the sender did: "answered …".
    pub(crate) async fn next(&mut self, response: &mut reqwest::Response) -> Result<Option<Bytes>, String> {
        let chunk = timeout_at(self.latest(), response.chunk()).await.map_err(|_| {
            format!("sends its answer at less than {SLOWEST} bytes a second, and it is given up")
        })?;
        let chunk = chunk.map_err(|error| {
            let what = if error.is_timeout() {
                "did not go on with its answer in time"
            } else {
                "broke off its answer"
            };
            format!("{what}: {}", innermost(&error.without_url()))
        })?;
        self.received += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Ok(chunk)
    }

    /// When the next part has to be there.
    fn latest(&self) -> Instant {
        self.begun + GRACE + Duration::from_secs(self.received / SLOWEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(parts: impl futures::Stream<Item = Bytes> + Send + 'static) -> reqwest::Response {
        let parts = futures::StreamExt::map(parts, Ok::<_, std::io::Error>);
        http::Response::new(reqwest::Body::wrap_stream(parts)).into()
    }

    /// A byte now and then is not enough: the bytes since the beginning count.
    #[tokio::test]
    async fn a_body_that_drips_is_given_up() {
        let one = || futures::stream::iter([Bytes::from_static(b"x")]);
        let mut dripping = body(futures::StreamExt::chain(one(), futures::stream::pending()));
        let long_ago = Instant::now() - GRACE - Duration::from_secs(1);
        let mut pace = Pace { begun: long_ago, received: 20 };
        assert_eq!(pace.next(&mut dripping).await.unwrap().unwrap(), "x", "what is there is taken");
        let why = pace.next(&mut dripping).await.unwrap_err();
        assert!(why.contains("less than 16384 bytes a second"), "{why}");
        let mut whole = body(one());
        let mut pace = Pace { begun: long_ago, received: 2 * SLOWEST };
        assert!(
            pace.next(&mut whole).await.unwrap().is_some() && pace.next(&mut whole).await.unwrap().is_none()
        );
    }

    #[test]
    fn what_has_come_buys_time() {
        let mut pace = Pace::begin();
        assert_eq!(pace.latest(), pace.begun + GRACE);
        pace.received = 20;
        assert_eq!(pace.latest(), pace.begun + GRACE, "a drip buys none");
        pace.received = 1024 * 1024;
        assert_eq!(pace.latest(), pace.begun + GRACE + Duration::from_secs(64));
    }
}
