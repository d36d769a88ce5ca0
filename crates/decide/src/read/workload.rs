//! A workload → the facts that a pass needs: the image of a container, and whether its pods ask for binding.

use std::hash::{Hash as _, Hasher as _};

use api::{Reason, Resolve, WorkloadRef, label};
use kube_core::GroupVersionKind;
use oci::{Digest, ImageRef, text};
use serde_json::Value;

use crate::Failure;

/// Most containers of a pod template that are read.
const MAX_CONTAINERS: usize = 256;

/// The kinds of Kubernetes that have a pod template, each with its group, version and plural name.
const KNOWN: [(&str, &str, &str, &str); 5] = [
    ("Deployment", "apps", "v1", "deployments"),
    ("StatefulSet", "apps", "v1", "statefulsets"),
    ("DaemonSet", "apps", "v1", "daemonsets"),
    ("CronJob", "batch", "v1", "cronjobs"),
    ("Job", "batch", "v1", "jobs"),
];

/// A kind with a pod template.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadKind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version of the API.
    pub version: String,
    /// The kind.
    pub kind: String,
}

impl WorkloadKind {
    /// The kind that a resource names.
    #[must_use]
    pub fn of(reference: &WorkloadRef) -> Self {
        let known = KNOWN.iter().find(|(kind, ..)| *kind == reference.kind);
        let (group, version) = match (&reference.api_version, known) {
            (Some(version), _) => version.split_once('/').unwrap_or(("", version)),
            (None, Some((_, group, version, _))) => (*group, *version),
            (None, None) => ("", ""),
        };
        Self { group: group.to_owned(), version: version.to_owned(), kind: reference.kind.clone() }
    }

    /// The same in the form of kube.
    #[must_use]
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::gvk(&self.group, &self.version, &self.kind)
    }

    /// The kinds of Kubernetes.
    pub fn known() -> impl Iterator<Item = Self> {
        KNOWN.iter().map(|(kind, group, version, _)| Self {
            group: (*group).to_owned(),
            version: (*version).to_owned(),
            kind: (*kind).to_owned(),
        })
    }

    /// The plural name of a kind of Kubernetes. Only the API server knows that of another kind.
    #[must_use]
    pub fn plural(&self) -> Option<&'static str> {
        let is_this = |(kind, group, version, _): &&(&str, &str, &str, &str)| {
            (*kind, *group, *version) == (&*self.kind, &*self.group, &*self.version)
        };
        KNOWN.iter().find(is_this).map(|(.., plural)| *plural)
    }
}

/// How the pods of a workload ask for binding, by the label [`label::BIND`] of its pod template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// A pod whose config is not known is refused.
    Require,
    /// A pod whose config is not known starts with the target.
    Prefer,
}

impl Bind {
    /// The value of the label, if it is one of the two.
    #[must_use]
    pub fn of(label: &str) -> Option<Self> {
        match label {
            "require" => Some(Self::Require),
            "prefer" => Some(Self::Prefer),
            _ => None,
        }
    }
}

/// A workload as a pass sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its kind and name.
    pub reference: WorkloadRef,
    /// The container whose image counts.
    pub container: String,
    /// The image of that container, as the pod template names it.
    pub image: String,
    /// How its pods ask for binding.
    pub bind: Option<Bind>,
    /// It has fewer pods than it should have, so some may have been refused.
    pub is_short: bool,
    /// Value of the annotation by which the operator woke it last.
    pub woken: Option<String>,
    selector: Option<Value>,
}

