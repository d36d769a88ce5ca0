//! The properties of a resource that matter for turns.

use std::sync::Arc;

use api::{ArtifactConfig, annotation};
use kube_core::DeserializeGuard;
use kube_core::Resource as _;
use oci::{ImageRef, RepositoryRef};

use super::line::Lane;

/// The properties that trigger a reconcile. The status is not one of them, because a reconcile writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub(super) uid: Box<str>,
    generation: Option<i64>,
    deleting: bool,
    requested: Option<Box<str>>,
}

impl Version {
    /// The properties of a resource, also of one that cannot be parsed.
    #[must_use]
    pub fn of(object: &DeserializeGuard<ArtifactConfig>) -> Self {
        let metadata = object.meta();
        let requested = metadata.annotations.as_ref().and_then(|all| all.get(annotation::REQUESTED_AT));
        Self {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            generation: metadata.generation,
            deleting: metadata.deletion_timestamp.is_some(),
            requested: requested.map(|requested| requested.as_str().into()),
        }
    }

    /// Whether a reconcile that began for `before` is outdated: another `spec`, another resource of the name, or a
    /// deletion. A new request for a sync does not count: if requests come faster than the registry answers, none would
    /// ever be answered.
    #[must_use]
    pub fn ends(&self, before: &Self) -> bool {
        (&self.uid, self.generation, self.deleting) != (&before.uid, before.generation, before.deleting)
    }
}

/// The servers that reconciles of a resource ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asks {
    /// The registries, as one key: if image and artifacts are in two registries, the pair has a separate share.
    /// Otherwise a resource that names a good registry and one that hangs would use up the share of the good one.
    pub place: Arc<str>,
    /// The lane in which it begins. A rollback or a suspended resource begins without a registry, and moves if it needs
    /// one.
    pub first: Lane,
}

impl Asks {
    /// The registries of a resource; none if it cannot be parsed.
    #[must_use]
    pub fn of(object: &DeserializeGuard<ArtifactConfig>) -> Self {
        let none = || Self { place: "".into(), first: Lane::Cluster };
        let Ok(config) = &object.0 else { return none() };
        let spec = &config.spec;
        // The image of a workload is known only when the workload was read. The one before is usually of the same
        // registry.
        let image = spec.image.as_ref().or_else(|| Some(&config.status.as_ref()?.image.as_ref()?.reference));
        let Some(Ok(image)) = image.map(|image| image.parse::<ImageRef>()) else { return none() };
        let image = image.repository();
        let mirror = spec.referrers_repository.as_deref().and_then(|text| text.parse::<RepositoryRef>().ok());
        let place = match mirror.filter(|mirror| mirror.host() != image.host()) {
            Some(mirror) => format!("{} {}", image.host(), mirror.host()),
            None => image.host().to_owned(),
        };
        let back = spec.suspend || spec.rollback_to.is_some() || config.metadata.deletion_timestamp.is_some();
        let first = if back { Lane::Cluster } else { Lane::Registry };
        Self { place: place.into(), first }
    }
}
