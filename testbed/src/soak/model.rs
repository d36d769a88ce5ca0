//! The expected state of the world: images with their artifacts, and resources with their specs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Files of an artifact by name, which is the key of the `ConfigMap` as well.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// The artifact type of everything that is attached here.
pub(super) const ARTIFACT_TYPE: &str = "custom/config";

/// The key of somebody else in a `ConfigMap` that a resource merges into.
pub(super) const THEIRS: (&str, &str) = ("theirs", "not the operator's");

/// Which registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// In this process, with the Referrers API; misbehaves on demand.
    Embedded,
    /// A program without the Referrers API.
    Distribution,
}

/// An image with its present artifacts.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) registry: Where,
    /// `host/repository:tag`.
    pub(super) reference: String,
    /// Digests of the artifacts that are attached to the present digest of the tag, oldest first.
    pub(super) attached: Vec<String>,
}

/// The owner of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// Goes with the resource.
    Owner,
    /// Stays when the resource goes.
    Retain,
    /// The same by another field.
    Orphan,
    /// Somebody else's, merged into.
    Merge,
}

/// A resource as it was applied last.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// Which image.
    pub(super) image: usize,
    pub(super) policy: Policy,
    pub(super) target: String,
    pub(super) limit: usize,
    pub(super) interval: u64,
    pub(super) rollback_to: Option<String>,
    pub(super) suspended: bool,
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) images: Vec<Image>,
    /// By digest, all that was ever attached.
    pub(super) artifacts: BTreeMap<String, Files>,
    /// By name, which is used once.
    pub(super) resources: BTreeMap<String, Resource>,
    /// UIDs of deleted resources whose `ConfigMaps` stay.
    pub(super) left: BTreeSet<String>,
    /// UIDs of deleted resources whose `ConfigMaps` go.
    pub(super) gone: BTreeSet<String>,
}

impl Model {
    /// The artifact that must be in the target of a resource.
    pub(super) fn wanted<'a>(&'a self, resource: &'a Resource) -> Option<&'a String> {
        resource.rollback_to.as_ref().or_else(|| self.images.get(resource.image)?.attached.last())
    }

    /// The expected content of the `ConfigMap` of a resource, all of it.
    pub(super) fn content(&self, resource: &Resource) -> Option<Files> {
        let mut files = self.artifacts.get(self.wanted(resource)?)?.clone();
        if resource.policy == Policy::Merge {
            files.insert(THEIRS.0.to_owned(), THEIRS.1.as_bytes().to_vec());
        }
        Some(files)
    }

    /// Whether a resource is rolled back to an artifact of this image. Then the tag must stay, or the result would
    /// depend on the order of events.
    pub(super) fn holds(&self, image: usize) -> bool {
        self.resources.values().any(|resource| resource.image == image && resource.rollback_to.is_some())
    }

    /// Removes a deleted resource; remembers whether its `ConfigMaps` stay.
    pub(super) fn delete(&mut self, name: &str) {
        if let Some(resource) = self.resources.remove(name) {
            match resource.policy {
                Policy::Owner | Policy::Merge => self.gone.insert(resource.uid),
                Policy::Retain | Policy::Orphan => self.left.insert(resource.uid),
            };
        }
    }

    /// The resource as one applies it.
    pub(super) fn manifest(&self, resource: &Resource) -> Option<Value> {
        let (creation, deletion) = match resource.policy {
            Policy::Owner => ("Owner", "Delete"),
            Policy::Retain => ("Owner", "Retain"),
            Policy::Orphan => ("Orphan", "Delete"),
            Policy::Merge => ("Merge", "Delete"),
        };
        let mut spec = json!({
            "image": self.images.get(resource.image)?.reference,
            "artifactType": ARTIFACT_TYPE,
            "registry": {"plainHttp": true},
            "interval": format!("{}s", resource.interval),
            // A registry that hangs is given up before the next trouble comes.
            "timeout": "10s",
            "revisionHistoryLimit": resource.limit,
            "target": {"name": resource.target, "creationPolicy": creation, "deletionPolicy": deletion},
            "suspend": resource.suspended,
        });
        if let Some(digest) = &resource.rollback_to {
            spec["rollbackTo"] = json!(digest);
        }
        Some(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1",
            "kind": "ArtifactConfig",
            "metadata": {"name": resource.name, "namespace": resource.namespace},
            "spec": spec,
        }))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One image with two artifacts, and one resource on it.
    pub(in crate::soak) fn small() -> Model {
        let files = |text: &str| Files::from([("a".to_owned(), text.as_bytes().to_vec())]);
        let resource = Resource {
            namespace: "n".into(),
            name: "web".into(),
            uid: "u".into(),
            image: 0,
            policy: Policy::Owner,
            target: "web".into(),
            limit: 2,
            interval: 10,
            rollback_to: None,
            suspended: false,
        };
        Model {
            images: vec![Image {
                registry: Where::Embedded,
                reference: "r/i:v1".into(),
                attached: vec!["old".into(), "new".into()],
            }],
            artifacts: [("old".to_owned(), files("1")), ("new".to_owned(), files("2"))].into(),
            resources: [("web".to_owned(), resource)].into(),
            ..Model::default()
        }
    }

    #[test]
    fn the_newest_is_wanted_unless_another_is_named() {
        let mut model = small();
        assert_eq!(model.wanted(&model.resources["web"]).unwrap(), "new");
        assert!(!model.holds(0));
        model.resources.get_mut("web").unwrap().rollback_to = Some("old".into());
        assert_eq!(model.wanted(&model.resources["web"]).unwrap(), "old");
        assert!(model.holds(0));
        assert_eq!(model.content(&model.resources["web"]).unwrap()["a"], b"1");
        assert_eq!(model.manifest(&model.resources["web"]).unwrap()["spec"]["rollbackTo"], "old");
    }

    #[test]
    fn what_is_merged_into_keeps_what_is_theirs() {
        let mut model = small();
        model.resources.get_mut("web").unwrap().policy = Policy::Merge;
        assert_eq!(model.content(&model.resources["web"]).unwrap().len(), 2);
    }

    #[test]
    fn the_policy_says_what_stays() {
        for (policy, stays) in
            [(Policy::Owner, false), (Policy::Merge, false), (Policy::Retain, true), (Policy::Orphan, true)]
        {
            let mut model = small();
            model.resources.get_mut("web").unwrap().policy = policy;
            model.delete("web");
            assert!(model.resources.is_empty());
            assert_eq!((model.left.contains("u"), model.gone.contains("u")), (stays, !stays), "{policy:?}");
        }
    }
}
