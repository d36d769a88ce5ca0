//! The real Helm, with and without a cluster.

use std::process::Command;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::output::Output;
use crate::scratch::Scratch;
use crate::tools::{Tool, ToolPaths, Tools};

/// Helm for what needs no cluster: `lint`, `template`, `package`.
#[derive(Debug)]
pub struct Helm {
    tools: ToolPaths,
    scratch: Scratch,
}

impl Helm {
    /// Finds the program, building it on first use.
    ///
    /// # Errors
    /// When it cannot be built.
    pub async fn locate() -> Result<Self> {
        let tools = Tools::locate()?.ensure(&[Tool::Helm]).await?;
        Ok(Self { tools, scratch: Scratch::new("helm").await? })
    }

    /// Runs `helm` with these arguments. A status other than 0 is an answer, not an error: see
    /// [`Output::ok`].
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub async fn run(&self, args: &[&str]) -> Result<Output> {
        Output::of(command(&self.tools, &self.scratch, args)?, None).await
    }
}

impl Cluster {
    /// Runs `helm` as the administrator. A status other than 0 is an answer, not an error: see
    /// [`Output::ok`].
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub async fn helm(&self, args: &[&str]) -> Result<Output> {
        let (tools, scratch) = self.tools_and_scratch();
        let mut command = command(tools, scratch, args)?;
        command.env("KUBECONFIG", self.kubeconfig());
        Output::of(command, None).await
    }
}

/// Without the caches, plugins and clusters of the user.
fn command(tools: &ToolPaths, scratch: &Scratch, args: &[&str]) -> Result<Command> {
    let mut command = tools.command(Tool::Helm, args)?;
    let home = scratch.join("helm");
    command.env("HOME", &home);
    for kind in ["CACHE", "CONFIG", "DATA"] {
        command.env(format!("HELM_{kind}_HOME"), home.join(kind.to_lowercase()));
    }
    command.env_remove("HELM_NAMESPACE").env_remove("KUBECONFIG");
    Ok(command)
}
