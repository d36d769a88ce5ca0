//! The expected end of each resource after the worlds are quiet: computed from the worlds alone, without code of the
//! operator.

use std::collections::BTreeSet;

use api::{CreationPolicy, MANAGER, Reason, Resolve, SelectionPolicy, annotation, label};
use decide::{render, revision};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use oci::Digest;
use registry::Artifact;

use crate::names::{self, Bytes, OTHER_TYPE, REPOSITORY, TYPE};
use crate::rules::merging;
use crate::worlds::State;
use crate::worlds::objects::{
    Object, annotation_of, content, controller_of, digest_annotation, is_revision, label_of,
};
use crate::worlds::registry::Attached;
use crate::worlds::resources::target_name;

/// A resource that has come to rest.
#[derive(Clone, Debug)]
pub enum Expected {
    /// This config is in the target. Several contents are possible if several revisions keep the artifact.
    Synced {
        artifact: Digest,
        image: Digest,
        contents: Vec<Bytes>,
        back: bool,
    },
    /// No new config is available.
    Failing(Reason),
    Suspended,
}

/// Why nothing was selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoChoice {
    Nothing,
    Several,
}

/// The newest: latest `created`, then greatest digest. Of the only one, the only one.
pub fn select(candidates: &[Artifact], policy: SelectionPolicy) -> Result<&Artifact, NoChoice> {
    let created = |artifact: &Artifact| artifact.created().and_then(|text| text.parse::<Timestamp>().ok());
    let newest = candidates.iter().max_by_key(|artifact| (created(artifact), artifact.digest.clone()));
    match newest {
        None => Err(NoChoice::Nothing),
        Some(_) if policy == SelectionPolicy::Only && candidates.len() > 1 => Err(NoChoice::Several),
        Some(newest) => Ok(newest),
    }
}

/// An existing resource with its spec.
struct Existing<'a> {
    state: &'a State,
    name: &'static str,
    uid: &'a str,
    spec: &'a api::ArtifactConfigSpec,
}

/// The allowed ends, one of which must be reached. Empty if the resource is deleted or being deleted.
pub fn expected(state: &State, name: &'static str) -> Vec<Expected> {
    let Some(config) = state.resources.actual(name) else { return Vec::new() };
    let uid = config.metadata.uid.as_deref().unwrap_or_default();
    let existing = Existing { state, name, uid, spec: &config.spec };
    if config.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    if config.spec.suspend {
        return vec![Expected::Suspended];
    }
    // Without its image, nothing can be asked for.
    if let Err(reason) = existing.reference() {
        return vec![Expected::Failing(reason)];
    }
    let mut expected = match &config.spec.rollback_to {
        Some(digest) => existing.back(&digest.parse().unwrap()),
        None => vec![existing.forward().unwrap_or_else(Expected::Failing)],
    };
    if let Err(reason) = existing.unless_barred() {
        // Any of several faults may be noticed first.
        expected.push(Expected::Failing(reason));
    }
    expected
}

/// Whether an object of somebody else prevents the write of the target.
pub fn is_barred(state: &State, name: &'static str) -> bool {
    let Some(config) = state.resources.actual(name) else { return false };
    let uid = config.metadata.uid.as_deref().unwrap_or_default();
    Existing { state, name, uid, spec: &config.spec }.unless_barred().is_err()
}

/// The config that a resume would select, if it is known.
pub fn latest(state: &State, name: &'static str) -> Option<Digest> {
    selected(state, name).ok().map(|(artifact, _)| artifact)
}

/// The config that the policy selects, and the digest of its image.
pub fn selected(state: &State, name: &'static str) -> Result<(Digest, Digest), Reason> {
    let config = state.resources.actual(name).ok_or(Reason::Suspended)?;
    let existing = Existing { state, name, uid: "", spec: &config.spec };
    existing.selected().map(|(artifact, image)| (artifact.digest.clone(), image))
}

