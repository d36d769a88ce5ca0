//! Workloads, the pods that their controllers create, and the admission that binds pods by an index that lags behind.

use std::collections::{BTreeMap, BTreeSet};

use api::{ArtifactConfig, ArtifactConfigStatus, Binding, annotation, label};
use decide::spec::Owner;
use decide::usage::Usage;
use decide::workload::Bind;
use k8s_openapi::api::core::v1::ConfigMap;
use oci::Digest;
use serde_json::{Value, json};

use super::State;
use super::objects::{is_revision, label_of};
use super::resources::target_name;
use crate::model;
use crate::names::REPOSITORY;
use crate::rules::bound;

/// The container of every pod template.
pub const CONTAINER: &str = "web";

/// The parts of a pod template that decide something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub image: String,
    pub bind: Option<Bind>,
    /// The `ConfigMaps` that it names.
    pub maps: BTreeSet<String>,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    pub image: String,
    /// Digest of the image that it runs, if the registry knew the tag.
    pub digest: Option<Digest>,
    pub maps: BTreeSet<String>,
    pub bound: Vec<Bound>,
}

/// What admission has put into a pod.
#[derive(Clone, Debug)]
pub struct Bound {
    /// UID of the resource.
    pub uid: String,
    pub revision: String,
}

/// The pods of one template, such as a `ReplicaSet`.
#[derive(Clone, Debug)]
pub struct Set {
    pub template: Template,
    wanted: usize,
    pub pods: Vec<Pod>,
}

/// A Deployment. The first set has its present template.
#[derive(Clone, Debug)]
pub struct Workload {
    pub sets: Vec<Set>,
    pub replicas: usize,
    /// A pod was refused since its controller tried last.
    pub refused: bool,
    /// The annotation that wakes its controller.
    pub woken: BTreeMap<String, String>,
}

impl Workload {
    pub fn template(&self) -> &Template {
        &self.sets[0].template
    }

    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.sets.iter().flat_map(|set| &set.pods)
    }

    /// Another template, or an earlier one again.
    fn roll_out(&mut self, template: Template) {
        let known = self.sets.iter().position(|set| set.template == template);
        let set = known.map_or_else(
            || Set { template, wanted: 0, pods: Vec::new() },
            |position| self.sets.remove(position),
        );
        self.sets.insert(0, set);
    }

    fn object(&self, name: &str) -> Value {
        let conditions =
            if self.refused { json!([{"type": "ReplicaFailure", "status": "True"}]) } else { json!([]) };
        let annotations: BTreeMap<String, &String> =
            self.woken.iter().map(|(resource, woken)| (annotation::woken(resource), woken)).collect();
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "annotations": annotations},
            "spec": {
                "replicas": self.replicas, "selector": {"matchLabels": {"app": name}},
                "template": object_of(&self.template().image, &self.template().maps, self.template().bind),
            },
            "status": {"replicas": self.pods().count(), "conditions": conditions},
        })
    }
}

fn object_of(image: &str, maps: &BTreeSet<String>, bind: Option<Bind>) -> Value {
    let bind = bind.map(|bind| if bind == Bind::Require { "require" } else { "prefer" });
    let labels: BTreeMap<&str, &str> = bind.into_iter().map(|bind| (label::BIND, bind)).collect();
    let volumes: Vec<Value> = maps.iter().map(|map| json!({"configMap": {"name": map}})).collect();
    json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": CONTAINER, "image": image}], "volumes": volumes},
    })
}

impl Pod {
    fn object(&self) -> Value {
        let mut pod = object_of(&self.image, &self.maps, None);
        if let Some(digest) = &self.digest {
            let status = json!({"name": CONTAINER, "imageID": format!("{REPOSITORY}@{digest}")});
            pod["status"] = json!({"phase": "Running", "containerStatuses": [status]});
        }
        pod
    }
}

/// The digest at the end of an image.
pub fn pinned_digest(image: &str) -> Option<Digest> {
    image.split_once('@')?.1.parse().ok()
}

/// Whether a binding is for this image, by its name or its digest.
pub fn is_of(binding: &Binding, image: &str) -> bool {
    let is_digest = image.split_once('@').is_some_and(|(_, digest)| digest == binding.digest);
    binding.container == CONTAINER && (binding.image == image || is_digest)
}

impl State {
    pub fn workload(&self, name: &str) -> Option<&Workload> {
        self.workloads.get(name)
    }

