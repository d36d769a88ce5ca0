//! Registries as separate programs: those that users run, with their limits.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use strum::IntoStaticStr;
use tokio::sync::Mutex;

use crate::ports;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::tools::{Tool, ToolPaths, Tools};
use crate::wait::eventually;

/// How long a registry may take until it answers.
const START: Duration = Duration::from_secs(30);

/// How long it may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Starts until the port that looked free really was.
const START_ATTEMPTS: u32 = 5;

/// The cheapest bcrypt there is: these passwords protect nothing, and each request is checked against them.
const BCRYPT_COST: u32 = 4;

/// Which registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum RegistryKind {
    /// The CNCF reference registry: no referrers API, so clients use the referrers tag.
    Distribution,
    /// go-containerregistry's: no referrers API either, no authentication. It keeps manifests in memory, so
    /// [`ProcessRegistry::restart`] brings it back empty.
    Crane,
    /// The OCI-layout registry: referrers API with paging.
    Olareg,
}

/// How it is set up. What a registry cannot do is an error at start, never silently left out.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Which registry.
    pub kind: RegistryKind,
    /// Whether it has the referrers API (olareg can switch it off; the others never have it).
    pub referrers_api: bool,
    /// User and password that it wants for everything (distribution, olareg).
    pub basic_auth: Option<(String, String)>,
    /// User and password for which its token server issues tokens (olareg).
    pub token_auth: Option<(String, String)>,
    /// Requests per second from one address, more are answered 429 (olareg).
    pub rate_limit: Option<u32>,
    /// Whether manifests can be deleted (distribution, olareg; always for crane).
    pub delete: bool,
}

impl RegistryOptions {
    /// The registry as it comes, with deletion.
    #[must_use]
    pub fn new(kind: RegistryKind) -> Self {
        let referrers_api = kind == RegistryKind::Olareg;
        Self { kind, referrers_api, basic_auth: None, token_auth: None, rate_limit: None, delete: true }
    }
}

impl From<RegistryKind> for RegistryOptions {
    fn from(kind: RegistryKind) -> Self {
        Self::new(kind)
    }
}

/// A running registry. Dropping it kills it and deletes its content.
#[derive(Debug)]
pub struct ProcessRegistry {
    process: Mutex<Option<Process>>,
    command: Command,
    kind: RegistryKind,
    port: u16,
    scratch: Scratch,
}

impl ProcessRegistry {
    /// Starts it on a free port, empty; builds the program on first use.
    ///
    /// # Errors
    /// When it does not come up, or cannot do what the options ask for.
    pub async fn start(options: impl Into<RegistryOptions>) -> Result<Self> {
        let options = options.into();
        options.check()?;
        crate::install_crypto_provider();
        let tools = Tools::locate()?.ensure(&[options.kind.tool()]).await?;
        for _ in 1..START_ATTEMPTS {
            match Self::start_once(&options, &tools).await {
                Err(why) if ports::is_clash(&format!("{why:#}")) => {}
                result => return result,
            }
        }
        Self::start_once(&options, &tools).await
    }

    async fn start_once(options: &RegistryOptions, tools: &ToolPaths) -> Result<Self> {
        let scratch = Scratch::new(options.kind.name()).await?;
        let port = ports::free()?;
        let command = options.command(tools, &scratch, port)?;
        let registry = Self { process: Mutex::new(None), command, kind: options.kind, port, scratch };
        registry.restart().await?;
        Ok(registry)
    }

    /// Which one it is, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// `127.0.0.1:port`, also while it is stopped.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it: connections are refused from now on. The content stays on disk (crane's is lost).
    ///
    /// # Errors
    /// When nobody knows whether it has ended.
    pub async fn stop(&self) -> Result<()> {
        if let Some(process) = self.process.lock().await.take() {
            process.stop(GRACE).await?;
        }
        Ok(())
    }

