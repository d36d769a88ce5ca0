//! Commands in an emergency: the command line against a real cluster, with a usual operator.

mod alone;
mod back;
mod gitops;
mod looking;
mod plugin;
mod proxy;
mod waiting;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use api::ArtifactConfig;
use serde_json::{Value, json};
use testbed::registry::EmbeddedRegistry;

use crate::support::{Bench, Case, Ready as _, Snapshot, World};

pub fn cases() -> Vec<Case> {
    [
        looking::cases(),
        back::cases(),
        waiting::cases(),
        gitops::cases(),
        plugin::cases(),
        alone::cases(),
        proxy::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Somebody at a terminal, with a home and a kubeconfig.
struct Person {
    home: tempfile::TempDir,
    kubeconfig: std::path::PathBuf,
    namespace: String,
}

/// How a program ended, and what it printed.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Person {
    fn at(bench: &Bench) -> Result<Self> {
        let kubeconfig = bench.world.cluster.kubeconfig().to_owned();
        Ok(Self { home: tempfile::tempdir()?, kubeconfig, namespace: bench.namespace.clone() })
    }

    /// Runs the program in the namespace of the test.
    async fn types(&self, args: &[&str]) -> Result<Ran> {
        self.runs(Command::new(World::binary()).args(args).args(["-n", &self.namespace])).await
    }

    /// Runs any program with this home and kubeconfig.
    async fn runs(&self, command: &mut Command) -> Result<Ran> {
        command.env("HOME", self.home.path()).env("KUBECONFIG", &self.kubeconfig).env_remove("DOCKER_CONFIG");
        command.stdin(Stdio::null());
        let mut command = tokio::process::Command::from(std::mem::replace(command, Command::new("true")));
        let output = command.kill_on_drop(true).output().await?;
        let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        Ok(Ran { code: output.status.code(), stdout, stderr })
    }

    fn home(&self) -> &Path {
        self.home.path()
    }
}

impl Ran {
    /// Its output, if it ended with 0.
    fn ok(self) -> Result<String> {
        ensure!(self.code == Some(0), "status {:?}: {}{}", self.code, self.stdout, self.stderr);
        Ok(self.stdout)
    }

    /// What it printed, parsed.
    fn json(self) -> Result<Value> {
        serde_json::from_str(&self.ok()?).context("it printed no JSON")
    }

    /// Its error output, if it ended with this status. Without the breaks of long lines.
    fn failed(self, code: i32) -> Result<String> {
        ensure!(
            self.code == Some(code),
            "status {:?}, not {code}: {}{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self.stderr.replace("\n  ", " "))
    }
}

/// Text of the three configs, in the order of their numbers.
const TEXTS: [&str; 3] = ["{\"level\": 1}\n", "{\"level\": 2}\n", "{\"level\": 3}\n"];

/// A resource `web` on which three configs were applied one after the other.
struct Night {
    image: String,
    image_digest: String,
    artifacts: Vec<String>,
    /// Its own, to be stopped while others use theirs.
    registry: EmbeddedRegistry,
}

impl Night {
    async fn begins(bench: &Bench) -> Result<Self> {
        let registry = EmbeddedRegistry::start().await?;
        let image = format!("{}/{}/web:v1", registry.host(), bench.namespace);
        let image_digest = bench.push(&image).await?;
        let mut night = Self { image, image_digest, artifacts: Vec::new(), registry };
        for (index, text) in TEXTS.iter().enumerate() {
            night.attach(bench, text).await?;
            if index == 0 {
                bench.apply("web", json!({"image": night.image})).await?;
                bench.ready("web").await?;
            } else {
                bench.sync_ready("web").await?;
            }
        }
        Ok(night)
    }

    /// Attaches one more, newer than the others.
    async fn attach(&mut self, bench: &Bench, text: &str) -> Result<String> {
        let minute = u32::try_from(self.artifacts.len())? + 1;
        let artifact = bench.attach_at(&self.image, minute, &[("config.json", text)]).await?;
        self.artifacts.push(artifact.clone());
        Ok(artifact)
    }
}

/// The objects after the operator has finished its last writes: the event of a change comes after the status, and a
/// reconcile without a change comes after both.
async fn settled(bench: &Bench) -> Result<Snapshot> {
    bench.sync("web").await?;
    bench.snapshot().await
}

/// The value of `config.json` in the target.
async fn applied(bench: &Bench) -> Result<String> {
    bench.data("web").await?.remove("config.json").context("no config.json")
}

/// Revision numbers and outcomes, newest first.
fn outcomes(config: &ArtifactConfig) -> Result<Vec<(i64, String)>> {
    let of = |entry: &api::HistoryEntry| (entry.revision, format!("{:?}", entry.outcome));
    Ok(config.seen()?.history.iter().map(of).collect())
}
