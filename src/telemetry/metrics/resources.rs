//! Metrics of single resources, read from the watch cache at each scrape. They cost no memory, and end with their
//! resource.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use api::{ArtifactConfig, ArtifactConfigStatus, Reason, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource as _;
use kube::core::DeserializeGuard;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::Queue;
use super::gauge;

/// Most resources with their own series. With five series each, a scrape has about 20 MB.
const LIMIT: usize = 20_000;

/// A resource that has no `Ready` condition yet.
const NOT_LOOKED_AT: (&str, &str) = ("Unknown", "NotReconciled");

/// The present resources.
pub type ResourceStates = Arc<dyn Fn() -> Vec<Arc<DeserializeGuard<ArtifactConfig>>> + Send + Sync>;

pub(super) struct Resources {
    states: ResourceStates,
    each: bool,
    queue: Queue,
}

impl Resources {
    pub(super) const fn new(states: ResourceStates, each: bool, queue: Queue) -> Self {
        Self { states, each, queue }
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources").field("each", &self.each).finish_non_exhaustive()
    }
}

/// The parts of a resource that metrics need.
struct Resource<'a> {
    namespace: &'a str,
    name: &'a str,
    /// `None` if the resource cannot be parsed; then its status cannot be parsed either.
    config: Option<&'a ArtifactConfig>,
}

impl<'a> Resource<'a> {
    fn of(object: &'a DeserializeGuard<ArtifactConfig>) -> Self {
        let metadata = object.meta();
        Self {
            namespace: metadata.namespace.as_deref().unwrap_or_default(),
            name: metadata.name.as_deref().unwrap_or_default(),
            config: object.0.as_ref().ok(),
        }
    }

    fn status(&self) -> Option<&'a ArtifactConfigStatus> {
        self.config.and_then(|config| config.status.as_ref())
    }

    fn conditions(&self) -> &'a [Condition] {
        self.status().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    /// Status and reason of `Ready`.
    fn ready(&self) -> (&'a str, &'a str) {
        if self.config.is_none() {
            // As the reconcile says it of a resource that cannot be read.
            return ("False", Reason::InvalidSpec.as_str());
        }
        let ready = self.status().and_then(|status| status.condition(condition::READY));
        ready.map_or(NOT_LOOKED_AT, |ready| (&ready.status, &ready.reason))
    }

    fn id(&self) -> [(&'static str, &'a str); 2] {
        [("namespace", self.namespace), ("name", self.name)]
    }

    /// If not all resources can have series, those that need attention come first.
    fn order(&self) -> (bool, &'a str, &'a str) {
        (self.ready().0 == "True", self.namespace, self.name)
    }
}

impl Collector for Resources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let states = (self.states)();
        let mut resources: Vec<_> = states.iter().map(|object| Resource::of(object)).collect();
        count(&mut encoder, &resources)?;
        if !self.each {
            return Ok(());
        }
        let omitted = keep(&mut resources, LIMIT);
        gauge(
            &mut encoder,
            (
                "resources_omitted",
                "Resources without their own series, because the cluster has too many",
                None,
            ),
            u32::try_from(omitted).unwrap_or(u32::MAX).into(),
        )?;
        conditions(&mut encoder, &resources)?;
        info(&mut encoder, &resources)?;
        last_success(&mut encoder, &resources, &self.queue)
    }
}

/// Keeps at most `limit` resources, and returns the number of the others.
fn keep(resources: &mut Vec<Resource<'_>>, limit: usize) -> usize {
    let omitted = resources.len().saturating_sub(limit);
    if omitted > 0 {
        resources.select_nth_unstable_by(limit, |one, other| one.order().cmp(&other.order()));
        resources.truncate(limit);
    }
    omitted
}

fn count(encoder: &mut DescriptorEncoder<'_>, resources: &[Resource<'_>]) -> fmt::Result {
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for resource in resources {
        *counts.entry(resource.ready()).or_default() += 1;
    }
    let help = "Resources by status and reason of their Ready condition.";
    let mut metric = encoder.encode_descriptor("resources", help, None, MetricType::Gauge)?;
    for ((ready, reason), count) in counts {
        metric.encode_family(&[("ready", ready), ("reason", reason)])?.encode_gauge(&count)?;
    }
    Ok(())
}

fn conditions(encoder: &mut DescriptorEncoder<'_>, resources: &[Resource<'_>]) -> fmt::Result {
    let help = "1 for each current condition of a resource.";
    let mut metric = encoder.encode_descriptor("resource_condition", help, None, MetricType::Gauge)?;
    let mut say = |resource: &Resource<'_>, kind: &str, status: &str, reason: &str| {
        let [namespace, name] = resource.id();
        let labels = [namespace, name, ("type", kind), ("status", status), ("reason", reason)];
        metric.encode_family(&labels)?.encode_gauge(&1_u32)
    };
    for resource in resources {
        let (status, reason) = resource.ready();
        say(resource, condition::READY, status, reason)?;
        for further in resource.conditions().iter().filter(|given| given.type_ != condition::READY) {
            say(resource, &further.type_, &further.status, &further.reason)?;
        }
    }
    Ok(())
}

