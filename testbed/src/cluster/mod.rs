//! A cluster on the loopback address: etcd, kube-apiserver and kube-controller-manager, and on request nodes.

mod access;
mod component;
mod components;
pub(crate) mod credentials;
mod kubectl;
mod nodes;
mod options;
mod rollout;
mod second;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs};

use anyhow::{Context, Result, bail, ensure};
use axum::http::Request;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use crate::player::{Clients, Player};
use crate::ports;
use crate::scratch::Scratch;
use crate::tools::{Tool, ToolPaths, Tools};
use crate::wait::eventually;
use component::Component;
use components::Ports;
use nodes::Nodes;
pub use options::ClusterOptions;
pub use second::SecondApiServer;

/// Starts until the ports that looked free really were; one repetition is already rare.
const START_ATTEMPTS: u32 = 5;

/// A running cluster. Dropping it kills its processes and deletes its data.
pub struct Cluster {
    // The order is the order of dropping: processes first, their directory last.
    played: Option<Played>,
    second: Option<SecondApiServer>,
    controller_manager: Component,
    api_server: Component,
    etcd: Component,
    admin: Client,
    kubeconfig: PathBuf,
    ports: Ports,
    options: ClusterOptions,
    tools: ToolPaths,
    scratch: Scratch,
}

/// Nodes, and what makes pods live on them.
struct Played {
    player: Player,
    nodes: Nodes,
    scheduler: Component,
}

impl Cluster {
    /// Starts a cluster and waits until it works: about 5 s, plus the build of its programs on first use.
    ///
    /// # Errors
    /// When a program cannot be built or does not come up; the message has the end of its log.
    pub async fn start(options: ClusterOptions) -> Result<Self> {
        crate::install_crypto_provider();
        ensure!(options.nodes == 0 || options.controller_manager, "nodes need kube-controller-manager");
        let mut needed =
            vec![Tool::Etcd, Tool::KubeApiserver, Tool::KubeControllerManager, Tool::Kubectl, Tool::Helm];
        needed.extend((options.nodes > 0).then_some(Tool::KubeScheduler));
        let tools = Tools::locate()?.ensure(&needed).await?;
        for _ in 1..START_ATTEMPTS {
            let scratch = Scratch::new("cluster").await?;
            match Box::pin(Self::start_once(scratch, tools.clone(), options.clone())).await {
                Err(why) if ports::is_clash(&format!("{why:#}")) => {}
                result => return result,
            }
        }
        Box::pin(Self::start_once(Scratch::new("cluster").await?, tools, options)).await
    }

    async fn start_once(scratch: Scratch, tools: ToolPaths, options: ClusterOptions) -> Result<Self> {
        let ports = Ports::pick()?;
        credentials::write_service_account_key(
            &scratch.join("service-account.key"),
            &scratch.join("service-account.pub"),
        )?;
        let token = credentials::write_admin_token(&scratch.join("tokens.csv"))?;
        let kubeconfig = scratch.join("admin.kubeconfig");

        let etcd = component(&scratch, "etcd", components::etcd(&tools, &scratch, ports)?);
        let command = components::api_server(&tools, &scratch, (ports.etcd, ports.api_server), &options)?;
        let api_server = component(&scratch, "kube-apiserver", command);
        let command = components::controller_manager(&tools, &scratch, &options)?;
        let controller_manager = component(&scratch, "kube-controller-manager", command);

        etcd.start().await?;
        etcd.ready(options.start_timeout, || port_answers(ports.etcd)).await?;
        api_server.start().await?;
        let certificate = scratch.join("certs/apiserver.crt");
        api_server.ready(options.start_timeout, || file_exists(&certificate)).await?;
        let ca = fs::read(&certificate).with_context(|| format!("cannot read {}", certificate.display()))?;
        credentials::write_kubeconfig(&kubeconfig, &ports.server(), &ca, "admin", &token)?;
        let admin = client(&kubeconfig).await?;
        api_server.ready(options.start_timeout, || readyz(&admin)).await?;

        let (played, second) = (None, None);
        let mut cluster = Self {
            played,
            second,
            controller_manager,
            api_server,
            etcd,
            admin,
            kubeconfig,
            ports,
            options,
            tools,
            scratch,
        };
        if cluster.options.second_api_server {
            cluster.second = Some(cluster.start_second(&token).await?);
        }
        for manifest in &cluster.options.manifests {
            cluster.apply_file(manifest).await?;
        }
        if cluster.options.controller_manager {
            cluster.start_controller_manager().await?;
        }
        if cluster.options.nodes > 0 {
            cluster.played = Some(cluster.start_nodes().await?);
        }
        Ok(cluster)
    }