impl<'a> Existing<'a> {
    fn forward(&self) -> Result<Expected, Reason> {
        let (artifact, image) = self.selected()?;
        let attached = &self.state.registry.known[&artifact.digest];
        let content = self.rendered(attached)?;
        self.unless_foreign(&artifact.digest, &content)?;
        Ok(Expected::Synced {
            artifact: artifact.digest.clone(),
            image,
            contents: vec![content],
            back: false,
        })
    }

    /// From a revision with the hash that the history recorded for the artifact. Without a recorded hash, from a
    /// revision that its manifest proves, otherwise from the registry, and while the registry is down from any intact
    /// revision.
    fn back(&self, digest: &Digest) -> Vec<Expected> {
        let recorded = self.recorded(digest);
        let known = |object: &&Object| {
            let content = content(&object.map);
            if recorded.is_empty() {
                let proves = annotation_of(&object.map.metadata, annotation::MANIFEST).is_some();
                let files = &self.state.registry.known[digest].files;
                proves && names::render(files, &self.spec.files) == Some(content)
            } else {
                recorded.contains(&hash(&content))
            }
        };
        let kept: Vec<&ConfigMap> = self.kept(digest).filter(known).map(|object| &object.map).collect();
        if !kept.is_empty() {
            // With a limit of 0, a workload may still keep an earlier rendering of the config in the target.
            let target = self.state.objects.get(target_name(self.name, self.spec));
            let in_place = target.filter(|target| {
                self.spec.revision_history_limit == 0
                    && State::identity(&target.map).as_ref() == self.state.ledger.applied(self.uid)
                    && digest_annotation(&target.map, annotation::ARTIFACT_DIGEST).as_ref() == Some(digest)
            });
            let kept = kept.into_iter().chain(in_place.map(|target| &target.map));
            return kept.map(|from| self.restored(digest, from)).collect();
        }
        let mut expected = match self.fetched(digest) {
            Err(Reason::RegistryUnavailable) if recorded.is_empty() && self.said(digest).next().is_some() => {
                self.said(digest).map(|object| self.restored(digest, &object.map)).collect()
            }
            fetched => vec![fetched.unwrap_or_else(Expected::Failing)],
        };
        // A config that is already in the target may stay.
        let target = self.state.objects.get(target_name(self.name, self.spec));
        let applied = target.filter(|target| {
            let held = State::identity(&target.map);
            held.as_ref() == self.state.ledger.applied(self.uid)
                && held.is_some_and(|held| held.artifact == *digest)
        });
        expected.extend(applied.map(|applied| self.restored(digest, &applied.map)));
        expected.extend(self.merged(digest));
        expected
    }

    /// The hashes that the history has of an artifact.
    fn recorded(&self, digest: &Digest) -> BTreeSet<String> {
        let status = self.state.resources.actual(self.name).and_then(|config| config.status.as_ref());
        let entries = status.into_iter().flat_map(|status| &status.history);
        entries
            .filter(|entry| entry.artifact == digest.to_string())
            .filter_map(|entry| entry.hash.clone())
            .collect()
    }

    /// A rollback to the content of an object.
    fn restored(&self, digest: &Digest, from: &ConfigMap) -> Expected {
        let content = content(from);
        match self.unless_foreign(digest, &content) {
            Err(reason) => Expected::Failing(reason),
            Ok(()) => Expected::Synced {
                artifact: digest.clone(),
                image: digest_annotation(from, annotation::IMAGE_DIGEST).unwrap(),
                contents: vec![content],
                back: true,
            },
        }
    }

    /// A rollback to content that was merged before and that nobody has changed since, or that was already there:
    /// merging equal bytes is not a write.
    fn merged(&self, digest: &Digest) -> Option<Expected> {
        let target = target_name(self.name, self.spec);
        if self.spec.target.creation_policy != CreationPolicy::Merge {
            return None;
        }
        let there = content(&self.state.objects.get(target)?.map);
        let merged = self.state.ledger.merged_into(self.name, target);
        let is_it = |rendering: &Bytes| merged == Some(rendering) || merging::includes(&there, rendering);
        let content = self.state.renderings(self.uid, digest).into_iter().find(is_it)?;
        let image = self.state.registry.known.get(digest)?.artifact.subject.clone()?;
        let barred = self.unless_foreign(digest, &content);
        let (artifact, contents) = (digest.clone(), vec![content]);
        let back = Expected::Synced { artifact, image, contents, back: true };
        Some(barred.map_or_else(Expected::Failing, |()| back))
    }

