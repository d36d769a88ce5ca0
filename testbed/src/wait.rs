//! Waiting for the world to get somewhere.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, sleep_until};

/// Fast enough that a wait adds little to what it waits for, slow enough to leave the CPU to it.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// Asks `probe` again and again until it answers with a value, or the time is up.
///
/// `probe` returns `Ok(Err(why))` while it is not there yet; the last `why` is in the error when time runs
/// out. A probe that hangs counts as not there yet.
///
/// # Errors
/// When the time is up, or at once when `probe` itself fails.
pub async fn eventually<T, F>(what: impl Display, limit: Duration, mut probe: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Result<T, String>>>,
{
    let deadline = Instant::now() + limit;
    let mut last = String::from("it did not answer once");
    loop {
        tokio::select! {
            answer = probe() => match answer? {
                Ok(value) => return Ok(value),
                Err(why) => last = why,
            },
            () = sleep_until(deadline) => {}
        }
        if Instant::now() >= deadline {
            return Err(anyhow!("gave up waiting for {what} after {limit:?}: {last}"));
        }
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_reason_is_in_the_error() {
        let mut left = 3;
        let value = eventually("three", Duration::from_secs(5), || {
            left -= 1;
            let answer = if left == 0 { Ok(7) } else { Err(format!("{left} left")) };
            async { Ok(answer) }
        });
        assert_eq!(value.await.unwrap(), 7);

        let never = eventually("ever", Duration::from_millis(60), || async { Ok(Err::<(), _>("no".into())) });
        let message = never.await.unwrap_err().to_string();
        assert!(message.contains("ever") && message.contains("no"), "{message}");
        let hang = eventually(
            "godot",
            Duration::from_millis(20),
            std::future::pending::<Result<Result<(), String>>>,
        );
        assert!(hang.await.unwrap_err().to_string().contains("godot"));
    }
}
