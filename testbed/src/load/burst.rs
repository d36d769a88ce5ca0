//! Many resources at once, until every one of them is ready.

use std::collections::BTreeSet;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use testbed::Cluster;
use testbed::registry::EmbeddedRegistry;

use super::images::{ARTIFACT_TYPE, FILE, content, push};
use super::{INTERVAL, SIDE_BY_SIDE};

/// Longest a burst may take: a hundred times what it should.
const LIMIT: Duration = Duration::from_mins(30);

/// Objects of a page.
const PAGE: u32 = 500;

/// What a burst took.
#[derive(Debug, Clone)]
pub(super) struct Burst {
    pub(super) count: usize,
    /// From the first create to the last Ready.
    pub(super) took: Duration,
    /// The operator's processor time by then …
    pub(super) cpu: Duration,
    /// … and in the ten seconds after.
    pub(super) aftermath: Duration,
    /// Memory after it, in KiB.
    pub(super) rss: u64,
    /// The most memory so far, in KiB.
    pub(super) peak_rss: u64,
    /// Requests to the registry.
    pub(super) requests: usize,
}

/// Resources of one namespace, and the images of one registry.
pub(super) struct Resources<'a> {
    client: Client,
    registry: &'a EmbeddedRegistry,
    http: reqwest::Client,
    namespace: String,
}

/// An API for `ArtifactConfigs`.
pub(super) fn configs(client: Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("artifactconfig.dev", "v1alpha1", "ArtifactConfig");
    Api::namespaced_with(client, namespace, &ApiResource::from_gvk_with_plural(&kind, "artifactconfigs"))
}

/// A resource as one would write it.
pub(super) fn manifest(number: usize, repository: &str) -> Value {
    json!({
        "apiVersion": "artifactconfig.dev/v1alpha1",
        "kind": "ArtifactConfig",
        "metadata": {"name": name(number)},
        "spec": {
            "image": format!("{repository}:v1"),
            "artifactType": ARTIFACT_TYPE,
            "registry": {"plainHttp": true},
            "interval": format!("{}s", INTERVAL.as_secs()),
        },
    })
}

fn name(number: usize) -> String {
    format!("app-{number:05}")
}

impl<'a> Resources<'a> {
    pub(super) async fn new(cluster: &Cluster, registry: &'a EmbeddedRegistry, prefix: &str) -> Result<Self> {
        let namespace = cluster.create_namespace(prefix).await?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { client: cluster.admin(), registry, http, namespace })
    }

    fn repository(number: usize) -> String {
        format!("load/{}", name(number))
    }

    /// Pushes an image with a config for each number.
    pub(super) async fn push(&self, numbers: Range<usize>) -> Result<()> {
        let host = self.registry.host();
        let pushing: Vec<_> = numbers
            .map(|number| {
                let host = host.clone();
                async move { push(&self.http, &host, &Self::repository(number), number).await }
            })
            .collect();
        stream::iter(pushing).buffer_unordered(SIDE_BY_SIDE).try_collect().await
    }

    /// Creates a resource for each number; returns once all are ready.
    pub(super) async fn create(&self, numbers: Range<usize>) -> Result<()> {
        let api = configs(self.client.clone(), &self.namespace);
        let host = self.registry.host();
        let creating = async {
            let all: Vec<_> = numbers
                .clone()
                .map(|number| {
                    let (api, host) = (api.clone(), host.clone());
                    async move {
                        let repository = format!("{host}/{}", Self::repository(number));
                        let object = serde_json::from_value(manifest(number, &repository))?;
                        api.create(&PostParams::default(), &object).await?;
                        anyhow::Ok(())
                    }
                })
                .collect();
            stream::iter(all).buffer_unordered(SIDE_BY_SIDE).try_collect::<()>().await
        };
        let ready = tokio::time::timeout(LIMIT, self.ready(&api, numbers.clone()));
        let ((), ready) = tokio::try_join!(creating, async { Ok(ready.await) })?;
        ready.with_context(|| format!("not all were ready within {LIMIT:?}"))?
    }

    /// Watches until each of these is ready.
    async fn ready(&self, api: &Api<DynamicObject>, numbers: Range<usize>) -> Result<()> {
        let mut waiting: BTreeSet<String> = numbers.map(name).collect();
        let changes = watcher(api.clone(), watcher::Config::default().page_size(PAGE));
        let mut changes = pin!(changes.default_backoff().applied_objects());
        while !waiting.is_empty() {
            let object = changes.try_next().await?.context("the watch ended")?;
            let conditions = object.data["status"]["conditions"].as_array();
            let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
            match ready {
                Some(ready) if ready["status"] == "True" => {
                    waiting.remove(&object.name_any());
                }
                Some(ready) if ready["status"] == "False" => {
                    bail!("{} is not ready: {}", object.name_any(), ready["message"])
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Every target holds its config: figures of something else would mean nothing.
    pub(super) async fn check(&self, numbers: Range<usize>) -> Result<()> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut expected: std::collections::BTreeMap<_, _> =
            numbers.map(|number| (name(number), content(number))).collect();
        let selector = "app.kubernetes.io/managed-by=artifactconfig,!artifactconfig.dev/revision";
        let mut page = ListParams::default().labels(selector).limit(PAGE);
        loop {
            let list = api.list(&page).await?;
            for config_map in &list.items {
                let Some(text) = expected.remove(&config_map.name_any()) else { continue };
                let held = config_map.data.as_ref().and_then(|data| data.get(FILE));
                ensure!(held == Some(&text), "ConfigMap {} holds something else", config_map.name_any());
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
        ensure!(expected.is_empty(), "{} ConfigMaps are missing", expected.len());
        Ok(())
    }

    /// Counts from here.
    pub(super) fn forget_requests(&self) {
        self.registry.clear_requests();
    }

    /// Requests to the registry since then.
    pub(super) fn requests(&self) -> usize {
        self.registry.requests().len()
    }
}
