//! The part of a pod that the player reads.

use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, ConfigMapKeySelector, ConfigMapVolumeSource, Container, KeyToPath, Pod, PodSpec,
    Volume,
};

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A ConfigMap that a pod names, and the keys that it takes from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) config_map: String,
    /// All keys if it is `None`.
    pub(super) keys: Option<Vec<String>>,
    pub(super) optional: bool,
}

/// When a container that has ended starts again (`spec.restartPolicy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

/// A container, as far as its life depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) restart: Restart,
    /// Taken when the container starts.
    pub(super) env: Vec<Need>,
    /// Those of the volumes that the container mounts.
    pub(super) mounted: Vec<Need>,
}

/// The player's view of a pod that is bound to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) leaving: bool,
    /// Whether the API server says that it is ready.
    pub(super) ready: bool,
    /// Those of all volumes: no container starts before they are there.
    pub(super) volumes: Vec<Need>,
    /// In the order of the pod. One that restarts always is a sidecar.
    pub(super) init: Vec<Role>,
    pub(super) main: Vec<Role>,
}

impl Part {
    /// `None` for an object that no API server returns: without a name, a UID or a spec.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let meta = &pod.metadata;
        let spec = pod.spec.as_ref()?;
        let restart = restart(spec.restart_policy.as_deref(), Restart::Always);
        let init = spec.init_containers.iter().flatten().map(|container| {
            // Without its own policy an init container ends, and is tried again as the others are.
            let of_pod = if restart == Restart::Never { Restart::Never } else { Restart::OnFailure };
            role(spec, container, self::restart(container.restart_policy.as_deref(), of_pod))
        });
        Some(Self {
            key: Key { namespace: meta.namespace.clone()?, name: meta.name.clone()? },
            uid: meta.uid.clone()?,
            leaving: meta.deletion_timestamp.is_some(),
            ready: pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).any(is_ready),
            volumes: spec.volumes.iter().flatten().flat_map(of_volume).collect(),
            init: init.collect(),
            main: spec.containers.iter().map(|container| role(spec, container, restart)).collect(),
        })
    }

    /// Every container, in the order in which they start.
    pub(super) fn roles(&self) -> impl Iterator<Item = &Role> {
        self.init.iter().chain(&self.main)
    }

    /// Whether the pod names this ConfigMap of its namespace.
    pub(super) fn names(&self, config_map: &str) -> bool {
        let env = self.roles().flat_map(|role| &role.env);
        self.volumes.iter().chain(env).any(|need| need.config_map == config_map)
    }
}

fn is_ready(condition: &k8s_openapi::api::core::v1::PodCondition) -> bool {
    condition.type_ == "Ready" && condition.status == "True"
}

fn restart(policy: Option<&str>, otherwise: Restart) -> Restart {
    match policy {
        Some("Always") => Restart::Always,
        Some("OnFailure") => Restart::OnFailure,
        Some("Never") => Restart::Never,
        _ => otherwise,
    }
}

fn role(spec: &PodSpec, container: &Container, restart: Restart) -> Role {
    let mounts: Vec<_> = container.volume_mounts.iter().flatten().map(|mount| &mount.name).collect();
    let mounted = spec.volumes.iter().flatten().filter(|volume| mounts.contains(&&volume.name));
    let from = container.env_from.iter().flatten().filter_map(|from| from.config_map_ref.as_ref());
    let values = container.env.iter().flatten().filter_map(|env| env.value_from.as_ref());
    let keys = values.filter_map(|value| value.config_map_key_ref.as_ref());
    Role {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        restart,
        env: from.map(of_env_from).chain(keys.map(of_key)).collect(),
        mounted: mounted.flat_map(of_volume).collect(),
    }
}

fn of_env_from(from: &ConfigMapEnvSource) -> Need {
    Need { config_map: from.name.clone(), keys: None, optional: from.optional == Some(true) }
}

fn of_key(selector: &ConfigMapKeySelector) -> Need {
    Need {
        config_map: selector.name.clone(),
        keys: Some(vec![selector.key.clone()]),
        optional: selector.optional == Some(true),
    }
}

fn of_volume(volume: &Volume) -> Vec<Need> {
    let own = volume.config_map.iter().map(|ConfigMapVolumeSource { name, items, optional, .. }| {
        of_source(name, items.as_deref(), *optional)
    });
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let projected = sources.filter_map(|source| source.config_map.as_ref());
    own.chain(projected.map(|source| of_source(&source.name, source.items.as_deref(), source.optional)))
        .collect()
}

fn of_source(name: &str, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Need {
    let keys = items.filter(|items| !items.is_empty());
    Need {
        config_map: name.to_owned(),
        keys: keys.map(|items| items.iter().map(|item| item.key.clone()).collect()),
        optional: optional == Some(true),
    }
}
