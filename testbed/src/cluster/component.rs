//! One component of the cluster: started, ready, stopped, started again.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::Mutex;

use crate::process::Process;
use crate::wait::eventually;

/// A component and the process that it is at the moment.
#[derive(Debug)]
pub(super) struct Component {
    name: &'static str,
    command: Command,
    log: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Component {
    pub(super) fn new(name: &'static str, command: Command, log: PathBuf) -> Self {
        Self { name, command, log, process: Mutex::new(None) }
    }

    /// Starts it unless it runs.
    pub(super) async fn start(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        if !process.as_ref().is_some_and(Process::is_running) {
            *process = Some(Process::spawn(self.name, &self.command, &self.log).await?);
        }
        Ok(())
    }

    /// Waits until `probe` succeeds; fails with the end of its log when it exits before, or takes longer than
    /// `limit`.
    pub(super) async fn ready<F>(&self, limit: Duration, mut probe: impl FnMut() -> F) -> Result<()>
    where
        F: Future<Output = Result<(), String>>,
    {
        let process = self.process.lock().await;
        let Some(process) = process.as_ref() else { bail!("{} was not started", self.name) };
        let waiting = eventually(format!("{} to be ready", self.name), limit, || {
            let answer = probe();
            async { Ok(answer.await) }
        });
        let failure = tokio::select! {
            ready = waiting => match ready {
                Ok(()) => return Ok(()),
                Err(why) => format!("{why:#}"),
            },
            status = process.wait_exit() => format!("it exited with {}", status?),
        };
        bail!("{} did not start: {failure}; the end of its log:\n{}", self.name, process.log_tail())
    }

    /// Kills it; does nothing if it does not run.
    ///
    /// Asked politely, the API server waits up to a minute for its clients' watches to end. It keeps no state
    /// but etcd's, and etcd's is thrown away with it, so there is nothing that a polite end would save.
    pub(super) async fn stop(&self) -> Result<()> {
        if let Some(process) = self.process.lock().await.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// Stops it in its tracks, or lets it go on.
    pub(super) async fn pause(&self, paused: bool) -> Result<()> {
        match self.process.lock().await.as_ref() {
            Some(process) if paused => process.pause(),
            Some(process) => process.resume(),
            None => bail!("{} does not run", self.name),
        }
    }

    /// Its process id, while it runs.
    pub(super) async fn pid(&self) -> Option<u32> {
        self.process.lock().await.as_ref().filter(|process| process.is_running()).map(Process::pid)
    }

    /// All that it has logged.
    pub(super) fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}
