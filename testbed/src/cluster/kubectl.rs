//! `kubectl`, as the administrator.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Cluster;
use crate::output::Output;
use crate::tools::Tool;
use crate::wait::eventually;

/// How long the API server may take to serve a definition.
const ESTABLISHED: Duration = Duration::from_mins(1);

impl Cluster {
    /// Runs `kubectl` with these arguments. A status other than 0 is an answer, not an error: see
    /// [`Output::ok`].
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub async fn kubectl(&self, args: &[&str]) -> Result<Output> {
        Output::of(self.kubectl_command(args)?, None).await
    }

    /// The same with something on standard input, for `-f -`.
    ///
    /// # Errors
    /// As [`Cluster::kubectl`].
    pub async fn kubectl_with_stdin(&self, args: &[&str], stdin: &str) -> Result<Output> {
        Output::of(self.kubectl_command(args)?, Some(stdin.as_bytes())).await
    }

    /// Applies the manifests of a YAML text (server-side apply).
    ///
    /// # Errors
    /// When the API server refuses one of them.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.kubectl_with_stdin(&["apply", "--server-side", "-f", "-"], yaml)
            .await?
            .ok("kubectl apply -f -")?;
        Ok(())
    }

    /// Applies the manifests of a file, and waits until the custom resource definitions among them are
    /// served.
    ///
    /// # Errors
    /// When the file is not there, or the API server refuses one of them.
    pub async fn apply_file(&self, path: &Path) -> Result<()> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.apply(&text).await.with_context(|| format!("cannot apply {}", path.display()))?;
        if text.lines().any(|line| line.trim_end() == "kind: CustomResourceDefinition") {
            let wait = ["wait", "--for=condition=Established", "--timeout=10s", "crd", "--all"];
            // Again where it fails: one that has just been made, by us or by somebody else, has no conditions yet,
            // which kubectl calls an error.
            eventually("the definitions to be established", ESTABLISHED, || async {
                let output = self.kubectl(&wait).await?;
                Ok(if output.success() { Ok(()) } else { Err(output.stderr) })
            })
            .await?;
        }
        Ok(())
    }

    fn kubectl_command(&self, args: &[&str]) -> Result<Command> {
        let mut command = self.tools.command(Tool::Kubectl, args)?;
        // Its cache of what the server offers is kept by server address, which a later cluster may have
        // again.
        command.env("HOME", self.scratch.path()).env("KUBECONFIG", &self.kubeconfig);
        command.env("KUBECACHEDIR", self.scratch.join("kube-cache"));
        Ok(command)
    }
}
