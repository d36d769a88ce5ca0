//! The image as it comes out of a registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::Scratch;
use testbed::registry::{ProcessRegistry, RegistryKind};
use testbed::tools::{Tool, ToolPaths, Tools};

/// Made by `scripts/image-push`, pulled again, and unpacked.
pub struct Image {
    /// Of the manifest.
    pub digest: String,
    /// The image's configuration.
    pub config: Value,
    /// Bytes of the only layer.
    pub layer: u64,
    /// The same as it is stored and downloaded.
    pub compressed: u64,
    archive: PathBuf,
    scratch: Scratch,
}

/// A file of the image.
pub struct File {
    pub path: String,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
}

impl Image {
    pub async fn build() -> Result<Self> {
        testbed::install_crypto_provider();
        let program = std::env::var_os("IMAGE_PROGRAM")
            .context("IMAGE_PROGRAM does not name the static program: run `make image-test`")?;
        let tools = Tools::locate()?.ensure(&[Tool::Crane]).await?;
        let scratch = Scratch::new("image").await?;
        let registry = ProcessRegistry::start(RegistryKind::Distribution).await?;
        let reference = format!("{}/artifactconfig:test", registry.host());

        let mut push = Command::new(root().join("scripts/image-push"));
        push.arg(program).arg(&reference).env("CRANE", tools.path(Tool::Crane)?);
        let pushed = output(push)?;
        let (_, digest) = pushed.trim().rsplit_once('@').context("image-push printed no digest")?;

        let config = crane(&tools, &["config", &reference])?;
        let manifest: Value = serde_json::from_str(&crane(&tools, &["manifest", &reference])?)?;
        let layers = manifest["layers"].as_array().context("no layers")?;
        ensure!(layers.len() == 1, "{manifest}");
        let compressed = layers[0]["size"].as_u64().context("a layer without a size")?;
        let archive = scratch.join("image.tar");
        crane(&tools, &["export", &reference, &archive.to_string_lossy()])?;
        let unpacked = scratch.join("root");
        std::fs::create_dir(&unpacked)?;
        tar::Archive::new(std::fs::File::open(&archive)?).unpack(&unpacked)?;
        Ok(Self {
            digest: digest.to_owned(),
            config: serde_json::from_str(&config)?,
            layer: std::fs::metadata(&archive)?.len(),
            compressed,
            archive,
            scratch,
        })
    }

    /// Its files, unpacked.
    pub fn root(&self) -> PathBuf {
        self.beside("root")
    }

    /// A path outside of it that goes when it goes.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Its files without the directories, by path.
    pub fn files(&self) -> Result<Vec<File>> {
        let mut files = Vec::new();
        for entry in tar::Archive::new(std::fs::File::open(&self.archive)?).entries()? {
            let entry = entry?;
            let header = entry.header();
            let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            if !header.entry_type().is_dir() {
                files.push(File { path, mode: header.mode()?, uid: header.uid()?, gid: header.gid()? });
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn crane(tools: &ToolPaths, args: &[&str]) -> Result<String> {
    output(tools.command(Tool::Crane, args)?)
}

/// Its output; an error if it fails.
pub fn output(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} does not run"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