impl Workload {
    /// Reads a workload.
    ///
    /// # Errors
    /// `InvalidSpec` if it has no pod template at the path, or if the container is not clear.
    pub fn read(object: &Value, reference: &WorkloadRef) -> Result<Self, Failure> {
        let WorkloadRef { kind, container, .. } = reference;
        let shown = shown(reference);
        let path = template_path(reference);
        let template = path.split('.').try_fold(object, |value, field| value.get(field));
        let Some(containers) = template.and_then(|template| template["spec"]["containers"].as_array()) else {
            return Err(invalid(format!(
                "{shown} has no pod template at {path}; name its place in spec.workloadRef.templatePath"
            )));
        };
        let named: Vec<(&str, &str)> = containers
            .iter()
            .take(MAX_CONTAINERS)
            .filter_map(|container| Some((container["name"].as_str()?, container["image"].as_str()?)))
            .collect();
        let known = || text::list(named.iter().map(|(name, _)| *name), 10);
        let (container, image) = match (container, &*named) {
            (Some(wanted), all) => *all.iter().find(|(name, _)| name == wanted).ok_or_else(|| {
                invalid(format!("{shown} has no container '{wanted}' with an image; it has {}", known()))
            })?,
            (None, [only]) => *only,
            (None, _) => {
                return Err(invalid(format!(
                    "{shown} has several containers ({}), or none with an image; name one in spec.workloadRef.container",
                    known()
                )));
            }
        };
        let labels = template.map(|template| &template["metadata"]["labels"]);
        let bind = labels.and_then(|labels| labels[label::BIND].as_str()).and_then(Bind::of);
        let woken = object["metadata"]["annotations"][api::annotation::WOKEN].as_str().map(str::to_owned);
        let selector = Some(&object["spec"]["selector"]).filter(|selector| selector.is_object()).cloned();
        Ok(Self {
            container: container.to_owned(),
            image: image.to_owned(),
            bind,
            is_short: is_short(kind, object),
            woken,
            selector,
            reference: reference.clone(),
        })
    }

    /// A workload of which only the image is known.
    #[must_use]
    pub fn named(reference: &WorkloadRef, image: String) -> Self {
        Self {
            reference: reference.clone(),
            container: reference.container.clone().unwrap_or_default(),
            image,
            bind: None,
            is_short: false,
            woken: None,
            selector: None,
        }
    }

    /// The labels that select its pods, in the form of a query.
    ///
    /// # Errors
    /// `InvalidSpec` if the kind has none, or selects by more than equal labels.
    pub fn selector(&self) -> Result<String, Failure> {
        let unusable = || {
            invalid(format!(
                "{} selects its pods by no plain labels (spec.selector.matchLabels), so they cannot be found; use resolve: Template",
                shown(&self.reference)
            ))
        };
        let selector = self.selector.as_ref().ok_or_else(unusable)?;
        let is_plain = selector["matchExpressions"].as_array().is_none_or(Vec::is_empty);
        let labels = selector["matchLabels"].as_object().filter(|labels| is_plain && !labels.is_empty());
        let labels = labels.ok_or_else(unusable)?;
        let pairs = labels.iter().map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
        pairs.collect::<Option<Vec<String>>>().map(|pairs| pairs.join(",")).ok_or_else(unusable)
    }

    /// The image, parsed.
    ///
    /// # Errors
    /// `InvalidSpec`, naming the workload and the container.
    pub fn image(&self) -> Result<ImageRef, Failure> {
        let Self { reference, container, image, .. } = self;
        let shown = shown(reference);
        image.parse().map_err(|error| invalid(format!("{shown}, container '{container}': {error}")))
    }
}

/// Kind and name of a workload, for messages.
#[must_use]
pub fn shown(reference: &WorkloadRef) -> String {
    format!("{} '{}'", reference.kind, reference.name)
}

fn template_path(reference: &WorkloadRef) -> &str {
    let usual = if reference.kind == "CronJob" { "spec.jobTemplate.spec.template" } else { "spec.template" };
    reference.template_path.as_deref().unwrap_or(usual)
}

/// A number that changes with what matters of a workload: its `spec`, whether it lacks pods, and by wish how many pods it
/// has, because another image may run then. `data` is the object without its metadata.
#[must_use]
pub fn mark(kind: &str, generation: Option<i64>, data: &Value, needs_pods: bool) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    (generation, is_short(kind, data)).hash(&mut hasher);
    if needs_pods {
        let numbers = data["status"].as_object().into_iter().flatten();
        let numbers = numbers.filter_map(|(name, value)| Some((name, value.as_i64()?)));
        numbers.for_each(|number| number.hash(&mut hasher));
    }
    hasher.finish()
}

