//! Rules for resources that follow a workload, for the index of bindings, and for the pods that are bound by it.

use api::{ArtifactConfigStatus, Binding, CreationPolicy, Reason, Resolve, WorkloadRef};
use decide::workload::Bind;
use k8s_openapi::api::core::v1::ConfigMap;
use oci::Digest;

use super::instant::{Actor, Finding, broken};
use super::status::ready;
use crate::clock;
use crate::model;
use crate::names::REPOSITORY;
use crate::worlds::objects::{Object, content};
use crate::worlds::resources::spec_of;
use crate::worlds::workloads::{CONTAINER, Pod, Workload, is_of, pinned_digest};
use crate::worlds::{ANOTHER_OPERATOR, Run, STATUS, State};

const ITS_OWN: &str = "§2.12 a bound pod has the config of its own image";
const KNOWN: &str = "§2.12 a binding is what the registry said";
const NEEDED: &str = "§2.9 the binding of an image in use stays";
const IN_USE: &str = "§2.9 the revision of a bound pod is not collected";
const LATER: &str = "§2.9 bindings go first, revisions ten minutes later";
const WAKES: &str = "§2.13 a workload is woken for its binding, and nothing else of it is written";
const NO_COST: &str = "§2.16 who follows no workload pays for none";

/// Seconds that a revision outlives its binding.
const TEN_MINUTES: i64 = 600;

/// Most bindings of a resource, and most times that a workload is woken for one revision.
const MOST: usize = 100;
const MOST_WAKES: u32 = 10;

/// §2.12, when admission has bound a pod: each of its revisions exists, and holds a config that is attached to the image
/// that the pod runs. Revisions that somebody harmed by hand, and those of a deleted resource, do not count.
pub fn check_pod(state: &mut State, pod: &Pod) {
    for bound in &pod.bound {
        if is_excused(state, &bound.uid, &bound.revision) {
            continue;
        }
        let (finding, found) = {
            let object = state.objects.get(&bound.revision);
            let held = object.and_then(|object| State::identity(&object.map));
            let own = held.as_ref().and_then(|held| subject(state, &held.artifact)) == pod.digest;
            let intact = object.is_some_and(|object| state.is_intact(&bound.uid, &object.map));
            (!own || !intact, held.map(|held| held.artifact))
        };
        if finding {
            let what = format!("{} runs with {}, which holds {found:?}", pod.image, bound.revision);
            state.violate(ITS_OWN, what);
        }
    }
}

fn is_excused(state: &State, uid: &str, revision: &str) -> bool {
    state.ledger.harmed.contains(revision) || !state.resources.alive().contains(uid)
}

/// The image that an artifact is attached to.
fn subject(state: &State, artifact: &Digest) -> Option<Digest> {
    state.registry.known.get(artifact)?.artifact.subject.clone()
}

/// §2.16: a resource without `spec.workloadRef` reads and wakes no workload, and another one only its own.
pub fn only_followers_pay(state: &mut State, reference: Option<&WorkloadRef>) {
    let run = &state.runs[&state.acting];
    let spec = spec_of(&run.seen);
    let own = spec.workload_ref.as_ref().filter(|_| !spec.suspend);
    if own.is_none() || reference.is_some_and(|reference| own != Some(reference)) {
        let what = format!("{} asked for {reference:?}", state.acting.name);
        state.violate(NO_COST, what);
    }
}

