//! What is kept of a watched `ConfigMap`: as much as decisions go by.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::{MANAGER, label};

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
    /// Number of the revision, where it can be read.
    pub number: Option<i64>,
    holder: Holder,
}

/// Who holds an object, which anybody can have changed since it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holder {
    /// The resource that its label names is its controller.
    Owner,
    /// It has no controller, and its labels name this resource.
    Named(Box<str>),
    /// Somebody else.
    Another,
}

impl Watched {
    /// Reads the metadata.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        let labelled =
            |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        let (owner, revision) = (labelled(label::OWNER_UID), labelled(label::REVISION));
        let controller =
            metadata.owner_references.iter().flatten().find(|reference| reference.controller == Some(true));
        let name = labelled(label::NAME).filter(|_| labelled(label::MANAGED_BY) == Some(MANAGER));
        let holder = match (controller, name) {
            (Some(controller), _) if Some(controller.uid.as_str()) == owner => Holder::Owner,
            (None, Some(name)) => Holder::Named(name.into()),
            _ => Holder::Another,
        };
        Self {
            name: metadata.name.as_deref().unwrap_or_default().into(),
            uid: metadata.uid.as_deref().map(Box::from),
            version: metadata.resource_version.as_deref().map(Box::from),
            owner: owner.map(Box::from),
            is_revision: revision.is_some(),
            number: revision.and_then(|number| number.parse().ok()),
            holder,
        }
    }

    /// Whether it is this resource's, by the rule of [`super::plan::admit`], of an object whose label names its UID.
    #[must_use]
    pub fn is_of(&self, owner: &Owner) -> bool {
        match &self.holder {
            Holder::Owner => self.owner.as_deref() == Some(owner.uid.as_str()),
            Holder::Named(name) => **name == *owner.name,
            Holder::Another => false,
        }
    }
}
