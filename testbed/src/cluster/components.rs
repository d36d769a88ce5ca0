//! The command line of each component.

use std::process::Command;

use anyhow::Result;

use super::ClusterOptions;
use crate::ports;
use crate::scratch::Scratch;
use crate::tools::{Tool, ToolPaths};

/// Controllers that need a cloud, nodes' networks, volumes or a signing CA, none of which is here.
const WITHOUT: [&str; 10] = [
    "cloud-node-lifecycle-controller",
    "node-ipam-controller",
    "node-route-controller",
    "service-lb-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-expander-controller",
    "certificatesigningrequest-signing-controller",
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-cleaner-controller",
];

/// Ports of one cluster, kept over restarts of its components.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) etcd: u16,
    pub(super) api_server: u16,
    /// Of the second API server, where there is one.
    pub(super) second: u16,
}

impl Ports {
    pub(super) fn pick() -> Result<Self> {
        Ok(Self { etcd: ports::free()?, api_server: ports::free()?, second: ports::free()? })
    }

    pub(super) fn server(self) -> String {
        server(self.api_server)
    }
}

/// The address of an API server.
pub(super) fn server(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

pub(super) fn etcd(tools: &ToolPaths, scratch: &Scratch, ports: Ports) -> Result<Command> {
    let client = format!("http://127.0.0.1:{}", ports.etcd);
    let mut command = tools.command(Tool::Etcd, ["--name=testbed", "--log-level=warn"])?;
    command
        .arg(format!("--data-dir={}", scratch.join("etcd").display()))
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        // A single member has no peers: any port will do, as in envtest.
        .arg("--listen-peer-urls=http://127.0.0.1:0")
        // Nothing here has to survive a power cut, and syncing is most of what etcd waits for.
        .arg("--unsafe-no-fsync");
    Ok(command)
}

/// On `port`, for both of them: they share etcd, keys and certificate.
pub(super) fn api_server(
    tools: &ToolPaths,
    scratch: &Scratch,
    (etcd, port): (u16, u16),
    options: &ClusterOptions,
) -> Result<Command> {
    let mut command = tools.command(Tool::KubeApiserver, &[] as &[&str])?;
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd}"))
        .arg("--bind-address=127.0.0.1")
        .arg("--advertise-address=127.0.0.1")
        .arg(format!("--secure-port={port}"))
        // It writes a self-signed certificate here on its first start and uses it on the next ones.
        .arg(format!("--cert-dir={}", scratch.join("certs").display()))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--service-account-key-file={}", scratch.join("service-account.pub").display()))
        .arg(format!("--service-account-signing-key-file={}", scratch.join("service-account.key").display()))
        .arg(format!("--token-auth-file={}", scratch.join("tokens.csv").display()))
        .arg("--authorization-mode=RBAC")
        .arg("--service-cluster-ip-range=10.0.0.0/24")
        // Pods are accepted before the controller has made their ServiceAccount; there is no kubelet to mount
        // tokens.
        .arg("--disable-admission-plugins=ServiceAccount")
        // There is no Service network in which the API server's own endpoint would be reached.
        .arg("--endpoint-reconciler-type=none")
        .args(&options.api_server_args);
    Ok(command)
}

pub(super) fn controller_manager(
    tools: &ToolPaths,
    scratch: &Scratch,
    options: &ClusterOptions,
) -> Result<Command> {
    let controllers = WITHOUT.iter().fold(String::from("*"), |list, name| list + ",-" + name);
    let mut command = tools.command(Tool::KubeControllerManager, &[] as &[&str])?;
    command
        .arg(format!("--kubeconfig={}", scratch.join("admin.kubeconfig").display()))
        .arg(format!("--controllers={controllers}"))
        .arg(format!("--service-account-private-key-file={}", scratch.join("service-account.key").display()))
        .arg(format!("--root-ca-file={}", scratch.join("certs/apiserver.crt").display()))
        // One replica; a lease would only delay the start.
        .arg("--leader-elect=false")
        // Nobody scrapes it.
        .arg("--secure-port=0")
        // The defaults (20 and 30) make deleting a namespace wait on the client, not on the server.
        .args(["--kube-api-qps=500", "--kube-api-burst=1000"])
        .args(&options.controller_manager_args);
    Ok(command)
}

pub(super) fn scheduler(tools: &ToolPaths, scratch: &Scratch) -> Result<Command> {
    let mut command = tools.command(Tool::KubeScheduler, &[] as &[&str])?;
    command
        .arg(format!("--kubeconfig={}", scratch.join("admin.kubeconfig").display()))
        // As for kube-controller-manager.
        .args(["--leader-elect=false", "--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=1000"]);
    Ok(command)
}