/// §2.13: the annotation names the revision of the image that the workload had, and how often it was woken for that. The
/// present status binds it, or the one that the pass has seen: a status without a change is not written.
pub fn woken_for_its_binding(state: &mut State, value: &str) {
    let run = &state.runs[&state.acting];
    let asked = run.followed.as_ref().filter(|(_, bind)| *bind == Some(Bind::Require));
    let (revision, count) = value.rsplit_once('.').unwrap_or_default();
    let is_counted = count.parse().is_ok_and(|count: u32| (1..=MOST_WAKES).contains(&count));
    let present = state.resources.actual(state.acting.name);
    // A resource that goes between its status and this write cannot be noticed.
    let Some(present) = present.filter(|config| config.metadata.uid.as_ref() == Some(&run.uid)) else {
        return;
    };
    let statuses = [present].into_iter().chain(run.seen.0.as_ref().ok()).flat_map(|config| &config.status);
    let is_bound = asked.is_some_and(|(image, _)| {
        let binding_of =
            |status| binding_of(status, image).is_some_and(|binding| binding.config_map == revision);
        statuses.into_iter().any(binding_of)
    });
    if !is_bound && !is_disturbed(run, STATUS) || !is_counted {
        let what = format!("{} wakes by {value} for {asked:?}", state.acting.name);
        state.violate(WAKES, what);
    }
}

fn is_disturbed(run: &Run, name: &str) -> bool {
    run.disturbed.contains(name) || run.disturbed.contains(ANOTHER_OPERATOR)
}

/// The rules for the bindings of a status, at the instant it is written.
pub fn status(
    state: &mut State,
    actor: &Actor,
    before: &ArtifactConfigStatus,
    after: &ArtifactConfigStatus,
) -> Vec<Finding> {
    let findings = vec![
        only_followers_are_bound(actor, after),
        what_is_bound_is_known(state, actor, before, after),
        what_is_needed_stays(state, actor, before, after),
    ];
    let bound = |status: &ArtifactConfigStatus, name: &str| {
        status.bindings.iter().any(|binding| binding.config_map == name)
    };
    for binding in before.bindings.iter().filter(|binding| !bound(after, &binding.config_map)) {
        state.ledger.unbound.insert(binding.config_map.clone(), (clock::second(), Some(actor.who.operator)));
    }
    state.ledger.unbound.retain(|name, _| !bound(after, name));
    findings
}

fn only_followers_are_bound(actor: &Actor, after: &ArtifactConfigStatus) -> Finding {
    let count = after.bindings.len();
    let follows = spec_of(&actor.seen).workload_ref.is_some();
    let finding = broken(NO_COST, !follows && count > 0, || format!("{} has {count} bindings", actor.name));
    finding.or(broken("§2.7 everything is bounded", count > MOST, || format!("{count} bindings")))
}

/// A new binding is for the digest that the registry gave in this pass, or for a reference that was known for it, and its
/// revision exists and holds a config of this image.
fn what_is_bound_is_known(
    state: &State,
    actor: &Actor,
    before: &ArtifactConfigStatus,
    after: &ArtifactConfigStatus,
) -> Finding {
    let new = after.bindings.iter().filter(|binding| !before.bindings.contains(binding));
    new.filter(|binding| !is_known(state, actor, before, binding)).find_map(|binding| {
        let run = &state.runs[&actor.who];
        broken(KNOWN, true, || format!("{binding:?}; the registry said {:?}", run.resolved))
    })
}

fn is_known(state: &State, actor: &Actor, before: &ArtifactConfigStatus, binding: &Binding) -> bool {
    let Binding { image, digest, container, pinned, artifact, config_map, hash } = binding;
    let (Ok(digest), Ok(artifact)) = (digest.parse::<Digest>(), artifact.parse::<Digest>()) else {
        return false;
    };
    let run = &state.runs[&actor.who];
    let is_named = run.followed.as_ref().is_some_and(|(followed, _)| followed == image);
    let is_told = is_named && (run.resolved.get(image).or(pinned_digest(image).as_ref()) == Some(&digest));
    let was_told =
        before.bindings.iter().any(|other| (&other.image, &other.digest) == (image, &binding.digest));
    let is_pinned = pinned.starts_with(REPOSITORY) && pinned_digest(pinned).as_ref() == Some(&digest);
    let is_whole = |map: &ConfigMap| {
        let held = State::identity(map);
        held.is_some_and(|held| held.artifact == artifact && held.image == digest)
            && state.is_intact(&actor.uid, map)
            && model::hash(&content(map)) == *hash
    };
    let kept = state.objects.get(config_map).is_some_and(|object| is_whole(&object.map));
    container == CONTAINER
        && (is_told || was_told)
        && is_pinned
        && subject(state, &artifact).as_ref() == Some(&digest)
        && (kept || is_disturbed(run, config_map) || state.ledger.harmed.contains(config_map))
}

