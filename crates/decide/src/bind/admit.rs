//! The decision of the policies, in Rust.

use api::{ArtifactConfig, Binding, CreationPolicy, condition, label};
use serde_json::{Value, json};

use super::image::{self, is_of};
use super::keys::{MIRROR, MUTATING, bound_key, revision_key};
use super::message::{self, cut, filled};
use super::places;
use crate::workload::Bind;

/// The pod as the API server would admit it into the namespace, by these resources.
///
/// # Errors
/// The message of the refusal, if the pod requires a config that is not known.
pub fn admit(pod: &Value, namespace: &str, configs: &[ArtifactConfig]) -> Result<Value, String> {
    let mut pod = pod.clone();
    let asked = pod["metadata"]["labels"][label::BIND].as_str().and_then(Bind::of);
    let is_mirror = !pod["metadata"]["annotations"][MIRROR].is_null();
    let Some(asked) = asked.filter(|_| !is_mirror) else { return Ok(pod) };
    let is_near = |config: &&ArtifactConfig| config.metadata.namespace.as_deref() == Some(namespace);
    let near = || configs.iter().filter(is_near);
    near().for_each(|config| bind(&mut pod, config));
    match near().find_map(|config| refusal(&pod, config)).filter(|_| asked == Bind::Require) {
        Some(refused) => Err(refused),
        None => Ok(pod),
    }
}

/// Binds a pod that names the target of the resource, if a binding of its image exists.
pub fn bind(pod: &mut Value, config: &ArtifactConfig) {
    let target = target(config);
    if !places::has(pod, target) || is_merge(config) {
        return;
    }
    let wanted = pod["metadata"]["annotations"][revision_key(name(config))].as_str();
    let is_wanted = |binding: &&Binding| wanted == Some(&binding.config_map);
    let chosen = candidates(pod, config).find(is_wanted).or_else(|| candidates(pod, config).next());
    let Some(Binding { container, pinned, config_map, .. }) = chosen else { return };
    places::rewrite(pod, target, config_map);
    let containers = pod["spec"]["containers"].as_array_mut().into_iter().flatten();
    for bound in containers.filter(|bound| bound["name"].as_str() == Some(container)) {
        if !image::named(bound).contains('@') {
            bound["image"] = json!(pinned);
        }
    }
    let annotations = &mut pod["metadata"]["annotations"];
    if annotations.is_null() {
        *annotations = json!({});
    }
    annotations[bound_key(name(config))] = json!(config_map);
}

/// The reason why a pod that requires its config is refused because of this resource. `None` if the pod does not name its
/// target.
#[must_use]
pub fn refusal(pod: &Value, config: &ArtifactConfig) -> Option<String> {
    if !places::has(pod, target(config)) {
        return None;
    }
    let candidate = candidates(pod, config).next();
    let container = container(config);
    let images = listed(pod, message::IMAGE, |name| container.is_empty() || name == container);
    let message = match candidate {
        _ if is_merge(config) => message::MERGED,
        _ if config.spec.workload_ref.is_none() => message::UNFOLLOWED,
        Some(_) => message::UNCHANGED,
        None if images.is_empty() => message::NO_CONTAINER,
        None => message::UNKNOWN,
    };
    let value = |part: &str| match part {
        "config" => name(config).to_owned(),
        "policy" => MUTATING.to_owned(),
        "revision" => candidate.map(|binding| binding.config_map.clone()).unwrap_or_default(),
        "why" => cut(&why(config), message::LONGEST_WHY),
        "container" => container.to_owned(),
        "images" => cut(&images, message::LONGEST_LIST),
        _ => cut(&listed(pod, message::CONTAINER, |_| true), message::LONGEST_LIST),
    };
    Some(filled(message, value).replace('\n', " "))
}

fn name(config: &ArtifactConfig) -> &str {
    config.metadata.name.as_deref().unwrap_or_default()
}

/// Name of the target of a resource.
#[must_use]
pub fn target(config: &ArtifactConfig) -> &str {
    config.spec.target.name.as_deref().unwrap_or(name(config))
}

fn is_merge(config: &ArtifactConfig) -> bool {
    config.spec.target.creation_policy == CreationPolicy::Merge
}

fn bindings(config: &ArtifactConfig) -> &[Binding] {
    config.status.as_ref().map_or(&[], |status| &status.bindings)
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["containers"].as_array().into_iter().flatten()
}

/// The bindings of the images that a pod runs. The first one counts.
pub fn candidates<'a>(pod: &Value, config: &'a ArtifactConfig) -> impl Iterator<Item = &'a Binding> {
    bindings(config).iter().filter(|binding| containers(pod).any(|container| is_of(container, binding)))
}

/// The container that the config belongs to; empty if that is not known.
#[must_use]
pub fn container(config: &ArtifactConfig) -> &str {
    let named = config.spec.workload_ref.as_ref().and_then(|workload| workload.container.as_deref());
    let bound = || bindings(config).first().map(|binding| &*binding.container);
    named.or_else(bound).unwrap_or_default()
}

fn listed(pod: &Value, message: &'static str, is_listed: impl Fn(&str) -> bool) -> String {
    let name = |container: &Value| container["name"].as_str().unwrap_or_default().to_owned();
    let shown = |container: &Value| {
        let value = |part: &str| {
            if part == "image" { image::named(container).to_owned() } else { name(container) }
        };
        filled(message, value)
    };
    containers(pod).filter(|container| is_listed(&name(container))).map(shown).collect::<Vec<_>>().join(", ")
}

fn why(config: &ArtifactConfig) -> String {
    let ready = config.status.as_ref().and_then(|status| status.condition(condition::READY));
    match ready {
        None => message::UNSEEN.to_owned(),
        Some(ready) if ready.status == "True" => filled(message::ANOTHER, |_| {
            config.spec.workload_ref.as_ref().map(crate::workload::shown).unwrap_or_default()
        }),
        Some(ready) => ready.message.clone(),
    }
}
