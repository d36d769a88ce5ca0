//! A test's own place: a namespace in the cluster and repositories of the same name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use api::{ArtifactConfig, MANAGER, Reason, annotation, label};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::conditions::Ready as _;
use super::images::CONFIG_TYPE;
use super::overlay::overlay;
use super::world::{Kind, World};

/// Longest wait for anything. What is waited for takes milliseconds; the rest is for machines that also compile.
const LIMIT: Duration = Duration::from_mins(1);

/// Waits until the probe answers with a value; its last word is in the error.
pub async fn eventually<T, F>(what: impl std::fmt::Display, probe: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Result<T, String>>>,
{
    testbed::eventually(what, LIMIT, probe).await
}

/// Makes each request for a sync a new one.
static REQUESTS: AtomicU64 = AtomicU64::new(1);

/// The place of a test. Clones are the same place.
#[derive(Clone)]
pub struct Bench {
    /// Everything that runs.
    pub world: Arc<World>,
    /// The registry of this run.
    pub kind: Kind,
    /// The test's namespace, and the first part of its repositories' names.
    pub namespace: String,
}

/// The objects of a namespace: `kind/name` and `resourceVersion`.
pub type Snapshot = BTreeMap<String, String>;

impl Bench {
    pub(super) async fn new(world: Arc<World>, kind: Kind, test: &str) -> Result<Self> {
        // Room for what `generateName` adds, within the 63 characters of a namespace.
        let prefix: String = test.replace('_', "-").chars().take(50).collect();
        let namespace = world.cluster.create_namespace(prefix.trim_end_matches('-')).await?;
        Ok(Self { world, kind, namespace })
    }

    /// Another namespace, with the same registry. Its repositories are its own as well.
    pub async fn neighbour(&self) -> Result<Self> {
        let bench = Self::new(Arc::clone(&self.world), self.kind, "neighbour").await?;
        Ok(bench)
    }

    pub fn configs(&self) -> Api<ArtifactConfig> {
        Api::namespaced(self.world.cluster.admin(), &self.namespace)
    }

    pub fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.world.cluster.admin(), &self.namespace)
    }

    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.world.cluster.admin(), &self.namespace)
    }

    /// Applies an `ArtifactConfig`. Defaults for absent fields: the type that tests attach, plain HTTP, and an interval
    /// so long that it triggers no reconcile.
    pub async fn apply(&self, name: &str, spec: Value) -> Result<ArtifactConfig> {
        let mut whole =
            json!({"artifactType": CONFIG_TYPE, "interval": "1h", "registry": {"plainHttp": true}});
        overlay(&mut whole, spec);
        Ok(self.apply_raw(name, &whole).await?)
    }

    /// Applies a spec without defaults.
    pub async fn apply_raw(&self, name: &str, spec: &Value) -> kube::Result<ArtifactConfig> {
        let object = json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": name}, "spec": spec,
        });
        self.configs().patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(object)).await
    }

    pub async fn get(&self, name: &str) -> Result<ArtifactConfig> {
        self.configs().get(name).await.with_context(|| format!("ArtifactConfig {name}"))
    }

    pub async fn delete(&self, name: &str) -> Result<()> {
        self.configs().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until the resource satisfies `is_there`, whose error says why not yet.
    pub async fn wait(
        &self,
        name: &str,
        what: &str,
        is_there: impl Fn(&ArtifactConfig) -> Result<()>,
    ) -> Result<ArtifactConfig> {
        let configs = self.configs();
        eventually(format!("ArtifactConfig {name}: {what}"), || async {
            Ok(match configs.get(name).await {
                Ok(config) => is_there(&config).map(|()| config).map_err(|why| format!("{why:#}")),
                Err(why) => Err(why.to_string()),
            })
        })
        .await
    }

    /// Waits until the resource, as it is now, is synced.
    pub async fn ready(&self, name: &str) -> Result<ArtifactConfig> {
        self.wait(name, "to be synced", ArtifactConfig::expect_synced).await
    }

    /// Waits until the resource, as it is now, has failed for this reason.
    pub async fn failed(&self, name: &str, reason: Reason) -> Result<ArtifactConfig> {
        self.wait(name, &format!("to fail with {reason}"), |config| config.expect_failed(reason)).await
    }

    /// Asks for a sync; returns what the status will echo.
    pub async fn request(&self, name: &str) -> Result<String> {
        let token = REQUESTS.fetch_add(1, Ordering::Relaxed).to_string();
        let patch = json!({"metadata": {"annotations": {annotation::REQUESTED_AT: token}}});
        self.configs().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(token)
    }

    /// Asks for a sync and waits until the operator has made one that began after this call.
    pub async fn sync(&self, name: &str) -> Result<ArtifactConfig> {
        let token = self.request(name).await?;
        self.wait(name, "to handle requestedAt", |config| {
            super::same(
                "lastHandledRequestedAt",
                config.seen()?.last_handled_requested_at.as_deref(),
                Some(&*token),
            )
        })
        .await
    }

    /// Asks for a sync, which must succeed.
    pub async fn sync_ready(&self, name: &str) -> Result<ArtifactConfig> {
        let config = self.sync(name).await?;
        config.expect_synced()?;
        Ok(config)
    }

    /// Asks for a sync, which must fail for this reason.
    pub async fn sync_failed(&self, name: &str, reason: Reason) -> Result<ArtifactConfig> {
        let config = self.sync(name).await?;
        config.expect_failed(reason)?;
        Ok(config)
    }

    pub async fn config_map(&self, name: &str) -> Result<ConfigMap> {
        self.config_maps().get(name).await.with_context(|| format!("ConfigMap {name}"))
    }

    /// Text of the `ConfigMap`.
    pub async fn data(&self, name: &str) -> Result<BTreeMap<String, String>> {
        Ok(self.config_map(name).await?.data.unwrap_or_default())
    }

    /// Waits until the `ConfigMap` satisfies `is_there`, whose error says why not yet.
    pub async fn wait_config_map(
        &self,
        name: &str,
        what: &str,
        is_there: impl Fn(&ConfigMap) -> Result<()>,
    ) -> Result<ConfigMap> {
        let config_maps = self.config_maps();
        eventually(format!("ConfigMap {name}: {what}"), || async {
            Ok(match config_maps.get(name).await {
                Ok(config_map) => {
                    is_there(&config_map).map(|()| config_map).map_err(|why| format!("{why:#}"))
                }
                Err(why) => Err(why.to_string()),
            })
        })
        .await
    }

    /// Waits until the `ConfigMap` holds exactly this text.
    pub async fn wait_data(&self, name: &str, data: &BTreeMap<String, String>) -> Result<ConfigMap> {
        let seen =
            |config_map: &ConfigMap| super::same("data", &config_map.data.clone().unwrap_or_default(), data);
        self.wait_config_map(name, "to hold the config", seen).await
    }

    /// Waits until there is no such `ConfigMap`.
    pub async fn wait_gone(&self, name: &str) -> Result<()> {
        let config_maps = self.config_maps();
        eventually(format!("ConfigMap {name} to go"), || async {
            Ok(match config_maps.get_metadata_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err("it is there".to_owned()),
                Err(why) => Err(why.to_string()),
            })
        })
        .await
    }

    /// Names of the targets in the namespace, and of the revisions.
    pub async fn written(&self) -> Result<(Vec<String>, Vec<String>)> {
        let selector = ListParams::default().labels(&format!("{}={MANAGER}", label::MANAGED_BY));
        let all = self.config_maps().list_metadata(&selector).await?;
        let (revisions, targets): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|object| object.labels().contains_key(label::REVISION));
        Ok((
            targets.iter().map(ResourceExt::name_any).collect(),
            revisions.iter().map(ResourceExt::name_any).collect(),
        ))
    }

    /// Whether there is such a `ConfigMap`.
    pub async fn has_config_map(&self, name: &str) -> Result<bool> {
        Ok(self.config_maps().get_metadata_opt(name).await?.is_some())
    }

    /// Changes a `ConfigMap` as `kubectl edit` does.
    pub async fn edit(&self, name: &str, patch: &Value) -> Result<ConfigMap> {
        let parameters =
            PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
        Ok(self.config_maps().patch(name, &parameters, &Patch::Merge(patch)).await?)
    }

    /// Creates a `ConfigMap` that nobody but the test knows of.
    pub async fn create_config_map(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        data: &[(&str, &str)],
    ) -> Result<ConfigMap> {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(super::text(labels)),
            ..ObjectMeta::default()
        };
        let config_map = ConfigMap { metadata, data: Some(super::text(data)), ..ConfigMap::default() };
        Ok(self.config_maps().create(&PostParams::default(), &config_map).await?)
    }

    /// Notes of the events about a resource, by reason, oldest first.
    pub async fn events(&self, name: &str) -> Result<Vec<(String, String)>> {
        let api: Api<Event> = Api::namespaced(self.world.cluster.admin(), &self.namespace);
        let mut events: Vec<_> = api
            .list(&ListParams::default())
            .await?
            .items
            .into_iter()
            .filter(|event| {
                event.regarding.as_ref().is_some_and(|regarding| regarding.name.as_deref() == Some(name))
            })
            .collect();
        events.sort_by_key(|event| event.event_time.clone().map(|time| time.0));
        Ok(events
            .into_iter()
            .map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default()))
            .collect())
    }

    /// Waits until the newest event about a resource has this reason, and returns all of them. Status comes before
    /// event, so that the one is not there yet when the other is.
    pub async fn wait_event(&self, name: &str, reason: Reason) -> Result<Vec<(String, String)>> {
        eventually(format!("an event {reason} about {name}"), || async {
            let events = self.events(name).await?;
            let newest = events.last().map(|(reason, _)| reason.as_str());
            Ok(if newest == Some(reason.as_str()) {
                Ok(events)
            } else {
                Err(format!("there are {events:?}"))
            })
        })
        .await
    }

    /// Everything in the namespace that the operator may write, with its version.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let events: Api<Event> = Api::namespaced(self.world.cluster.admin(), &self.namespace);
        let mut snapshot = Snapshot::new();
        let mut add = |kind: &str, name: String, version: Option<String>| {
            snapshot.insert(format!("{kind}/{name}"), version.unwrap_or_default());
        };
        for object in self.configs().list_metadata(&ListParams::default()).await? {
            add("ArtifactConfig", object.name_any(), object.resource_version());
        }
        for object in self.config_maps().list_metadata(&ListParams::default()).await? {
            add("ConfigMap", object.name_any(), object.resource_version());
        }
        for object in events.list_metadata(&ListParams::default()).await? {
            add("Event", object.name_any(), object.resource_version());
        }
        // Kubernetes creates it in each namespace, at any time.
        snapshot.remove("ConfigMap/kube-root-ca.crt");
        Ok(snapshot)
    }

    /// Runs kubectl in the namespace; it must succeed.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let args = [&["--namespace", &self.namespace][..], args].concat();
        Ok(self.world.cluster.kubectl(&args).await?.ok(&format!("kubectl {}", args.join(" ")))?.stdout)
    }

    /// Makes or changes the pull secret `regcred`.
    pub async fn put_pull_secret(&self, host: &str, user: &str, password: &str) -> Result<()> {
        let auths = json!({"auths": {host: {"username": user, "password": password}}});
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "regcred"},
            "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": auths.to_string()},
        });
        self.secrets().patch("regcred", &PatchParams::apply("e2e").force(), &Patch::Apply(object)).await?;
        Ok(())
    }

    /// From now on the embedded registry wants a token for the test's repositories; the pull secret `regcred` earns one.
    pub async fn make_private(&self) -> Result<()> {
        let registry = &self.world.embedded;
        registry.require_bearer(&format!("{}/", self.namespace), "robot", "secret-word");
        self.put_pull_secret(&registry.host(), "robot", "secret-word").await
    }

    /// Deletes the namespace and what is in it.
    pub async fn clean_up(&self) -> Result<()> {
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.world.cluster.admin());
        namespaces
            .delete(&self.namespace, &DeleteParams::background())
            .await
            .map_err(|why| anyhow!("cannot delete namespace {}: {why}", self.namespace))?;
        Ok(())
    }
}