/// A binding that counts for an image stays while a pod or a pod template names this image: `kubectl rollout undo`
/// brings back the image.
fn what_is_needed_stays(
    state: &State,
    actor: &Actor,
    before: &ArtifactConfigStatus,
    after: &ArtifactConfigStatus,
) -> Finding {
    spec_of(&actor.seen).workload_ref.as_ref()?;
    let images = &state.runs[&actor.who].images;
    let needed = |(place, binding): &(usize, &Binding)| {
        let is_first = before.bindings[..*place].iter().all(|other| other.image != binding.image);
        is_first && images.iter().any(|image| is_of(binding, image))
    };
    let stays = |binding: &Binding| after.bindings.iter().any(|other| other.image == binding.image);
    let gone = before.bindings.iter().enumerate().filter(needed).find(|(_, binding)| !stays(binding));
    gone.and_then(|(_, binding)| {
        broken(NEEDED, true, || format!("{} of {}", binding.config_map, binding.image))
    })
}

/// The rules for a revision that is deleted: no bound pod has it, no status binds it, and its binding went ten minutes ago.
pub fn deleted(state: &State, actor: &Actor, gone: &Object) -> Vec<Finding> {
    let name = gone.map.metadata.name.as_deref().unwrap_or_default();
    let run = &state.runs[&actor.who];
    if !state.is_intact(&actor.uid, &gone.map) || run.disturbed.contains(ANOTHER_OPERATOR) {
        return Vec::new();
    }
    let pods = state.workloads.values().flat_map(Workload::pods);
    let used = pods.flat_map(|pod| &pod.bound).any(|bound| bound.revision == name);
    let config = state.resources.actual(actor.name);
    let status = config.and_then(|config| config.status.as_ref());
    let bound = status.is_some_and(|status| status.bindings.iter().any(|binding| binding.config_map == name));
    // Only memory knows the bindings that a resource had before it stopped following a workload.
    let follows = spec_of(&actor.seen).workload_ref.is_some();
    let since = state.ledger.unbound.get(name).filter(|(_, by)| follows || *by == Some(actor.who.operator));
    let passed = since.map(|(since, _)| clock::second() - since);
    vec![
        broken(IN_USE, used, || format!("{name} was deleted")),
        broken(NEEDED, bound, || format!("{name} was deleted, and the status binds it")),
        broken(LATER, passed.is_some_and(|passed| passed < TEN_MINUTES), || {
            format!("{name} was deleted {passed:?} s after its binding")
        }),
    ]
}

/// Whether a config in a binding is the one for the image that the workload names.
pub fn is_bound(state: &State, actor: &Actor, artifact: &Digest, digest: &Digest) -> bool {
    let Some((image, _)) = &state.runs[&actor.who].followed else { return false };
    let seen = actor.seen.0.as_ref().ok();
    let configs = [seen, state.resources.actual(actor.name)].into_iter().flatten();
    let mut bindings = configs.flat_map(|config| &config.status).flat_map(|status| &status.bindings);
    bindings.any(|binding| {
        (&binding.image, &binding.artifact, &binding.digest)
            == (image, &artifact.to_string(), &digest.to_string())
    })
}

/// The rules for a resource that has come to rest.
pub fn settled(state: &mut State, name: &'static str, status: &ArtifactConfigStatus) -> Vec<Finding> {
    vec![
        the_image_is_bound(state, name, status),
        what_the_index_knows_is_back(state, name, status),
        nothing_unneeded_is_bound(state, name, status),
        the_refused_are_woken(state, name),
    ]
}

