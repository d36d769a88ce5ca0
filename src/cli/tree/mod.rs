//! `artifactconfig tree`.

mod grow;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::{ArtifactConfig, label};
use decide::usage::config_maps_named_in;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind, PartialObjectMeta};
use kube::{Api, ResourceExt as _};
use registry::{Error, Freshness, OciRegistry, Query, Registry as _, Settings};

use crate::page::next_page;
use crate::unanswered;

use super::applied;
use super::docker::RegistryArgs;
use super::followed;
use super::kubectl_flags::{ClusterArgs, Connection};
use super::output::{Format, print};
use super::resource::{self, explained};
use super::said;

use grow::{Attached, Pod, Seen};

/// Show how the objects belong together: the image, its attached artifacts, revisions, the target, bindings, and the
/// pods that use them.
///
/// Asks the registry with your own Docker credentials. If it does not answer within ten seconds, the tree shows only the
/// objects of the cluster.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the `ArtifactConfig`.
    name: String,

    /// Form of the output [default: a drawing].
    #[arg(short, long, value_enum)]
    output: Option<Format>,

    /// Do not ask the registry.
    #[arg(long)]
    offline: bool,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Longest wait for the registry, because people need the tree when the registry may be down.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pods per page.
const PAGE: u32 = 200;

/// Prints the tree.
///
/// # Errors
/// If the resource does not exist, or the API server does not answer.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let connection = args.cluster.connect()?;
    let config = resource::get(&connection, &args.name).await?;
    let (attached, config_maps, pods) = tokio::join!(
        attached(&connection, &config, &args),
        config_maps(&connection, &config),
        pods(&connection)
    );
    let seen = Seen { attached, config_maps: config_maps?, pods: pods.map_err(|why| said::chain(&why)) };
    let tree = grow::grow(&config, &seen);
    match args.output {
        Some(format) => print(&format.text(&tree)?),
        None => print(&tree.to_string()),
    }
}

/// The artifacts that are attached to the present digest of the image; if they are not known, the cause.
async fn attached(connection: &Connection, config: &ArtifactConfig, args: &Args) -> Result<Attached, String> {
    if args.offline {
        return Err("--offline".to_owned());
    }
    let desired = followed::parse(connection, config).await.map_err(|failure| failure.message)?;
    let named = desired.workload.as_ref().map(|workload| workload.image.clone());
    let reference = named.unwrap_or_else(|| applied::image(config));
    let ask = async {
        let registry =
            OciRegistry::new(Settings::default(), Arc::new(|_| {})).map_err(|why| why.to_string())?;
        let access = args
            .registry
            .access(&[&desired.image.repository(), &desired.referrers], desired.plain_http)
            .map_err(|why| said::chain(&why))?;
        let explained = |error: Error| said::failure(&unanswered::failure(error), desired.referrers.host());
        let subject = registry.resolve(&access, &desired.image, Freshness::Now).await.map_err(explained)?;
        let query = Query {
            repository: &desired.referrers,
            artifact_type: None,
            platform: desired.platform.as_ref(),
            freshness: Freshness::Now,
        };
        let listing = registry.referrers(&access, &subject, query).await.map_err(explained)?;
        Ok(Attached { image: subject.digest.to_string(), reference, artifacts: listing.artifacts })
    };
    let limit = REGISTRY_TIMEOUT.min(desired.timeout);
    tokio::time::timeout(limit, Box::pin(ask))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())))
}

/// Names of the `ConfigMaps` that belong to the resource, and of its target if it exists.
async fn config_maps(connection: &Connection, config: &ArtifactConfig) -> anyhow::Result<BTreeSet<String>> {
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> =
        Api::namespaced(connection.client.clone(), &connection.namespace);
    let uid = config.metadata.uid.clone().unwrap_or_default();
    let parameters = ListParams::default().labels(&format!("{}={uid}", label::OWNER_UID));
    let list = api.list_metadata(&parameters).await.map_err(explained)?;
    let mut names: BTreeSet<String> = list.items.iter().map(PartialObjectMeta::name_any).collect();
    // A target of someone else, into which keys are merged, carries no label of ours.
    if let Some(target) = config.status.as_ref().and_then(|status| status.target.as_ref())
        && !names.contains(&target.name)
        && api.get_metadata_opt(&target.name).await.map_err(explained)?.is_some()
    {
        names.insert(target.name.clone());
    }
    Ok(names)
}

/// Pods by the `ConfigMaps` that they name.
async fn pods(connection: &Connection) -> anyhow::Result<BTreeMap<String, Vec<Pod>>> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let api: Api<DynamicObject> =
        Api::namespaced_with(connection.client.clone(), &connection.namespace, &resource);
    let mut by_name: BTreeMap<String, Vec<Pod>> = BTreeMap::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = api.list(&page).await.map_err(explained)?;
        for object in &list.items {
            let mut names = BTreeSet::new();
            config_maps_named_in(&object.data["spec"], &mut names);
            let phase = object.data["status"]["phase"].as_str().unwrap_or("Unknown").to_owned();
            for name in names {
                let pod = Pod { name: object.name_any(), phase: phase.clone() };
                by_name.entry(name).or_default().push(pod);
            }
        }
        match next_page(&page, &list.metadata) {
            Some(next) => page = next,
            None => return Ok(by_name),
        }
    }
}
