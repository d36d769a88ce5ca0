//! What of a resource matters to whoever gives turns.

use std::sync::Arc;

use kube::Resource as _;
use kube::core::DeserializeGuard;
use oci::{ImageRef, RepositoryRef};

use super::Lane;
use crate::api::{ArtifactConfig, annotation};

/// What a look answers to: not the status, which it writes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub(super) uid: Box<str>,
    generation: Option<i64>,
    deleting: bool,
    requested: Option<Box<str>>,
}

impl Version {
    /// Of a resource, also of one that cannot be read.
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

    /// Whether a look that was begun for `before` is for what is no more: another `spec`, another resource of the name, or
    /// one that goes. Not where somebody merely asks for a look: whoever asks more often than a registry answers would
    /// never get an answer.
    #[must_use]
    pub fn ends(&self, before: &Self) -> bool {
        (&self.uid, self.generation, self.deleting) != (&before.uid, before.generation, before.deleting)
    }
}

/// Whom the looks at a resource ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asks {
    /// The registries, as one: where image and artifacts lie in two, the pair has a share of its own. Otherwise whoever
    /// names a good one beside one that hangs would use up the share of the good one.
    pub place: Arc<str>,
    /// What it begins with. Going back, and leaving everything as it is, need no registry, or find out that they do.
    pub first: Lane,
}

impl Asks {
    /// Those of a resource. What cannot be read asks nobody.
    #[must_use]
    pub fn of(object: &DeserializeGuard<ArtifactConfig>) -> Self {
        let none = || Self { place: "".into(), first: Lane::Cluster };
        let Ok(config) = &object.0 else { return none() };
        let spec = &config.spec;
        let Ok(image) = spec.image.parse::<ImageRef>() else { return none() };
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
