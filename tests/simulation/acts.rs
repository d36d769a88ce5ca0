//! What others do to the worlds, at any moment: attach, edit by hand, delete, take a name, run pods.

use artifactconfig::api::{
    ArtifactConfig, DeletionPolicy, MANAGER, Reason, SecretRef, SelectionPolicy, annotation, label,
};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::clock;
use crate::names::{self, OTHER_TYPE, REPOSITORY, SECRET, TAGS, TARGETS, TYPE};
use crate::worlds::State;
use crate::worlds::objects::{Belongs, Object, controller_of, is_revision, label_of};
use crate::worlds::resources::target_name;

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
    Delete(Name),
    /// In the foreground: marked first, gone when its objects are.
    Mark(Name),
    Rollback(Name, Back),
    Resume(Name),
    Mapping(Name, usize),
    Rename(Name, usize),
    Limit(Name, usize),
    Suspend(Name, bool),
    Image(Name, usize),
    Retain(Name, bool),
    Team(Name, bool),
    Only(Name, bool),
    PullSecret(Name, bool),
    Request(Name),
    WipeStatus(Name),
    EditTarget(Name, Edit),
    DeleteTarget(Name),
    RelabelRevision(Name, usize),
    DeleteRevision(Name, usize),
    /// A revision is deleted and made anew with other content.
    Forge(Name, usize),
    /// Somebody else takes the name of a revision.
    TakeRevision(Name, usize),
    Foreign(usize),
    Unforeign(usize),
    PodStart(Name, usize),
    PodStop(usize),
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

/// What to go back to.
#[derive(Clone, Copy, Debug)]
pub enum Back {
    History(usize),
    Attached(usize),
    Unknown,
}

/// What somebody does to a target by hand.
#[derive(Clone, Copy, Debug)]
pub enum Edit {
    Change,
    Add,
    Remove,
    MoveToBinary,
    Unmanaged,
    OtherUid,
    NoController,
    Hash,
    Disown,
}

pub const EDITS: [Edit; 9] = [
    Edit::Change,
    Edit::Add,
    Edit::Remove,
    Edit::MoveToBinary,
    Edit::Unmanaged,
    Edit::OtherUid,
    Edit::NoController,
    Edit::Hash,
    Edit::Disown,
];

