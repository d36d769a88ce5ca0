//! The metadata fields that decisions depend on, and the compact form of them that the watch cache keeps.

use api::{FIELD_MANAGER, MANAGER, label};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::spec::Owner;

/// A `ConfigMap` with our label, from the watch. Its full metadata would be ten times as large, and each resource has
/// two or more such objects in memory.
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
    /// Whether it is a revision and not a target.
    pub is_revision: bool,
    /// Whether the operator has written it, by `managedFields`. A copy that a person made has only the labels.
    pub is_written: bool,
    /// Number of the revision, if it can be read.
    pub number: Option<i64>,
    claim: Claim,
}

/// The compact form of [`Holder`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    /// The resource whose UID the label has is its controller.
    Owner,
    /// It has no controller, and its labels name this resource.
    Named(Box<str>),
    /// It belongs to someone else.
    Another,
}

/// The owner of an object by its metadata, which others may have changed since it was created.
pub(crate) enum Holder<'a> {
    /// Its controller.
    Controller(&'a OwnerReference),
    /// It has no controller, and its labels say that this operator created it for the resource of this name.
    Named(&'a str),
    /// Neither.
    Nobody,
}

pub(crate) fn holder(metadata: &ObjectMeta) -> Holder<'_> {
    let mut owners = metadata.owner_references.iter().flatten();
    if let Some(controller) = owners.find(|reference| reference.controller == Some(true)) {
        return Holder::Controller(controller);
    }
    let is_managed = labelled(metadata, label::MANAGED_BY) == Some(MANAGER);
    labelled(metadata, label::NAME).filter(|_| is_managed).map_or(Holder::Nobody, Holder::Named)
}

/// Value of a label.
pub(crate) fn labelled<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// Number on the label of a revision.
pub(crate) fn number(metadata: &ObjectMeta) -> Option<i64> {
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

    /// Whether an object whose label names the UID of this resource belongs to it, by the rule of
    /// [`super::plan::admit`].
    #[must_use]
    pub fn is_of(&self, owner: &Owner) -> bool {
        match &self.claim {
            Claim::Owner => self.owner.as_deref() == Some(owner.uid.as_str()),
            Claim::Named(name) => **name == *owner.name,
            Claim::Another => false,
        }
    }
}
