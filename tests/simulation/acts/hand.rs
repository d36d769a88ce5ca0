//! Edits by hand of objects of the operator.

use api::{CreationPolicy, MANAGER, annotation, label};
use k8s_openapi::api::core::v1::ConfigMap;

use super::{Act, foreign, pick};
use crate::worlds::State;
use crate::worlds::objects::{Belongs, controller_of, is_revision, label_of};
use crate::worlds::resources::target_name;

/// An edit of a target by hand.
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
    /// The target of a resource, if it exists and does not belong to somebody else.
    pub(super) fn target(&self, name: &str) -> Option<String> {
        let config = self.resources.actual(name)?;
        let target = target_name(name, &config.spec).to_owned();
        let object = self.objects.get(&target)?;
        let merges = config.spec.target.creation_policy == CreationPolicy::Merge;
        (merges != matches!(&object.belongs, Belongs::Resource(_))).then_some(target)
    }

    pub(super) fn revision(&self, name: &str, nth: usize) -> Option<String> {
        let uid = self.resources.actual(name)?.metadata.uid.clone()?;
        pick(self.revisions_of(&uid), nth)
    }

    pub(super) fn disturb(&mut self, name: &str) {
        for run in self.runs.values_mut() {
            run.disturbed.insert(name.to_owned());
        }
    }

    pub(super) fn edit_target(&mut self, name: &str, edit: Edit) {
        let Some(target) = self.target(name) else { return };
        self.disturb(&target);
        let names = self.resources.names.clone();
        let places = |state: &Self| {
            let map = state.objects.get(&target).map(|object| object.map.clone()).unwrap_or_default();
            (map.data.unwrap_or_default(), map.binary_data.unwrap_or_default())
        };
        let before = places(self);
        // If the API server refuses the edit, the object stays unchanged.
        drop(self.objects.edit(&target, |object| {
            edit_by_hand(&mut object.map, edit);
            let labelled = label_of(&object.map.metadata, label::MANAGED_BY) == Some(MANAGER);
            let Belongs::Resource(uid) = &object.belongs else { return };
            let by_label = label_of(&object.map.metadata, label::NAME) == names.get(uid).copied();
            if controller_of(&object.map.metadata).is_none() && !(labelled && by_label) {
                object.belongs = Belongs::User;
            }
        }));
        let after = places(self);
        let keys = before.0.keys().chain(before.1.keys());
        let changed = keys
            .filter(|key| before.0.get(*key) != after.0.get(*key) || before.1.get(*key) != after.1.get(*key));
        self.ledger.no_longer_merged(&target, changed);
    }

    pub(super) fn harm_revision(&mut self, name: &str, act: Act) {
        self.disturb(name);
        self.ledger.harmed.insert(name.to_owned());
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

    pub(super) fn stop_pod(&mut self, nth: usize) {
        let Some(pod) = pick(self.pods.keys().cloned().collect(), nth) else { return };
        let Some(named) = self.pods.remove(&pod) else { return };
        if !self.pods.values().any(|other| *other == named) {
            for run in self.runs.values_mut() {
                run.in_use.remove(&named);
            }
        }
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
