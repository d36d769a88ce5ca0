//! Churn: what users, pipelines and people with kubectl do all day, in random order, and the model of it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::model::{ARTIFACT_TYPE, Files, Image, Model, Policy, Resource, THEIRS, Where};
use super::pace::Pace;
use super::stage::Stage;

/// Field manager of what churn applies.
const MANAGER: &str = "soak";

/// Tries of a request that met a connection which died with an earlier API server, or of an attach.
const TRIES: u32 = 4;

/// How far back one goes: within what is usually kept as revisions, and a little further.
const BACK: usize = 6;

/// Everything that may be done, and how often compared with the others.
const ACTS: [(Act, u32); 15] = [
    (Act::Attach, 40),
    (Act::Ask, 20),
    (Act::Create, 6),
    (Act::Delete, 6),
    (Act::RollBack, 6),
    (Act::Resume, 6),
    (Act::EditTarget, 8),
    (Act::DeleteTarget, 3),
    (Act::DeleteRevision, 3),
    (Act::Rename, 3),
    (Act::ChangeLimit, 3),
    (Act::ChangeImage, 2),
    (Act::MoveTag, 2),
    (Act::Suspend, 2),
    (Act::Wake, 3),
];

/// One thing that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Attach,
    Ask,
    Create,
    Delete,
    RollBack,
    Resume,
    EditTarget,
    DeleteTarget,
    DeleteRevision,
    Rename,
    ChangeLimit,
    ChangeImage,
    MoveTag,
    Suspend,
    Wake,
}

impl Act {
    const fn name(self) -> &'static str {
        match self {
            Self::Attach => "attach a config",
            Self::Ask => "ask for a sync",
            Self::Create => "create a resource",
            Self::Delete => "delete a resource",
            Self::RollBack => "roll back",
            Self::Resume => "resume",
            Self::EditTarget => "edit a target by hand",
            Self::DeleteTarget => "delete a target",
            Self::DeleteRevision => "delete a revision",
            Self::Rename => "rename a target",
            Self::ChangeLimit => "change revisionHistoryLimit",
            Self::ChangeImage => "change spec.image",
            Self::MoveTag => "move a tag to a new image",
            Self::Suspend => "suspend",
            Self::Wake => "end suspension",
        }
    }
}

/// Who does all that.
pub(super) struct Churn<'a> {
    stage: &'a Stage,
    pace: Pace,
    random: fastrand::Rng,
    /// How many resources there are to be, give or take a fifth.
    resources: usize,
    pub(super) model: Model,
    /// What was done, how often.
    pub(super) done: BTreeMap<&'static str, u64>,
    next: i64,
    last: Files,
}

impl<'a> Churn<'a> {
    pub(super) fn new(stage: &'a Stage, pace: Pace, seed: u64, resources: usize) -> Self {
        Self {
            stage,
            pace,
            random: fastrand::Rng::with_seed(seed),
            resources,
            model: Model::default(),
            done: BTreeMap::new(),
            next: 0,
            last: Files::new(),
        }
    }

    /// The world as it is when churn begins: an image for every two resources, half of them in each registry.
    pub(super) async fn prepare(&mut self) -> Result<()> {
        for number in 0..self.resources.div_ceil(2) {
            let registry = if number % 2 == 0 { Where::Embedded } else { Where::Distribution };
            let reference = format!("{}/soak/image-{number}:v1", self.stage.host(registry));
            self.stage.oras.push_image(&reference).await?;
            self.model.images.push(Image { registry, reference, attached: Vec::new() });
            self.attach_to(number).await?;
        }
        while self.model.resources.len() < self.resources {
            self.create().await?;
        }
        Ok(())
    }

    /// Acts until the deadline.
    pub(super) async fn run(&mut self, deadline: Instant) -> Result<()> {
        let all: u32 = ACTS.iter().map(|(_, weight)| weight).sum();
        while Instant::now() < deadline {
            let mut choice = self.random.u32(0..all);
            let (act, _) = ACTS
                .iter()
                .find(|(_, weight)| {
                    let chosen = choice < *weight;
                    choice = choice.saturating_sub(*weight);
                    chosen
                })
                .copied()
                .unwrap_or(ACTS[0]);
            if self.act(act).await.with_context(|| format!("cannot {}", act.name()))? {
                *self.done.entry(act.name()).or_default() += 1;
            }
            sleep(std::time::Duration::from_millis(self.random.u64(self.pace.act.clone()))).await;
        }
        Ok(())
    }

    /// Nothing is suspended any more, and everything is looked at once more.
    pub(super) async fn end(&mut self) -> Result<()> {
        let names: Vec<_> = self.model.resources.keys().cloned().collect();
        for name in names {
            if self.model.resources[&name].suspended {
                self.change(&name, |resource| resource.suspended = false).await?;
            }
            self.ask_for(&name).await?;
        }
        Ok(())
    }

