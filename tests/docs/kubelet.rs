//! Stands in for nodes: runs the operator for each of its Pods, with the arguments, the environment and the
//! `ServiceAccount` that the Pod names, and says that the Pod is ready once it is.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use testbed::{Cluster, OperatorOptions, OperatorProcess};
use tokio::task::JoinHandle;

/// Time between two lists of Pods.
const PAUSE: Duration = Duration::from_millis(200);

/// Label of the operator's Pods.
const SELECTOR: &str = "app.kubernetes.io/name=artifactconfig";

/// Flags with addresses, which get other values here: several operators run on one machine.
const ADDRESSES: [&str; 2] = ["--health-address", "--admin-address"];

/// Runs until it is dropped.
pub struct Kubelet(JoinHandle<()>);

impl Kubelet {
    /// `certificates` is what the operator trusts in place of the system's.
    pub fn start(cluster: Arc<Cluster>, program: PathBuf, certificates: PathBuf) -> Self {
        Self(tokio::spawn(async move {
            let mut running: BTreeMap<String, OperatorProcess> = BTreeMap::new();
            loop {
                // An error is not reported: the commands of the page wait for the Pod to become ready.
                if let Err(why) = look(&cluster, &program, &certificates, &mut running).await {
                    eprintln!("kubelet: {why:#}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn look(
    cluster: &Cluster,
    program: &std::path::Path,
    certificates: &std::path::Path,
    running: &mut BTreeMap<String, OperatorProcess>,
) -> Result<()> {
    let all: Api<Pod> = Api::all(cluster.admin());
    let pods = all.list(&ListParams::default().labels(SELECTOR)).await?.items;
    let wanted: Vec<String> = pods.iter().filter_map(ResourceExt::uid).collect();
    let gone: Vec<String> = running.keys().filter(|uid| !wanted.contains(uid)).cloned().collect();
    for uid in gone {
        if let Some(process) = running.remove(&uid) {
            process.terminate().await?;
        }
    }
    for pod in pods {
        if let Entry::Vacant(place) = running.entry(pod.uid().context("a Pod without a UID")?) {
            place.insert(start(cluster, program, certificates, &pod).await?);
            say_ready(cluster, &pod).await?;
        }
    }
    Ok(())
}

async fn start(
    cluster: &Cluster,
    program: &std::path::Path,
    certificates: &std::path::Path,
    pod: &Pod,
) -> Result<OperatorProcess> {
    let namespace = pod.namespace().context("a Pod without a namespace")?;
    let spec = pod.spec.clone().unwrap_or_default();
    let account = spec.service_account_name.unwrap_or_default();
    let container = spec.containers.into_iter().next().context("a Pod without containers")?;
    let kubeconfig = cluster.service_account_kubeconfig(&namespace, &account).await?;
    let mut options = OperatorOptions::new(program, kubeconfig);
    options.args = arguments(&container);
    options.env = environment(&container, pod);
    options.env.push(("SSL_CERT_FILE".to_owned(), certificates.display().to_string()));
    OperatorProcess::start(options).await
}

/// Those after the subcommand.
fn arguments(container: &Container) -> Vec<String> {
    let given = container.args.iter().flatten().skip(1);
    given.filter(|arg| !ADDRESSES.iter().any(|address| arg.starts_with(address))).cloned().collect()
}

fn environment(container: &Container, pod: &Pod) -> Vec<(String, String)> {
    let of_pod = |path: &str| match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        _ => String::new(),
    };
    let variables = container.env.iter().flatten().map(|variable| {
        let field = variable.value_from.as_ref().and_then(|from| from.field_ref.as_ref());
        let value = field.map(|field| of_pod(&field.field_path)).or_else(|| variable.value.clone());
        (variable.name.clone(), value.unwrap_or_default())
    });
    variables.collect()
}

async fn say_ready(cluster: &Cluster, pod: &Pod) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(cluster.admin(), &pod.namespace().unwrap_or_default());
    let conditions: Vec<_> = ["Initialized", "ContainersReady", "PodScheduled", "Ready"]
        .iter()
        .map(|name| json!({"type": name, "status": "True"}))
        .collect();
    let status = json!({"status": {"phase": "Running", "conditions": conditions}});
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}
