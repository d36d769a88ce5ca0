//! What the watches report of the `ConfigMaps` that carry our label.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::Store;

/// Metadata of a `ConfigMap` that carries our label; its content is never held.
pub type TargetMeta = PartialObjectMeta<ConfigMap>;

/// What one watch reports.
pub type TargetStore = Store<TargetMeta>;

/// What all watches report: one over all namespaces, or one for each.
#[derive(Clone)]
pub enum Targets {
    /// Of all namespaces.
    All(TargetStore),
    /// Of each that is watched.
    Each(Arc<BTreeMap<String, TargetStore>>),
}

impl Targets {
    /// The store that the namespace is in, or nothing where it is not watched.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Option<&TargetStore> {
        match self {
            Self::All(store) => Some(store),
            Self::Each(stores) => stores.get(namespace),
        }
    }
}
