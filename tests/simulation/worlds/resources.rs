//! The resources in the API server, and in the operator's watch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use api::{ArtifactConfig, ArtifactConfigSpec, ArtifactConfigStatus, CreationPolicy, label};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::DeserializeGuard;
use serde_json::json;

use super::State;
use super::objects::{controller_of, label_of};
use crate::clock;
use crate::names::{NAMESPACE, REPOSITORY, TYPE};

pub type Guarded = DeserializeGuard<ArtifactConfig>;

/// All resources that ever existed.
#[derive(Default)]
pub struct Resources {
    slots: BTreeMap<&'static str, Slot>,
    /// UID → name, including deleted resources.
    pub names: BTreeMap<String, &'static str>,
    /// Whether the API server admits pods by an outdated view of the resources.
    pub index_lags: bool,
}

/// Longest lag of an API server behind its own writes: half of the time that a revision outlives its binding.
const LAG: i64 = 300;

/// A name, and the resource that has it.
#[derive(Default)]
struct Slot {
    actual: Option<ArtifactConfig>,
    view: Option<Arc<Guarded>>,
    pending: VecDeque<Option<Arc<Guarded>>>,
    /// What the API server admits pods by, and the versions that it has not noticed yet, each with its time.
    indexed: Option<Arc<Guarded>>,
    indexing: VecDeque<(i64, Option<Arc<Guarded>>)>,
}

impl Slot {
    fn now(&self) -> Option<Arc<Guarded>> {
        self.actual.clone().map(|config| Arc::new(DeserializeGuard(Ok(config))))
    }

    fn report(&mut self) {
        let now = self.now();
        self.indexing.push_back((clock::second(), now.clone()));
        self.pending.push_back(now);
    }

    /// The API server notices the versions that are at least so old, and so many of the others.
    fn index(&mut self, before: i64, mut others: usize) {
        while let Some((since, _)) = self.indexing.front() {
            if *since > before {
                if others == 0 {
                    return;
                }
                others -= 1;
            }
            self.indexed = self.indexing.pop_front().and_then(|(_, version)| version);
        }
    }
}

/// The spec that a reconcile has seen.
pub fn spec_of(seen: &Guarded) -> &ArtifactConfigSpec {
    &seen.0.as_ref().unwrap().spec
}

pub fn target_name<'a>(name: &'a str, spec: &'a ArtifactConfigSpec) -> &'a str {
    spec.target.name.as_deref().unwrap_or(name)
}

impl Resources {
    pub fn actual(&self, name: &str) -> Option<&ArtifactConfig> {
        self.slots.get(name)?.actual.as_ref()
    }

    /// The last version that the operator's watch has delivered.
    pub fn view(&self, name: &str) -> Option<Arc<Guarded>> {
        self.slots.get(name)?.view.clone()
    }

    pub fn behind(&self, name: &str) -> usize {
        self.slots.get(name).map_or(0, |slot| slot.pending.len())
    }

    pub fn deliver(&mut self, name: &str, events: usize) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        for _ in 0..events {
            match slot.pending.pop_front() {
                Some(view) => slot.view = view,
                None => return,
            }
        }
    }

    /// The API server notices so many versions of a resource.
    pub fn index(&mut self, name: &str, versions: usize) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.index(i64::MIN, versions);
        }
    }

    /// The resources that the API server admits pods by.
    pub fn indexed(&mut self) -> Vec<ArtifactConfig> {
        let before = if self.index_lags { clock::second() - LAG } else { i64::MAX };
        self.slots.values_mut().for_each(|slot| slot.index(before, 0));
        self.slots.values().filter_map(|slot| slot.indexed.as_ref()?.0.as_ref().ok().cloned()).collect()
    }

    /// The watch starts again and reads the present state.
    pub fn resync(&mut self) {
        for slot in self.slots.values_mut() {
            slot.pending.clear();
            slot.view = slot.now();
        }
    }

    pub fn alive(&self) -> BTreeSet<String> {
        self.slots.values().filter_map(|slot| slot.actual.as_ref()?.metadata.uid.clone()).collect()
    }
}

