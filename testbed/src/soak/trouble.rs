//! Trouble: what breaks around the operator, one thing at a time, each kind as often as the others.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result};
use strum::VariantArray;
use testbed::registry::Fault;
use tokio::time::{Instant, sleep_until};

use super::pace::Pace;
use super::stage::Stage;

/// Something that breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub(super) enum Trouble {
    EmbeddedDown,
    EmbeddedThrottles,
    EmbeddedFails,
    EmbeddedHangs,
    EmbeddedDisconnects,
    EmbeddedTruncates,
    EmbeddedLies,
    EmbeddedIsSlow,
    DistributionDown,
    DistributionHangs,
    ApiServerDown,
    ApiServerHangs,
    WatchesCut,
    WatchesStalled,
}

impl Trouble {
    const fn name(self) -> &'static str {
        match self {
            Self::EmbeddedDown => "registry with the Referrers API: stopped",
            Self::EmbeddedThrottles => "… answers 429",
            Self::EmbeddedFails => "… answers 503",
            Self::EmbeddedHangs => "… does not answer",
            Self::EmbeddedDisconnects => "… closes connections",
            Self::EmbeddedTruncates => "… breaks off in the middle of bodies",
            Self::EmbeddedLies => "… sends other bytes than the digest says",
            Self::EmbeddedIsSlow => "… takes a second for each answer",
            Self::DistributionDown => "registry without the Referrers API: stopped",
            Self::DistributionHangs => "… stopped in its tracks (SIGSTOP)",
            Self::ApiServerDown => "API server: killed and started again",
            Self::ApiServerHangs => "API server: does not answer (SIGSTOP)",
            Self::WatchesCut => "connections to the API server: cut every second",
            Self::WatchesStalled => "… stay open and deliver nothing",
        }
    }

    /// Makes it happen, and takes it back at that time.
    async fn happen(self, stage: &Stage, until: Instant) -> Result<()> {
        if let Some(fault) = self.fault() {
            let fault = stage.embedded.inject(fault);
            sleep_until(until).await;
            stage.embedded.remove_fault(fault);
            return Ok(());
        }
        match self {
            Self::EmbeddedDown => {
                let _gate = stage.gates.embedded.write().await;
                stage.embedded.stop().await;
                sleep_until(until).await;
                stage.embedded.restart().await
            }
            Self::DistributionDown => {
                let _gate = stage.gates.distribution.write().await;
                stage.distribution.stop().await?;
                sleep_until(until).await;
                stage.distribution.restart().await
            }
            Self::DistributionHangs => {
                let _gate = stage.gates.distribution.write().await;
                stage.distribution.pause(true).await?;
                sleep_until(until).await;
                stage.distribution.pause(false).await
            }
            Self::ApiServerDown => {
                let _gate = stage.gates.api.write().await;
                stage.cluster.stop_api_server().await?;
                sleep_until(until).await;
                stage.cluster.start_api_server().await
            }
            Self::ApiServerHangs => {
                let _gate = stage.gates.api.write().await;
                stage.cluster.pause_api_server(true).await?;
                sleep_until(until).await;
                stage.cluster.pause_api_server(false).await
            }
            Self::WatchesCut => {
                while Instant::now() < until {
                    stage.proxy.cut();
                    sleep_until(until.min(Instant::now() + Duration::from_secs(1))).await;
                }
                Ok(())
            }
            Self::WatchesStalled => {
                stage.proxy.stall(true);
                sleep_until(until).await;
                stage.proxy.stall(false);
                Ok(())
            }
            // Those were faults.
            _ => Ok(()),
        }
    }

    /// What happens to each request of the operator.
    fn fault(self) -> Option<Fault> {
        let fault = from_operator();
        Some(match self {
            Self::EmbeddedThrottles => fault.respond(429, &[("retry-after", "2")], ""),
            Self::EmbeddedFails => fault.status(503),
            Self::EmbeddedHangs => fault.hang(),
            Self::EmbeddedDisconnects => fault.disconnect(),
            Self::EmbeddedTruncates => fault.truncate(10),
            Self::EmbeddedLies => fault.body(|_, bytes| bytes.iter().rev().copied().collect::<Vec<_>>()),
            Self::EmbeddedIsSlow => fault.delay(Duration::from_secs(1)),
            _ => return None,
        })
    }
}

/// Requests of the operator, not those that attach.
fn from_operator() -> Fault {
    Fault::when(|request| {
        let agent = request.headers.get("user-agent").and_then(|agent| agent.to_str().ok());
        agent.is_some_and(|agent| agent.starts_with("artifactconfig/"))
    })
}

/// What happened: how often each, and what is happening now.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    now: Mutex<Option<Trouble>>,
    pub(super) had: Mutex<BTreeMap<usize, (u64, Duration)>>,
}

impl Troubles {
    /// Makes trouble until the deadline; then everything works again.
    pub(super) async fn run(&self, stage: &Stage, pace: &Pace, seed: u64, deadline: Instant) -> Result<()> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut deck = Vec::new();
        loop {
            sleep_until(deadline.min(Instant::now() + millis(random.u64(pace.calm.clone())))).await;
            if Instant::now() >= deadline {
                return Ok(());
            }
            if deck.is_empty() {
                deck = (0..Trouble::VARIANTS.len()).collect();
                random.shuffle(&mut deck);
            }
            let Some(index) = deck.pop() else { continue };
            let (trouble, begun) = (Trouble::VARIANTS[index], Instant::now());
            let until = deadline.min(begun + millis(random.u64(pace.trouble.clone())));
            *lock(&self.now) = Some(trouble);
            trouble.happen(stage, until).await.with_context(|| format!("after: {}", trouble.name()))?;
            *lock(&self.now) = None;
            let mut had = lock(&self.had);
            let (times, lasted) = had.entry(index).or_default();
            *times += 1;
            *lasted += begun.elapsed();
        }
    }

    /// How often each happened, and how long it lasted in all.
    pub(super) fn table(&self) -> Vec<(&'static str, u64, Duration)> {
        let had = lock(&self.had);
        let row = |(index, trouble): (usize, &Trouble)| {
            let (times, lasted) = had.get(&index).copied().unwrap_or_default();
            (trouble.name(), times, lasted)
        };
        Trouble::VARIANTS.iter().enumerate().map(row).collect()
    }

    /// What is happening now.
    pub(super) fn now(&self) -> Option<&'static str> {
        lock(&self.now).map(Trouble::name)
    }
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
