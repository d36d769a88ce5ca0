//! What metadata of a `ConfigMap` says that decisions go by, and what of it is kept of those that are watched.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::api::{FIELD_MANAGER, MANAGER, label};

use super::spec::Owner;

/// A `ConfigMap` of ours as the watch reports it. A tenth of its metadata, of which there would be two objects and more
/// in memory for each resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Name.
    pub name: Box<str>,
    /// `metadata.uid`.
    pub uid: Option<Box<str>>,
    /// `metadata.resourceVersion`.
    pub version: Option<Box<str>>,
    /// UID of the resource that its label names.
    pub owner: Option<Box<str>>,
    /// Whether it is a revision and no target.
    pub is_revision: bool,
    /// Whether the operator has written it, as the API server keeps record. What a person copied has the labels alone.
    pub is_written: bool,
    /// Number of the revision, where it can be read.
    pub number: Option<i64>,
    claim: Claim,
}

/// What is kept of the [`Holder`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    /// The resource whose UID the label has is its controller.
    Owner,
    /// It has no controller, and its labels name this resource.
    Named(Box<str>),
    /// Somebody else's.
    Another,
}

/// Who holds an object, which anybody can have changed since it was made.
pub(super) enum Holder<'a> {
    /// Its controller.
    Controller(&'a OwnerReference),
    /// It has no controller, and is labelled as made by this operator for the resource of this name.
    Named(&'a str),
    /// Neither.
    Nobody,
}

pub(super) fn holder(metadata: &ObjectMeta) -> Holder<'_> {
    let mut owners = metadata.owner_references.iter().flatten();
    if let Some(controller) = owners.find(|reference| reference.controller == Some(true)) {
        return Holder::Controller(controller);
    }
    let is_managed = labelled(metadata, label::MANAGED_BY) == Some(MANAGER);
    labelled(metadata, label::NAME).filter(|_| is_managed).map_or(Holder::Nobody, Holder::Named)
}

/// Value of a label.
pub(super) fn labelled<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// Number on the label of a revision.
pub(super) fn number(metadata: &ObjectMeta) -> Option<i64> {
    labelled(metadata, label::REVISION)?.parse().ok()
}

impl Watched {
    /// Reads the metadata.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        let owner = labelled(metadata, label::OWNER_UID);
        let claim = match holder(metadata) {
            Holder::Controller(controller) if Some(controller.uid.as_str()) == owner => Claim::Owner,
            Holder::Named(name) => Claim::Named(name.into()),
            Holder::Controller(_) | Holder::Nobody => Claim::Another,
        };
        Self {
            name: metadata.name.as_deref().unwrap_or_default().into(),
            uid: metadata.uid.as_deref().map(Box::from),
            version: metadata.resource_version.as_deref().map(Box::from),
            owner: owner.map(Box::from),
            is_revision: labelled(metadata, label::REVISION).is_some(),
            is_written: metadata
                .managed_fields
                .iter()
                .flatten()
                .any(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER)),
            number: number(metadata),
            claim,
        }
    }

    /// Whether it is this resource's, by the rule of [`super::plan::admit`], of an object whose label names its UID.
    #[must_use]
    pub fn is_of(&self, owner: &Owner) -> bool {
        match &self.claim {
            Claim::Owner => self.owner.as_deref() == Some(owner.uid.as_str()),
            Claim::Named(name) => **name == *owner.name,
            Claim::Another => false,
        }
    }
}