    async fn start_second(&self, token: &str) -> Result<SecondApiServer> {
        let ports = (self.ports.etcd, self.ports.second);
        let command = components::api_server(&self.tools, &self.scratch, ports, &self.options)?;
        let kubeconfig = self.scratch.join("admin-2.kubeconfig");
        let server = components::server(self.ports.second);
        credentials::write_kubeconfig(&kubeconfig, &server, &self.ca()?, "admin", token)?;
        let component = component(&self.scratch, second::NAME, command);
        SecondApiServer::start_first(component, server, kubeconfig, self.options.start_timeout).await
    }

    async fn start_nodes(&self) -> Result<Played> {
        let command = components::scheduler(&self.tools, &self.scratch)?;
        let scheduler = component(&self.scratch, "kube-scheduler", command);
        scheduler.start().await?;
        let nodes = Nodes::start(self.admin(), self.options.nodes).await?;
        // It serves no health endpoint here: that it still runs when the nodes are ready has to do.
        scheduler.ready(self.options.start_timeout, || nodes::schedulable(&self.admin)).await?;
        let clients =
            Clients { watches: client(&self.kubeconfig).await?, writes: client(&self.kubeconfig).await? };
        Ok(Played { player: Player::start(clients), nodes, scheduler })
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client with all rights.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.admin.clone()
    }

    /// The API server's address, `https://127.0.0.1:…`.
    #[must_use]
    pub fn server(&self) -> String {
        self.ports.server()
    }

    /// Where data and logs are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Stops the API server: connections are refused from now on.
    ///
    /// # Errors
    /// When nobody knows whether it has ended.
    pub async fn stop_api_server(&self) -> Result<()> {
        self.api_server.stop().await?;
        // What was killed may hold its port a moment longer than its supervisor lives.
        eventually("the API server's port to be free", self.options.start_timeout, || async {
            Ok(match port_answers(self.ports.api_server).await {
                Ok(()) => Err("connections are still accepted".to_owned()),
                Err(_) => Ok(()),
            })
        })
        .await
    }