impl State {
    /// Somebody acts.
    pub fn act(&mut self, act: Act) {
        self.trace.add(|| format!("                    {act:?}"));
        match act {
            Act::Attach { image, kind, when, what } => self.attach(image, kind, when, what),
            Act::Again => {
                let newest = self.registry.known.values().max_by_key(|attached| attached.artifact.created());
                let Some(newest) = newest.cloned() else { return };
                let image = (0..names::IMAGES)
                    .find(|index| newest.artifact.subject.as_ref() == Some(&names::image(*index)));
                self.registry.attach(image.unwrap(), TYPE, newest.files, Some(created()), None);
            }
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
            Act::Secret(there) => self.secret = there,
            Act::Create(name) => self.create_resource(name, |_| {}),
            Act::Delete(name) => self.delete_resource(name, true),
            Act::Mark(name) => self.delete_resource(name, false),
            Act::Garbage => self.collect_garbage(),
            Act::Clock(seconds) => clock::advance(seconds),
            Act::Foreign(target) => {
                let foreign = foreign(TARGETS[target]);
                drop(self.objects.create(&foreign, Belongs::User));
            }
            Act::Unforeign(target) => {
                let is_foreign = |object: &Object| object.belongs == Belongs::User;
                if self.objects.get(TARGETS[target]).is_some_and(is_foreign) {
                    self.objects.delete(TARGETS[target]);
                }
            }
            Act::PodStart(name, nth) => {
                if let Some(revision) = self.revision(name, nth) {
                    let pod = format!("pod-{}", self.objects.version());
                    self.pods.insert(pod, revision);
                }
            }
            Act::PodStop(nth) => self.stop_pod(nth),
            Act::DeleteTarget(name) => {
                if let Some(target) = self.target(name) {
                    self.disturb(&target);
                    self.objects.delete(&target);
                }
            }
            Act::EditTarget(name, edit) => self.edit_target(name, edit),
            Act::RelabelRevision(name, nth)
            | Act::DeleteRevision(name, nth)
            | Act::Forge(name, nth)
            | Act::TakeRevision(name, nth) => {
                if let Some(revision) = self.revision(name, nth) {
                    self.harm_revision(&revision, act);
                }
            }
            _ => self.edit_spec(act),
        }
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

    fn edit_spec(&mut self, act: Act) {
        let digest = self.digest_to_go_back_to(act);
        let now = clock::second();
        let (name, change): (Name, Change) = match act {
            Act::Rollback(name, _) => (name, Box::new(|config| config.spec.rollback_to = digest)),
            Act::Resume(name) => (name, Box::new(|config| config.spec.rollback_to = None)),
            Act::Mapping(name, index) => {
                (name, Box::new(move |config| config.spec.files = names::mapping(index)))
            }
            Act::Rename(name, index) => (
                name,
                Box::new(move |config| {
                    config.spec.target.name = TARGETS.get(index).map(|name| (*name).to_owned());
                }),
            ),
            Act::Limit(name, index) => {
                (name, Box::new(move |config| config.spec.revision_history_limit = names::LIMITS[index]))
            }
            Act::Suspend(name, suspend) => (name, Box::new(move |config| config.spec.suspend = suspend)),
            Act::Image(name, index) => (
                name,
                Box::new(move |config| {
                    config.spec.image = match TAGS.get(index) {
                        Some(tag) => format!("{REPOSITORY}:{tag}"),
                        None => format!("{REPOSITORY}@{}", names::image(0)),
                    };
                }),
            ),
            Act::Retain(name, retain) => (
                name,
                Box::new(move |config| {
                    config.spec.target.deletion_policy =
                        if retain { DeletionPolicy::Retain } else { DeletionPolicy::Delete };
                }),
            ),
            Act::Team(name, team) => (
                name,
                Box::new(move |config| {
                    let labels = team.then(|| ("team".to_owned(), "shop".to_owned()));
                    config.spec.target.labels = labels.into_iter().collect();
                }),
            ),
            Act::Only(name, only) => (
                name,
                Box::new(move |config| {
                    config.spec.selection.policy =
                        if only { SelectionPolicy::Only } else { SelectionPolicy::Newest };
                }),
            ),
            Act::PullSecret(name, wanted) => (
                name,
                Box::new(move |config| {
                    let secret = wanted.then(|| SecretRef { name: SECRET.to_owned() });
                    config.spec.registry.pull_secrets = secret.into_iter().collect();
                }),
            ),
            Act::Request(name) => (
                name,
                Box::new(move |config| {
                    let annotations = config.metadata.annotations.get_or_insert_default();
                    annotations.insert(annotation::REQUESTED_AT.to_owned(), now.to_string());
                }),
            ),
            Act::WipeStatus(name) => {
                self.forget_numbers(name);
                (name, Box::new(|config| config.status = None))
            }
            _ => return,
        };
        self.edit_resource(name, change);
    }

    fn digest_to_go_back_to(&self, act: Act) -> Option<String> {
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

    /// A status that is lost takes the numbers along that no revision carries.
    fn forget_numbers(&mut self, name: &str) {
        let Some(uid) = self.resources.actual(name).and_then(|config| config.metadata.uid.clone()) else {
            return;
        };
        let kept: Vec<i64> = self
            .revisions_of(&uid)
            .iter()
            .filter_map(|name| label_of(&self.objects.get(name)?.map.metadata, label::REVISION)?.parse().ok())
            .collect();
        self.ledger.of(&uid).numbers.retain(|number, _| kept.contains(number));
    }

    /// Where a revision goes that no status speaks of, nobody knows its number any more.
    fn forget_number(&mut self, revision: &Object) {
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

    /// The target of a resource, where it is there and not somebody else's.
    fn target(&self, name: &str) -> Option<String> {
        let config = self.resources.actual(name)?;
        let target = target_name(name, &config.spec).to_owned();
        let object = self.objects.get(&target)?;
        matches!(&object.belongs, Belongs::Resource(_)).then_some(target)
    }

    fn revision(&self, name: &str, nth: usize) -> Option<String> {
        let uid = self.resources.actual(name)?.metadata.uid.clone()?;
        pick(self.revisions_of(&uid), nth)
    }

    fn disturb(&mut self, name: &str) {
        for run in self.runs.values_mut() {
            run.disturbed.insert(name.to_owned());
        }
    }

    fn edit_target(&mut self, name: &str, edit: Edit) {
        let Some(target) = self.target(name) else { return };
        self.disturb(&target);
        let names = self.resources.names.clone();
        // What the API server refuses stays as it is.
        drop(self.objects.edit(&target, |object| {
            edit_by_hand(&mut object.map, edit);
            let labelled = label_of(&object.map.metadata, label::MANAGED_BY) == Some(MANAGER);
            let Belongs::Resource(uid) = &object.belongs else { return };
            let by_label = label_of(&object.map.metadata, label::NAME) == names.get(uid).copied();
            if controller_of(&object.map.metadata).is_none() && !(labelled && by_label) {
                object.belongs = Belongs::User;
            }
        }));
    }

    fn harm_revision(&mut self, name: &str, act: Act) {
        self.disturb(name);
        if let Act::RelabelRevision(..) = act {
            drop(self.objects.edit(name, |object| {
                let annotations = object.map.metadata.annotations.get_or_insert_default();
                annotations.insert("note".to_owned(), "looked at".to_owned());
            }));
            return;
        }
        let Some(gone) = self.objects.delete(name) else { return };
        self.forget_number(&gone);
        if let Act::Forge(_, nth) = act {
            let mut forged = gone.map;
            forged.immutable = (nth % 2 == 0).then_some(true);
            forged.data = Some([("config.json".to_owned(), "forged".to_owned())].into());
            forged.binary_data = None;
            drop(self.objects.create(&forged, gone.belongs));
        } else if let Act::TakeRevision(..) = act {
            drop(self.objects.create(&foreign(name), Belongs::User));
        }
    }

    fn stop_pod(&mut self, nth: usize) {
        let Some(pod) = pick(self.pods.keys().cloned().collect(), nth) else { return };
        let Some(named) = self.pods.remove(&pod) else { return };
        if !self.pods.values().any(|other| *other == named) {
            for run in self.runs.values_mut() {
                run.in_use.remove(&named);
            }
        }
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
        data: Some([("config.json".to_owned(), "somebody else's".to_owned())].into()),
        ..ConfigMap::default()
    }
}

fn edit_by_hand(map: &mut ConfigMap, edit: Edit) {
    let first = map.data.iter().flatten().next().map(|(key, _)| key.clone());
    match edit {
        Edit::Change => {
            let data = map.data.get_or_insert_default();
            data.extend(first.map(|key| (key, "by hand".to_owned())));
        }
        Edit::Add => {
            map.data.get_or_insert_default().insert("added".to_owned(), "by hand".to_owned());
        }
        Edit::Remove => {
            let data = map.data.get_or_insert_default();
            first.map(|key| data.remove(&key));
        }
        Edit::MoveToBinary => {
            let data = map.data.get_or_insert_default();
            if let Some((key, value)) = first.and_then(|key| data.remove_entry(&key)) {
                let bytes = k8s_openapi::ByteString(value.into_bytes());
                map.binary_data.get_or_insert_default().insert(key, bytes);
            }
        }
        Edit::Unmanaged => {
            map.metadata.labels.get_or_insert_default().remove(label::MANAGED_BY);
        }
        Edit::OtherUid => {
            let labels = map.metadata.labels.get_or_insert_default();
            labels.insert(label::OWNER_UID.to_owned(), "somebody".to_owned());
        }
        Edit::NoController => map.metadata.owner_references = None,
        Edit::Hash => {
            let annotations = map.metadata.annotations.get_or_insert_default();
            annotations.insert(annotation::CONTENT_HASH.to_owned(), "sha256:0".to_owned());
        }
        Edit::Disown => {
            map.metadata.owner_references = None;
            map.metadata.labels = None;
        }
    }
    debug_assert!(!is_revision(&map.metadata), "targets only");
}

/// What an act does to a resource.
type Change = Box<dyn FnOnce(&mut ArtifactConfig)>;