/// The workload that a resource follows by its template.
fn followed<'a>(state: &'a State, name: &'static str) -> Option<&'a Workload> {
    let spec = &state.resources.actual(name)?.spec;
    let reference = spec.workload_ref.as_ref()?;
    let follows = reference.resolve == Resolve::Template && !spec.suspend;
    let bindable = spec.target.creation_policy != CreationPolicy::Merge && spec.revision_history_limit > 0;
    state.workload(&reference.name).filter(|_| follows && bindable)
}

fn binding_of<'s>(status: &'s ArtifactConfigStatus, image: &str) -> Option<&'s Binding> {
    status.bindings.iter().find(|binding| binding.image == image)
}

/// An image whose config is applied has a binding for it.
fn the_image_is_bound(state: &State, name: &'static str, status: &ArtifactConfigStatus) -> Finding {
    let workload = followed(state, name)?;
    let (_, image) = model::selected(state, name).ok()?;
    let (said, artifact) = (status.image.as_ref()?, status.artifact.as_ref()?);
    let synced = [Reason::Synced.as_str(), Reason::RolledBack.as_str()].contains(&ready(status).1);
    if !synced || said.digest != image.to_string() || super::settled::is_on_its_word(status) {
        return None;
    }
    let binding = binding_of(status, &workload.template().image);
    let right = binding.is_some_and(|binding| {
        (&binding.artifact, &binding.digest) == (&artifact.digest, &said.digest)
            && state.objects.get(&binding.config_map).is_some()
    });
    broken("§2.8 it converges", !right, || format!("{} is bound by {binding:?}", workload.template().image))
}

/// The config of an image that came back is in the target although the registry is down.
fn what_the_index_knows_is_back(state: &State, name: &'static str, status: &ArtifactConfigStatus) -> Finding {
    let workload = followed(state, name)?;
    let config = state.resources.actual(name)?;
    let target = crate::worlds::resources::target_name(name, &config.spec);
    let is_down = ready(status).1 == Reason::RegistryUnavailable.as_str();
    let is_free = config.spec.rollback_to.is_none() && !model::is_barred(state, name);
    if !is_down || !is_free || status.target.as_ref()?.name != target {
        return None;
    }
    let binding = binding_of(status, &workload.template().image)?;
    let revision = state.objects.get(&binding.config_map)?;
    let uid = config.metadata.uid.as_deref()?;
    let held = State::identity(&state.objects.get(target)?.map);
    let is_there = held.is_some_and(|held| held.artifact.to_string() == binding.artifact);
    broken(
        "§2.12 the config comes back with its image",
        state.is_intact(uid, &revision.map) && !is_there,
        || format!("{target} does not hold {binding:?}"),
    )
}

/// No binding that neither the history nor a workload needs.
fn nothing_unneeded_is_bound(state: &State, name: &'static str, status: &ArtifactConfigStatus) -> Finding {
    followed(state, name)?;
    if ![Reason::Synced.as_str(), Reason::RolledBack.as_str()].contains(&ready(status).1) {
        return None;
    }
    let usage = state.usage();
    let left = status.bindings.iter().find(|binding| {
        let map = &binding.config_map;
        let kept = status.history.iter().any(|entry| entry.config_map.as_ref() == Some(map));
        let used = usage.images.iter().any(|image| is_of(binding, image));
        !kept && !used && !usage.config_maps.contains(map)
    });
    broken("nothing is left over", left.is_some(), || format!("{left:?}"))
}

/// No pod is missing that would be admitted, unless its workload was woken often enough.
fn the_refused_are_woken(state: &mut State, name: &'static str) -> Finding {
    let workload = followed(state, name)?.clone();
    let config = state.resources.actual(name)?;
    let binding = binding_of(config.status.as_ref()?, &workload.template().image)?;
    let often = format!("{}.{MOST_WAKES}", binding.config_map);
    let is_over = workload.woken.get(name) == Some(&often);
    let admitted = state.admitted(workload.template()).is_ok();
    broken("a refused workload is woken", workload.refused && admitted && !is_over, || {
        format!("{} was not woken: {:?}", workload.template().image, workload.woken)
    })
}
