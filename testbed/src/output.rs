//! Running a program to its end.

use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt as _;

/// What a program printed and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed on standard output.
    pub stdout: String,
    /// What it printed on standard error.
    pub stderr: String,
}

impl Output {
    /// Whether it ended with status 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Runs the command with `stdin` as its standard input.
    ///
    /// # Errors
    /// When it cannot be started or talked to. Failing is the program's answer, not an error: see
    /// [`Output::ok`].
    pub(crate) async fn of(command: Command, stdin: Option<&[u8]>) -> Result<Self> {
        let shown = describe(&command);
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().with_context(|| format!("cannot run `{shown}`"))?;
        let pipe = child.stdin.take();
        let feed = async {
            if let (Some(mut pipe), Some(bytes)) = (pipe, stdin) {
                // A program that fails early closes its input; its exit status tells the story.
                let _ = pipe.write_all(bytes).await;
            }
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let output = output.with_context(|| format!("`{shown}` was lost"))?;
        Ok(Self {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Turns a status other than 0 into an error that repeats what the program said.
    ///
    /// # Errors
    /// When the status is not 0.
    pub fn ok(self, what: &str) -> Result<Self> {
        if !self.success() {
            let said = if self.stderr.trim().is_empty() { self.stdout.trim() } else { self.stderr.trim() };
            bail!("`{what}` failed ({}): {said}", self.status);
        }
        Ok(self)
    }
}

/// The command as one would type it, without quoting.
pub(crate) fn describe(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
