//! Whether this process is the leader.

use tokio::sync::watch;
use tokio::time::Instant;

/// Whether this process leads. Clones share the answer.
#[derive(Clone, Debug)]
pub struct Leadership(Option<watch::Receiver<Option<Instant>>>);

impl Leadership {
    /// Permanent leadership, for an operator without leader election.
    #[must_use]
    pub const fn always() -> Self {
        Self(None)
    }

    /// Leadership until the time in the channel.
    pub(super) const fn until(channel: watch::Receiver<Option<Instant>>) -> Self {
        Self(Some(channel))
    }

    /// Whether this process is the leader now. The clock runs while the process is stopped, so a process that wakes up
    /// late knows before it sends anything that its time is over.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|until| is_ahead(*until.borrow(), Instant::now()))
    }

    /// Waits until this process is the leader.
    pub async fn wait(&self) {
        let Some(until) = &self.0 else { return };
        if until.clone().wait_for(|until| is_ahead(*until, Instant::now())).await.is_err() {
            // The election is over, so the process is ending. A caller that asks again and again must not spin.
            std::future::pending::<()>().await;
        }
    }
}

fn is_ahead(until: Option<Instant>, now: Instant) -> bool {
    until.is_some_and(|until| now < until)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_ends_by_the_clock_alone() {
        let until = Instant::now() + Duration::from_secs(10);
        assert!(is_ahead(Some(until), until - Duration::from_millis(1)));
        assert!(!is_ahead(Some(until), until));
        assert!(!is_ahead(None, until));
    }

    #[tokio::test]
    async fn it_is_waited_for() {
        let (sender, receiver) = watch::channel(None);
        let leadership = Leadership::until(receiver);
        assert!(!leadership.holds());
        let waiting = tokio::spawn({
            let leadership = leadership.clone();
            async move { leadership.wait().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        sender.send_replace(Some(Instant::now() + Duration::from_mins(1)));
        waiting.await.unwrap();
        assert!(leadership.holds());
        sender.send_replace(None);
        assert!(!leadership.holds());
    }

    /// A caller that waits in a loop would never give way again.
    #[tokio::test]
    async fn after_the_election_nobody_stops_waiting() {
        let (sender, receiver) = watch::channel(None);
        let leadership = Leadership::until(receiver);
        drop(sender);
        let mut waiting = std::pin::pin!(leadership.wait());
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        assert!(!leadership.holds());
    }

    #[test]
    fn without_an_election_it_always_holds() {
        assert!(Leadership::always().holds());
    }
}
