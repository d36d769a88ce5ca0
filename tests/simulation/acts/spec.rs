//! Edits of resources.

use api::{
    ArtifactConfig, ArtifactConfigStatus, CreationPolicy, DeletionPolicy, Resolve, SecretRef,
    SelectionPolicy, annotation, label,
};

use super::workload::reference;
use super::{Act, Back, Name, pick};
use crate::clock;
use crate::names::{self, SECRET, TARGETS};
use crate::worlds::objects::{Belongs, Object, label_of};
use crate::worlds::{STATUS, State};

/// The change of a resource by an act.
type Change = Box<dyn FnOnce(&mut ArtifactConfig)>;

impl State {
    pub(super) fn edit_spec(&mut self, act: Act) {
        let digest = self.rollback_digest(act);
        let (name, change): (Name, Change) = match act {
            Act::Rollback(name, _) => (name, Box::new(|config| config.spec.rollback_to = digest)),
            Act::Resume(name) => (name, Box::new(|config| config.spec.rollback_to = None)),
            Act::Mapping(name, index) => {
                (name, Box::new(move |config| config.spec.files = names::mapping(index)))
            }
            Act::Limit(name, index) => {
                (name, Box::new(move |config| config.spec.revision_history_limit = names::LIMITS[index]))
            }
            Act::Suspend(name, suspend) => (name, Box::new(move |config| config.spec.suspend = suspend)),
            Act::Image(name, index) => (name, image(index)),
            Act::Follow(name, workload, resolve) => (name, follow(workload, resolve)),
            Act::Only(name, only) => (name, selection(only)),
            Act::PullSecret(name, wanted) => (name, pull_secret(wanted)),
            Act::Request(name) => (name, request()),
            Act::Rename(name, _) | Act::Retain(name, _) | Act::Orphan(name, _) | Act::Team(name, _) => {
                (name, target(act))
            }
            Act::WipeStatus(name) => {
                self.forget_numbers(name);
                self.disturb(STATUS);
                self.unbound_by_hand(name);
                (name, Box::new(|config| config.status = Some(default_status())))
            }
            _ => return,
        };
        self.edit_resource(name, change);
    }

    fn rollback_digest(&self, act: Act) -> Option<String> {
        let Act::Rollback(name, back) = act else { return None };
        let history = self.resources.actual(name)?.status.as_ref().map(|status| status.history.clone());
        let unknown = names::image(99).to_string();
        let known = || self.registry.known.keys().map(ToString::to_string).collect();
        Some(match back {
            Back::History(nth) => {
                let entries = history.unwrap_or_default().into_iter().map(|entry| entry.artifact);
                pick(entries.collect(), nth).unwrap_or(unknown)
            }
            Back::Attached(nth) => pick(known(), nth).unwrap_or(unknown),
            Back::Unknown => unknown,
        })
    }

    /// If a status is lost, numbers that no revision carries are lost with it.
    fn forget_numbers(&mut self, name: &str) {
        let Some(uid) = self.resources.actual(name).and_then(|config| config.metadata.uid.clone()) else {
            return;
        };
        // A number stays on the revision that carries it, and then stands for the config of that revision. If the
        // status had another config under it, two operators had used it at the same time.
        let kept: Vec<(i64, String)> = self
            .revisions_of(&uid)
            .iter()
            .filter_map(|name| {
                let map = &self.objects.get(name)?.map;
                let number = label_of(&map.metadata, label::REVISION)?.parse().ok()?;
                let held = Self::identity(map)?;
                Some((number, format!("{} for {}", held.artifact, held.image)))
            })
            .collect();
        let numbers = &mut self.ledger.of(&uid).numbers;
        numbers
            .retain(|number, (meaning, _)| kept.iter().any(|kept| (kept.0, &kept.1) == (*number, meaning)));
    }

    /// Revisions whose bindings are lost with a status are not waited for.
    fn unbound_by_hand(&mut self, name: &str) {
        let status = self.resources.actual(name).and_then(|config| config.status.as_ref());
        let bound: Vec<String> = status
            .iter()
            .flat_map(|status| &status.bindings)
            .map(|binding| binding.config_map.clone())
            .collect();
        self.ledger.harmed.extend(bound);
    }

    /// If a deleted revision is in no status, its number is forgotten.
    pub fn forget_number(&mut self, revision: &Object) {
        let Belongs::Resource(uid) = &revision.belongs else { return };
        let Some(number) = label_of(&revision.map.metadata, label::REVISION) else { return };
        let status =
            self.resources.names.get(uid).and_then(|name| self.resources.actual(name)?.status.as_ref());
        let spoken = status
            .is_some_and(|status| status.history.iter().any(|entry| entry.revision.to_string() == number));
        if let (false, Ok(number)) = (spoken, number.parse()) {
            let uid = uid.clone();
            self.ledger.of(&uid).numbers.remove(&number);
        }
    }
}

fn image(index: usize) -> Change {
    Box::new(move |config| {
        config.spec.image = Some(names::reference(index));
        config.spec.workload_ref = None;
    })
}

fn follow(workload: Name, resolve: Resolve) -> Change {
    Box::new(move |config| {
        config.spec.image = None;
        config.spec.workload_ref = Some(reference(workload, resolve));
    })
}

fn selection(only: bool) -> Change {
    Box::new(move |config| {
        config.spec.selection.policy = if only { SelectionPolicy::Only } else { SelectionPolicy::Newest };
    })
}

fn pull_secret(wanted: bool) -> Change {
    Box::new(move |config| {
        let secret = wanted.then(|| SecretRef { name: SECRET.to_owned() });
        config.spec.registry.pull_secrets = secret.into_iter().collect();
    })
}

/// Asks for a sync.
fn request() -> Change {
    let now = clock::second();
    Box::new(move |config| {
        let annotations = config.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation::REQUESTED_AT.to_owned(), now.to_string());
    })
}

/// The status that the definition of the resource gives to a resource without one.
fn default_status() -> ArtifactConfigStatus {
    ArtifactConfigStatus { observed_generation: Some(-1), ..Default::default() }
}

/// Edits of `spec.target`.
fn target(act: Act) -> Change {
    Box::new(move |config| {
        let target = &mut config.spec.target;
        match act {
            Act::Rename(_, index) => target.name = TARGETS.get(index).map(|name| (*name).to_owned()),
            Act::Retain(_, retain) => {
                target.deletion_policy = if retain { DeletionPolicy::Retain } else { DeletionPolicy::Delete };
            }
            // The API server refuses to change the policy Merge.
            Act::Orphan(_, orphan) if target.creation_policy != CreationPolicy::Merge => {
                target.creation_policy = if orphan { CreationPolicy::Orphan } else { CreationPolicy::Owner };
            }
            Act::Team(_, team) => {
                let labels = team.then(|| ("team".to_owned(), "shop".to_owned()));
                target.labels = labels.into_iter().collect();
            }
            _ => {}
        }
    })
}
