//! Rules for merging into objects of others.

use api::{ArtifactConfigStatus, CreationPolicy};
use k8s_openapi::api::core::v1::ConfigMap;

use super::Identity;
use super::instant::{Actor, Finding, broken};
use crate::model;
use crate::names::{self, Bytes};
use crate::worlds::State;
use crate::worlds::objects::{Belongs, Object, content, is_revision};
use crate::worlds::resources::{spec_of, target_name};

/// Whether a write merges into an object of somebody else, as the resource asks.
pub fn is_merge(actor: &Actor, map: &ConfigMap) -> bool {
    let spec = spec_of(&actor.seen);
    spec.target.creation_policy == CreationPolicy::Merge
        && map.metadata.name.as_deref() == Some(target_name(actor.name, spec))
        && !is_revision(&map.metadata)
}

/// Whether an object has all keys of a config.
pub fn includes(object: &Bytes, config: &Bytes) -> bool {
    config.iter().all(|(key, value)| object.get(key) == Some(value))
}

/// §2.5 for merging: a complete selected config is merged, keys that the resource merged before are removed, and
/// everything else stays unchanged. Returns the merged config.
pub fn only_a_config_is_merged(
    state: &mut State,
    actor: &Actor,
    before: Option<&Object>,
    after: &ConfigMap,
) -> (Option<Identity>, Finding) {
    const RULE: &str = "§2.5 merging leaves the rest alone";
    let target = after.metadata.name.clone().unwrap_or_default();
    let Some(before) = before else {
        return (None, Some((RULE, format!("{target} was created"))));
    };
    if before.belongs != Belongs::User {
        return (None, Some((RULE, format!("{target} is of {:?}", before.belongs))));
    }
    let (had, has) = (content(&before.map), content(after));
    let ours = state.ledger.merged(actor.name, &target).clone();
    let gone_were_ours = had
        .iter()
        .filter(|(key, _)| !has.contains_key(*key))
        .all(|(key, value)| ours.get(key) == Some(value));
    let is_it = |candidate: &Identity| {
        let mut new = has.iter().filter(|(key, value)| had.get(*key) != Some(value));
        includes(&has, &candidate.content) && new.all(|(key, _)| candidate.content.contains_key(key))
    };
    let mut merged: Vec<Identity> = candidates(state, actor, &target).into_iter().filter(is_it).collect();
    // The object does not show which of several configs with equal bytes was merged. A config with a revision comes
    // first.
    merged.sort_by_key(|merged| super::instant::kept_as(state, actor, merged).is_none());
    let Some(merged) = merged.into_iter().next().filter(|_| gone_were_ours) else {
        let keys = |of: &Bytes| of.keys().cloned().collect::<Vec<_>>().join(", ");
        return (None, Some((RULE, format!("{target} held {}, and now {}", keys(&had), keys(&has)))));
    };
    let ledger = state.ledger.merged(actor.name, &target);
    ledger.retain(|key, _| has.contains_key(key));
    // A value that was there before also stays with its first owner.
    let brought = merged.content.iter().filter(|(key, _)| !stays_in_place(&before.map, after, key));
    ledger.extend(brought.map(|(key, value)| (key.clone(), value.clone())));
    (Some(merged), None)
}

/// Whether a write leaves a key alone: its value, and the map in which it stands.
fn stays_in_place(before: &ConfigMap, after: &ConfigMap, key: &str) -> bool {
    let text = |map: &ConfigMap| map.data.as_ref().and_then(|data| data.get(key).cloned());
    let binary = |map: &ConfigMap| map.binary_data.as_ref().and_then(|data| data.get(key).cloned());
    text(before) == text(after) && binary(before) == binary(after)
}

/// The configs that may be merged: the selected one, and the one that was there before.
fn candidates(state: &State, actor: &Actor, target: &str) -> Vec<Identity> {
    let (spec, run) = (spec_of(&actor.seen), &state.runs[&actor.who]);
    let identity = |digest: &oci::Digest, content: Bytes| {
        let subject = state.registry.known.get(digest)?.artifact.subject.clone()?;
        Some(Identity { target: target.to_owned(), artifact: digest.clone(), image: subject, content })
    };
    let all = |text: &str| -> Vec<Identity> {
        let Ok(digest) = text.parse() else { return Vec::new() };
        let renderings = state.renderings(&actor.uid, &digest).into_iter();
        renderings.filter_map(|content| identity(&digest, content)).collect()
    };
    let mut candidates = if let Some(digest) = &spec.rollback_to {
        all(digest)
    } else {
        let selected = model::select(run.listed.as_deref().unwrap_or_default(), spec.selection.policy);
        let content = selected.ok().and_then(|selected| {
            let known = state.registry.known.get(&selected.digest).filter(|known| known.defect.is_none())?;
            identity(&selected.digest, names::render(&known.files, &spec.files)?)
        });
        content.into_iter().collect()
    };
    candidates.extend(state.ledger.written_to(&actor.uid, target).cloned());
    // Unproven revisions count as they do for other targets.
    let revisions = state.objects.all().filter(|(_, object)| is_revision(&object.map.metadata));
    let words = revisions.filter_map(|(_, object)| State::identity(&object.map));
    let words = words.filter(|held| super::instant::is_taken_on_its_word(state, actor, held));
    candidates.extend(words.map(|held| Identity { target: target.to_owned(), ..held }));
    candidates.extend(actor.said(state).iter().flat_map(|said| all(said)));
    candidates
}

/// Whether the status may report this config as merged: it was merged, or was already there.
pub fn is_merged(state: &State, actor: &Actor, status: &ArtifactConfigStatus) -> bool {
    let (Some(target), Some(artifact)) = (&status.target, &status.artifact) else { return false };
    let Ok(digest) = artifact.digest.parse() else { return false };
    let written = state.ledger.written_to(&actor.uid, &target.name);
    let there = state.objects.get(&target.name).map(|object| content(&object.map));
    let disturbed = state.runs[&actor.who].disturbed.contains(&target.name);
    state.renderings(&actor.uid, &digest).iter().filter(|content| model::hash(content) == target.hash).any(
        |content| {
            disturbed
                || written.is_some_and(|written| written.content == *content)
                || there.as_ref().is_some_and(|there| includes(there, content))
        },
    )
}

/// §2.8 for merging: the revision first.
pub fn revision_before_merge(state: &State, actor: &Actor, merged: Option<&Identity>) -> Finding {
    let merged = merged?;
    let excused =
        spec_of(&actor.seen).revision_history_limit == 0 || !state.runs[&actor.who].disturbed.is_empty();
    let kept = super::instant::kept_as(state, actor, merged).is_some();
    broken("§2.8 revision first, then target", !kept && !excused, || {
        format!("no revision keeps what was merged into {}", merged.target)
    })
}
