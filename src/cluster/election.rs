//! Leader election by a Lease.
//!
//! `docs/decisions/0011-own-leader-election.md` says why this does not use `kube-lease-manager`.

use std::time::Duration;

use api::{FIELD_MANAGER, MANAGER, label};
use decide::lease::{self, Step, Timing};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::leadership::Leadership;
use super::problem::Problem;

/// The lease, and the identity of this process.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of the lease.
    pub lease: String,
    /// Identity of this process. It is never used twice: a container that starts again in the same Pod has another one.
    pub identity: String,
    /// Its times.
    pub timing: Timing,
}

/// Takes part in the election.
pub struct Election {
    api: Api<Lease>,
    candidate: Candidate,
    /// Until when this process leads.
    until: watch::Sender<Option<Instant>>,
    /// The lease as this process wrote it last, so that a renewal needs no read.
    written: Option<Lease>,
    /// The version that was seen last, and since when.
    sight: Option<(Option<String>, Instant)>,
    /// The last logged cause, so that it is not logged again.
    said: Option<String>,
}

/// How a request for the lease ended.
enum Turn {
    Holds,
    Waits { holder: String },
}

impl Election {
    /// Sends no request yet. The client must be allowed to write without leadership.
    #[must_use]
    pub fn new(client: Client, candidate: Candidate) -> (Self, Leadership) {
        let (until, receiver) = watch::channel(None);
        let api = Api::namespaced(client, &candidate.namespace);
        let election = Self { api, candidate, until, written: None, sight: None, said: None };
        (election, Leadership::until(receiver))
    }

    /// Takes the lease when it is free, and renews it until it is lost. Returns why it was lost.
    pub async fn run(&mut self) -> anyhow::Error {
        loop {
            let timing = self.candidate.timing;
            let held_until = *self.until.borrow();
            let now = Instant::now();
            if let Some(until) = held_until
                && until <= now
            {
                return self.lost(&self.not_renewed());
            }
            // A request may take two periods, and never longer than the lease is held.
            let patience = now + 2 * timing.period();
            let end = held_until.map_or(patience, |until| until.min(patience));
            let turn = timeout_at(end, self.turn()).await;
            match turn {
                Ok(Ok(Turn::Holds)) => self.say_leading(held_until.is_none()),
                Ok(Ok(Turn::Waits { holder })) if held_until.is_some() => {
                    return self.lost(&format!("{holder} holds it"));
                }
                Ok(Ok(Turn::Waits { holder })) => self.say(&format!("{holder} leads; waiting")),
                Ok(Err(problem)) => self.complain(problem),
                Err(_) => {
                    self.complain(Problem::Other(format!("no answer within {} ms", (end - now).as_millis())));
                }
            }
            sleep(self.pause()).await;
        }
    }

    /// Releases the lease, so that the next leader need not wait for it to expire. Call it after everything else has
    /// ended.
    pub async fn release(&mut self) {
        self.until.send_replace(None);
        let released = tokio::time::timeout(2 * self.candidate.timing.period(), self.give_up()).await;
        match released {
            Ok(Ok(true)) => tracing::info!(lease = self.candidate.lease, "lease released"),
            Ok(Ok(false)) => {}
            Ok(Err(problem)) => {
                let why = problem.into_failure("the lease was not released").message;
                tracing::warn!(
                    lease = self.candidate.lease,
                    error = why,
                    "lease not released; the next leader has to wait for it to expire"
                );
            }
            Err(_) => tracing::warn!(
                lease = self.candidate.lease,
                error = "no answer",
                "lease not released; the next leader has to wait for it to expire"
            ),
        }
    }