/// Whether a workload reports fewer pods than it should have. A kind that reports nothing of this form is never short.
fn is_short(kind: &str, object: &Value) -> bool {
    let (spec, status) = (&object["spec"], &object["status"]);
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    match kind {
        "DaemonSet" => number(&status["currentNumberScheduled"]) < number(&status["desiredNumberScheduled"]),
        "Job" => {
            let is_over = status["completionTime"].is_string() || spec["suspend"].as_bool() == Some(true);
            let pods = number(&status["active"]) + number(&status["succeeded"]);
            !is_over && pods < spec["parallelism"].as_i64().unwrap_or(1)
        }
        "CronJob" => false,
        _ => {
            let fails = |condition: &Value| {
                condition["type"].as_str() == Some("ReplicaFailure")
                    && condition["status"].as_str() == Some("True")
            };
            let is_refused = status["conditions"].as_array().is_some_and(|all| all.iter().any(fails));
            is_refused || number(&status["replicas"]) < spec["replicas"].as_i64().unwrap_or(1)
        }
    }
}

/// The digest that the pods of a workload run, by what the kubelet reports.
///
/// `imageID` counts only with a repository: containerd reports `repository@digest` of what was pulled, but the digest of the
/// image's own config for images that were loaded, as CRI-O does since 1.28 (kubernetes/kubernetes#95968,
/// cri-o/cri-o#7149); no registry knows that one. Then the digest in the pod's spec counts.
///
/// # Errors
/// `ImageUnknown` if no pod tells, or if pods tell different digests.
pub fn running(workload: &Workload, pods: &[Value]) -> Result<Digest, Failure> {
    let Workload { reference, container, .. } = workload;
    let shown = shown(reference);
    let unknown = |why: String| Failure::new(Reason::ImageUnknown, why);
    let mut digests: Vec<Digest> = Vec::new();
    for pod in pods.iter().filter(|pod| is_running(pod)) {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let Some(digest) = digest_of(pod, container) else {
            return Err(unknown(format!(
                "pod '{name}' of {shown} does not tell the digest of container '{container}': its runtime reports no registry digest yet, or only a local one; use spec.workloadRef.resolve: Template, or a digest in the pod template"
            )));
        };
        if !digests.contains(&digest) {
            digests.push(digest);
        }
    }
    match &*digests {
        [only] => Ok(only.clone()),
        [] => Err(unknown(format!("{shown} has no pod that runs, so the digest of its image is not known"))),
        several => {
            let several = text::list(several.iter().map(Digest::short), 5);
            Err(unknown(format!(
                "the pods of {shown} run different images ({several}); this ends when all of them run the same one"
            )))
        }
    }
}

/// Pods that are being deleted, or have ended, run nothing.
fn is_running(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    pod["metadata"]["deletionTimestamp"].is_null() && !matches!(phase, "Succeeded" | "Failed")
}

fn digest_of(pod: &Value, container: &str) -> Option<Digest> {
    let of = |list: &Value, field: &str| {
        let is_this = |status: &&Value| status["name"].as_str() == Some(container);
        let text = list.as_array()?.iter().find(is_this)?[field].as_str()?;
        text.rsplit_once('@')?.1.parse().ok()
    };
    of(&pod["status"]["containerStatuses"], "imageID").or_else(|| of(&pod["spec"]["containers"], "image"))
}

/// The image to ask the registry for: as the pod template names it, or with the digest that its pods run.
///
/// # Errors
/// `InvalidSpec` if the image is no reference, and the errors of [`running`].
pub fn image(workload: &Workload, pods: &[Value]) -> Result<ImageRef, Failure> {
    let image = workload.image()?;
    match workload.reference.resolve {
        Resolve::Template => Ok(image),
        Resolve::Pods if image.digest().is_some() => Ok(image),
        Resolve::Pods => Ok(image.at(running(workload, pods)?)),
    }
}

fn invalid(why: impl std::fmt::Display) -> Failure {
    Failure::new(Reason::InvalidSpec, format!("spec.workloadRef: {why}"))
}
