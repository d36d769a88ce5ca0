//! `artifactconfig controller`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use jiff::Timestamp;
use kube::Config;
use registry::{AddressPolicy, OciRegistry, Plugins, Rate, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cluster::{self, Election, KubeCluster, Leadership, Permit};
use crate::controller::{self, Context, Memory, Options, Watches};
use crate::namespace::{Namespace, Namespaces};
use crate::server::{self, Listen};
use crate::telemetry::{
    AdminAddress, Endpoint, Health, LogFormat, LogLevel, Metrics, Sources, TraceOptions, Traces,
    admin_router, init_logs, install_panic_hook,
};

/// Run the operator.
///
/// In a Pod it uses the cluster of the Pod, otherwise the cluster of the kubeconfig. On SIGTERM and SIGINT it cancels
/// requests to registries, finishes running writes within 10 seconds, and ends.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Address of /livez, /readyz and /metrics.
    #[arg(
        long,
        env = "ARTIFACTCONFIG_HEALTH_ADDRESS",
        default_value = "0.0.0.0:8080",
        value_name = "IP:PORT"
    )]
    health_address: SocketAddr,

    /// Address of /log-level, or none to switch it off. Loopback addresses only: use kubectl port-forward to reach it.
    #[arg(
        long,
        env = "ARTIFACTCONFIG_ADMIN_ADDRESS",
        default_value = "127.0.0.1:8081",
        value_name = "IP:PORT"
    )]
    admin_address: AdminAddress,

    /// Reconciles that run at the same time and may ask registries, and as many that ask no registry. Reconciles wait most
    /// of the time, so this bounds connections rather than processor time.
    #[arg(long, env = "ARTIFACTCONFIG_CONCURRENCY", default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,

    /// Namespaces to watch, separated by commas. The operator needs rights in these only. Each costs up to two watches, and one
    /// for each kind of workload that resources follow, so at most 100 can be named. Default: all namespaces, including those
    /// created later.
    #[arg(long, env = "ARTIFACTCONFIG_NAMESPACES", value_delimiter = ',', value_name = "NAME,…")]
    namespaces: Vec<Namespace>,

    /// Bytes of verified content to keep in memory, so that a digest is fetched once.
    #[arg(long, env = "ARTIFACTCONFIG_CONTENT_CACHE_BYTES", default_value_t = Settings::default().content_cache, value_name = "BYTES")]
    content_cache_bytes: u64,

    /// Registries that the operator may ask: registry.example.com, *.example.com or registry.example.com/team, which is that
    /// repository and those below it. May be repeated. Default: all.
    #[arg(long, env = "ARTIFACTCONFIG_ALLOW_REGISTRY", value_delimiter = ',', value_name = "PATTERN", value_parser = AddressPolicy::pattern)]
    allow_registry: Vec<String>,

    /// Also allow link-local addresses, where cloud metadata services answer.
    #[arg(long, env = "ARTIFACTCONFIG_ALLOW_LINK_LOCAL")]
    allow_link_local: bool,

    /// Requests to one registry host at the same time.
    #[arg(long, env = "ARTIFACTCONFIG_REGISTRY_CONCURRENCY", default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    registry_concurrency: u16,

    /// Requests to one registry host in a second. Default: no limit.
    #[arg(long, env = "ARTIFACTCONFIG_REGISTRY_RATE", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    registry_rate: Option<u32>,

    /// Configuration of the kubelet's credential provider plugins (`CredentialProviderConfig`), for ECR, Artifact Registry
    /// and ACR.
    #[arg(
        long,
        env = "ARTIFACTCONFIG_IMAGE_CREDENTIAL_PROVIDER_CONFIG",
        value_name = "FILE",
        requires = "image_credential_provider_bin_dir"
    )]
    image_credential_provider_config: Option<PathBuf>,

    /// Directory with the programs of the credential provider plugins.
    #[arg(
        long,
        env = "ARTIFACTCONFIG_IMAGE_CREDENTIAL_PROVIDER_BIN_DIR",
        value_name = "DIR",
        requires = "image_credential_provider_config"
    )]
    image_credential_provider_bin_dir: Option<PathBuf>,

    /// Whether /metrics has series for each resource: its conditions, its config and its image.
    #[arg(long, env = "ARTIFACTCONFIG_RESOURCE_METRICS", default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    resource_metrics: bool,

    #[command(flatten)]
    leader: super::leader::Args,

    /// Collector for traces, by OTLP over HTTP. Default: no traces.
    #[arg(long, env = "ARTIFACTCONFIG_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<Endpoint>,

    /// Share of reconciles that are traced, from 0 to 1.
    #[arg(long, env = "ARTIFACTCONFIG_TRACE_SAMPLE_RATIO", default_value_t = 1.0, value_name = "RATIO", value_parser = ratio)]
    trace_sample_ratio: f64,

    /// Form of the log lines.
    #[arg(long, env = "ARTIFACTCONFIG_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,

    /// Level or filter of the log lines, such as debug or artifactconfig=debug,info.
    #[arg(long, env = "ARTIFACTCONFIG_LOG_LEVEL", default_value = "info", value_name = "FILTER")]
    log_level: String,
}

/// Longest wait for a connection to the API server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most namespaces to watch one by one. Beyond it, one watch over all namespaces is cheaper for the API server.
const MAX_NAMESPACES: usize = 100;