    /// Does it; `false` where it cannot be done now: what it needs is down, or there is nothing to do it with.
    async fn act(&mut self, act: Act) -> Result<bool> {
        let stage = self.stage;
        if act == Act::Attach || act == Act::MoveTag {
            return self.act_on_registry(act).await;
        }
        let Ok(_api) = stage.gates.api.try_read() else { return Ok(false) };
        match act {
            Act::Create if self.model.resources.len() < self.resources * 6 / 5 => {
                self.create().await?;
                return Ok(true);
            }
            Act::Delete if self.model.resources.len() <= self.resources * 4 / 5 => return Ok(false),
            Act::Create => return Ok(false),
            _ => {}
        }
        let Some(name) = self.one(|_, _| true) else { return Ok(false) };
        match act {
            Act::Ask => self.ask_for(&name).await.map(|()| true),
            Act::Delete => self.delete(&name).await.map(|()| true),
            Act::EditTarget => self.edit_target(&name).await,
            Act::DeleteTarget => self.delete_target(&name).await,
            Act::DeleteRevision => self.delete_revision(&name).await,
            Act::ChangeLimit => {
                let limit = self.random.usize(1..=5);
                self.change(&name, |resource| resource.limit = limit).await.map(|()| true)
            }
            Act::ChangeImage => {
                let image = self.random.usize(0..self.model.images.len());
                // What was gone back to is attached to the image that it was, and not to the next.
                let change = |resource: &mut Resource| (resource.image, resource.rollback_to) = (image, None);
                self.change(&name, change).await.map(|()| true)
            }
            Act::RollBack => self.roll_back(&name).await,
            _ => self.act_on_some(act).await,
        }
    }

    /// What only some resources are in the state for.
    async fn act_on_some(&mut self, act: Act) -> Result<bool> {
        let found = match act {
            Act::Resume => self.one(|_, resource| resource.rollback_to.is_some()),
            Act::Suspend => self.one(|_, resource| !resource.suspended),
            Act::Wake => self.one(|_, resource| resource.suspended),
            // Under the other policies the earlier target stays, and nobody says for how long.
            Act::Rename => self.one(|_, resource| resource.policy == Policy::Owner),
            _ => None,
        };
        let Some(name) = found else { return Ok(false) };
        let change = |resource: &mut Resource| match act {
            Act::Resume => resource.rollback_to = None,
            Act::Suspend => resource.suspended = true,
            Act::Wake => resource.suspended = false,
            _ if resource.target == resource.name => resource.target = format!("{}-renamed", resource.name),
            _ => resource.target.clone_from(&resource.name),
        };
        self.change(&name, change).await.map(|()| true)
    }

    async fn act_on_registry(&mut self, act: Act) -> Result<bool> {
        let stage = self.stage;
        let image = self.random.usize(0..self.model.images.len());
        let Ok(_gate) = stage.gate(self.model.images[image].registry).try_read() else { return Ok(false) };
        if act == Act::MoveTag {
            if self.model.holds(image) {
                return Ok(false);
            }
            stage.oras.push_image(&self.model.images[image].reference).await?;
            self.model.images[image].attached.clear();
        }
        self.attach_to(image).await?;
        Ok(true)
    }

    /// The name of a resource of which this is true.
    fn one(&mut self, is_meant: impl Fn(&Model, &Resource) -> bool) -> Option<String> {
        let model = &self.model;
        let names: Vec<&String> = model
            .resources
            .iter()
            .filter(|(_, resource)| is_meant(model, resource))
            .map(|(name, _)| name)
            .collect();
        (!names.is_empty()).then(|| names[self.random.usize(0..names.len())].clone())
    }

    async fn attach_to(&mut self, image: usize) -> Result<()> {
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

    async fn create(&mut self) -> Result<()> {
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

    async fn change(&mut self, name: &str, change: impl FnOnce(&mut Resource)) -> Result<()> {
        let mut resource = self.model.resources[name].clone();
        change(&mut resource);
        self.apply(&resource).await?;
        self.model.resources.insert(name.to_owned(), resource);
        Ok(())
    }

    async fn ask_for(&mut self, name: &str) -> Result<()> {
        let resource = &self.model.resources[name];
        self.next += 1;
        let patch =
            json!({"metadata": {"annotations": {"artifactconfig.dev/requestedAt": self.next.to_string()}}});
        let api = self.stage.configs(&resource.namespace);
        tried(|| async { api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await }).await?;
        Ok(())
    }

    async fn delete(&mut self, name: &str) -> Result<()> {
        let api = self.stage.configs(&self.model.resources[name].namespace);
        delete(&api, name).await?;
        self.model.delete(name);
        Ok(())
    }

    async fn roll_back(&mut self, name: &str) -> Result<bool> {
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
    async fn edit_target(&mut self, name: &str) -> Result<bool> {
        let resource = &self.model.resources[name];
        if resource.policy == Policy::Merge {
            // What is added there is theirs to keep.
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

    async fn delete_target(&mut self, name: &str) -> Result<bool> {
        let resource = &self.model.resources[name];
        if resource.policy == Policy::Merge {
            // Then nobody would make it again.
            return Ok(false);
        }
        delete(&self.stage.config_maps(&resource.namespace), &resource.target).await
    }

    async fn delete_revision(&mut self, name: &str) -> Result<bool> {
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

/// Deletes it; `false` where there is none.
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

/// Makes a request that may be made twice. One more try where there was no answer at all: its connection may be one to
/// an API server that was killed since.
pub(super) async fn tried<T, F>(mut request: impl FnMut() -> F) -> Result<T>
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = ACTS.iter().map(|(act, _)| act.name()).collect();
        assert_eq!(names.len(), ACTS.len());
        assert!(ACTS.iter().all(|(_, weight)| *weight > 0));
    }
}
