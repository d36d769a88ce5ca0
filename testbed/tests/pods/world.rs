//! Clusters that tests share, and questions about pods.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use testbed::{Cluster, ClusterOptions, eventually};
use tokio::runtime::Runtime;

/// Far more than anything takes here.
pub const LIMIT: Duration = Duration::from_mins(2);

/// A cluster, and the runtime that its processes belong to. The end of the test program stops both.
pub struct World {
    runtime: Runtime,
    cluster: Cluster,
}

static CALM: LazyLock<World> = LazyLock::new(|| World::start(false));
static ROUGH: LazyLock<Mutex<World>> = LazyLock::new(|| Mutex::new(World::start(true)));

impl World {
    fn start(second_api_server: bool) -> Self {
        let runtime = Runtime::new().unwrap();
        let options = ClusterOptions { nodes: 3, second_api_server, ..ClusterOptions::default() };
        let cluster = runtime.block_on(Cluster::start(options)).unwrap();
        Self { runtime, cluster }
    }
}

/// Runs a test in a new namespace, beside others.
pub fn calm(test: impl AsyncFnOnce(&Cluster, &str) -> Result<()>) -> Result<()> {
    run(&CALM, test)
}

/// Runs a test that breaks something, alone in its cluster, which has two API servers.
pub fn rough(test: impl AsyncFnOnce(&Cluster, &str) -> Result<()>) -> Result<()> {
    run(&ROUGH.lock().unwrap_or_else(PoisonError::into_inner), test)
}

fn run(world: &World, test: impl AsyncFnOnce(&Cluster, &str) -> Result<()>) -> Result<()> {
    let cluster = &world.cluster;
    world.runtime.block_on(async {
        let namespace = cluster.create_namespace("pods").await?;
        test(cluster, &namespace).await
    })
}

/// The pods of an app that are not being deleted, by name.
pub async fn pods(cluster: &Cluster, namespace: &str, app: &str) -> Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(cluster.admin(), namespace);
    let list = api.list(&ListParams::default().labels(&format!("app={app}"))).await?;
    Ok(list.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
}

/// Waits until the pods of an app are as `wanted`, and returns them.
pub async fn until(
    cluster: &Cluster,
    namespace: &str,
    app: &str,
    wanted: impl Fn(&[Pod]) -> bool,
) -> Result<Vec<Pod>> {
    eventually(format!("pods of {app}"), LIMIT, || async {
        let pods = pods(cluster, namespace, app).await?;
        let seen = pods.iter().map(|pod| (pod.name_any(), pod.status.clone())).collect::<Vec<_>>();
        Ok(if wanted(&pods) { Ok(pods) } else { Err(format!("{seen:?}")) })
    })
    .await
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|condition| condition.type_ == "Ready").any(|condition| condition.status == "True")
}

pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

pub fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// The status of the first container.
pub fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

/// Why the first container waits.
pub fn waits(pod: &Pod) -> Option<&str> {
    container(pod)?.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

/// The ConfigMaps that the pods of an app started with, each combination once.
pub async fn ran(cluster: &Cluster, namespace: &str, app: &str) -> Result<Vec<Vec<String>>> {
    let player = cluster.player()?;
    let pods = pods(cluster, namespace, app).await?;
    let mut all: Vec<_> = pods.iter().map(|pod| player.ran(namespace, &pod.name_any())).collect();
    all.sort();
    all.dedup();
    Ok(all)
}

/// Runs `kubectl` in a namespace, and fails if it does.
pub async fn kubectl(cluster: &Cluster, namespace: &str, args: &[&str]) -> Result<()> {
    let args = [&["--namespace", namespace], args].concat();
    cluster.kubectl(&args).await?.ok("kubectl").with_context(|| args.join(" "))?;
    Ok(())
}
