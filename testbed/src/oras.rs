//! The real `oras`, run as users run it, with a separate home.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::output::{Output, describe};
use crate::scratch::Scratch;
use crate::tools::{Tool, ToolPaths, Tools};

/// Without it oras writes the present second, and pushing the same image twice makes two images.
const CREATED: &str = "org.opencontainers.image.created=2000-01-01T00:00:00Z";

/// Makes images distinct within this process.
static IMAGES: AtomicU64 = AtomicU64::new(0);

/// Runs `oras`. Credentials of one runner are not seen by another, nor by the user's own `oras`.
#[derive(Debug)]
pub struct Oras {
    program: PathBuf,
    home: Scratch,
}

impl Oras {
    /// A runner without credentials. To be called within a tokio runtime, as everything here.
    ///
    /// # Errors
    /// When `tools` was not asked for [`Tool::Oras`].
    pub fn new(tools: &ToolPaths) -> Result<Self> {
        Ok(Self { program: tools.path(Tool::Oras)?.to_owned(), home: Scratch::create("oras")? })
    }

    /// The same, building `oras` where needed.
    ///
    /// # Errors
    /// When it cannot be built.
    pub async fn locate() -> Result<Self> {
        Self::new(&Tools::locate()?.ensure(&[Tool::Oras]).await?)
    }

    /// Runs it in `directory`.
    ///
    /// # Errors
    /// When it fails; the message repeats what it said.
    pub async fn run(&self, args: &[&str], directory: &Path) -> Result<Output> {
        let command = self.command(args, directory);
        let what = describe(&command);
        Output::of(command, None).await?.ok(&what)
    }

    /// Pushes a small image that differs from all others, tagged as in `reference` (`host/repository:tag`);
    /// returns its digest.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn push_image(&self, reference: &str) -> Result<String> {
        let number = IMAGES.fetch_add(1, Ordering::Relaxed);
        self.push_image_from(reference, &format!("{} {number}", std::process::id())).await
    }

    /// Pushes the image that follows from the seed: the same seed is the same digest.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn push_image_from(&self, reference: &str, seed: &str) -> Result<String> {
        self.push_image_for(reference, seed, "amd64").await
    }

    /// The same for another architecture (of Linux), for images that become part of an index.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn push_image_for(&self, reference: &str, seed: &str, architecture: &str) -> Result<String> {
        let directory = self.directory()?;
        let layer = format!("a layer of no use: {seed}\n");
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": {"seed": seed}},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer.as_bytes())]},
        });
        write(directory.path(), "layer.tar", layer.as_bytes())?;
        write(directory.path(), "config.json", config.to_string().as_bytes())?;
        let args = ["push", "--plain-http", "--format", "json", "--annotation", CREATED, "--config"];
        let files = [
            "config.json:application/vnd.oci.image.config.v1+json",
            reference,
            "layer.tar:application/vnd.oci.image.layer.v1.tar",
        ];
        digest_in(&self.run(&[&args[..], &files].concat(), directory.path()).await?)
    }

    /// `oras attach --artifact-type … image files…`; returns the artifact's digest.
    ///
    /// oras dates artifacts by the second. Where tests attach several within one and their order matters,
    /// give each its `org.opencontainers.image.created`.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn attach(
        &self,
        image: &str,
        artifact_type: &str,
        files: &[(&str, &[u8])],
        annotations: &[(&str, &str)],
    ) -> Result<String> {
        let annotations: Vec<_> = annotations.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let flags: Vec<&str> =
            annotations.iter().flat_map(|annotation| ["--annotation", annotation]).collect();
        let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
        self.attach_with(image, artifact_type, files, &paths, &flags).await
    }

    /// The same with any flags. The files are there, and what is attached are the paths: files, or directories of them.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn attach_with(
        &self,
        image: &str,
        artifact_type: &str,
        files: &[(&str, &[u8])],
        paths: &[&str],
        flags: &[&str],
    ) -> Result<String> {
        let directory = self.directory()?;
        for (path, bytes) in files {
            write(directory.path(), path, bytes)?;
        }
        let args = ["attach", "--plain-http", "--format", "json", "--artifact-type", artifact_type];
        digest_in(&self.run(&[&args[..], flags, &[image], paths].concat(), directory.path()).await?)
    }

    /// `oras discover`: what is attached to the image, as JSON.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn discover(&self, image: &str) -> Result<Value> {
        let output =
            self.run(&["discover", "--plain-http", "--format", "json", image], self.home.path()).await?;
        serde_json::from_str(&output.stdout)
            .with_context(|| format!("oras printed no JSON: {}", output.stdout))
    }

    /// `oras resolve`: the digest of a reference.
    ///
    /// # Errors
    /// When there is no such image.
    pub async fn resolve(&self, image: &str) -> Result<String> {
        let output = self.run(&["resolve", "--plain-http", image], self.home.path()).await?;
        Ok(output.stdout.trim().to_owned())
    }

    /// `oras login`: later runs send these credentials to the registry.
    ///
    /// # Errors
    /// When the registry refuses them.
    pub async fn login(&self, host: &str, user: &str, password: &str) -> Result<()> {
        let command = self.command(
            &["login", "--plain-http", "--username", user, "--password-stdin", host],
            self.home.path(),
        );
        Output::of(command, Some(password.as_bytes())).await?.ok(&format!("oras login {host}"))?;
        Ok(())
    }

    fn command(&self, args: &[&str], directory: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(directory);
        command.env("HOME", self.home.path()).env("DOCKER_CONFIG", self.home.path());
        command
    }

    fn directory(&self) -> Result<TempDir> {
        tempfile::Builder::new()
            .prefix("files-")
            .tempdir_in(self.home.path())
            .context("cannot create a temporary directory")
    }
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = directory.join(name);
    if !path.starts_with(directory) || name.contains("..") {
        bail!("{name:?} must be a relative path: oras attaches files under the names they are given by");
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn digest_in(output: &Output) -> Result<String> {
    let printed: Value = serde_json::from_str(&output.stdout)
        .with_context(|| format!("oras printed no JSON: {}", output.stdout))?;
    let digest = printed["digest"].as_str().with_context(|| format!("oras printed no digest: {printed}"))?;
    Ok(digest.to_owned())
}

fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::from("sha256:"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