impl Args {
    fn namespaces(&self) -> anyhow::Result<Namespaces> {
        anyhow::ensure!(
            self.namespaces.len() <= MAX_NAMESPACES,
            "--namespaces names {}, at most {MAX_NAMESPACES} are watched one by one; leave it out to watch all",
            self.namespaces.len()
        );
        Ok(Namespaces::of(self.namespaces.iter().cloned()))
    }

    fn traces(&self) -> Option<TraceOptions> {
        let endpoint = self.otlp_endpoint.clone()?;
        Some(TraceOptions { endpoint, ratio: self.trace_sample_ratio })
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let plugins = match (&self.image_credential_provider_config, &self.image_credential_provider_bin_dir)
        {
            (Some(config), Some(bin_dir)) => Plugins::load(config, bin_dir)?,
            _ => Plugins::default(),
        };
        Ok(Settings {
            content_cache: self.content_cache_bytes,
            policy: AddressPolicy { allow: self.allow_registry.clone(), link_local: self.allow_link_local },
            rate: Rate { concurrency: self.registry_concurrency.into(), per_second: self.registry_rate },
            plugins,
        })
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "it must be a number from 0 to 1, such as 0.1".to_owned())
}

/// Runs until a signal comes.
///
/// # Errors
/// If a part cannot be started, or ends by itself.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let traces = args.traces().map(|options| Traces::start(&options)).transpose()?;
    let level = init_logs(args.log_format, &args.log_level, traces.as_ref())?;
    install_panic_hook();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), concurrency = args.concurrency, "starting");
    let settings = args.settings()?;
    let config = config()?;
    let (election, leadership) = args.leader.start(&config, &instance())?;
    let permit = Permit::new(leadership.clone());
    let client = cluster::gated(config, &permit).context("the client for the API server cannot be built")?;
    let watches = Watches::new(client.clone(), &args.namespaces()?);
    let metrics = Metrics::with(Sources {
        resources: Some(watches.resources()),
        each: args.resource_metrics,
        watched: watches.names(),
        spans: traces.as_ref().map(Traces::counts),
    });
    let stop = CancellationToken::new();
    let context = Arc::new(Context {
        registry: registry(settings, metrics.clone())?,
        cluster: KubeCluster::new(client, watches.targets(), instance()),
        memory: Memory::new(),
        metrics: metrics.clone(),
        now: Timestamp::now,
        stop: stop.clone(),
    });
    let health = Health::default();
    announce(leadership, metrics.clone(), watches.known(), health.clone());
    let administering = administer(args.admin_address, level, stop.clone());
    let serving = serve(args.health_address, health, metrics, stop.clone());
    // Signals reach every part through one channel. The part that ends first ends the others.
    let signals = async {
        let name = signalled().await?;
        tracing::info!(signal = name, "ending");
        stop.cancel();
        Ok(())
    };
    let options = Options { concurrency: args.concurrency, permit };
    let controlling = controller::run(watches, context, options);
    let working = async { tokio::try_join!(serving, administering, controlling, signals).map(drop) };
    Box::pin(elected(election, working)).await?;
    if let Some(traces) = traces {
        traces.end().await;
    }
    tracing::info!("ended");
    Ok(())
}

/// Works while the election is not lost.
async fn elected(
    election: Option<Election>,
    working: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let Some(mut election) = election else { return working.await };
    tokio::select! {
        ended = working => ended?,
        why = election.run() => return Err(why),
    }
    // Released last, so that nothing of this process runs when the next leader starts.
    election.release().await;
    Ok(())
}

fn registry(settings: Settings, metrics: Metrics) -> anyhow::Result<OciRegistry> {
    OciRegistry::new(settings, Arc::new(move |seen| metrics.observed(seen))).context(
        "the client for registries cannot be built; are the CA certificates of the system installed?",
    )
}

/// Says when this process leads, and when it is ready. The tasks need no end of their own: what never comes ends with the
/// process.
fn announce(
    leadership: Leadership,
    metrics: Metrics,
    known: impl Future<Output = ()> + Send + 'static,
    health: Health,
) {
    tokio::spawn(async move {
        leadership.wait().await;
        metrics.leader(true);
    });
    tokio::spawn(async move {
        known.await;
        health.set_ready();
        tracing::info!("ready: all resources are known");
    });
}

/// For the kubelet and for Prometheus.
async fn serve(
    address: SocketAddr,
    health: Health,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let router = Router::new().merge(health.router()).merge(metrics.router());
    let listen = Listen { address, flag: "--health-address", advice: "is another operator running here?" };
    server::serve(listen, "/livez, /readyz and /metrics", router, stop).await
}

/// For people, if it is not switched off.
async fn administer(address: AdminAddress, level: LogLevel, stop: CancellationToken) -> anyhow::Result<()> {
    let Some(address) = address.get() else { return Ok(()) };
    let advice = "is another operator running here? 'none' switches it off";
    let listen = Listen { address, flag: "--admin-address", advice };
    server::serve(listen, "/log-level", admin_router(level), stop).await
}

fn config() -> anyhow::Result<Config> {
    let mut config = super::kubeconfig::config(None, None)
        .context("no cluster: neither a Pod's service account nor a kubeconfig was found")?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // The reconcile itself tries a refused request again, with fresh data. The client's own 15 tries would occupy a
    // slot for minutes.
    config.default_retry = false;
    Ok(config)
}

/// This process's name in events: the name of the Pod, which Kubernetes sets as host name.
fn instance() -> String {
    std::env::var("HOSTNAME")
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "artifactconfig".to_owned())
}

async fn signalled() -> anyhow::Result<&'static str> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
