//! Everything that runs: the cluster, two registries, `oras` and the operator.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use testbed::manifests::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use testbed::registry::{EmbeddedRegistry, ProcessRegistry, RegistryKind};
use testbed::{Cluster, ClusterOptions, Manifests, OperatorOptions, OperatorProcess, Oras, Scratch};

use super::audit::{self, Audit};

/// The registry that a test runs against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In this process: has the Referrers API, records requests, misbehaves on demand.
    Embedded,
    /// The CNCF reference registry: has no Referrers API, so that clients use the referrers tag.
    Distribution,
}

impl Kind {
    /// Its word in the names of tests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Distribution => "distribution",
        }
    }
}

/// One of each; tests keep out of each other's way by namespaces and repositories.
pub struct World {
    // The order is the order of dropping.
    /// The operator, as the `ServiceAccount` of the chart.
    pub operator: OperatorProcess,
    /// Has the Referrers API.
    pub embedded: EmbeddedRegistry,
    /// Has none.
    pub distribution: ProcessRegistry,
    /// The real `oras`.
    pub oras: Oras,
    /// The cluster.
    pub cluster: Cluster,
    /// The operator's requests to the API server.
    pub audit: Audit,
}

/// The parts that a suite needs in addition to the usual ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// Nodes that run pods.
    pub nodes: usize,
    /// Values of the chart, as `--set` takes them.
    pub values: &'static [&'static str],
}

impl World {
    /// Starts everything; the tools are built on first use.
    pub async fn start(setup: Setup) -> Result<Self> {
        let (cluster, distribution, embedded, oras) = tokio::try_join!(
            start_cluster(setup),
            ProcessRegistry::start(RegistryKind::Distribution),
            EmbeddedRegistry::start(),
            Oras::locate(),
        )?;
        let (cluster, audit, kubeconfig) = cluster;
        let operator = start_operator(&kubeconfig).await?;
        Ok(Self { operator, embedded, distribution, oras, cluster, audit })
    }

    /// Starts another operator with further flags, under a separate name and with a separate token.
    pub async fn replica(&self, name: &str, args: &[&str]) -> Result<OperatorProcess> {
        let kubeconfig =
            self.cluster.service_account_kubeconfig(OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT).await?;
        let mut options = OperatorOptions::new(Self::binary(), kubeconfig);
        options.args = args.iter().map(|&arg| arg.to_owned()).collect();
        options.env = vec![("HOSTNAME".to_owned(), name.to_owned())];
        OperatorProcess::start(options).await
    }

    /// The operator's program.
    pub fn binary() -> PathBuf {
        PathBuf::from(env!("CARGO_BIN_EXE_artifactconfig"))
    }

    /// The registry's `127.0.0.1:port`.
    pub fn host(&self, kind: Kind) -> String {
        match kind {
            Kind::Embedded => self.embedded.host(),
            Kind::Distribution => self.distribution.host(),
        }
    }

    /// Refuses connections to a registry from now on.
    pub async fn stop_registry(&self, kind: Kind) -> Result<()> {
        match kind {
            Kind::Embedded => {
                self.embedded.stop().await;
                Ok(())
            }
            Kind::Distribution => self.distribution.stop().await,
        }
    }

    /// Starts it again with its content; does nothing if it runs.
    pub async fn restart_registry(&self, kind: Kind) -> Result<()> {
        match kind {
            Kind::Embedded => self.embedded.restart().await,
            Kind::Distribution => self.distribution.restart().await,
        }
    }

    /// Kills the operator, and waits until its port is free for the next one.
    pub async fn kill_operator(&self) -> Result<()> {
        self.operator.kill().await?;
        let address = self.operator.health_address();
        super::eventually(format!("{address} to be free"), || async {
            let refused = tokio::net::TcpStream::connect(&address).await.is_err();
            Ok(if refused { Ok(()) } else { Err("somebody still listens".to_owned()) })
        })
        .await
    }

    /// What must hold of the operator after any number of tests.
    pub async fn verify(&self) -> Result<()> {
        ensure!(self.operator.exit_status().await.is_none(), "the operator has ended");
        let log = self.operator.log();
        let panics: Vec<_> = log.lines().filter(|line| line.contains("panicked")).collect();
        ensure!(panics.is_empty(), "the operator panicked:\n{}", panics.join("\n"));
        let refused = self.audit.refused()?;
        ensure!(
            refused.is_empty(),
            "the chart does not grant what the operator asks for:\n{}",
            refused.join("\n")
        );
        Ok(())
    }
}

async fn start_operator(kubeconfig: &Path) -> Result<OperatorProcess> {
    OperatorProcess::start(OperatorOptions::new(World::binary(), kubeconfig)).await
}

async fn start_cluster(setup: Setup) -> Result<(Cluster, Audit, PathBuf)> {
    let manifests = Manifests::find(None)?;
    let scratch = Scratch::new("audit").await?;
    let options = ClusterOptions {
        manifests: vec![manifests.crd()],
        nodes: setup.nodes,
        api_server_args: audit::api_server_args(&scratch)?,
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(options).await?;
    let kubeconfig =
        cluster.install_with(&manifests, setup.values).await.context("cannot install the chart")?;
    Ok((cluster, Audit::new(scratch), kubeconfig))
}
