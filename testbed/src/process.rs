//! Child processes that never outlive this one.
//!
//! A test that is killed with SIGKILL runs no destructor, and an etcd left behind by each such run soon fills
//! a machine. The kernel's answer (`PR_SET_PDEATHSIG`) must be set between fork and exec, which is `unsafe`
//! in Rust and forbidden here. So each program runs below a few lines of POSIX shell (`supervisor.sh`) that
//! read from a pipe held by this process: the kernel closes the pipe however this process ends, and the shell
//! kills the program.

use std::fmt;
use std::io::{PipeWriter, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::watch;

/// The supervisor, run with `sh -c`.
const SUPERVISOR: &str = include_str!("supervisor.sh");

/// Lines of its log that an error about a process repeats.
const LOG_TAIL: usize = 20;

/// How long the kernel may take to end a killed program. The API server has a GiB of memory to return.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A running program with a log file.
///
/// Dropping it kills the program.
pub struct Process {
    name: String,
    pid: u32,
    log: PathBuf,
    /// Signals go this way; closing it is the last of them.
    pipe: Mutex<Option<PipeWriter>>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts the program; standard output and error are appended to the log, standard input is empty.
    ///
    /// # Errors
    /// When there is no `sh`, or the supervisor does not come up. A program that does not exist is no error
    /// here: it exits with status 127 and the log says why.
    pub async fn spawn(name: &str, program: &Command, log: &Path) -> Result<Self> {
        let (reader, writer) = std::io::pipe().context("cannot create a pipe")?;
        let mut command = tokio::process::Command::new("sh");
        command.arg("-c").arg(SUPERVISOR).arg(format!("supervisor of {name}")).arg(log);
        command.arg(program.get_program()).args(program.get_args());
        for (key, value) in program.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(directory) = program.get_current_dir() {
            command.current_dir(directory);
        }
        // Its own process group: Ctrl-C in a terminal reaches this process only, which then stops things in
        // order.
        command.stdin(reader).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child =
            command.spawn().with_context(|| format!("cannot start {name}: a POSIX `sh` is needed"))?;
        drop(command);

        let stdout = child.stdout.take().with_context(|| format!("{name} has no standard output"))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await.with_context(|| format!("cannot start {name}"))?;
        let pid = line
            .trim()
            .parse()
            .with_context(|| format!("the supervisor of {name} printed {line:?}, no process id"))?;

        let (sender, exit) = watch::channel(None);
        tokio::spawn(async move {
            if let Ok(status) = child.wait().await {
                sender.send_replace(Some(program_status(status)));
            }
        });
        Ok(Self { name: name.to_owned(), pid, log: log.to_owned(), pipe: Mutex::new(Some(writer)), exit })
    }

    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program's process id (not the supervisor's).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it logs to.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// All that it has logged so far, by all runs that share the file.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of its log, for error messages.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
    }

    /// The exit status, once it has exited. A signal that ended it shows as in any other status.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Whether it still runs (a paused one does).
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// Waits until it exits by itself or by a signal.
    ///
    /// # Errors
    /// When the async runtime that started it is gone, so that nobody knows.
    pub async fn wait_exit(&self) -> Result<ExitStatus> {
        let mut exit = self.exit.clone();
        let status = exit.wait_for(Option::is_some).await.ok().and_then(|status| *status);
        status.with_context(|| {
            format!("the runtime that started {} is gone, and its exit status with it", self.name)
        })
    }

    /// Asks it to end with SIGTERM and waits; kills it when it takes longer than `grace`.
    ///
    /// # Errors
    /// As [`Process::wait_exit`].
    pub async fn stop(&self, grace: Duration) -> Result<ExitStatus> {
        if self.is_running() {
            self.signal("TERM")?;
        }
        match tokio::time::timeout(grace, self.wait_exit()).await {
            Ok(status) => status,
            Err(_) => self.kill().await,
        }
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// As [`Process::wait_exit`], or when the kernel does not end it.
    pub async fn kill(&self) -> Result<ExitStatus> {
        let ran = self.is_running();
        self.close_pipe();
        let status = self.wait_exit().await?;
        if ran {
            // The supervisor dies by the same signal, perhaps before the program, which then still has its port.
            let gone = async {
                while is_alive(self.pid) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(KILL_LIMIT, gone)
                .await
                .with_context(|| format!("{} is killed and still there", self.name))?;
        }
        Ok(status)
    }

    /// Stops it in its tracks (SIGSTOP): it keeps its connections and answers nothing, like a hanging
    /// machine.
    ///
    /// # Errors
    /// When it has exited.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on after [`Process::pause`].
    ///
    /// # Errors
    /// When it has exited.
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// Sends a signal by its name without `SIG`.
    ///
    /// # Errors
    /// When it has exited.
    pub fn signal(&self, name: &str) -> Result<()> {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        match pipe.as_mut() {
            Some(pipe) if self.is_running() => {
                writeln!(pipe, "{name}").with_context(|| format!("{} does not run any more", self.name))
            }
            _ => bail!("{} does not run any more (wanted to send SIG{name})", self.name),
        }
    }

    fn close_pipe(&self) {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.name).field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Whether the program still holds anything. A thread may outlive the first one, which is a zombie then.
fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name before the state stands in parentheses, and may hold some itself.
    let is_zombie = stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X']));
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    !is_zombie || threads > 1
}

/// The shell reports a program that a signal ended as 128 plus the signal; undo that.
fn program_status(shell: ExitStatus) -> ExitStatus {
    match shell.code() {
        Some(code) if code > 128 => ExitStatus::from_raw(code - 128),
        _ => shell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn status_and_output_are_the_programs() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let process = Process::spawn("three", &sh("echo out; echo err >&2; exit 3"), &log).await.unwrap();
        assert_eq!(process.wait_exit().await.unwrap().code(), Some(3));
        assert_eq!(process.log(), "out\nerr\n");
        assert!(process.signal("TERM").is_err());
    }

    #[tokio::test]
    async fn a_missing_program_says_so_in_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let process =
            Process::spawn("none", &Command::new("/does/not/exist"), &dir.path().join("log")).await.unwrap();
        assert_eq!(process.wait_exit().await.unwrap().code(), Some(127));
        assert!(process.log_tail().contains("/does/not/exist"));
    }

    #[tokio::test]
    async fn stop_asks_first_and_kills_after_the_grace() {
        let dir = tempfile::tempdir().unwrap();
        let polite = sh("trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done");
        let process = Process::spawn("polite", &polite, &dir.path().join("polite")).await.unwrap();
        while process.log().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(process.stop(Duration::from_secs(10)).await.unwrap().code(), Some(5));

        let deaf = sh("trap '' TERM; echo ready; while :; do sleep 0.01; done");
        let process = Process::spawn("deaf", &deaf, &dir.path().join("deaf")).await.unwrap();
        while process.log().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(process.stop(Duration::from_millis(100)).await.unwrap().signal(), Some(9));
    }

    #[tokio::test]
    async fn a_killed_program_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let process =
                Process::spawn("sleeper", &sh("exec sleep 1000"), &dir.path().join("log")).await.unwrap();
            assert!(is_alive(process.pid()));
            process.kill().await.unwrap();
            assert!(!is_alive(process.pid()));
        }
    }

    #[tokio::test]
    async fn a_paused_program_is_killed_too() {
        let dir = tempfile::tempdir().unwrap();
        let process =
            Process::spawn("sleeper", &sh("exec sleep 1000"), &dir.path().join("log")).await.unwrap();
        process.pause().unwrap();
        assert!(process.is_running());
        assert_eq!(process.kill().await.unwrap().signal(), Some(9));
    }
}