    /// Starts the API server again, on the same port and with the same data.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_api_server(&self) -> Result<()> {
        self.api_server.start().await?;
        self.api_server.ready(self.options.start_timeout, || readyz(&self.admin)).await
    }

    /// Stops the API server and starts it again, as an upgrade does: its caches are empty after that. A request on a
    /// connection from before may fail once.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart_api_server(&self) -> Result<()> {
        self.stop_api_server().await?;
        self.start_api_server().await
    }

    /// The second API server.
    ///
    /// # Errors
    /// Without [`ClusterOptions::second_api_server`].
    pub fn second(&self) -> Result<&SecondApiServer> {
        self.second.as_ref().context("no second API server: set ClusterOptions::second_api_server")
    }

    /// Decides how pods live, and knows what they started with.
    ///
    /// # Errors
    /// Without [`ClusterOptions::nodes`].
    pub fn player(&self) -> Result<&Player> {
        Ok(&self.played()?.player)
    }

    /// The names of the nodes.
    ///
    /// # Errors
    /// Without [`ClusterOptions::nodes`].
    pub fn nodes(&self) -> Result<&[String]> {
        Ok(self.played()?.nodes.names())
    }

    fn played(&self) -> Result<&Played> {
        self.played.as_ref().context("no nodes: set ClusterOptions::nodes")
    }

    /// Stops the API server in its tracks (`true`): it accepts connections and answers nothing. `false` lets
    /// it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn pause_api_server(&self, paused: bool) -> Result<()> {
        self.api_server.pause(paused).await
    }

    /// Stops the built-in controllers: nothing is garbage-collected any more.
    ///
    /// # Errors
    /// When nobody knows whether it has ended.
    pub async fn stop_controller_manager(&self) -> Result<()> {
        self.controller_manager.stop().await
    }

    /// Starts the built-in controllers.
    ///
    /// # Errors
    /// When they do not come up.
    pub async fn start_controller_manager(&self) -> Result<()> {
        self.controller_manager.start().await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin(), "default");
        // They serve no health endpoint here. The first thing they make is every namespace's default
        // ServiceAccount.
        let probe = || async {
            match accounts.get_opt("default").await {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("it has not made the default ServiceAccount".to_owned()),
                Err(why) => Err(why.to_string()),
            }
        };
        self.controller_manager.ready(self.options.start_timeout, probe).await
    }

    /// What a component has logged: `etcd`, `kube-apiserver`, `kube-controller-manager`, and where they run
    /// `kube-scheduler` and `kube-apiserver-2`.
    ///
    /// # Errors
    /// When there is no such component.
    pub fn log(&self, component: &str) -> Result<String> {
        match component {
            "etcd" => Ok(self.etcd.log()),
            "kube-apiserver" => Ok(self.api_server.log()),
            "kube-controller-manager" => Ok(self.controller_manager.log()),
            "kube-scheduler" => Ok(self.played()?.scheduler.log()),
            second::NAME => Ok(self.second()?.log()),
            other => bail!(
                "no component {other}: there are etcd, kube-apiserver, kube-controller-manager, kube-scheduler and {}",
                second::NAME
            ),
        }
    }

    /// The API server's process id, while it runs.
    pub async fn api_server_pid(&self) -> Option<u32> {
        self.api_server.pid().await
    }

    /// Stops everything and deletes the data.
    ///
    /// # Errors
    /// When nobody knows whether something has ended.
    pub async fn stop(self) -> Result<()> {
        if let Some(played) = self.played {
            drop(played.player);
            played.scheduler.stop().await?;
        }
        if let Some(second) = self.second {
            second.stop().await?;
        }
        self.controller_manager.stop().await?;
        self.api_server.stop().await?;
        self.etcd.stop().await
    }

    pub(crate) fn tools_and_scratch(&self) -> (&ToolPaths, &Scratch) {
        (&self.tools, &self.scratch)
    }

    /// The certificate that proves the API server: it signs itself, so it is its own CA.
    fn ca(&self) -> Result<Vec<u8>> {
        let path = self.scratch.join("certs/apiserver.crt");
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("server", &self.server()).finish_non_exhaustive()
    }
}

fn component(scratch: &Scratch, name: &'static str, command: Command) -> Component {
    Component::new(name, command, scratch.join(format!("{name}.log")))
}

/// A client for the current context of a kubeconfig file.
async fn client(kubeconfig: &Path) -> Result<Client> {
    let read =
        Kubeconfig::read_from(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

async fn port_answers(port: u16) -> Result<(), String> {
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(drop).map_err(|why| why.to_string())
}

async fn file_exists(path: &Path) -> Result<(), String> {
    let complete = |text: String| text.contains("-----END CERTIFICATE-----");
    let found = tokio::fs::read_to_string(path).await.is_ok_and(complete);
    if found { Ok(()) } else { Err(format!("{} is not there", path.display())) }
}

async fn readyz(admin: &Client) -> Result<(), String> {
    let request = Request::get("/readyz").body(Vec::new()).map_err(|why| why.to_string())?;
    admin.request_text(request).await.map(drop).map_err(|why| why.to_string())
}
