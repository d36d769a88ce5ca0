//! The programs the testbed runs: pinned Go modules, built on first use.
//!
//! No container engine is available to pull them, and a cluster of programs that are installed by chance would differ
//! on each machine. Each program is therefore pinned by a `go.mod` and `go.sum` (one module per program, because their
//! dependencies disagree), built once, and kept in a cache outside the source tree.

mod build;
mod go;
mod key;
mod module;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use strum::{Display, IntoStaticStr, VariantArray};

use module::Module;

/// A `go` command that sees nothing of the surrounding workspace.
pub(crate) fn go_command() -> std::process::Command {
    go::Go::command()
}

/// A program the testbed can run.
#[derive(Debug, Display, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Tool {
    /// The store behind the API server.
    Etcd,
    /// The Kubernetes API server.
    KubeApiserver,
    /// Kubernetes' built-in controllers: garbage collection, namespace deletion, Deployments and so on.
    KubeControllerManager,
    /// Assigns pods to nodes.
    KubeScheduler,
    /// The Kubernetes command line.
    Kubectl,
    /// Renders and installs charts.
    Helm,
    /// Pushes images and attaches artifacts, as users do.
    Oras,
    /// A registry with the referrers API, paging, authentication and rate limits.
    Olareg,
    /// The CNCF reference registry, which has no referrers API: clients fall back to the referrers tag.
    #[strum(serialize = "registry")]
    Distribution,
    /// go-containerregistry's command line; its `registry serve` has no referrers API either.
    Crane,
    /// Runs Lua, by the interpreter that Argo CD runs health checks with.
    Glua,
    /// Checks and tests the alerts, as Prometheus would.
    Promtool,
    /// Says what the kubelet takes from a pull secret: a program of ours around its own package.
    KubeletKeyring,
}

impl Tool {
    /// What tests and the demo need; the others take minutes to build and are built when something asks for
    /// them.
    pub const DEFAULT: [Self; 12] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubectl,
        Self::Helm,
        Self::Oras,
        Self::Distribution,
        Self::Crane,
        Self::Olareg,
        Self::Glua,
        Self::KubeletKeyring,
    ];

    /// The program's file name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The pinned version, as Go writes it.
    #[must_use]
    pub fn version(self) -> &'static str {
        self.module().version
    }
}

/// Where programs are found, and where they are built to.
#[derive(Debug, Clone)]
pub struct Tools {
    cache: PathBuf,
    assets: Option<PathBuf>,
}

impl Tools {
    /// Reads the environment: `KUBEBUILDER_ASSETS` (ready-made programs, as envtest has them),
    /// `ARTIFACTCONFIG_TOOLS_DIR`, `XDG_CACHE_HOME`, `HOME`.
    ///
    /// # Errors
    /// When no cache directory follows from the environment.
    pub fn locate() -> Result<Self> {
        Self::from_lookup(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<PathBuf>) -> Result<Self> {
        let cache = lookup("ARTIFACTCONFIG_TOOLS_DIR")
            .or_else(|| lookup("XDG_CACHE_HOME").map(|dir| dir.join("artifactconfig/tools")))
            .or_else(|| lookup("HOME").map(|dir| dir.join(".cache/artifactconfig/tools")))
            .context("no place for built programs: set ARTIFACTCONFIG_TOOLS_DIR (or HOME)")?;
        Ok(Self { cache, assets: lookup("KUBEBUILDER_ASSETS") })
    }

    /// The directory that built programs are kept in. It can be deleted at any time.
    #[must_use]
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Paths of the programs, building those that are missing. Says on standard error what takes time.
    ///
    /// # Errors
    /// When Go is missing or too old, or a build fails; the message says what to do.
    pub async fn ensure(&self, tools: &[Tool]) -> Result<ToolPaths> {
        let this = self.clone();
        let tools = tools.to_vec();
        tokio::task::spawn_blocking(move || this.ensure_blocking(&tools))
            .await
            .context("building programs was interrupted")?
    }

    /// The same as [`Tools::ensure`], blocking the thread, possibly for minutes.
    ///
    /// # Errors
    /// As [`Tools::ensure`].
    pub fn ensure_blocking(&self, tools: &[Tool]) -> Result<ToolPaths> {
        let mut paths = BTreeMap::new();
        let mut wanted: BTreeMap<&'static str, (&'static Module, Vec<Tool>)> = BTreeMap::new();
        for &tool in tools {
            if let Some(ready) = self.ready_made(tool) {
                paths.insert(tool, ready);
                continue;
            }
            let (_, of_module) =
                wanted.entry(tool.module().name).or_insert_with(|| (tool.module(), Vec::new()));
            if !of_module.contains(&tool) {
                of_module.push(tool);
            }
        }
        if !wanted.is_empty() {
            let go = go::Go::find()?;
            for (module, tools) in wanted.into_values() {
                paths.extend(build::ensure(&self.cache, &go, module, &tools)?);
            }
        }
        Ok(ToolPaths { paths })
    }

