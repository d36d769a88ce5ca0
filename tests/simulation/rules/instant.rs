//! Rules for every write, at the instant of the write.

use std::sync::Arc;

use api::{ArtifactConfigStatus, CreationPolicy, DeletionPolicy, label};
use decide::event::EventDraft;
use k8s_openapi::api::core::v1::ConfigMap;

use super::{Identity, bound, merging, status};
use crate::acts::EVIL;
use crate::model;
use crate::names::{ENCODED_PASSWORD, PASSWORD, TYPE};
use crate::worlds::objects::{Object, content, is_revision, label_of};
use crate::worlds::resources::{Guarded, spec_of, target_name};
use crate::worlds::{ANOTHER_OPERATOR, State, Turn, Who};

/// A write of the operator.
pub enum Write<'a> {
    Put { before: Option<&'a Object>, after: &'a ConfigMap },
    Delete { gone: &'a Object },
    Status { before: &'a ArtifactConfigStatus, after: &'a ArtifactConfigStatus, text: &'a str },
    Event { event: &'a EventDraft },
}

/// The reconcile that writes, and the resource that it has seen.
pub struct Actor {
    pub who: Who,
    pub name: &'static str,
    pub uid: String,
    pub seen: Arc<Guarded>,
}

impl Actor {
    /// The artifacts that the status names: the seen status, and the present one, which the operator may remember.
    pub fn said(&self, state: &State) -> Vec<String> {
        let seen = self.seen.0.as_ref().ok();
        let configs = [seen, state.resources.actual(self.name)];
        let statuses = configs.into_iter().flatten().filter_map(|config| config.status.as_ref());
        statuses.filter_map(|status| Some(status.artifact.as_ref()?.digest.clone())).collect()
    }
}

/// Checks a write. The first broken rule ends the simulation.
pub fn check(state: &mut State, write: &Write<'_>) {
    let (who, run) = (state.acting, &state.runs[&state.acting]);
    let actor = Actor { who, name: who.name, uid: run.uid.clone(), seen: run.seen.clone() };
    let findings = match write {
        Write::Put { before, after } if merging::is_merge(&actor, after) => {
            let (merged, finding) = merging::only_a_config_is_merged(state, &actor, *before, after);
            let findings = vec![
                finding,
                suspended_is_left_alone(&actor),
                what_is_over_is_not_written(state, &actor),
                merging::revision_before_merge(state, &actor, merged.as_ref()),
                credentials_show_nowhere(&serde_json::to_string(after).unwrap()),
            ];
            if let Some(merged) = merged {
                state.ledger.of(&actor.uid).wrote(merged, actor.who.operator);
            }
            findings
        }
        Write::Put { before, after } => {
            let findings = [
                not_ours_is_never_touched(state, &actor, *before),
                suspended_is_left_alone(&actor),
                what_is_over_is_not_written(state, &actor),
                only_verified_bytes(state, &actor, *before, after),
                only_what_was_chosen(state, &actor, *before, after),
                revision_before_target(state, &actor, after),
                credentials_show_nowhere(&serde_json::to_string(after).unwrap()),
            ];
            applied(state, &actor, after);
            findings.to_vec()
        }
        Write::Delete { gone } => {
            let mut findings = bound::deleted(state, &actor, gone);
            findings.extend([
                not_ours_is_never_touched(state, &actor, Some(gone)),
                suspended_is_left_alone(&actor),
                what_is_over_is_not_written(state, &actor),
                in_use_is_not_collected(state, &actor, gone),
                the_last_good_outlives(state, &actor, gone),
            ]);
            // If the status was lost meanwhile.
            state.forget_number(gone);
            findings
        }
        Write::Status { before, after, text } => {
            let mut findings = status::check(state, &actor, before, after);
            findings.extend(bound::status(state, &actor, before, after));
            findings.push(what_is_over_is_not_written(state, &actor));
            findings.push(credentials_show_nowhere(text));
            findings
        }
        Write::Event { event } => vec![
            what_is_over_is_not_written(state, &actor),
            credentials_show_nowhere(&event.note),
            bounded_note(event),
        ],
    };
    for (rule, what) in findings.into_iter().flatten() {
        state.violate(rule, what);
    }
}

/// A rule, and how it was broken.
pub type Finding = Option<(&'static str, String)>;

pub fn broken(rule: &'static str, is_broken: bool, what: impl FnOnce() -> String) -> Finding {
    is_broken.then(|| (rule, what()))
}

/// §2.5: an object that is not ours is never touched.
fn not_ours_is_never_touched(state: &State, actor: &Actor, object: Option<&Object>) -> Finding {
    let object = object?;
    broken("§2.5 not ours is never touched", !state.is_of(&actor.uid, object), || {
        format!("{} touched {:?}, which is of {:?}", actor.uid, object.map.metadata.name, object.belongs)
    })
}

/// `spec.suspend`: nothing is written.
fn suspended_is_left_alone(actor: &Actor) -> Finding {
    broken("suspended is left alone", spec_of(&actor.seen).suspend, || "a write while suspended".to_owned())
}

/// If a resource changed while a registry was asked, that reconcile writes and reports nothing any more.
fn what_is_over_is_not_written(state: &State, actor: &Actor) -> Finding {
    broken("what is over is not written", state.runs[&actor.who].turn == Turn::Over, || {
        format!("{} wrote for what it was asked before", actor.name)
    })
}

/// §2.2: only verified bytes are written, with the right origin beside them. Keys of others may be among them for a
/// moment: an apply keeps fields that it does not own.
fn only_verified_bytes(state: &State, actor: &Actor, before: Option<&Object>, after: &ConfigMap) -> Finding {
    const RULE: &str = "§2.2 only verified bytes are written";
    let Some(held) = State::identity(after) else {
        return Some((RULE, format!("{:?} does not say what it holds", after.metadata.name)));
    };
    // Such a config cannot be checked, nor can its image, and the status says so.
    let mut own = held.clone();
    // Its only key never belongs to somebody else.
    own.content.retain(|key, value| value == EVIL.as_bytes() || !stood_before(before, key, value));
    if is_taken_on_its_word(state, actor, &own) {
        return None;
    }
    let known = state.registry.known.get(&held.artifact);
    let origin = known.is_some_and(|known| {
        known.artifact.subject.as_ref() == Some(&held.image) && known.artifact.artifact_type == TYPE
    });
    if !origin {
        return Some((RULE, format!("{} is not attached to {}", held.artifact, held.image)));
    }
    let foreign = |key: &String, value: &Vec<u8>| stood_before(before, key, value);
    let renderings = state.renderings(&actor.uid, &held.artifact);
    let whole = renderings.iter().any(|rendering| {
        rendering.iter().all(|(key, value)| held.content.get(key) == Some(value))
            && held.content.iter().all(|(key, value)| rendering.contains_key(key) || foreign(key, value))
    });
    broken(RULE, !whole, || {
        let keys: Vec<&String> = held.content.keys().collect();
        format!("{} holds {keys:?}, which is not {} whole", held.target, held.artifact.short())
    })
}

/// Whether a key had this value before.
fn stood_before(before: Option<&Object>, key: &str, value: &[u8]) -> bool {
    before.is_some_and(|before| content(&before.map).get(key).is_some_and(|stood| stood == value))
}

/// A rollback to a digest without a recorded hash, while the registry gives no answer. Only then is an unproven
/// revision applied. A forged config gets into a target in no other way.
pub fn is_taken_on_its_word(state: &State, actor: &Actor, held: &Identity) -> bool {
    let (asked, spec) = (held.artifact.to_string(), spec_of(&actor.seen));
    let seen = actor.seen.0.as_ref().ok();
    let configs = [seen, state.resources.actual(actor.name)].into_iter().flatten();
    let mut history = configs.filter_map(|config| config.status.as_ref()).flat_map(|status| &status.history);
    let is_recorded = history.any(|entry| entry.artifact == asked && entry.hash.is_some());
    spec.rollback_to.as_ref() == Some(&asked) && !is_recorded && is_consistent(&held.content)
}

/// A config whose parts fit together, although it may be forged.
fn is_consistent(content: &crate::names::Bytes) -> bool {
    content.values().any(|value| value == EVIL.as_bytes()) && content.len() == 1
}

/// A written config is that of `spec.rollbackTo`, the rightly selected one, or the one that was there before.
fn only_what_was_chosen(state: &State, actor: &Actor, before: Option<&Object>, after: &ConfigMap) -> Finding {
    let (held, spec) = (State::identity(after)?, spec_of(&actor.seen));
    let run = &state.runs[&actor.who];
    let chosen = if let Some(digest) = &spec.rollback_to {
        held.artifact.to_string() == *digest
    } else if bound::is_bound(state, actor, &held.artifact, &held.image) {
        true
    } else {
        let selected = model::select(run.listed.as_deref().unwrap_or_default(), spec.selection.policy);
        selected.ok().is_some_and(|selected| selected.digest == held.artifact)
            && run.subject.as_ref() == Some(&held.image)
    };
    // If somebody removed the target or its revision, the config in the status is also right.
    let target =
        if is_revision(&after.metadata) { state.objects.get(target_name(actor.name, spec)) } else { before };
    let in_place = target.and_then(|target| State::identity(&target.map));
    let applied = state.ledger.applied(&actor.uid);
    let kept =
        applied.is_some_and(|applied| (&applied.artifact, &applied.image) == (&held.artifact, &held.image));
    let said = actor.said(state).contains(&held.artifact.to_string());
    // An operator does not trust a config that is in no status, unless it applied that config itself.
    let unsaid = applied.is_some_and(|applied| !actor.said(state).contains(&applied.artifact.to_string()));
    // Another operator can write its status between the answer and the write: no request is bound to both.
    let was_unsaid =
        applied.is_some_and(|applied| run.statuses.iter().any(|said| *said != applied.artifact.to_string()));
    let lost = unsaid
        || was_unsaid
        || in_place.as_ref() != applied
        || applied.is_none_or(|applied| kept_as(state, actor, applied).is_none());
    let kept = kept || (said && lost);
    broken("only what was chosen is written", !chosen && !kept, || {
        format!("{} was written to {}, and nothing asked for it", held.artifact.short(), held.target)
    })
}

/// §2.8: revision first, then target.
fn revision_before_target(state: &State, actor: &Actor, after: &ConfigMap) -> Finding {
    const RULE: &str = "§2.8 revision first, then target";
    let (held, spec) = (State::identity(after)?, spec_of(&actor.seen));
    if is_revision(&after.metadata) {
        return broken(RULE, after.immutable != Some(true), || format!("{} is not immutable", held.target));
    }
    if held.target != target_name(actor.name, spec) {
        return Some(("§2.5 not ours is never touched", format!("{} is not the target", held.target)));
    }
    if spec.revision_history_limit == 0 {
        return None;
    }
    let kept = kept_as(state, actor, &held).is_some();
    let disturbed = !state.runs[&actor.who].disturbed.is_empty();
    broken(RULE, !kept && !disturbed, || format!("no revision keeps what {} holds", held.target))
}

/// The revision that keeps a config.
pub fn kept_as<'a>(state: &'a State, actor: &Actor, config: &Identity) -> Option<&'a Object> {
    state.objects.all().map(|(_, object)| object).find(|object| {
        is_revision(&object.map.metadata)
            && state.is_of(&actor.uid, object)
            && State::identity(&object.map).is_some_and(|kept| {
                let keys_of_others = config
                    .content
                    .iter()
                    .all(|(key, value)| kept.content.get(key).is_none_or(|kept| kept == value));
                kept.artifact == config.artifact
                    && keys_of_others
                    && kept.content.keys().all(|key| config.content.contains_key(key))
            })
    })
}

/// Records the config in the target, if it is complete, and that a revision is right again.
fn applied(state: &mut State, actor: &Actor, after: &ConfigMap) {
    state.ledger.harmed.remove(after.metadata.name.as_deref().unwrap_or_default());
    if let Some(held) = State::identity(after).filter(|_| !is_revision(&after.metadata)) {
        state.ledger.of(&actor.uid).wrote(held, actor.who.operator);
    }
}

/// §2.9: what a workload uses is not collected.
fn in_use_is_not_collected(state: &State, actor: &Actor, gone: &Object) -> Finding {
    let name = gone.map.metadata.name.clone().unwrap_or_default();
    let used = state.runs[&actor.who].in_use.contains(&name) && state.pods.values().any(|used| *used == name);
    let revision = is_revision(&gone.map.metadata) && state.is_intact(&actor.uid, &gone.map);
    broken("§2.9 what is in use is not collected", used && revision, || format!("{name} was deleted"))
}

/// §2.3: the last good config outlives everything. A target is deleted only after another one has replaced it. A
/// revision is deleted only if no status names it any more and it is not the applied one.
fn the_last_good_outlives(state: &State, actor: &Actor, gone: &Object) -> Finding {
    const RULE: &str = "§2.3 the last good outlives every failure";
    let name = gone.map.metadata.name.as_deref().unwrap_or_default();
    let (spec, run) = (spec_of(&actor.seen), &state.runs[&actor.who]);
    let target = target_name(actor.name, spec);
    let applied = state.ledger.written_to(&actor.uid, target);
    if !is_revision(&gone.map.metadata) {
        let there = state.objects.get(target).filter(|object| state.is_of(&actor.uid, object));
        let held = there.and_then(|object| State::identity(&object.map));
        let replaced = held.zip(applied).is_some_and(|(held, applied)| held.is_same_as(applied));
        // After a rename, two operators can act for different names. Each may read its own target last before the other
        // one deletes it, because no request is bound to two objects. The next reconcile creates it again.
        let disturbed = run.disturbed.contains(target) || run.disturbed.contains(ANOTHER_OPERATOR);
        let keeps = spec.target.deletion_policy == DeletionPolicy::Retain
            || spec.target.creation_policy != CreationPolicy::Owner;
        return broken(RULE, keeps || name == target || !(replaced || disturbed), || {
            format!("target {name} was deleted while {target} holds nothing better")
        });
    }
    if !state.is_intact(&actor.uid, &gone.map) {
        return None;
    }
    let config = state.resources.actual(actor.name);
    let config = config.filter(|config| config.metadata.uid.as_ref() == Some(&actor.uid));
    let status = config.and_then(|config| config.status.as_ref());
    let spoken = status
        .is_some_and(|status| status.history.iter().any(|entry| entry.config_map.as_deref() == Some(name)));
    let held = State::identity(&gone.map);
    let is_applied = held.zip(applied).is_some_and(|(held, applied)| {
        let same = held.artifact == applied.artifact && held.content == applied.content;
        // After a new name of the target, another revision keeps the same config. Merging equal bytes is not a write.
        let same = same && spec.target.creation_policy != CreationPolicy::Merge;
        same && spec.revision_history_limit > 0
            && kept_as(state, actor, applied).is_none()
            && run.disturbed.is_empty()
            && !status::is_unseen_of_another(state, actor, target)
    });
    broken(RULE, spoken || is_applied, || {
        let number = label_of(&gone.map.metadata, label::REVISION).unwrap_or_default();
        format!("revision {number} ({name}) was deleted; in the history: {spoken}, applied: {is_applied}")
    })
}

/// §2.6: a credential shows in no object, event or status.
fn credentials_show_nowhere(text: &str) -> Finding {
    let shown = text.contains(PASSWORD) || text.contains(ENCODED_PASSWORD);
    broken("§2.6 credentials show nowhere", shown, || "a password was written down".to_owned())
}

/// §2.7: bounds.
fn bounded_note(event: &EventDraft) -> Finding {
    broken("§2.7 everything is bounded", event.note.len() > 1024, || "a note is too long".to_owned())
}
