//! A cluster without nodes: etcd, kube-apiserver and kube-controller-manager on the loopback address.

mod access;
mod component;
mod components;
pub(crate) mod credentials;
mod kubectl;
mod options;

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context, Result, bail};
use axum::http::Request;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use crate::ports;
use crate::scratch::Scratch;
use crate::tools::{Tool, ToolPaths, Tools};
use crate::wait::eventually;
use component::Component;
use components::Ports;
pub use options::ClusterOptions;

/// Starts until the ports that looked free really were; one repetition is already rare.
const START_ATTEMPTS: u32 = 5;

/// A running cluster. Dropping it kills its processes and deletes its data.
pub struct Cluster {
    // The order is the order of dropping: processes first, their directory last.
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

impl Cluster {
    /// Starts a cluster and waits until it works: about 5 s, plus the build of its programs on first use.
    ///
    /// # Errors
    /// When a program cannot be built or does not come up; the message has the end of its log.
    pub async fn start(options: ClusterOptions) -> Result<Self> {
        crate::install_crypto_provider();
        let needed =
            [Tool::Etcd, Tool::KubeApiserver, Tool::KubeControllerManager, Tool::Kubectl, Tool::Helm];
        let tools = Tools::locate()?.ensure(&needed).await?;
        for _ in 1..START_ATTEMPTS {
            let scratch = Scratch::new("cluster").await?;
            match Self::start_once(scratch, tools.clone(), options.clone()).await {
                Err(why) if ports::is_clash(&format!("{why:#}")) => {}
                result => return result,
            }
        }
        Self::start_once(Scratch::new("cluster").await?, tools, options).await
    }

    async fn start_once(scratch: Scratch, tools: ToolPaths, options: ClusterOptions) -> Result<Self> {
        let ports = Ports::pick()?;
        credentials::write_service_account_key(
            &scratch.join("service-account.key"),
            &scratch.join("service-account.pub"),
        )?;
        let token = credentials::write_admin_token(&scratch.join("tokens.csv"))?;
        let kubeconfig = scratch.join("admin.kubeconfig");

        let component = |name, command| Component::new(name, command, scratch.join(format!("{name}.log")));
        let etcd = component("etcd", components::etcd(&tools, &scratch, ports)?);
        let api_server =
            component("kube-apiserver", components::api_server(&tools, &scratch, ports, &options)?);
        let controller_manager =
            component("kube-controller-manager", components::controller_manager(&tools, &scratch, &options)?);

        etcd.start().await?;
        etcd.ready(options.start_timeout, || port_answers(ports.etcd)).await?;
        api_server.start().await?;
        let certificate = scratch.join("certs/apiserver.crt");
        api_server.ready(options.start_timeout, || file_exists(&certificate)).await?;
        let ca = fs::read(&certificate).with_context(|| format!("cannot read {}", certificate.display()))?;
        credentials::write_kubeconfig(&kubeconfig, &ports.server(), &ca, "admin", &token)?;
        let admin = client(&kubeconfig).await?;
        api_server.ready(options.start_timeout, || readyz(&admin)).await?;

        let cluster =
            Self { controller_manager, api_server, etcd, admin, kubeconfig, ports, options, tools, scratch };
        for manifest in &cluster.options.manifests {
            cluster.apply_file(manifest).await?;
        }
        if cluster.options.controller_manager {
            cluster.start_controller_manager().await?;
        }
        Ok(cluster)
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

    /// What a component has logged: `etcd`, `kube-apiserver` or `kube-controller-manager`.
    ///
    /// # Errors
    /// When there is no such component.
    pub fn log(&self, component: &str) -> Result<String> {
        match component {
            "etcd" => Ok(self.etcd.log()),
            "kube-apiserver" => Ok(self.api_server.log()),
            "kube-controller-manager" => Ok(self.controller_manager.log()),
            other => {
                bail!("no component {other}: there are etcd, kube-apiserver and kube-controller-manager")
            }
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
