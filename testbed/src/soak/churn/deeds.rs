//! How each act is done: requests to the registries and the API server, and the same change in the model.

use anyhow::{Context as _, Result, bail};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::super::model::{ARTIFACT_TYPE, Files, Policy, Resource, THEIRS};
use super::Churn;

/// Field manager of the applied resources.
const MANAGER: &str = "soak";

/// Tries of a request that met a connection which died with an earlier API server, or of an attach.
const TRIES: u32 = 4;

/// Farthest config of a rollback: usually kept as a revision, or a little older.
const BACK: usize = 6;

impl Churn<'_> {
    pub(super) async fn attach_to(&mut self, image: usize) -> Result<()> {
        let files = self.files();
        let created = Timestamp::from_second(1_767_225_600)? + SignedDuration::from_secs(self.next);
        self.next += 1;
        let created = [("org.opencontainers.image.created", created.to_string())];
        let annotations: Vec<_> = created.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let given: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        let reference = self.model.images[image].reference.clone();
        let mut tries = 0;
        // The same files with the same date are the same artifact, so that a second try makes no second one.
        let digest = loop {
            match self.stage.oras.attach(&reference, ARTIFACT_TYPE, &given, &annotations).await {
                Ok(digest) => break digest,
                Err(why) if tries == TRIES => return Err(why),
                Err(_) => tries += 1,
            }
            sleep(std::time::Duration::from_millis(500)).await;
        };
        self.model.images[image].attached.push(digest.clone());
        self.model.artifacts.insert(digest, files);
        Ok(())
    }

    /// One to three files, small ones more often than large ones, one in four not text. One time in ten they are those
    /// of the last artifact: equal bytes under another digest.
    fn files(&mut self) -> Files {
        if !self.last.is_empty() && self.random.u8(0..10) == 0 {
            return self.last.clone();
        }
        let mut files = Files::new();
        for _ in 0..self.random.u8(1..=3) {
            let size = [40, 400, 400, 2_000, 2_000, 12_000, 50_000][self.random.usize(0..7)];
            let text = self.random.u8(0..4) > 0;
            let bytes = (0..size)
                .map(|_| if text { self.random.lowercase() as u8 } else { self.random.u8(128..=255) })
                .collect();
            let name = ["app.json", "limits.toml", "blob.bin", "notes.txt"][self.random.usize(0..4)];
            files.insert(name.to_owned(), bytes);
        }
        self.last.clone_from(&files);
        files
    }

    pub(super) async fn create(&mut self) -> Result<()> {
        let name = format!("web-{}", self.next);
        self.next += 1;
        let policy = match self.random.u8(0..10) {
            0 => Policy::Retain,
            1 => Policy::Orphan,
            2 => Policy::Merge,
            _ => Policy::Owner,
        };
        let resource = Resource {
            namespace: self.stage.namespaces[self.random.usize(0..self.stage.namespaces.len())].clone(),
            target: name.clone(),
            name: name.clone(),
            uid: String::new(),
            image: self.random.usize(0..self.model.images.len()),
            policy,
            limit: self.random.usize(1..=5),
            interval: self.random.u64(self.pace.interval.clone()),
            rollback_to: None,
            suspended: false,
        };
        if policy == Policy::Merge {
            let theirs = ConfigMap {
                metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
                data: Some([(THEIRS.0.to_owned(), THEIRS.1.to_owned())].into()),
                ..ConfigMap::default()
            };
            let api = self.stage.config_maps(&resource.namespace);
            tried(|| async { api.patch(&name, &PatchParams::apply("theirs"), &Patch::Apply(&theirs)).await })
                .await?;
        }
        let made = self.apply(&resource).await?;
        let uid = made.uid().context("the API server gave the resource no UID")?;
        self.model.resources.insert(name, Resource { uid, ..resource });
        Ok(())
    }

    async fn apply(&self, resource: &Resource) -> Result<DynamicObject> {
        let manifest = self.model.manifest(resource).context("the resource names an image that is none")?;
        let api = self.stage.configs(&resource.namespace);
        let parameters = PatchParams::apply(MANAGER).force();
        tried(|| async { api.patch(&resource.name, &parameters, &Patch::Apply(&manifest)).await }).await
    }

    pub(super) async fn change(&mut self, name: &str, change: impl FnOnce(&mut Resource)) -> Result<()> {
        let mut resource = self.model.resources[name].clone();
        change(&mut resource);
        self.apply(&resource).await?;
        self.model.resources.insert(name.to_owned(), resource);
        Ok(())
    }

    pub(super) async fn ask_for(&mut self, name: &str) -> Result<()> {
        let resource = &self.model.resources[name];
        self.next += 1;
        let patch =
            json!({"metadata": {"annotations": {"artifactconfig.dev/requestedAt": self.next.to_string()}}});
        let api = self.stage.configs(&resource.namespace);
        tried(|| async { api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await }).await?;
        Ok(())
    }

    pub(super) async fn delete(&mut self, name: &str) -> Result<()> {
        let api = self.stage.configs(&self.model.resources[name].namespace);
        delete(&api, name).await?;
        self.model.delete(name);
        Ok(())
    }

    pub(super) async fn roll_back(&mut self, name: &str) -> Result<bool> {
        let resource = &self.model.resources[name];
        let attached = &self.model.images[resource.image].attached;
        let Some(earlier) = attached.len().checked_sub(1).filter(|earlier| *earlier > 0) else {
            return Ok(false);
        };
        let chosen = self.random.usize(earlier.saturating_sub(BACK)..earlier);
        let digest = attached[chosen].clone();
        self.change(name, |resource| resource.rollback_to = Some(digest)).await?;
        Ok(true)
    }

    /// As `kubectl edit` does it: a key of the config is changed, another is added.
    pub(super) async fn edit_target(&mut self, name: &str) -> Result<bool> {
        let resource = &self.model.resources[name];
        if resource.policy == Policy::Merge {
            // An added key would stay there.
            return Ok(false);
        }
        let patch = json!({"data": {"app.json": "edited by hand", "intruder": "x"}, "binaryData": {"app.json": Value::Null}});
        let api = self.stage.config_maps(&resource.namespace);
        let parameters =
            PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
        let target = &resource.target;
        match tried(|| async { api.patch(target, &parameters, &Patch::Merge(&patch)).await }).await {
            Err(why) if is_not_found(&why) => Ok(false),
            result => result.map(|_| true),
        }
    }

    pub(super) async fn delete_target(&mut self, name: &str) -> Result<bool> {
        let resource = &self.model.resources[name];
        if resource.policy == Policy::Merge {
            // Then nobody would make it again.
            return Ok(false);
        }
        delete(&self.stage.config_maps(&resource.namespace), &resource.target).await
    }

    pub(super) async fn delete_revision(&mut self, name: &str) -> Result<bool> {
        let resource = &self.model.resources[name];
        let api = self.stage.config_maps(&resource.namespace);
        let selector = format!("artifactconfig.dev/revision,artifactconfig.dev/owner-uid={}", resource.uid);
        let parameters = ListParams::default().labels(&selector);
        let revisions = tried(|| async { api.list_metadata(&parameters).await }).await?.items;
        if revisions.is_empty() {
            return Ok(false);
        }
        let chosen = revisions[self.random.usize(0..revisions.len())].name_any();
        delete(&api, &chosen).await
    }
}

/// Deletes it; `false` if it does not exist.
async fn delete<K>(api: &Api<K>, name: &str) -> Result<bool>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match tried(|| async { api.delete(name, &DeleteParams::default()).await }).await {
        Err(why) if is_not_found(&why) => Ok(false),
        result => result.map(|_| true),
    }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.is_not_found())
}

/// Sends a request that may be sent twice. Tries again if no answer came: its connection may be one to an API server
/// that was killed since.
pub(in super::super) async fn tried<T, F>(mut request: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = kube::Result<T>>,
{
    for _ in 1..TRIES {
        match request().await {
            Ok(answer) => return Ok(answer),
            Err(why @ kube::Error::Api(_)) => bail!(why),
            Err(_) => sleep(std::time::Duration::from_millis(500)).await,
        }
    }
    Ok(request().await?)
}
