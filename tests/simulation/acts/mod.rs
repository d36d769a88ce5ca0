//! The acts of others on the worlds, at any moment: attach, edit by hand, delete, take a name, run pods.

use api::{Reason, Resolve};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::clock;
use crate::names::{self, OTHER_TYPE, SHARED, TAGS, TARGETS, TYPE};
use crate::worlds::State;
use crate::worlds::objects::{Belongs, Object};

mod forger;
mod hand;
mod spec;
mod workload;

pub use forger::EVIL;

pub use hand::{EDITS, Edit};
pub use workload::BINDS;

type Name = &'static str;

/// One act, with everything that was decided about it.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Attach {
        image: usize,
        kind: usize,
        when: When,
        what: What,
    },
    /// The same bytes as the newest once more.
    Again,
    Detach(usize),
    MoveTag {
        tag: usize,
        image: usize,
    },
    DropTag(usize),
    Down,
    Up,
    Secret(bool),
    Create(Name),
    /// A resource that merges, and the object of somebody else into which it merges.
    Merging(Name),
    Delete(Name),
    /// Deletion in the foreground: the resource is marked first, and gone when its objects are gone.
    Mark(Name),
    Rollback(Name, Back),
    Resume(Name),
    Mapping(Name, usize),
    Rename(Name, usize),
    Limit(Name, usize),
    Suspend(Name, bool),
    Image(Name, usize),
    Retain(Name, bool),
    Orphan(Name, bool),
    Team(Name, bool),
    Only(Name, bool),
    PullSecret(Name, bool),
    Request(Name),
    WipeStatus(Name),
    EditTarget(Name, Edit),
    DeleteTarget(Name),
    RelabelRevision(Name, usize),
    DeleteRevision(Name, usize),
    /// A revision is deleted and created again with other content.
    Forge(Name, usize),
    /// Somebody else takes the name of a revision.
    TakeRevision(Name, usize),
    /// A revision of an artifact with other content, and with labels and annotations that fit it.
    Counterfeit(Name, usize),
    /// The same, and the annotations of the target claim it.
    Impose(Name, usize),
    Foreign(usize),
    Unforeign(usize),
    PodStart(Name, usize),
    PodStop(usize),
    /// A workload with this image, and the label that asks for binding.
    Deploy(Name, usize, usize),
    SetImage(Name, usize),
    Label(Name, usize),
    /// `kubectl rollout undo`, to one of the earlier templates.
    Undo(Name, usize),
    Scale(Name, usize),
    Drain(Name, usize),
    /// The sets of earlier templates go.
    DropSets(Name),
    Undeploy(Name),
    /// A resource takes its image from a workload.
    Follow(Name, Name, Resolve),
    /// Whether the API server sees the index of bindings late.
    IndexLags(bool),
    Garbage,
    Clock(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Now,
    /// In the same second as the newest.
    Tied,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Config,
    Defect,
    Other,
}

/// The config of a rollback.
#[derive(Clone, Copy, Debug)]
pub enum Back {
    History(usize),
    Attached(usize),
    Unknown,
}

impl State {
    /// Somebody acts.
    pub fn act(&mut self, act: Act) {
        self.trace.add(|| format!("                    {act:?}"));
        match act {
            Act::Attach { .. }
            | Act::Again
            | Act::Detach(_)
            | Act::MoveTag { .. }
            | Act::DropTag(_)
            | Act::Down
            | Act::Up => self.change_registry(act),
            Act::Deploy(..)
            | Act::SetImage(..)
            | Act::Label(..)
            | Act::Undo(..)
            | Act::Scale(..)
            | Act::Drain(..)
            | Act::DropSets(_)
            | Act::Undeploy(_)
            | Act::IndexLags(_) => self.change_workload(act),
            Act::Secret(there) => self.secret = there,
            Act::Create(name) => self.create_resource(name, |_| {}),
            Act::Merging(name) => {
                self.merging.insert(name);
                self.create_resource(name, |spec| spec.target.name = Some(SHARED.to_owned()));
                self.put_foreign(SHARED);
            }
            Act::Delete(name) => self.delete_resource(name, true),
            Act::Mark(name) => self.delete_resource(name, false),
            Act::Garbage => self.collect_garbage(),
            Act::Clock(seconds) => clock::advance(seconds),
            Act::Foreign(target) => self.put_foreign(TARGETS[target]),
            Act::Unforeign(target) => self.remove_foreign(TARGETS[target]),
            Act::PodStart(name, nth) => self.start_pod(name, nth),
            Act::PodStop(nth) => self.stop_pod(nth),
            Act::DeleteTarget(name) => self.delete_target(name),
            Act::EditTarget(name, edit) => self.edit_target(name, edit),
            Act::RelabelRevision(name, nth)
            | Act::DeleteRevision(name, nth)
            | Act::Forge(name, nth)
            | Act::TakeRevision(name, nth) => {
                if let Some(revision) = self.revision(name, nth) {
                    self.harm_revision(&revision, act);
                }
            }
            Act::Counterfeit(name, nth) => drop(self.counterfeit(name, nth)),
            Act::Impose(name, nth) => self.impose(name, nth),
            _ => self.edit_spec(act),
        }
    }