impl State {
    /// Somebody creates a resource, unless one of the name exists.
    pub fn create_resource(&mut self, name: &'static str, change: impl FnOnce(&mut ArtifactConfigSpec)) {
        if self.resources.actual(name).is_some() {
            return;
        }
        let version = self.objects.version();
        let uid = format!("{name}-{version}");
        let mut config: ArtifactConfig = serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": name, "namespace": NAMESPACE, "uid": uid, "generation": 1, "resourceVersion": version},
            "spec": {"image": format!("{REPOSITORY}:v1"), "artifactType": TYPE},
            "status": {"observedGeneration": -1},
        }))
        .unwrap();
        change(&mut config.spec);
        if self.merging.contains(name) {
            config.spec.target.creation_policy = CreationPolicy::Merge;
        }
        self.resources.names.insert(uid, name);
        let slot = self.resources.slots.entry(name).or_default();
        slot.actual = Some(config);
        slot.report();
        self.remember_spec(name);
    }

    /// Somebody edits a resource. An equal spec is not an edit.
    pub fn edit_resource(&mut self, name: &str, change: impl FnOnce(&mut ArtifactConfig)) {
        let version = self.objects.version();
        let Some(slot) = self.resources.slots.get_mut(name) else { return };
        let Some(config) = slot.actual.as_mut() else { return };
        let before = config.clone();
        change(config);
        if *config == before {
            return;
        }
        if config.spec != before.spec {
            config.metadata.generation = before.metadata.generation.map(|generation| generation + 1);
        }
        config.metadata.resource_version = Some(version);
        slot.report();
        self.remember_spec(name);
    }

    /// Deletes a resource: at once, or first marked, as a deletion in the foreground does it.
    pub fn delete_resource(&mut self, name: &str, at_once: bool) {
        if at_once {
            let Some(slot) = self.resources.slots.get_mut(name) else { return };
            if slot.actual.take().is_some() {
                slot.report();
            }
        } else {
            let time = Time(jiff::Timestamp::from_second(clock::second()).unwrap());
            self.edit_resource(name, |config| {
                config.metadata.deletion_timestamp.get_or_insert(time);
            });
        }
    }

    /// Writes the status of the resource with this UID, as the API keeps it. Returns its version.
    pub fn store_status(&mut self, name: &str, uid: &str, status: ArtifactConfigStatus) -> Option<String> {
        let slot = self.resources.slots.get_mut(name)?;
        let config = slot.actual.as_mut().filter(|config| config.metadata.uid.as_deref() == Some(uid))?;
        if config.status.as_ref() != Some(&status) {
            config.status = Some(status);
            config.metadata.resource_version = Some(self.objects.version());
            slot.report();
        }
        self.resources.actual(name)?.metadata.resource_version.clone()
    }

    /// The garbage collector: deletes objects of deleted resources, and resources that wait for that.
    pub fn collect_garbage(&mut self) {
        let alive = self.resources.alive();
        let mut names = self.objects.collect_garbage(&alive);
        for (name, slot) in &mut self.resources.slots {
            let Some(config) = slot.actual.as_ref() else { continue };
            if config.metadata.deletion_timestamp.is_some() {
                let uid = config.metadata.uid.clone();
                let is_blocking = |metadata: &kube::api::ObjectMeta| {
                    controller_of(metadata).is_some_and(|owner| Some(&owner.uid) == uid.as_ref())
                };
                let blocking: Vec<String> = self
                    .objects
                    .all()
                    .filter(|(_, object)| is_blocking(&object.map.metadata))
                    .map(|(name, _)| name.clone())
                    .collect();
                if blocking.is_empty() {
                    slot.actual = None;
                    slot.report();
                    names.push(format!("resource {name}"));
                }
                for name in blocking {
                    self.objects.delete(&name);
                    names.push(name);
                }
            }
        }
        self.ledger.harmed.extend(names.iter().cloned());
        for run in self.runs.values_mut() {
            run.disturbed.extend(names.iter().cloned());
        }
        if !names.is_empty() {
            self.trace.add(|| format!("garbage collected: {names:?}"));
        }
    }

    /// Names of the revisions that carry the UID of a resource.
    pub fn revisions_of(&self, uid: &str) -> Vec<String> {
        self.objects
            .all()
            .filter(|(_, object)| {
                label_of(&object.map.metadata, label::REVISION).is_some()
                    && label_of(&object.map.metadata, label::OWNER_UID) == Some(uid)
            })
            .map(|(name, _)| name.clone())
            .collect()
    }
}
