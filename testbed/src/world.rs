//! What `up` and `demo` start: a cluster, a registry, and the operator.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testbed::registry::EmbeddedRegistry;
use testbed::tools::{Tool, ToolPaths, Tools};
use testbed::{Cluster, ClusterOptions, Manifests, OperatorOptions, OperatorProcess, Oras};

/// Everything that runs. Dropping it stops it.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) registry: EmbeddedRegistry,
    pub(crate) oras: Oras,
    pub(crate) tools: ToolPaths,
}

impl World {
    /// Starts cluster and registry. Definitions named here are known to the garbage collector from the start.
    pub(crate) async fn start(definitions: Vec<PathBuf>, nodes: usize) -> Result<Self> {
        let tools = Tools::locate()?.ensure(&Tool::DEFAULT).await?;
        let oras = Oras::new(&tools)?;
        let registry = EmbeddedRegistry::start().await?;
        let options = ClusterOptions { manifests: definitions, nodes, ..ClusterOptions::default() };
        let cluster = Cluster::start(options).await?;
        Ok(Self { cluster, registry, oras, tools })
    }

    /// Installs the operator's manifests, with these values of the chart, and runs it as its `ServiceAccount`, never as administrator.
    pub(crate) async fn start_operator(
        &self,
        binary: &Path,
        manifests: &Manifests,
        values: &[&str],
    ) -> Result<OperatorProcess> {
        let kubeconfig = self.cluster.install_with(manifests, values).await?;
        OperatorProcess::start(OperatorOptions::new(binary, kubeconfig)).await
    }

    /// Lines for the shell of another terminal.
    pub(crate) fn exports(&self) -> Result<String> {
        let mut directories = Vec::new();
        for tool in [Tool::Kubectl, Tool::Oras] {
            let path = self.tools.path(tool)?;
            let directory =
                path.parent().with_context(|| format!("{} is in no directory", path.display()))?;
            directories.push(directory.display().to_string());
        }
        Ok(format!(
            "export KUBECONFIG={}\nexport PATH={}:$PATH\nexport REGISTRY={}\n",
            self.cluster.kubeconfig().display(),
            directories.join(":"),
            self.registry.host(),
        ))
    }
}

/// Better said before the cluster starts than after.
pub(crate) fn check_operator(binary: &Path) -> Result<()> {
    ensure!(binary.is_file(), "there is no operator at {}: build it with `cargo build`", binary.display());
    Ok(())
}

/// An `ArtifactConfig` for `testimage:v1`, as one would write it.
pub(crate) fn sample(registry: &str, namespace: &str) -> String {
    format!(
        "apiVersion: artifactconfig.dev/v1alpha1
kind: ArtifactConfig
metadata:
  name: web
  namespace: {namespace}
spec:
  image: {registry}/testimage:v1
  artifactType: custom/config
  registry:
    plainHttp: true
  interval: 1m
"
    )
}