    /// Revisions whose annotations fit their content, forged ones as well.
    fn said(&self, digest: &Digest) -> impl Iterator<Item = &'a Object> {
        let (state, uid, digest) = (self.state, self.uid, digest.clone());
        let is_said = move |(name, object): &(&String, &Object)| {
            let metadata = &object.map.metadata;
            let hash = hash(&content(&object.map));
            let target = name.rsplit_once('-').map_or("", |(target, _)| target);
            let number = label_of(metadata, label::REVISION).and_then(|number| number.parse::<i64>().ok());
            number.is_some_and(|number| number < 1 << 53)
                && state.is_of(uid, object)
                && label_of(metadata, label::MANAGED_BY) == Some(MANAGER)
                && label_of(metadata, label::OWNER_UID) == Some(uid)
                && digest_annotation(&object.map, annotation::ARTIFACT_DIGEST).as_ref() == Some(&digest)
                && annotation_of(metadata, annotation::CONTENT_HASH) == Some(&hash)
                && revision::name(target, &digest, &hash) == **name
        };
        state.objects.all().filter(is_said).map(|(_, object)| object)
    }

    fn kept(&self, digest: &Digest) -> impl Iterator<Item = &'a Object> {
        let (state, uid, digest) = (self.state, self.uid, digest.clone());
        state.objects.all().map(|(_, object)| object).filter(move |object| {
            is_revision(&object.map.metadata)
                && label_of(&object.map.metadata, label::OWNER_UID) == Some(uid)
                && digest_annotation(&object.map, annotation::ARTIFACT_DIGEST).as_ref() == Some(&digest)
                && state.is_intact(uid, &object.map)
        })
    }

    fn fetched(&self, digest: &Digest) -> Result<Expected, Reason> {
        self.reachable()?;
        let registry = &self.state.registry;
        let attached = registry.known.get(digest).filter(|_| registry.held.artifacts.contains(digest));
        let attached = attached.ok_or(Reason::RevisionNotFound)?;
        if attached.artifact.artifact_type == OTHER_TYPE {
            return Err(Reason::RevisionNotFound);
        }
        let subject = attached.artifact.subject.clone().unwrap();
        let config = self.state.resources.actual(self.name).unwrap();
        let history = config.status.iter().flat_map(|status| &status.history);
        let before = history
            .filter(|entry| entry.artifact == digest.to_string())
            .any(|entry| entry.image == subject.to_string());
        if !before && self.image()? != subject {
            return Err(Reason::RevisionNotFound);
        }
        let content = self.rendered(attached)?;
        self.unless_foreign(digest, &content)?;
        Ok(Expected::Synced { artifact: digest.clone(), image: subject, contents: vec![content], back: true })
    }

    fn reachable(&self) -> Result<(), Reason> {
        if !self.spec.registry.pull_secrets.is_empty() && !self.state.secret {
            return Err(Reason::CredentialsNotFound);
        }
        if self.state.registry.up { Ok(()) } else { Err(Reason::RegistryUnavailable) }
    }

    /// The image that the resource names, its workload names, or the pods of its workload run.
    fn reference(&self) -> Result<String, Reason> {
        let Some(reference) = &self.spec.workload_ref else {
            return Ok(self.spec.image.clone().unwrap_or_default());
        };
        let workload = self.state.workload(&reference.name).ok_or(Reason::WorkloadNotFound)?;
        let image = workload.template().image.clone();
        if reference.resolve == Resolve::Template || image.contains('@') {
            return Ok(image);
        }
        // Pods may wait for the first config, so it goes by the pod template until one of them tells.
        if self.is_first() && workload.pods().all(|pod| pod.digest.is_none()) {
            return Ok(image);
        }
        let digests: Option<BTreeSet<Digest>> = workload.pods().map(|pod| pod.digest.clone()).collect();
        let digests = digests.filter(|digests| digests.len() == 1).ok_or(Reason::ImageUnknown)?;
        let digest = digests.first().ok_or(Reason::ImageUnknown)?;
        Ok(format!("{image}@{digest}"))
    }

    /// Whether no config was applied yet.
    fn is_first(&self) -> bool {
        let status = self.state.resources.actual(self.name).and_then(|config| config.status.as_ref());
        status.is_none_or(|status| status.artifact.is_none())
    }

    fn image(&self) -> Result<Digest, Reason> {
        let image = self.reference()?;
        let reference = &image[REPOSITORY.len()..];
        if let Some((_, digest)) = reference.split_once('@') {
            return Ok(digest.parse().unwrap());
        }
        let found = self.state.registry.held.tags.get(reference.trim_start_matches(':'));
        found.cloned().ok_or(Reason::ImageNotFound)
    }

    fn selected(&self) -> Result<(&'a Artifact, Digest), Reason> {
        self.reachable()?;
        let image = self.image()?;
        let registry = &self.state.registry;
        let candidates = registry.listing(&registry.held, &image, Some(TYPE));
        let selected = select(&candidates, self.spec.selection.policy).map_err(|why| match why {
            NoChoice::Nothing => Reason::ArtifactNotFound,
            NoChoice::Several => Reason::AmbiguousArtifact,
        })?;
        Ok((&registry.known[&selected.digest].artifact, image))
    }

    fn rendered(&self, attached: &Attached) -> Result<Bytes, Reason> {
        match attached.defect {
            Some(defect) => Err(defect),
            None => names::render(&attached.files, &self.spec.files).ok_or(Reason::InvalidFiles),
        }
    }

    /// Whether an object of this name exists and belongs to somebody else.
    fn is_foreign(&self, name: &str) -> bool {
        self.state.objects.get(name).is_some_and(|object| !self.state.is_of(self.uid, object))
    }

    /// If somebody else has the name of the target, or of the revision, nothing is written.
    fn unless_foreign(&self, artifact: &Digest, content: &Bytes) -> Result<(), Reason> {
        let target = target_name(self.name, self.spec);
        let kept = self.spec.revision_history_limit > 0;
        let revision = revision::name(target, artifact, &hash(content));
        self.unless_barred()?;
        if kept && self.is_foreign(&revision) {
            return Err(Reason::TargetConflict);
        }
        Ok(())
    }

    /// An object of somebody else must not be written, except that merging writes only into such objects.
    fn unless_barred(&self) -> Result<(), Reason> {
        let target = target_name(self.name, self.spec);
        if self.spec.target.creation_policy != CreationPolicy::Merge {
            return if self.is_foreign(target) { Err(Reason::TargetConflict) } else { Ok(()) };
        }
        let Some(object) = self.state.objects.get(target) else { return Err(Reason::TargetNotFound) };
        let managers = object.map.metadata.managed_fields.iter().flatten();
        let others = managers
            .filter(|entry| {
                let has = |member: &str| {
                    let fields = entry.fields_v1.as_ref().and_then(|fields| fields.0[member].as_object());
                    fields.is_some_and(|fields| !fields.is_empty())
                };
                has("f:data") || has("f:binaryData")
            })
            .filter_map(|entry| entry.manager.as_deref()?.strip_prefix("artifactconfig/merge/"))
            .any(|name| name != self.name && self.state.resources.actual(name).is_some());
        // Merging must not write into a target of another resource, even if its labels are wrong.
        let managed = label_of(&object.map.metadata, label::MANAGED_BY) == Some(MANAGER)
            || controller_of(&object.map.metadata).is_some();
        if others || managed { Err(Reason::TargetConflict) } else { Ok(()) }
    }
}

/// The content hash, which does not depend on `data` or `binaryData`.
pub fn hash(content: &Bytes) -> String {
    render::Content { binary_data: content.clone(), ..render::Content::default() }.hash()
}
