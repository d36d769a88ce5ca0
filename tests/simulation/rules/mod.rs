//! The rules that must always hold (design, §2), one function for each rule that is visible from outside: `instant` at
//! every write of the operator, `settled` after the worlds are quiet.

pub mod bound;
pub mod instant;
pub mod merging;
pub mod settled;
mod status;

use std::collections::{BTreeMap, BTreeSet};

use api::{FileMapping, annotation};
use k8s_openapi::api::core::v1::ConfigMap;
use oci::Digest;

use crate::names::{self, Bytes};
use crate::worlds::State;
use crate::worlds::objects::{Belongs, Object, content, controller_of, digest_annotation};

/// A rule that was broken, and how.
#[derive(Clone, Debug)]
pub struct Violation {
    pub rule: &'static str,
    pub what: String,
}

/// The facts about earlier events that rules need. By the UID of the resource.
#[derive(Default)]
pub struct Ledger {
    records: BTreeMap<String, Record>,
    /// Configs that resources have merged into objects of others. By the names of both: a later resource of the same
    /// name continues with them.
    merged: BTreeMap<(&'static str, String), Bytes>,
    /// Revisions that others deleted, replaced or forged, until the operator makes them again.
    pub harmed: BTreeSet<String>,
    /// Revisions whose last binding went: when, and the operator that took it out, as long as it remembers.
    pub unbound: BTreeMap<String, (i64, Option<usize>)>,
}

#[derive(Default)]
pub struct Record {
    /// Every `spec.files` that the resource has had.
    pub mappings: Vec<Vec<FileMapping>>,
    /// The config that the operator wrote last, to any target.
    pub applied: Option<Identity>,
    /// The last config of each target, and the operator that wrote it.
    pub targets: BTreeMap<String, (Identity, usize)>,
    /// The config of each number in the history, and its hash if one was ever recorded.
    pub numbers: BTreeMap<i64, (String, Option<String>)>,
}

/// A config, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub target: String,
    pub artifact: Digest,
    pub image: Digest,
    pub content: Bytes,
}

impl Identity {
    /// The same config, possibly in another object.
    pub fn is_same_as(&self, other: &Self) -> bool {
        (&self.artifact, &self.image, &self.content) == (&other.artifact, &other.image, &other.content)
    }
}

impl Record {
    pub fn wrote(&mut self, config: Identity, operator: usize) {
        self.targets.insert(config.target.clone(), (config.clone(), operator));
        self.applied = Some(config);
    }
}

impl Ledger {
    pub fn of(&mut self, uid: &str) -> &mut Record {
        self.records.entry(uid.to_owned()).or_default()
    }

    pub fn applied(&self, uid: &str) -> Option<&Identity> {
        self.records.get(uid)?.applied.as_ref()
    }

    /// The config that a resource has merged into an object, if nobody has changed it since.
    pub fn merged(&mut self, name: &'static str, target: &str) -> &mut Bytes {
        self.merged.entry((name, target.to_owned())).or_default()
    }

    pub fn merged_into(&self, name: &'static str, target: &str) -> Option<&Bytes> {
        self.merged.get(&(name, target.to_owned()))
    }

    /// An operator trusts its memory no more after a panic.
    pub fn memory_is_lost(&mut self) {
        self.unbound.values_mut().for_each(|(_, by)| *by = None);
    }

    pub fn nothing_is_merged_into(&mut self, target: &str) {
        self.merged.retain(|(_, into), _| into != target);
    }

    pub fn no_longer_merged<'a>(&mut self, target: &str, keys: impl Iterator<Item = &'a String>) {
        for key in keys {
            let into = self.merged.iter_mut().filter(|((_, into), _)| into == target);
            into.for_each(|(_, merged)| drop(merged.remove(key)));
        }
    }

    pub fn written_to(&self, uid: &str, target: &str) -> Option<&Identity> {
        self.records.get(uid)?.targets.get(target).map(|(config, _)| config)
    }

    /// Whether another operator wrote a target last.
    pub fn is_by_another(&self, uid: &str, target: &str, operator: usize) -> bool {
        let last = self.records.get(uid).and_then(|record| record.targets.get(target));
        last.is_some_and(|(_, by)| *by != operator)
    }
}

impl State {
    /// Records the present spec of a resource.
    pub fn remember_spec(&mut self, name: &str) {
        let Some(config) = self.resources.actual(name) else { return };
        let files = config.spec.files.clone();
        let record = self.ledger.of(config.metadata.uid.as_deref().unwrap_or_default());
        if !record.mappings.contains(&files) {
            record.mappings.push(files);
        }
    }

    /// The config that a `ConfigMap` of the operator claims.
    pub fn identity(map: &ConfigMap) -> Option<Identity> {
        Some(Identity {
            target: map.metadata.name.clone()?,
            artifact: digest_annotation(map, annotation::ARTIFACT_DIGEST)?,
            image: digest_annotation(map, annotation::IMAGE_DIGEST)?,
            content: content(map),
        })
    }

    /// All right contents of an artifact for a resource.
    pub fn renderings(&self, uid: &str, artifact: &Digest) -> Vec<Bytes> {
        let Some(attached) = self.registry.known.get(artifact).filter(|known| known.defect.is_none()) else {
            return Vec::new();
        };
        // A later resource of the same name takes over the objects of the earlier one.
        let name = self.resources.names.get(uid);
        let records = self.ledger.records.iter().filter(|(uid, _)| self.resources.names.get(*uid) == name);
        let mappings = records.flat_map(|(_, record)| &record.mappings);
        mappings.filter_map(|mapping| names::render(&attached.files, mapping)).collect()
    }

    /// Whether a revision has the config that it claims: an artifact of this image, rendered by some spec of the
    /// resource.
    pub fn is_intact(&self, uid: &str, revision: &ConfigMap) -> bool {
        State::identity(revision).is_some_and(|held| {
            let known = self.registry.known.get(&held.artifact);
            known.is_some_and(|known| known.artifact.subject.as_ref() == Some(&held.image))
                && self.renderings(uid, &held.artifact).contains(&held.content)
        })
    }

    /// Whether an object belongs to this resource, or was left without a controller by an earlier resource of the same
    /// name.
    pub fn is_of(&self, uid: &str, object: &Object) -> bool {
        let Belongs::Resource(owner) = &object.belongs else { return false };
        let namesake = self.resources.names.get(owner) == self.resources.names.get(uid);
        owner == uid || (namesake && controller_of(&object.map.metadata).is_none())
    }
}
