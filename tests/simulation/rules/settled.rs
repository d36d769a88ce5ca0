//! Rules for resources that have come to rest.

use api::{
    ArtifactConfigSpec, ArtifactConfigStatus, CreationPolicy, DeletionPolicy, HistoryOutcome, MANAGER,
    Reason, annotation, label,
};

use super::instant::{Finding, broken};
use super::status::ready;
use super::{Identity, bound, merging};
use crate::model::{self, Expected};
use crate::worlds::State;
use crate::worlds::objects::{Belongs, Object, annotation_of, content, is_revision, label_of};
use crate::worlds::resources::target_name;

const CONVERGES: &str = "§2.8 it converges";

/// Checks a resource that has come to rest. `fetched`: how often its last reconcile asked for content.
pub fn check(state: &mut State, name: &'static str, fetched: usize) {
    let expected = model::expected(state, name);
    if expected.is_empty() {
        return;
    }
    let config = state.resources.actual(name).unwrap();
    let status = config.status.clone().unwrap_or_default();
    let mut findings = vec![observed(config.metadata.generation, &status), reason(&expected, &status)];
    let synced = [Reason::Synced.as_str(), Reason::RolledBack.as_str()].contains(&ready(&status).1);
    if synced {
        findings.extend([
            target(state, name, &expected),
            status_says_what_is_applied(state, name, &status, &expected),
            nothing_merged_is_left(state, name, &expected),
            the_applied_revision_is_kept(state, name, &status),
            nothing_is_left_over(state, name, &status),
            latest(state, name, &status),
            broken("§2.10 what is applied is not fetched again", fetched > 0, || format!("{fetched} times")),
        ]);
    } else {
        findings.push(the_last_good_is_in_place(state, name, &status));
    }
    findings.extend(bound::settled(state, name, &status));
    for (rule, what) in findings.into_iter().flatten() {
        state.violate(rule, format!("{name}: {what}"));
    }
}

fn observed(generation: Option<i64>, status: &ArtifactConfigStatus) -> Finding {
    broken(CONVERGES, status.observed_generation != generation, || {
        format!("generation {generation:?}, observed {:?}", status.observed_generation)
    })
}

fn reason(expected: &[Expected], status: &ArtifactConfigStatus) -> Finding {
    let is_one = |expected: &Expected| match expected {
        Expected::Synced { back: false, .. } => ("True", Reason::Synced),
        Expected::Synced { back: true, .. } => ("True", Reason::RolledBack),
        Expected::Failing(reason) => ("False", *reason),
        Expected::Suspended => (ready(status).0, Reason::Suspended),
    };
    let words: Vec<(&str, &str)> =
        expected.iter().map(is_one).map(|(ready, reason)| (ready, reason.as_str())).collect();
    broken(CONVERGES, !words.contains(&ready(status)), || {
        format!("expected {words:?}, is {:?}: {}", ready(status), status.conditions[0].message)
    })
}

/// The target holds exactly the right bytes, with their right origin.
fn target(state: &State, name: &'static str, expected: &[Expected]) -> Finding {
    let spec = &state.resources.actual(name)?.spec;
    let target = target_name(name, spec);
    let Some(object) = state.objects.get(target) else {
        return Some((CONVERGES, format!("there is no {target}")));
    };
    let held = held(spec, object, expected);
    let is_right = expected.iter().any(|expected| match expected {
        Expected::Synced { artifact, image, contents, .. } => held.as_ref().is_some_and(|held| {
            (&held.artifact, &held.image) == (artifact, image) && contents.contains(&held.content)
        }),
        Expected::Failing(_) | Expected::Suspended => false,
    });
    let labels =
        spec.target.labels.iter().all(|(key, value)| label_of(&object.map.metadata, key) == Some(value));
    let merges = spec.target.creation_policy == CreationPolicy::Merge;
    // Labels that only an earlier spec asked for.
    let others = object.map.metadata.labels.iter().flatten().any(|(key, _)| {
        key.starts_with("team")
            && !spec.target.labels.contains_key(key)
            && (!merges || object.has_label_by(key, &format!("artifactconfig/merge/{name}")))
    });
    let created =
        state.registry.known.get(&held.as_ref()?.artifact).and_then(|known| known.artifact.created());
    let said = annotation_of(&object.map.metadata, annotation::ARTIFACT_CREATED);
    // An unproven config has no creation time either.
    let on_its_word = state.resources.actual(name)?.status.as_ref().is_some_and(is_on_its_word);
    let origin = merges || on_its_word || said == created;
    broken(CONVERGES, !is_right || !labels || others || !origin, || {
        format!("{target} holds {:?}, expected {expected:?}", object.map)
    })
}