    fn put_foreign(&mut self, name: &str) {
        if self.objects.create(&foreign(name), Belongs::User).is_ok() {
            self.ledger.nothing_is_merged_into(name);
        }
    }

    fn remove_foreign(&mut self, name: &str) {
        let is_foreign = |object: &Object| object.belongs == Belongs::User;
        if self.objects.get(name).is_some_and(is_foreign) {
            self.objects.delete(name);
        }
    }

    fn delete_target(&mut self, name: Name) {
        if let Some(target) = self.target(name) {
            self.disturb(&target);
            self.objects.delete(&target);
        }
    }

    fn start_pod(&mut self, name: Name, nth: usize) {
        if let Some(revision) = self.revision(name, nth) {
            let pod = format!("pod-{}", self.objects.version());
            self.pods.insert(pod, revision);
        }
    }

    /// Acts on the registry.
    fn change_registry(&mut self, act: Act) {
        match act {
            Act::Attach { image, kind, when, what } => self.attach(image, kind, when, what),
            Act::Again => self.attach_newest_again(),
            Act::Detach(nth) => {
                let digest = pick(self.registry.held.artifacts.iter().cloned().collect(), nth);
                self.registry.change(|held| {
                    digest.map(|digest| held.artifacts.remove(&digest));
                });
            }
            Act::MoveTag { tag, image } => self.registry.change(|held| {
                held.tags.insert(TAGS[tag].to_owned(), names::image(image));
            }),
            Act::DropTag(tag) => self.registry.change(|held| drop(held.tags.remove(TAGS[tag]))),
            Act::Down => self.registry.up = false,
            Act::Up => self.registry.up = true,
            _ => unreachable!("{act:?} does not act on the registry"),
        }
    }

    fn attach_newest_again(&mut self) {
        let newest = self.registry.known.values().max_by_key(|attached| attached.artifact.created());
        let Some(newest) = newest.cloned() else { return };
        let image =
            (0..names::IMAGES).find(|index| newest.artifact.subject.as_ref() == Some(&names::image(*index)));
        self.registry.attach(image.unwrap(), TYPE, newest.files, Some(created()), None);
    }

    fn attach(&mut self, image: usize, kind: usize, when: When, what: What) {
        let newest = self.registry.known.values().filter_map(|known| known.artifact.created()).max();
        let created = match when {
            When::Now => Some(created()),
            When::Tied => newest.map(str::to_owned),
            When::Never => None,
        };
        let artifact_type = if what == What::Other { OTHER_TYPE } else { TYPE };
        let defect = (what == What::Defect).then_some(Reason::InvalidContent);
        self.registry.attach(image, artifact_type, names::files(kind), created, defect);
    }
}

fn created() -> String {
    jiff::Timestamp::from_second(clock::second()).unwrap().to_string()
}

fn pick<T>(of: Vec<T>, nth: usize) -> Option<T> {
    let count = of.len().max(1);
    of.into_iter().nth(nth % count)
}

fn foreign(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some(
            [("config.json", "somebody else's"), ("theirs", "1")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        ),
        ..ConfigMap::default()
    }
}