    /// The workload as JSON, as the API server has it.
    pub fn workload_object(&self, name: &str) -> Option<Value> {
        Some(self.workload(name)?.object(name))
    }

    pub fn pod_objects(&self, selector: &str) -> Vec<Value> {
        let workload = selector.strip_prefix("app=").and_then(|name| self.workload(name));
        workload.iter().flat_map(|workload| workload.pods()).map(Pod::object).collect()
    }

    /// What pods and pod templates name.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage { config_maps: self.pods.values().cloned().collect(), ..Usage::default() };
        for set in self.workloads.values().flat_map(|workload| &workload.sets) {
            usage.images.insert(set.template.image.clone());
            usage.config_maps.extend(set.template.maps.iter().cloned());
            for pod in &set.pods {
                usage.images.insert(pod.image.clone());
                usage.config_maps.extend(pod.maps.iter().cloned());
            }
        }
        usage
    }

    /// Somebody creates a workload, unless one of the name exists.
    pub fn deploy(&mut self, name: &'static str, image: String, bind: Option<Bind>) {
        let template = Template { image, bind, maps: self.maps_for(name) };
        if self.workloads.contains_key(name) {
            return;
        }
        let set = Set { template, wanted: 0, pods: Vec::new() };
        let workload = Workload { sets: vec![set], replicas: 2, refused: false, woken: BTreeMap::new() };
        self.workloads.insert(name, workload);
        self.work(name);
    }

    /// Somebody edits the pod template of a workload.
    pub fn edit_template(&mut self, name: &'static str, edit: impl FnOnce(&mut Template)) {
        let maps = self.maps_for(name);
        let Some(workload) = self.workloads.get_mut(name) else { return };
        let mut template = Template { maps, ..workload.template().clone() };
        edit(&mut template);
        workload.roll_out(template);
        self.work(name);
    }

    /// `kubectl rollout undo`: an earlier template comes back.
    pub fn undo(&mut self, name: &'static str, nth: usize) {
        let Some(workload) = self.workloads.get_mut(name) else { return };
        let earlier = workload.sets.len() - 1;
        if earlier > 0 {
            let template = workload.sets[1 + nth % earlier].template.clone();
            workload.roll_out(template);
            self.work(name);
        }
    }

    pub fn scale(&mut self, name: &'static str, replicas: usize) {
        if let Some(workload) = self.workloads.get_mut(name) {
            workload.replicas = replicas;
            self.work(name);
        }
    }

    /// A pod goes, and its controller creates another one.
    pub fn drain(&mut self, name: &'static str, nth: usize) {
        let Some(workload) = self.workloads.get_mut(name) else { return };
        let count = workload.pods().count();
        let mut left = nth % count.max(1);
        for set in &mut workload.sets {
            if left < set.pods.len() {
                set.pods.remove(left);
                break;
            }
            left -= set.pods.len();
        }
        self.work(name);
    }

    /// The sets without pods go, as with `revisionHistoryLimit: 0`.
    pub fn drop_sets(&mut self, name: &'static str) {
        let Some(workload) = self.workloads.get_mut(name) else { return };
        let mut first = true;
        workload.sets.retain(|set| std::mem::take(&mut first) || !set.pods.is_empty());
        self.usage_changed();
    }

    pub fn undeploy(&mut self, name: &'static str) {
        self.workloads.remove(name);
        self.usage_changed();
    }

    /// Wakes the controller of a workload.
    pub fn wake_workload(&mut self, owner: &Owner, name: &str, value: &str) {
        let Some((name, workload)) = self.workloads.get_mut(name).map(|workload| (name, workload)) else {
            return;
        };
        let before = workload.woken.insert(owner.name.clone(), value.to_owned());
        if before.as_deref() != Some(value) {
            self.work(name);
        }
    }

    /// The present status of a resource.
    pub fn status_of(&self, owner: &Owner) -> Option<ArtifactConfigStatus> {
        self.resources.actual(&owner.name)?.status.clone()
    }

    /// A binding for the image of the workload by a revision that somebody counterfeited, without any check.
    pub fn unproven_binding(&self, owner: &Owner) -> Option<Binding> {
        let reference = self.resources.actual(&owner.name)?.spec.workload_ref.as_ref()?;
        let image = self.workload(&reference.name)?.template().image.clone();
        let is_counterfeit = |map: &&ConfigMap| {
            let of = label_of(&map.metadata, label::OWNER_UID);
            is_revision(&map.metadata) && of == Some(&owner.uid) && !self.is_intact(&owner.uid, map)
        };
        let map = self.objects.all().map(|(_, object)| &object.map).find(is_counterfeit)?;
        let held = Self::identity(map)?;
        Some(Binding {
            pinned: format!("{image}@{}", held.image),
            image,
            digest: held.image.to_string(),
            container: CONTAINER.to_owned(),
            artifact: held.artifact.to_string(),
            config_map: held.target,
            hash: model::hash(&held.content),
        })
    }

    /// The targets that the template of a workload names: those of the resources that follow it.
    fn maps_for(&self, workload: &'static str) -> BTreeSet<String> {
        let followers = crate::names::RESOURCES.iter().filter_map(|name| self.resources.actual(name));
        let names = followers.filter_map(|config| {
            let reference = config.spec.workload_ref.as_ref()?;
            let name = config.metadata.name.as_deref()?;
            (reference.name == workload).then(|| target_name(name, &config.spec).to_owned())
        });
        let names: BTreeSet<String> = names.collect();
        if names.is_empty() { [workload.to_owned()].into() } else { names }
    }

    /// The controller creates the pods that are missing. Earlier pods go when the new ones are there.
    fn work(&mut self, name: &str) {
        let Some((name, mut workload)) = self.workloads.remove_entry(name) else { return };
        workload.refused = false;
        workload.sets[0].wanted = workload.replicas;
        let mut is_stuck = true;
        for set in &mut workload.sets {
            if !is_stuck {
                set.wanted = 0;
            }
            while set.pods.len() < set.wanted {
                let Ok(pod) = self.admit(&set.template) else {
                    workload.refused = true;
                    break;
                };
                set.pods.push(pod);
            }
            is_stuck = workload.refused;
            set.pods.truncate(set.wanted);
        }
        self.trace.add(|| {
            let pods: Vec<usize> = workload.sets.iter().map(|set| set.pods.len()).collect();
            let image = &workload.template().image;
            format!("      workload {name} with {image} has pods {pods:?}, refused: {}", workload.refused)
        });
        self.workloads.insert(name, workload);
        self.usage_changed();
    }

    /// Images that nobody names any more are not in use for any reconcile.
    fn usage_changed(&mut self) {
        let images = self.usage().images;
        for run in self.runs.values_mut() {
            run.images.retain(|image| images.contains(image));
        }
    }

    /// Creates a pod, as the API server with the admission policies does.
    fn admit(&mut self, template: &Template) -> Result<Pod, String> {
        let pod = self.admitted(template)?;
        bound::check_pod(self, &pod);
        Ok(pod)
    }

    /// The pod, bound by the index as the API server has it now.
    pub fn admitted(&mut self, template: &Template) -> Result<Pod, String> {
        let Template { image, bind, maps } = template;
        let mut pod = Pod { image: image.clone(), digest: None, maps: maps.clone(), bound: Vec::new() };
        if let Some(bind) = bind {
            for config in self.resources.indexed() {
                bind_pod(&mut pod, &config);
            }
            let is_unbound =
                |config: &ArtifactConfig| maps_of(config).is_some_and(|map| pod.maps.contains(map));
            if *bind == Bind::Require && self.resources.indexed().iter().any(is_unbound) {
                return Err(format!("the config of {image} is not known"));
            }
        }
        let tag = || pod.image.rsplit_once(':').and_then(|(_, tag)| self.registry.held.tags.get(tag));
        pod.digest = pinned_digest(&pod.image).or_else(|| tag().cloned());
        Ok(pod)
    }
}

fn maps_of(config: &ArtifactConfig) -> Option<&str> {
    Some(target_name(config.metadata.name.as_deref()?, &config.spec))
}

fn bind_pod(pod: &mut Pod, config: &ArtifactConfig) {
    let Some(target) = maps_of(config).filter(|target| pod.maps.contains(*target)) else { return };
    if config.spec.target.creation_policy == api::CreationPolicy::Merge {
        return;
    }
    let bindings = config.status.iter().flat_map(|status| &status.bindings);
    let Some(binding) = bindings.into_iter().find(|binding| is_of(binding, &pod.image)) else { return };
    pod.maps.remove(target);
    pod.maps.insert(binding.config_map.clone());
    if !pod.image.contains('@') {
        pod.image.clone_from(&binding.pinned);
    }
    let uid = config.metadata.uid.clone().unwrap_or_default();
    pod.bound.push(Bound { uid, revision: binding.config_map.clone() });
}