    /// Starts it again on the same port; does nothing if it runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&self) -> Result<()> {
        let mut running = self.process.lock().await;
        if running.as_ref().is_some_and(Process::is_running) {
            return Ok(());
        }
        let process = Process::spawn(self.name(), &self.command, &self.scratch.join("log")).await?;
        let http = reqwest::Client::builder().no_proxy().timeout(START).build()?;
        let url = format!("http://{}/v2/", self.host());
        let answers = eventually(format!("{} to answer", self.name()), START, || async {
            // Any answer will do: 401 where it wants credentials.
            Ok(http.get(&url).send().await.map(drop).map_err(|why| why.to_string()))
        });
        let failure = tokio::select! {
            answer = answers => answer.err().map(|why| format!("{why:#}")),
            status = process.wait_exit() => Some(format!("it exited with {}", status?)),
        };
        if let Some(failure) = failure {
            bail!("{} did not start: {failure}; the end of its log:\n{}", self.name(), process.log_tail());
        }
        *running = Some(process);
        Ok(())
    }

    /// Stops it in its tracks (`true`): it accepts connections and answers nothing. `false` lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn pause(&self, paused: bool) -> Result<()> {
        match self.process.lock().await.as_ref() {
            Some(process) if paused => process.pause(),
            Some(process) => process.resume(),
            None => bail!("{} does not run", self.name()),
        }
    }

    /// All that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.scratch.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl RegistryKind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    const fn tool(self) -> Tool {
        match self {
            Self::Distribution => Tool::Distribution,
            Self::Crane => Tool::Crane,
            Self::Olareg => Tool::Olareg,
        }
    }
}

impl RegistryOptions {
    fn check(&self) -> Result<()> {
        let cannot = |what: &str| bail!("{} has no {what}: use another RegistryKind", self.kind.name());
        let olareg = self.kind == RegistryKind::Olareg;
        match () {
            () if self.referrers_api && !olareg => cannot("referrers API"),
            () if self.token_auth.is_some() && !olareg => cannot("token server"),
            () if self.rate_limit.is_some() && !olareg => cannot("rate limit"),
            () if self.basic_auth.is_some() && self.kind == RegistryKind::Crane => cannot("authentication"),
            () if self.basic_auth.is_some() && self.token_auth.is_some() => {
                cannot("two kinds of authentication at once")
            }
            () => Ok(()),
        }
    }

    fn command(&self, tools: &ToolPaths, scratch: &Scratch, port: u16) -> Result<Command> {
        let storage = scratch.join("storage");
        std::fs::create_dir_all(&storage).with_context(|| format!("cannot create {}", storage.display()))?;
        let mut command = tools.command(self.kind.tool(), &[] as &[&str])?;
        command.env("HOME", scratch.path());
        match self.kind {
            RegistryKind::Distribution => {
                let config = scratch.join("config.yml");
                std::fs::write(&config, self.distribution_config(scratch, port)?)?;
                // Without this it tries to send traces to a collector, and logs an error that none exists.
                command.env("OTEL_TRACES_EXPORTER", "none").arg("serve").arg(config);
            }
            RegistryKind::Crane => {
                command
                    .args(["registry", "serve", "--address", &format!("127.0.0.1:{port}"), "--disk"])
                    .arg(storage);
            }
            RegistryKind::Olareg => {
                command
                    .args(["serve", "--addr", "127.0.0.1", "--port", &port.to_string(), "--dir"])
                    .arg(storage);
                command.arg(format!("--api-referrer={}", self.referrers_api));
                command.arg(format!("--api-delete={}", self.delete));
                if let Some(limit) = self.rate_limit {
                    command.arg(format!("--rate-limit={limit}"));
                }
                for (flag, user) in
                    [("--auth-basic", &self.basic_auth), ("--auth-token-opaque", &self.token_auth)]
                {
                    if let Some((user, password)) = user {
                        let file = scratch.join("auth.yml");
                        std::fs::write(&file, olareg_users(user, password)?)?;
                        command.arg(flag).arg(file).arg(format!("--external-url=http://127.0.0.1:{port}"));
                    }
                }
            }
        }
        Ok(command)
    }

    fn distribution_config(&self, scratch: &Scratch, port: u16) -> Result<String> {
        let mut config = format!(
            "version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {}}}
  delete: {{enabled: {}}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: '127.0.0.1:{port}', secret: testbed}}
",
            scratch.join("storage").display(),
            self.delete,
        );
        if let Some((user, password)) = &self.basic_auth {
            let file = scratch.join("htpasswd");
            std::fs::write(&file, format!("{user}:{}\n", hash(password)?))?;
            config.push_str("auth: {htpasswd: {realm: testbed, path: ");
            config.push_str(&file.display().to_string());
            config.push_str("}}\n");
        }
        Ok(config)
    }
}

fn olareg_users(user: &str, password: &str) -> Result<String> {
    let hash = hash(password)?;
    Ok(format!(
        "users: {{'{user}': {{cred: '{hash}'}}}}
acls:
- {{repo: '*', members: ['{user}'], access: ['*']}}
- {{repo: '', members: ['{user}'], access: ['*']}}
"
    ))
}

fn hash(password: &str) -> Result<String> {
    bcrypt::hash(password, BCRYPT_COST).context("cannot hash the registry's password")
}
