//! What the kubelet and a container runtime do for a Pod, as far as it can make a difference to the program.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::built::{Image, output};

/// A container that can be run.
pub struct Pod {
    root: PathBuf,
    mounts: PathBuf,
    namespaces: &'static [&'static str],
}

impl Pod {
    /// With the network of this machine; `name` distinguishes several containers of one image.
    pub fn new(image: &Image, name: &str) -> Result<Self> {
        let pod = Self { root: image.root(), mounts: image.beside(name), namespaces: &[] };
        std::fs::create_dir_all(&pod.mounts)?;
        Ok(pod)
    }

    /// Without any network, not even a loopback that is up.
    pub fn offline(image: &Image) -> Result<Self> {
        Ok(Self { namespaces: &["--net"], ..Self::new(image, "offline")? })
    }

    /// Puts a file into the container, over that of the image where it has one.
    pub fn mount(&self, path: &str, content: &str) -> Result<()> {
        let file = self.mounts.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(file.parent().context("the root is no file")?)?;
        std::fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The command that becomes the program, with this in its environment, and the PATH that runtimes set.
    pub fn command(&self, args: &[&str], env: &[(&str, &str)]) -> Command {
        let mut command = Command::new("env");
        command.args(["-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
        command.args(env.iter().map(|(name, value)| format!("{name}={value}")));
        command.args(["unshare", "--mount", "--propagation", "private"]).args(self.namespaces);
        command.args(["sh", "-c", include_str!("pod.sh"), "pod.sh"]).arg(&self.root).arg(&self.mounts);
        command.arg("/artifactconfig").args(args);
        command
    }

    /// Runs it to its end; what it printed.
    pub fn output(&self, args: &[&str]) -> Result<String> {
        output(self.command(args, &[]))
    }
}