/// The config in the target: the claimed one, or for merging the expected one that is there.
fn held(spec: &ArtifactConfigSpec, object: &Object, expected: &[Expected]) -> Option<Identity> {
    if spec.target.creation_policy != CreationPolicy::Merge {
        return State::identity(&object.map);
    }
    let there = content(&object.map);
    expected.iter().find_map(|expected| match expected {
        Expected::Synced { artifact, image, contents, .. } => {
            let merged = contents.iter().find(|content| merging::includes(&there, content))?;
            Some(Identity {
                target: object.map.metadata.name.clone()?,
                artifact: artifact.clone(),
                image: image.clone(),
                content: merged.clone(),
            })
        }
        Expected::Failing(_) | Expected::Suspended => None,
    })
}

/// Keys that were merged once and are no longer in the config are gone.
fn nothing_merged_is_left(state: &State, name: &'static str, expected: &[Expected]) -> Finding {
    let spec = &state.resources.actual(name)?.spec;
    let target = target_name(name, spec);
    let merged = state.ledger.merged_into(name, target)?;
    let object = state.objects.get(target)?;
    let held = held(spec, object, expected)?;
    let there = content(&object.map);
    let left =
        merged.iter().find(|(key, value)| there.get(*key) == Some(value) && !held.content.contains_key(*key));
    broken("nothing is left over", left.is_some(), || format!("{:?} in {target}", left.map(|(key, _)| key)))
}

fn status_says_what_is_applied(
    state: &State,
    name: &'static str,
    status: &ArtifactConfigStatus,
    expected: &[Expected],
) -> Finding {
    let spec = &state.resources.actual(name)?.spec;
    let target = target_name(name, spec);
    let held = state.objects.get(target).and_then(|object| held(spec, object, expected))?;
    let hash = model::hash(&held.content);
    let said = status.target.as_ref().is_some_and(|said| said.name == target && said.hash == hash)
        && status.artifact.as_ref().is_some_and(|said| said.digest == held.artifact.to_string())
        && status.image.as_ref().is_some_and(|said| said.digest == held.image.to_string());
    let current = status.history.iter().find(|entry| entry.outcome != HistoryOutcome::Failed);
    let on_its_word = is_on_its_word(status);
    let recorded = current.is_some_and(|entry| {
        entry.outcome == HistoryOutcome::Applied
            && entry.artifact == held.artifact.to_string()
            && entry.image == held.image.to_string()
            && entry.hash.as_ref() == Some(&hash).filter(|_| !on_its_word)
    });
    broken("status says what is applied", !said || !recorded, || {
        format!("{} of {} is in {target}; status: {status:?}", held.artifact, held.image)
    })
}

/// The status says that an unproven config is unproven, and its history entry has no hash.
pub fn is_on_its_word(status: &ArtifactConfigStatus) -> bool {
    status.conditions[0].message.contains("which has no proof")
}

fn the_applied_revision_is_kept(state: &State, name: &'static str, status: &ArtifactConfigStatus) -> Finding {
    const RULE: &str = "the applied revision is kept";
    let config = state.resources.actual(name)?;
    let current = status.history.iter().find(|entry| entry.outcome == HistoryOutcome::Applied)?;
    if config.spec.revision_history_limit == 0 {
        return broken(RULE, current.config_map.is_some(), || "a revision in spite of limit 0".to_owned());
    }
    let Some(revision) = current.config_map.as_ref().and_then(|name| state.objects.get(name)) else {
        return Some((RULE, format!("{:?} does not exist", current.config_map)));
    };
    let target = state.objects.get(target_name(name, &config.spec))?;
    let number = current.revision.to_string();
    let (kept, applied) = (&revision.map.metadata, &target.map.metadata);
    let merges = config.spec.target.creation_policy == CreationPolicy::Merge;
    let (keeps, holds) = (content(&revision.map), content(&target.map));
    let same = (keeps == holds || (merges && merging::includes(&holds, &keeps)))
        && revision.map.immutable == Some(true)
        && label_of(kept, label::REVISION) == Some(&number)
        && (merges || annotation_of(applied, annotation::REVISION) == Some(&number));
    broken(RULE, !same, || format!("revision {number} is not what is in the target: {:?}", revision.map))
}