    async fn turn(&mut self) -> Result<Turn, Problem> {
        let seen = match self.written.take() {
            Some(lease) => Some(lease),
            None => self.api.get_opt(&self.candidate.lease).await.map_err(|error| Problem::of(&error))?,
        };
        let unchanged = self.unchanged(seen.as_ref());
        let spec = seen.as_ref().and_then(|lease| lease.spec.as_ref());
        let Candidate { identity, timing, .. } = &self.candidate;
        match lease::step(spec, identity, unchanged, *timing, Timestamp::now()) {
            Step::Wait { holder } => Ok(Turn::Waits { holder }),
            Step::Write(spec) => {
                // Measured from before the request, because candidates see the change later.
                let sent = Instant::now();
                let lease = Lease { metadata: self.metadata(seen), spec: Some(*spec) };
                self.written = Some(self.write(&lease).await?);
                self.until.send_replace(Some(sent + self.candidate.timing.deadline()));
                Ok(Turn::Holds)
            }
        }
    }

    /// How long the lease has been unchanged, by this process's clock.
    fn unchanged(&mut self, seen: Option<&Lease>) -> Duration {
        let version = seen.and_then(kube::ResourceExt::resource_version);
        match &self.sight {
            Some((before, since)) if *before == version => since.elapsed(),
            _ => {
                self.sight = Some((version, Instant::now()));
                Duration::ZERO
            }
        }
    }

    fn metadata(&self, seen: Option<Lease>) -> ObjectMeta {
        seen.map_or_else(
            || ObjectMeta {
                name: Some(self.candidate.lease.clone()),
                labels: Some([(label::MANAGED_BY.to_owned(), MANAGER.to_owned())].into()),
                ..ObjectMeta::default()
            },
            |lease| lease.metadata,
        )
    }

    /// Creates the lease if it does not exist, and replaces it if it is still the version that was read. Otherwise it
    /// is a conflict.
    async fn write(&self, lease: &Lease) -> Result<Lease, Problem> {
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let written = match lease.metadata.resource_version {
            None => self.api.create(&parameters, lease).await,
            Some(_) => self.api.replace(&lease.name_any(), &parameters, lease).await,
        };
        written.map_err(|error| Problem::of(&error))
    }

    async fn give_up(&mut self) -> Result<bool, Problem> {
        let found = self.api.get_opt(&self.candidate.lease).await.map_err(|error| Problem::of(&error))?;
        let ours = |lease: &Lease| {
            let spec = lease.spec.clone()?;
            (spec.holder_identity.as_deref() == Some(&self.candidate.identity)).then_some(spec)
        };
        let Some((lease, spec)) = found.and_then(|lease| ours(&lease).map(|spec| (lease, spec))) else {
            return Ok(false);
        };
        let spec = Some(lease::released(&spec, Timestamp::now()));
        self.write(&Lease { spec, ..lease }).await.map(|_| true)
    }

    /// Time until the next request. A holder never sleeps beyond the deadline of its lease.
    fn pause(&self) -> Duration {
        let timing = self.candidate.timing;
        match *self.until.borrow() {
            Some(until) => until.saturating_duration_since(Instant::now()).min(timing.period()),
            None => timing.poll(),
        }
    }

    fn not_renewed(&self) -> String {
        let why = self.said.as_deref().unwrap_or("the process was stopped meanwhile");
        format!("it was not renewed within {} s: {why}", self.candidate.timing.deadline().as_secs_f32())
    }

    fn lost(&self, why: &str) -> anyhow::Error {
        self.until.send_replace(None);
        let Candidate { namespace, lease, .. } = &self.candidate;
        anyhow::anyhow!(
            "the lease {namespace}/{lease} is lost: {why}; ending, so that nothing is written twice"
        )
    }

    fn say_leading(&mut self, is_new: bool) {
        if is_new {
            let Candidate { lease, identity, .. } = &self.candidate;
            tracing::info!(lease, identity, "leading");
        }
        self.said = None;
    }

    fn say(&mut self, what: &str) {
        if self.said.as_deref() != Some(what) {
            let Candidate { lease, identity, .. } = &self.candidate;
            tracing::info!(lease, identity, "{what}");
            self.said = Some(what.to_owned());
        }
    }

    fn complain(&mut self, problem: Problem) {
        let why = problem.into_failure("the lease was not read or written").message;
        if self.said.as_ref() != Some(&why) {
            let Candidate { namespace, lease, .. } = &self.candidate;
            tracing::warn!(namespace, lease, error = why, "lease request failed; trying again");
            self.said = Some(why);
        }
    }
}
