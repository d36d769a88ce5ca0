//! The operator under test, as a process.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::Mutex;

use crate::ports;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::eventually;

/// How long it may take until it is ready.
const START: Duration = Duration::from_secs(30);

/// How long it may take to end by itself; Kubernetes gives 30 s, and the operator promises less.
const GRACE: Duration = Duration::from_secs(20);

/// Starts until the port that looked free really was.
const START_ATTEMPTS: u32 = 5;

/// What to run, and as whom.
#[derive(Debug, Clone)]
pub struct OperatorOptions {
    /// The operator's program.
    pub binary: PathBuf,
    /// Who it is (see [`crate::Cluster::service_account_kubeconfig`]).
    pub kubeconfig: PathBuf,
    /// Further arguments of `controller`.
    pub args: Vec<String>,
    /// Further environment.
    pub env: Vec<(String, String)>,
    /// Whether to wait until `/readyz` answers 200.
    pub wait_ready: bool,
}

impl OperatorOptions {
    /// This program as this identity, with nothing further; waits until it is ready.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, kubeconfig: impl Into<PathBuf>) -> Self {
        let (binary, kubeconfig) = (binary.into(), kubeconfig.into());
        Self { binary, kubeconfig, args: Vec::new(), env: Vec::new(), wait_ready: true }
    }
}

/// A running operator. Dropping it kills it.
#[derive(Debug)]
pub struct OperatorProcess {
    process: Mutex<Process>,
    options: OperatorOptions,
    port: u16,
    admin_port: u16,
    http: reqwest::Client,
    scratch: Scratch,
}

impl OperatorProcess {
    /// Runs `<binary> controller --health-address 127.0.0.1:<free port> --admin-address 127.0.0.1:<free port> <args…>`.
    ///
    /// # Errors
    /// When it does not become ready; the message has the end of its log.
    pub async fn start(options: OperatorOptions) -> Result<Self> {
        crate::install_crypto_provider();
        if !options.binary.is_file() {
            bail!("there is no operator at {}: build it with `cargo build`", options.binary.display());
        }
        for _ in 1..START_ATTEMPTS {
            match Self::start_once(options.clone()).await {
                Err(why) if ports::is_clash(&format!("{why:#}")) => {}
                result => return result,
            }
        }
        Self::start_once(options).await
    }

    async fn start_once(options: OperatorOptions) -> Result<Self> {
        let scratch = Scratch::new("operator").await?;
        let (port, admin_port) = (ports::free()?, ports::free()?);
        let process = spawn(&options, port, admin_port, &scratch).await?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let operator = Self { process: Mutex::new(process), options, port, admin_port, http, scratch };
        if operator.options.wait_ready {
            operator.wait_ready().await?;
        }
        Ok(operator)
    }

    /// The address of `/livez`, `/readyz` and `/metrics`.
    #[must_use]
    pub fn health_address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// When it exits before, or takes too long; the message has the end of its log.
    pub async fn wait_ready(&self) -> Result<()> {
        let process = self.process.lock().await;
        let url = format!("http://{}/readyz", self.health_address());
        let ready = eventually("the operator to be ready", START, || async {
            Ok(match self.http.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(format!("{url} answers {}", answer.status())),
                Err(why) => Err(why.to_string()),
            })
        });
        let failure = tokio::select! {
            ready = ready => match ready {
                Ok(()) => return Ok(()),
                Err(why) => format!("{why:#}"),
            },
            status = process.wait_exit() => format!("it exited with {}", status?),
        };
        bail!("the operator did not start: {failure}; the end of its log:\n{}", process.log_tail())
    }

    /// Fetches a path of the health server: status and body.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let url = format!("http://{}{path}", self.health_address());
        let answer = self.http.get(&url).send().await.with_context(|| format!("{url} does not answer"))?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// The filter of its log lines.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn log_level(&self) -> Result<String> {
        let url = format!("http://127.0.0.1:{}/log-level", self.admin_port);
        Ok(self.http.get(&url).send().await?.error_for_status()?.text().await?.trim().to_owned())
    }

    /// Changes the filter of its log lines: status and body.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn set_log_level(&self, filter: impl Into<String>) -> Result<(u16, String)> {
        let url = format!("http://127.0.0.1:{}/log-level", self.admin_port);
        let answer = self.http.put(&url).body(filter.into()).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// `/metrics`, in the text format.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<String> {
        Ok(self.get("/metrics").await?.1)
    }

    /// Kills it with SIGKILL: no chance to clean up.
    ///
    /// # Errors
    /// When nobody knows whether it has ended.
    pub async fn kill(&self) -> Result<ExitStatus> {
        self.process.lock().await.kill().await
    }

    /// Ends it with SIGTERM, as Kubernetes does, and returns its exit status (killed after 20 s).
    ///
    /// # Errors
    /// When nobody knows whether it has ended.
    pub async fn terminate(&self) -> Result<ExitStatus> {
        self.process.lock().await.stop(GRACE).await
    }

    /// Starts it again with the same options and port, after [`OperatorProcess::kill`],
    /// [`OperatorProcess::terminate`] or its own end; kills it where it still runs. The log goes on in the
    /// same file.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart(&self) -> Result<()> {
        {
            let mut process = self.process.lock().await;
            if process.is_running() {
                process.kill().await?;
            }
            *process = spawn(&self.options, self.port, self.admin_port, &self.scratch).await?;
        }
        if self.options.wait_ready { self.wait_ready().await } else { Ok(()) }
    }

    /// Stops it in its tracks (`true`), or lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn pause(&self, paused: bool) -> Result<()> {
        let process = self.process.lock().await;
        if paused { process.pause() } else { process.resume() }
    }

    /// Who it is.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.options.kubeconfig
    }

    /// Its process id.
    pub async fn pid(&self) -> u32 {
        self.process.lock().await.pid()
    }

    /// Its exit status, once it has exited.
    pub async fn exit_status(&self) -> Option<ExitStatus> {
        self.process.lock().await.exit_status()
    }

    /// Waits until it exits by itself, and makes an error of that with the end of its log.
    ///
    /// # Errors
    /// Always: an operator is not meant to exit.
    pub async fn exited(&self) -> Result<()> {
        let process = self.process.lock().await;
        let status = process.wait_exit().await?;
        bail!("the operator exited with {status}; the end of its log:\n{}", process.log_tail())
    }

    /// All that it has logged, over restarts.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where it logs to.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.scratch.join("operator.log")
    }
}

async fn spawn(options: &OperatorOptions, port: u16, admin_port: u16, scratch: &Scratch) -> Result<Process> {
    let mut command = Command::new(&options.binary);
    command.args(["controller", "--health-address", &format!("127.0.0.1:{port}")]);
    command.args(["--admin-address", &format!("127.0.0.1:{admin_port}")]).args(&options.args);
    command.env("KUBECONFIG", &options.kubeconfig);
    // The operator must not use registry credentials in the home of the user.
    command.env("HOME", scratch.path()).env_remove("DOCKER_CONFIG");
    for (name, value) in &options.env {
        command.env(name, value);
    }
    Process::spawn("artifactconfig", &command, &scratch.join("operator.log")).await
}