/// No earlier target, and no revision that neither the history nor a workload needs.
fn nothing_is_left_over(state: &State, name: &'static str, status: &ArtifactConfigStatus) -> Finding {
    let config = state.resources.actual(name)?;
    let uid = config.metadata.uid.clone()?;
    let target = target_name(name, &config.spec);
    let used = state.usage().config_maps;
    let needed = |name: &String| {
        used.contains(name)
            || status.bindings.iter().any(|binding| binding.config_map == *name)
            || status.history.iter().any(|entry| entry.config_map.as_ref() == Some(name))
    };
    let keeps = config.spec.target.deletion_policy == DeletionPolicy::Retain
        || config.spec.target.creation_policy != CreationPolicy::Owner;
    let left = state.objects.all().find(|(name, object)| {
        let metadata = &object.map.metadata;
        let ours = object.belongs == Belongs::Resource(uid.clone())
            && label_of(metadata, label::OWNER_UID) == Some(&uid)
            && label_of(metadata, label::MANAGED_BY) == Some(MANAGER);
        ours && if is_revision(metadata) { !needed(name) } else { *name != target && !keeps }
    });
    broken("nothing is left over", left.is_some(), || {
        format!("{:?}, and the history is {:?}", left.map(|(name, _)| name), status.history)
    })
}

fn latest(state: &State, name: &'static str, status: &ArtifactConfigStatus) -> Finding {
    if !state.registry.up {
        return None;
    }
    let applied = status.artifact.as_ref().map(|artifact| artifact.digest.clone());
    let latest = model::latest(state, name).map(|digest| digest.to_string());
    let latest = latest.filter(|latest| Some(latest) != applied.as_ref());
    broken("status says what would come next", latest.is_some() && status.latest != latest, || {
        format!("{:?}, expected {latest:?}", status.latest)
    })
}

/// §2.3: while no new config is available, the target holds the config of the status, if its revision exists for a
/// repair.
fn the_last_good_is_in_place(state: &State, name: &'static str, status: &ArtifactConfigStatus) -> Finding {
    const RULE: &str = "§2.3 the last good outlives every failure";
    let config = state.resources.actual(name)?;
    let uid = config.metadata.uid.as_deref()?;
    let target = target_name(name, &config.spec);
    // Without its workload, nothing of the resource is known.
    let excused = [
        Reason::TargetConflict,
        Reason::Suspended,
        Reason::ApplyFailed,
        Reason::WorkloadNotFound,
        Reason::ImageUnknown,
    ]
    .map(Reason::as_str);
    let barred = model::is_barred(state, name);
    if status.target.as_ref()?.name != target || barred || excused.contains(&ready(status).1) {
        return None;
    }
    let current = status.history.iter().find(|entry| entry.outcome != HistoryOutcome::Failed)?;
    let revision = state.objects.get(current.config_map.as_ref()?)?;
    let kept = State::identity(&revision.map)?;
    // A config that was applied without proof, for a rollback while the registry gave no answer, is not applied again
    // without a rollback.
    let is_recorded = current.hash.is_some();
    if !is_recorded || !state.is_intact(uid, &revision.map) || kept.artifact.to_string() != current.artifact {
        return None;
    }
    let object = state.objects.get(target);
    let merges = config.spec.target.creation_policy == CreationPolicy::Merge;
    let held = object.map(|object| content(&object.map));
    let holds = held
        .as_ref()
        .is_some_and(|held| *held == kept.content || (merges && merging::includes(held, &kept.content)));
    let said = status.artifact.as_ref().is_some_and(|said| said.digest == current.artifact);
    broken(RULE, !holds || !said, || format!("{target} holds {held:?}; status says {:?}", status.artifact))
}
