//! Directories that go with this process, also when it is killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Waits for the pipe to close, lets programs that are being killed at the same moment finish their last
/// write, deletes.
const SWEEPER: &str = r#"read -r _; sleep 0.3; rm -rf -- "$1"; sleep 1; rm -rf -- "$1""#;

/// A temporary directory: data of etcd, storage of registries, logs.
///
/// [`TempDir`] alone leaves it behind when the process is killed, 64 MB for each etcd.
#[derive(Debug)]
pub struct Scratch {
    directory: Option<TempDir>,
    path: PathBuf,
    /// Only held: closing it lets the sweeper go.
    _pipe: std::io::PipeWriter,
}

impl Scratch {
    /// Makes a directory below the system's place for temporary files.
    ///
    /// # Errors
    /// When that place is not writable, or there is no `sh`.
    // Nothing waits here; but only within a runtime can the sweeper be started, and this says so.
    #[allow(clippy::unused_async)]
    pub async fn new(name: &str) -> Result<Self> {
        Self::create(name)
    }

    /// The same for callers that are not async themselves but run within a runtime, which collects the
    /// sweeper.
    pub(crate) fn create(name: &str) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("testbed-{name}-"))
            .tempdir()
            .context("cannot create a temporary directory: is TMPDIR writable?")?;
        let path = directory.path().to_owned();
        let (reader, pipe) = std::io::pipe().context("cannot create a pipe")?;
        let mut sweeper = Command::new("sh");
        sweeper.args(["-c", SWEEPER, "sweeper"]).arg(&path);
        sweeper.stdin(reader).stdout(Stdio::null()).stderr(Stdio::null());
        tokio::process::Command::from(sweeper).process_group(0).spawn().context("a POSIX `sh` is needed")?;
        Ok(Self { directory: Some(directory), path, _pipe: pipe })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside of it.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Programs that were just killed may still write here; the sweeper takes what this leaves.
        if let Some(directory) = self.directory.take() {
            let _ = directory.close();
        }
    }
}
