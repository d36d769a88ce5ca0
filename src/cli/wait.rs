//! Waiting until the operator has done what was asked, and saying why it has not.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use api::ArtifactConfig;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use super::kubectl_flags::Connection;
use super::output::say;
use super::resource;
use super::said;
use super::verdict::{Asked, Verdict, verdict};

/// Time between two reads of the resource. The operator takes some hundred milliseconds.
const POLL: Duration = Duration::from_millis(250);

/// Longest that the search for the operator's Deployment may take.
const SEARCH: Duration = Duration::from_secs(5);

/// Label of the operator's Deployment, as `deploy/` sets it.
const OPERATOR: &str = "app.kubernetes.io/name=artifactconfig";

/// How long to wait.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct WaitArgs {
    /// How long to wait for the operator, as a Go duration.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    timeout: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    super::duration::parse(text, "expected a Go duration such as 30s or 2m")
}

impl WaitArgs {
    /// Waits until the operator has acted on `written`, and prints progress to standard error. Returns the resource
    /// after that, and the operator's message.
    ///
    /// # Errors
    /// If it failed, if someone else has changed the resource, or if the time is over; with the cause.
    pub async fn until_done(
        &self,
        connection: &Connection,
        asked: Asked,
        written: &ArtifactConfig,
    ) -> anyhow::Result<(ArtifactConfig, String)> {
        let (name, started) = (written.name_any(), Instant::now());
        let mut told = String::new();
        loop {
            // A moment without an API server ends nothing: what was asked for stands in the resource.
            let (verdict, now) = match read(connection, &name).await {
                Ok(Some(now)) => (verdict(asked, written, &now), Some(now)),
                Ok(None) => (Verdict::Failed("it was deleted meanwhile".to_owned()), None),
                Err(why) => (Verdict::Waiting(said::chain(&why)), None),
            };
            let why = match (verdict, now) {
                (Verdict::Done(message), Some(now)) => return Ok((now, message)),
                (Verdict::Waiting(why), _) => why,
                (Verdict::Failed(why) | Verdict::Done(why), _) => bail!(why),
            };
            if started.elapsed() >= self.timeout {
                let why = said::sentence(&format!("not done within {} s: {why}", self.timeout.as_secs()));
                let found = operator(connection).await.map(|found| said::sentence(&found));
                bail!([Some(why), found].into_iter().flatten().collect::<Vec<_>>().join(" "));
            }
            if why != told && started.elapsed() >= POLL {
                say!("waiting: {why}");
                told = why;
            }
            tokio::time::sleep(POLL.min(self.timeout.saturating_sub(started.elapsed()))).await;
        }
    }
}

async fn read(connection: &Connection, name: &str) -> anyhow::Result<Option<ArtifactConfig>> {
    let api: Api<ArtifactConfig> = Api::namespaced(connection.client.clone(), &connection.namespace);
    api.get_opt(name).await.map_err(resource::explained).context("the resource cannot be read")
}

/// The state of the operator itself, as far as the user may read it: it often explains why nothing happens.
async fn operator(connection: &Connection) -> Option<String> {
    let api: Api<Deployment> = Api::all(connection.client.clone());
    let parameters = ListParams::default().labels(OPERATOR).limit(5);
    let found = tokio::time::timeout(SEARCH, api.list(&parameters)).await.ok()?;
    Some(match found {
        Ok(list) if list.items.is_empty() => {
            "No Deployment of the operator (label app.kubernetes.io/name=artifactconfig) was found; does it run?".to_owned()
        }
        Ok(list) => {
            let of = |deployment: &Deployment| {
                let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
                format!("{}/{}: {ready}", deployment.namespace().unwrap_or_default(), deployment.name_any())
            };
            let all: Vec<String> = list.items.iter().map(of).collect();
            format!("Ready pods of the operator's Deployment {}", all.join(", "))
        }
        Err(_) => "Does the operator run? You may not list Deployments, so it was not looked for".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("2m", Some(120))]
    #[case("90s", Some(90))]
    #[case("0s", Some(0))]
    #[case("-1s", None)]
    #[case("soon", None)]
    fn durations(#[case] text: &str, #[case] seconds: Option<u64>) {
        assert_eq!(duration(text).ok(), seconds.map(Duration::from_secs));
    }
}