fn info(encoder: &mut DescriptorEncoder<'_>, resources: &[Resource<'_>]) -> fmt::Result {
    let help = "1 for each resource with an applied config; the labels name the config and its image.";
    let mut metric = encoder.encode_descriptor("resource", help, None, MetricType::Info)?;
    for resource in resources {
        let Some(status) = resource.status() else { continue };
        let (Some(image), Some(artifact), Some(target)) = (&status.image, &status.artifact, &status.target)
        else {
            continue;
        };
        let [namespace, name] = resource.id();
        metric.encode_info(&[
            namespace,
            name,
            ("image", &*image.reference),
            ("image_digest", &*image.digest),
            ("artifact_digest", &*artifact.digest),
            ("target", &*target.name),
        ])?;
    }
    Ok(())
}

fn last_success(
    encoder: &mut DescriptorEncoder<'_>,
    resources: &[Resource<'_>],
    queue: &Queue,
) -> fmt::Result {
    let help = "When a reconcile of the resource last succeeded in this process.";
    let (name, unit) = ("resource_last_success_timestamp", Some(&Unit::Seconds));
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for resource in resources {
        if let Some(at) = queue.last_success(resource.namespace, resource.name) {
            metric.encode_family(&resource.id())?.encode_gauge(&at)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    use crate::telemetry::Metrics;
    use crate::telemetry::metrics::Sources;

    fn object(name: &str, ready: Option<(&str, &str)>) -> Arc<DeserializeGuard<ArtifactConfig>> {
        let conditions = ready.map(|(status, reason)| {
            json!([{"type": "Ready", "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}])
        });
        let applied = ready.map(|_| {
            json!({
                "conditions": conditions,
                "image": {"reference": "r.example/web:v1", "digest": "sha256:1"},
                "artifact": {"digest": "sha256:2", "size": 1},
                "target": {"name": "web", "hash": "sha256:3"},
            })
        });
        let object = json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": name, "namespace": "team\"a\\"},
            "spec": {"image": "r.example/web:v1", "artifactType": "custom/config"},
            "status": applied.unwrap_or_else(|| json!({})),
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn text(objects: Vec<Arc<DeserializeGuard<ArtifactConfig>>>, each: bool) -> String {
        let resources: ResourceStates = Arc::new(move || objects.clone());
        Metrics::with(Sources { resources: Some(resources), each, ..Sources::default() }).text()
    }

    #[test]
    fn each_resource_has_its_conditions_and_what_is_applied() {
        let objects = vec![object("web", Some(("False", "ArtifactNotFound"))), object("new", None)];
        let text = text(objects, true);
        for line in [
            r#"artifactconfig_resources{ready="False",reason="ArtifactNotFound"} 1"#,
            r#"artifactconfig_resources{ready="Unknown",reason="NotReconciled"} 1"#,
            r#"artifactconfig_resource_condition{namespace="team\"a\\",name="web",type="Ready",status="False",reason="ArtifactNotFound"} 1"#,
            r#"artifactconfig_resource_condition{namespace="team\"a\\",name="new",type="Ready",status="Unknown",reason="NotReconciled"} 1"#,
            r#"artifactconfig_resource_info{namespace="team\"a\\",name="web",image="r.example/web:v1",image_digest="sha256:1",artifact_digest="sha256:2",target="web"} 1"#,
            "artifactconfig_resources_omitted 0.0",
        ] {
            assert!(text.lines().any(|given| given == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_resource_that_cannot_be_read_is_no_secret() {
        let object = json!({"metadata": {"name": "web", "namespace": "a"}, "spec": {"image": 1}});
        let text = text(vec![Arc::new(serde_json::from_value(object).unwrap())], true);
        let line = r#"resource_condition{namespace="a",name="web",type="Ready",status="False",reason="InvalidSpec"} 1"#;
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn without_them_only_their_number_is_reported() {
        let text = text(vec![object("web", Some(("True", "Synced")))], false);
        assert!(text.contains(r#"artifactconfig_resources{ready="True",reason="Synced"} 1"#), "{text}");
        assert!(!text.contains("resource_condition") && !text.contains("resource_info"), "{text}");
    }

    #[test]
    fn those_that_need_somebody_are_named_before_others() {
        let objects = [
            object("a", Some(("True", "Synced"))),
            object("b", Some(("False", "TooLarge"))),
            object("c", None),
            object("d", Some(("True", "Synced"))),
        ];
        let mut resources: Vec<_> = objects.iter().map(|object| Resource::of(object)).collect();
        assert_eq!(keep(&mut resources, 3), 1);
        let mut names: Vec<_> = resources.iter().map(|resource| resource.name).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(keep(&mut resources, 3), 0);
    }
}
