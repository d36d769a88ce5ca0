//! A workload → the facts that a pass needs: the image of a container, and whether its pods ask for binding.

use std::hash::{Hash as _, Hasher as _};

use api::{Reason, WorkloadRef, annotation, label};
use oci::{ImageRef, text};
use serde_json::Value;

use crate::Failure;
use crate::keys::{self, Keys};

/// Most containers of a pod template that are read.
const MAX_CONTAINERS: usize = 256;

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
    /// The keys of `ConfigMaps` that its pods cannot start without.
    pub keys: Keys,
}

impl Workload {
    /// Reads a workload for the resource of this name.
    ///
    /// # Errors
    /// `InvalidSpec` if it has no pod template at the path, or if the container is not clear.
    pub fn read(object: &Value, reference: &WorkloadRef, resource: &str) -> Result<Self, Failure> {
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
        let woken =
            object["metadata"]["annotations"][annotation::woken(resource)].as_str().map(str::to_owned);
        let selector = Some(&object["spec"]["selector"]).filter(|selector| selector.is_object()).cloned();
        Ok(Self {
            container: container.to_owned(),
            image: image.to_owned(),
            bind,
            is_short: is_short(kind, object),
            woken,
            selector,
            keys: template.map(keys::keys).unwrap_or_default(),
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
            keys: Keys::new(),
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

fn invalid(why: impl std::fmt::Display) -> Failure {
    Failure::new(Reason::InvalidSpec, format!("spec.workloadRef: {why}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn reference(kind: &str, container: Option<&str>) -> WorkloadRef {
        serde_json::from_value(json!({"kind": kind, "name": "web", "container": container})).unwrap()
    }

    fn deployment(containers: &Value) -> Value {
        json!({"metadata": {"annotations": {"web.artifactconfig.dev/woken": "web-1.1", "api.artifactconfig.dev/woken": "no"}}, "spec": {
            "selector": {"matchLabels": {"app": "web", "tier": "front"}},
            "template": {"metadata": {"labels": {"artifactconfig.dev/bind": "require"}}, "spec": {"containers": containers}},
        }})
    }

    #[test]
    fn the_image_of_the_only_container_or_of_the_named_one_counts() {
        let one = deployment(&json!([{"name": "web", "image": "r.example/web:v1"}]));
        let workload = Workload::read(&one, &reference("Deployment", None), "web").unwrap();
        assert_eq!((&*workload.container, &*workload.image), ("web", "r.example/web:v1"));
        assert_eq!((workload.bind, workload.woken.as_deref()), (Some(Bind::Require), Some("web-1.1")));
        assert_eq!(workload.selector().unwrap(), "app=web,tier=front");
        let two = deployment(&json!([{"name": "proxy", "image": "p"}, {"name": "web", "image": "w"}]));
        let workload = Workload::read(&two, &reference("Deployment", Some("web")), "web").unwrap();
        assert_eq!(workload.image, "w");
    }

    #[rstest]
    #[case::several(deployment(&json!([{"name": "a", "image": "a"}, {"name": "b", "image": "b"}])), None, "several containers (a, b)")]
    #[case::none_of_that_name(deployment(&json!([{"name": "a", "image": "a"}])), Some("web"), "no container 'web' with an image; it has a")]
    #[case::no_template(json!({"spec": {}}), None, "no pod template at spec.template")]
    fn what_is_not_clear_is_said(
        #[case] object: Value,
        #[case] container: Option<&str>,
        #[case] expected: &str,
    ) {
        let failure = Workload::read(&object, &reference("Deployment", container), "web").unwrap_err();
        assert_eq!(failure.reason, Reason::InvalidSpec);
        assert!(failure.message.starts_with("spec.workloadRef: Deployment 'web'"), "{}", failure.message);
        assert!(failure.message.contains(expected), "{}", failure.message);
    }

    #[test]
    fn a_kind_has_its_template_at_its_own_place() {
        let template = json!({"spec": {"containers": [{"name": "web", "image": "w"}]}});
        let cron = json!({"spec": {"jobTemplate": {"spec": {"template": template}}}});
        assert_eq!(Workload::read(&cron, &reference("CronJob", None), "web").unwrap().image, "w");
        let custom =
            WorkloadRef { template_path: Some("spec.workload".to_owned()), ..reference("CloneSet", None) };
        assert_eq!(
            Workload::read(&json!({"spec": {"workload": template}}), &custom, "web").unwrap().image,
            "w"
        );
    }

    #[rstest]
    #[case::refused("Deployment", json!({"replicas": 2}), json!({"replicas": 2, "conditions": [{"type": "ReplicaFailure", "status": "True"}]}), true)]
    #[case::fewer("StatefulSet", json!({"replicas": 2}), json!({"replicas": 1}), true)]
    #[case::the_default("StatefulSet", json!({}), json!({}), true)]
    #[case::all_there("Deployment", json!({"replicas": 2}), json!({"replicas": 3}), false)]
    #[case::scaled_to_zero("Deployment", json!({"replicas": 0}), json!({}), false)]
    #[case::nodes_without_a_pod("DaemonSet", json!({}), json!({"desiredNumberScheduled": 3, "currentNumberScheduled": 2}), true)]
    #[case::a_pod_on_each_node("DaemonSet", json!({}), json!({"desiredNumberScheduled": 3, "currentNumberScheduled": 3}), false)]
    #[case::a_job_without_a_pod("Job", json!({}), json!({}), true)]
    #[case::a_job_that_is_done("Job", json!({}), json!({"completionTime": "2026-01-01T00:00:00Z"}), false)]
    #[case::a_job_that_is_suspended("Job", json!({"suspend": true}), json!({}), false)]
    #[case::its_jobs_have_the_pods("CronJob", json!({}), json!({}), false)]
    fn a_workload_may_lack_pods(
        #[case] kind: &str,
        #[case] spec: Value,
        #[case] status: Value,
        #[case] expected: bool,
    ) {
        assert_eq!(is_short(kind, &json!({"spec": spec, "status": status})), expected);
    }

    #[test]
    fn a_mark_changes_with_what_matters() {
        let data =
            |ready: i64| json!({"spec": {"replicas": 2}, "status": {"replicas": 2, "readyReplicas": ready}});
        let mark =
            |generation, ready, needs_pods| mark("Deployment", Some(generation), &data(ready), needs_pods);
        assert_eq!(mark(1, 1, false), mark(1, 2, false));
        assert_ne!(mark(1, 1, true), mark(1, 2, true));
        assert_ne!(mark(1, 1, false), mark(2, 1, false));
    }
}