    fn ready_made(&self, tool: Tool) -> Option<PathBuf> {
        let path = self.assets.as_ref()?.join(tool.name());
        path.is_file().then_some(path)
    }
}

/// Programs that are there, and where.
#[derive(Debug, Clone)]
pub struct ToolPaths {
    paths: BTreeMap<Tool, PathBuf>,
}

impl ToolPaths {
    /// The program's absolute path.
    ///
    /// # Errors
    /// When it was not among the programs asked for.
    pub fn path(&self, tool: Tool) -> Result<&Path> {
        self.paths
            .get(&tool)
            .map(PathBuf::as_path)
            .ok_or_else(|| anyhow!("{tool} was not asked for: name it in the call to Tools::ensure"))
    }

    /// A command that runs the program.
    ///
    /// # Errors
    /// As [`ToolPaths::path`].
    pub fn command<I, S>(&self, tool: Tool, args: I) -> Result<std::process::Command>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = std::process::Command::new(self.path(tool)?);
        command.args(args);
        Ok(command)
    }

    /// Every program that was asked for, with its path.
    pub fn iter(&self) -> impl Iterator<Item = (Tool, &Path)> {
        self.paths.iter().map(|(tool, path)| (*tool, path.as_path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup<'a>(vars: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<PathBuf> + 'a {
        move |name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
    }

    #[test]
    fn the_cache_follows_the_most_specific_variable() {
        let home = ("HOME", "/home/me");
        let xdg = ("XDG_CACHE_HOME", "/xdg");
        let own = ("ARTIFACTCONFIG_TOOLS_DIR", "/own");
        assert_eq!(
            Tools::from_lookup(lookup(&[home])).unwrap().cache(),
            Path::new("/home/me/.cache/artifactconfig/tools")
        );
        assert_eq!(
            Tools::from_lookup(lookup(&[home, xdg])).unwrap().cache(),
            Path::new("/xdg/artifactconfig/tools")
        );
        assert_eq!(Tools::from_lookup(lookup(&[home, xdg, own])).unwrap().cache(), Path::new("/own"));
        assert!(
            Tools::from_lookup(lookup(&[])).unwrap_err().to_string().contains("ARTIFACTCONFIG_TOOLS_DIR")
        );
    }

    #[test]
    fn ready_made_programs_come_first() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("etcd"), "").unwrap();
        let assets = dir.path().to_str().unwrap().to_owned();
        let tools =
            Tools::from_lookup(lookup(&[("HOME", "/nowhere"), ("KUBEBUILDER_ASSETS", &assets)])).unwrap();
        let paths = tools.ensure_blocking(&[Tool::Etcd]).unwrap();
        assert_eq!(paths.path(Tool::Etcd).unwrap(), dir.path().join("etcd"));
        assert!(paths.path(Tool::Oras).unwrap_err().to_string().contains("Tools::ensure"));
    }
}
