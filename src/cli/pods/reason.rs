//! Why a pod is not bound to the config of its image, or what is wrong with its binding. Pure.

use api::{ArtifactConfig, CreationPolicy, HistoryEntry, label};
use decide::bind::{self, MUTATING};
use decide::workload::Bind;
use kube::ResourceExt as _;
use serde_json::Value;

/// A `ConfigMap` of a resource, used by a pod.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// The resource.
    pub config: &'a ArtifactConfig,
    /// The pod.
    pub pod: &'a Value,
    /// The `ConfigMap`.
    pub config_map: &'a str,
    /// Whether the pod's spec names it.
    pub is_named: bool,
    /// Whether the annotation of a bound pod names it.
    pub is_bound: bool,
    /// Whether it is a revision that exists.
    pub exists: bool,
}

/// The reason; `None` for a pod that is bound to the config of its image. `applied` is the application that the target has, if
/// the pod uses the target; `changed` is whether it came after the pod's start.
pub fn reason(found: &Use<'_>, applied: Option<&HistoryEntry>, changed: bool) -> Option<String> {
    if found.is_bound {
        return of_bound(found);
    }
    if found.config_map != bind::target(found.config) {
        let gone = if found.exists { "" } else { "; this ConfigMap is gone" };
        return Some(format!("the pod template names the revision{gone}"));
    }
    let since = applied.map_or_else(String::new, |applied| format!(", since {}", applied.applied_at));
    let unknown = if changed {
        "; it changed after the container started, so the content at the start is not known"
    } else {
        ""
    };
    Some(format!("target{since}: {}{unknown}", of_target(found)))
}

fn of_bound(found: &Use<'_>) -> Option<String> {
    let Use { config, pod, config_map, .. } = *found;
    if !found.is_named {
        let key = bind::bound_key(&config.name_any());
        return Some(format!("annotation {key} names this ConfigMap, but the pod does not use it"));
    }
    if !found.exists {
        return Some("this ConfigMap is gone".to_owned());
    }
    let bindings = config.status.as_ref().map_or(&[][..], |status| &status.bindings);
    let binding = bindings.iter().find(|binding| binding.config_map == config_map)?;
    let is_of_its_image = bind::candidates(pod, config).any(|binding| binding.config_map == config_map);
    (!is_of_its_image)
        .then(|| format!("runs another image than the one of its binding, which is {}", binding.pinned))
}

/// Why the pod uses the target.
fn of_target(found: &Use<'_>) -> String {
    let Use { config, pod, .. } = *found;
    if config.spec.workload_ref.is_none() {
        return "spec.workloadRef is not set".to_owned();
    }
    if config.spec.target.creation_policy == CreationPolicy::Merge {
        return "spec.target.creationPolicy is Merge".to_owned();
    }
    let Some(asked) = pod["metadata"]["labels"][label::BIND].as_str() else {
        return format!("no label {}", label::BIND);
    };
    let is_known = bind::candidates(pod, config).next().is_some();
    match Bind::of(asked) {
        None => format!("label {} is '{asked}'; expected require or prefer", label::BIND),
        Some(Bind::Require) => {
            format!("the pod was created without policy {MUTATING}; create it again when the policy exists")
        }
        Some(Bind::Prefer) if is_known => {
            format!(
                "prefer: the pod was created before the binding of its image, or without policy {MUTATING}"
            )
        }
        Some(Bind::Prefer) => "prefer: its image has no binding".to_owned(),
    }
}
