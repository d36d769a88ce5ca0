//! Nodes: objects that say they are ready, and the leases by which the controllers believe them.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::wait::eventually;

/// Where kubelets have their leases.
const LEASES: &str = "kube-node-lease";

/// Field manager of the leases.
const MANAGER: &str = "testbed";

/// As a kubelet: kube-controller-manager calls a node lost after 50 s.
const RENEWAL: Duration = Duration::from_secs(10);
const LEASE_SECONDS: u32 = 40;

/// How long the API server may take to make the namespace of the leases.
const LIMIT: Duration = Duration::from_mins(1);

/// More pods than any test has. Neither processors nor memory limit them.
const PODS: &str = "20000";

/// The nodes, alive until they are dropped.
#[derive(Debug)]
pub(super) struct Nodes {
    names: Vec<String>,
    heartbeat: JoinHandle<()>,
}

impl Nodes {
    /// Makes `node-1`, `node-2` and so on, and keeps them alive.
    pub(super) async fn start(client: Client, count: usize) -> Result<Self> {
        let names: Vec<_> = (1..=count).map(|number| format!("node-{number}")).collect();
        let nodes: Api<Node> = Api::all(client.clone());
        for name in &names {
            let node: Node = serde_json::from_value(object(name))?;
            nodes
                .create(&PostParams::default(), &node)
                .await
                .with_context(|| format!("cannot make {name}"))?;
            nodes
                .patch_status(name, &PatchParams::default(), &Patch::Merge(status(name)))
                .await
                .with_context(|| format!("cannot make {name} ready"))?;
        }
        eventually("leases of the nodes", LIMIT, || async {
            Ok(renew(&client, &names).await.map_err(|why| why.to_string()))
        })
        .await?;
        let heartbeat = tokio::spawn(keep_alive(client, names.clone()));
        Ok(Self { names, heartbeat })
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

/// Whether kube-controller-manager lets pods onto all nodes: the API server makes them with a taint.
pub(super) async fn schedulable(client: &Client) -> Result<(), String> {
    let nodes: Api<Node> = Api::all(client.clone());
    let list = nodes.list(&kube::api::ListParams::default()).await.map_err(|why| why.to_string())?;
    let tainted = |node: &&Node| node.spec.iter().any(|spec| spec.taints.iter().flatten().next().is_some());
    match list.iter().find(tainted) {
        Some(node) => Err(format!("{} still has a taint", node.name_any())),
        None => Ok(()),
    }
}

async fn keep_alive(client: Client, names: Vec<String>) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        // While the API server is down nobody renews, and nobody judges.
        let _ = renew(&client, &names).await;
    }
}

async fn renew(client: &Client, names: &[String]) -> kube::Result<()> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), LEASES);
    for name in names {
        let params = PatchParams::apply(MANAGER).force();
        leases.patch(name, &params, &Patch::Apply(lease(name))).await?;
    }
    Ok(())
}

fn lease(node: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node, "namespace": LEASES},
        "spec": {
            "holderIdentity": node,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": format!("{:.6}", Timestamp::now()),
        },
    })
}

fn object(name: &str) -> Value {
    json!({
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
        },
    })
}

fn status(name: &str) -> Value {
    let resources = json!({"cpu": "10000", "memory": "100Ti", "ephemeral-storage": "100Ti", "pods": PODS});
    let now = Timestamp::now();
    json!({"status": {
        "capacity": resources,
        "allocatable": resources,
        "addresses": [{"type": "Hostname", "address": name}],
        "conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "this node is played by the testbed",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }],
    }})
}
