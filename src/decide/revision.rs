//! Revisions: every config that was applied, kept under a name of its own, so that going back needs no registry.
//!
//! A revision is an immutable `ConfigMap` named after artifact and content. Its number counts what was applied, and is
//! never used again: going back to an earlier config is a new entry in the history, of an old revision.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};

use crate::api::{HistoryEntry, HistoryOutcome, annotation, label};
use crate::types::Digest;

use super::plan::{Facts, Rendered};
use super::render::Content;
use super::watched::{Watched, number};

/// Hexadecimal characters of the hash that ends the name: as many as `ReplicaSets` have, and enough that two of one
/// target's revisions never share them.
const NAME_HASH: usize = 10;

/// Name of the revision of an artifact with some content. Two artifacts with equal bytes are two revisions.
#[must_use]
pub fn name(target: &str, artifact: &Digest, hash: &str) -> String {
    let digest = Sha256::digest(format!("{artifact}\n{hash}"));
    let hex: String =
        digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).map(hex_digit).take(NAME_HASH).collect();
    format!("{target}-{hex}")
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

/// Number of an application, and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Counts up by one; never used again.
    pub number: i64,
    /// Whole seconds.
    pub applied_at: Timestamp,
}

/// The last number that was given to a revision. A watch that lags behind does not show it yet, nor does a status that
/// was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The number.
    pub number: i64,
    /// Name of the revision that has it, or was to have it.
    pub revision: String,
}

/// The stamp of applying `facts`: that of the newest entry where it is the same config for the same image, that which
/// a killed operator has left on the revision, that which was meant for it before, or a new one.
#[must_use]
pub fn stamp(
    history: &[HistoryEntry],
    owned: &[Arc<Watched>],
    given: Option<&Given>,
    facts: &Facts,
    existing: Option<&ConfigMap>,
    now: Timestamp,
) -> Stamp {
    let current = current(history).filter(|entry| is_entry_of(entry, facts));
    if let Some(Ok(applied_at)) = current.map(|entry| entry.applied_at.parse()) {
        return Stamp { number: current.map_or(0, |entry| entry.revision), applied_at };
    }
    let recorded = history.iter().map(|entry| entry.revision).max().unwrap_or(0);
    let left = existing.and_then(|existing| read_stamp(&existing.metadata));
    if let Some(left) = left.filter(|left| left.number > recorded) {
        return left;
    }
    let highest = highest(owned, given).max(recorded);
    let meant =
        given.filter(|given| given.number > recorded && facts.revision.as_ref() == Some(&given.revision));
    let number = meant.map_or(highest + 1, |meant| meant.number);
    Stamp { number, applied_at: Timestamp::from_second(now.as_second()).unwrap_or(now) }
}

/// The entry of what is in the target: the newest that did not fail.
#[must_use]
pub fn current(history: &[HistoryEntry]) -> Option<&HistoryEntry> {
    history.iter().find(|entry| entry.outcome != HistoryOutcome::Failed)
}

/// The same config for the same image, and kept under the same name: a target that was renamed has its revisions under
/// names of its own. A revision that is no longer kept at all makes no other entry.
fn is_entry_of(entry: &HistoryEntry, facts: &Facts) -> bool {
    entry.artifact == facts.artifact.to_string()
        && entry.image == facts.image_digest.to_string()
        && entry.hash.as_deref() == Some(facts.hash.as_str())
        && (facts.revision.is_none() || entry.config_map == facts.revision)
}

/// Highest number that any revision has, or was to have.
#[must_use]
pub fn highest(owned: &[Arc<Watched>], given: Option<&Given>) -> i64 {
    owned.iter().filter_map(|object| object.number).chain(given.map(|given| given.number)).max().unwrap_or(0)
}

fn read_stamp(metadata: &ObjectMeta) -> Option<Stamp> {
    let applied_at = metadata.annotations.as_ref()?.get(annotation::APPLIED_AT)?.parse().ok()?;
    Some(Stamp { number: number(metadata)?, applied_at })
}

/// The revision of what was rendered: the same content and origin, immutable, under its own name.
#[must_use]
pub fn assemble(rendered: &Rendered, stamp: Stamp) -> ConfigMap {
    let mut revision = rendered.config_map.clone();
    revision.immutable = Some(true);
    revision.metadata.name =
        Some(name(&rendered.facts.target, &rendered.facts.artifact, &rendered.facts.hash));
    let labels = revision.metadata.labels.get_or_insert_default();
    labels.insert(label::REVISION.to_owned(), stamp.number.to_string());
    let annotations = revision.metadata.annotations.get_or_insert_default();
    annotations.insert(annotation::APPLIED_AT.to_owned(), stamp.applied_at.to_string());
    revision
}

/// What a revision holds, where it holds what it says: it is the only source that a way back has while the registry is
/// down, and anybody with the right to delete and create `ConfigMaps` can have made another of its name.
#[must_use]
pub fn verified_content(revision: &ConfigMap, hash: &str) -> Option<Content> {
    let content = Content {
        data: revision.data.clone().unwrap_or_default(),
        binary_data: revision
            .binary_data
            .clone()
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.0))
            .collect(),
    };
    (content.hash() == hash).then_some(content)
}

/// The history after applying: a new entry first, and the one before it marked by how it ended. The same entry again
/// changes nothing.
#[must_use]
pub fn record(
    history: &[HistoryEntry],
    facts: &Facts,
    stamp: Stamp,
    back: bool,
    limit: usize,
) -> Vec<HistoryEntry> {
    let mut next: Vec<HistoryEntry> = history.to_vec();
    if current(&next).is_none_or(|entry| !is_entry_of(entry, facts)) {
        for entry in next.iter_mut().filter(|entry| entry.outcome == HistoryOutcome::Applied) {
            entry.outcome = if back { HistoryOutcome::RolledBack } else { HistoryOutcome::Superseded };
        }
        let entry = HistoryEntry {
            revision: stamp.number,
            artifact: facts.artifact.to_string(),
            image: facts.image_digest.to_string(),
            image_reference: Some(facts.image.clone()),
            config_map: facts.revision.clone(),
            hash: Some(facts.hash.clone()),
            applied_at: stamp.applied_at.to_string(),
            outcome: HistoryOutcome::Applied,
        };
        next.insert(0, entry);
    } else if let Some(entry) = next.iter_mut().find(|entry| entry.outcome != HistoryOutcome::Failed) {
        // A history that was rebuilt does not know yet which of its entries is applied.
        entry.outcome = HistoryOutcome::Applied;
    }
    if facts.revision.is_none() {
        // With a limit of 0 nothing is kept, and what was kept before is let go.
        for entry in &mut next {
            entry.config_map = None;
        }
    }
    bounded(next, limit)
}

/// The history after an artifact could not be applied. Once for each artifact: it stays as it is, however often it is
/// looked at.
#[must_use]
pub fn record_failure(
    history: &[HistoryEntry],
    (artifact, image): (&Digest, &Digest),
    highest: i64,
    now: Timestamp,
    limit: usize,
) -> Vec<HistoryEntry> {
    let artifact = artifact.to_string();
    let known =
        history.iter().any(|entry| entry.outcome == HistoryOutcome::Failed && entry.artifact == artifact);
    if known {
        return history.to_vec();
    }
    let number = history.iter().map(|entry| entry.revision).max().unwrap_or(0).max(highest) + 1;
    let mut next = history.to_vec();
    next.insert(
        0,
        HistoryEntry {
            revision: number,
            artifact,
            image: image.to_string(),
            image_reference: None,
            config_map: None,
            hash: None,
            applied_at: Timestamp::from_second(now.as_second()).unwrap_or(now).to_string(),
            outcome: HistoryOutcome::Failed,
        },
    );
    bounded(next, limit)
}

/// What is applied now, and as many others as the limit says. What is applied is never dropped, and what failed takes no
/// place from what can be gone back to. The newest stays whatever it is: the numbers go on from it.
fn bounded(history: Vec<HistoryEntry>, limit: usize) -> Vec<HistoryEntry> {
    let (mut others, mut failed) = (0, 0);
    history
        .into_iter()
        .enumerate()
        .filter(|(index, entry)| {
            let counted = match entry.outcome {
                HistoryOutcome::Applied => return true,
                HistoryOutcome::Superseded | HistoryOutcome::RolledBack => &mut others,
                HistoryOutcome::Failed => &mut failed,
            };
            *counted += 1;
            *index == 0 || *counted <= limit
        })
        .map(|(_, entry)| entry)
        .collect()
}

/// A history out of the revisions themselves, for a resource that lost its status (a restore from a backup does).
#[must_use]
pub fn rebuild(revisions: &[ConfigMap], limit: usize) -> Vec<HistoryEntry> {
    let mut entries: Vec<HistoryEntry> = revisions.iter().filter_map(entry_of).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.revision));
    // One application can have left two: under the names of a target that was renamed.
    entries.dedup_by_key(|entry| entry.revision);
    entries.truncate(limit.saturating_add(1));
    entries
}

/// The entry that a target's own annotations speak of; to be believed only where its revision bears it out.
#[must_use]
pub fn entry_of_target(target: &ConfigMap) -> Option<HistoryEntry> {
    let annotated = |key: &str| target.annotations().get(key).cloned();
    let artifact = annotated(annotation::ARTIFACT_DIGEST)?;
    let hash = annotated(annotation::CONTENT_HASH)?;
    Some(HistoryEntry {
        revision: annotated(annotation::REVISION)?.parse().ok()?,
        config_map: Some(name(target.metadata.name.as_deref()?, &artifact.parse().ok()?, &hash)),
        artifact,
        image: annotated(annotation::IMAGE_DIGEST)?,
        image_reference: annotated(annotation::IMAGE),
        hash: Some(hash),
        applied_at: String::new(),
        outcome: HistoryOutcome::Applied,
    })
}

fn entry_of(revision: &ConfigMap) -> Option<HistoryEntry> {
    let stamp = read_stamp(&revision.metadata)?;
    let annotated = |key: &str| revision.annotations().get(key).cloned();
    let (artifact, hash) = (annotated(annotation::ARTIFACT_DIGEST)?, annotated(annotation::CONTENT_HASH)?);
    // The name binds artifact and content, so that one made by hand cannot vouch for itself.
    let own = revision.metadata.name.as_deref()?;
    let (target, _) = own.rsplit_once('-')?;
    if name(target, &artifact.parse().ok()?, &hash) != own {
        return None;
    }
    Some(HistoryEntry {
        revision: stamp.number,
        artifact,
        image: annotated(annotation::IMAGE_DIGEST)?,
        image_reference: annotated(annotation::IMAGE),
        config_map: revision.metadata.name.clone(),
        hash: Some(hash),
        applied_at: stamp.applied_at.to_string(),
        // Which of them was in the target last is not known; the next application will be.
        outcome: HistoryOutcome::Superseded,
    })
}

/// Revisions that nothing keeps: neither the history nor a workload. Judged by name and before anything is asked about
/// workloads, so that there is nothing to ask where nothing is left over.
#[must_use]
pub fn surplus<'a>(history: &[HistoryEntry], owned: &'a [Arc<Watched>]) -> Vec<&'a Watched> {
    let kept: BTreeSet<&str> = history.iter().filter_map(|entry| entry.config_map.as_deref()).collect();
    owned
        .iter()
        .map(|object| &**object)
        .filter(|object| object.is_revision && !kept.contains(&*object.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ArtifactConfig;
    use crate::decide::plan::{self, Origin};
    use crate::decide::spec;
    use crate::types::Annotations;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn rendered(artifact: &str, value: &str) -> Rendered {
        let config: ArtifactConfig = serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "generation": 1},
            "spec": {"image": "r.example/web:v1", "artifactType": "custom/config"}
        }))
        .unwrap();
        let origin = Origin {
            image: "r.example/web:v1".into(),
            image_digest: Digest::sha256(b"image"),
            artifact: Digest::sha256(artifact.as_bytes()),
            created: None,
            annotations: Annotations::default(),
        };
        let content = Content { data: [("a".to_owned(), value.to_owned())].into(), ..Content::default() };
        plan::assemble(&spec::parse(&config).unwrap(), origin, content)
    }

    /// Applies one after the other, as the operator does it with its status written each time.
    fn applied(steps: &[(&str, bool)], limit: usize) -> Vec<HistoryEntry> {
        steps.iter().enumerate().fold(Vec::new(), |history, (index, (artifact, back))| {
            let facts = rendered(artifact, artifact).facts;
            let stamp = stamp(&history, &[], None, &facts, None, at(i64::try_from(index).unwrap()));
            record(&history, &facts, stamp, *back, limit)
        })
    }

    fn outline(history: &[HistoryEntry]) -> Vec<(i64, HistoryOutcome)> {
        history.iter().map(|entry| (entry.revision, entry.outcome)).collect()
    }

    #[test]
    fn the_name_follows_from_artifact_and_content() {
        let (a, b) = (Digest::sha256(b"a"), Digest::sha256(b"b"));
        let name_of = |digest, hash| name("web", digest, hash);
        assert_eq!(name_of(&a, "sha256:1"), name_of(&a, "sha256:1"));
        assert_ne!(
            name_of(&a, "sha256:1"),
            name_of(&b, "sha256:1"),
            "equal bytes of two artifacts are two revisions"
        );
        assert_ne!(
            name_of(&a, "sha256:1"),
            name_of(&a, "sha256:2"),
            "another files mapping is another revision"
        );
        assert_eq!(name_of(&a, "sha256:1").len(), "web-".len() + NAME_HASH);
    }

    #[test]
    fn a_revision_is_immutable_and_says_what_it_is() {
        let revision = assemble(&rendered("a", "1"), Stamp { number: 7, applied_at: at(100) });
        assert_eq!(revision.immutable, Some(true));
        assert!(Watched::of(&revision.metadata).is_revision);
        assert_eq!(read_stamp(&revision.metadata), Some(Stamp { number: 7, applied_at: at(100) }));
        let history = rebuild(std::slice::from_ref(&revision), 10);
        assert_eq!(history[0].config_map, revision.metadata.name);
        assert!(verified_content(&revision, history[0].hash.as_ref().unwrap()).is_some());
    }

    /// A revision that somebody deleted and made anew with other content must not be gone back to.
    #[test]
    fn content_that_is_not_what_was_recorded_is_no_revision() {
        let rendered = rendered("a", "1");
        let mut revision = assemble(&rendered, Stamp { number: 1, applied_at: at(0) });
        revision.data = Some([("a".to_owned(), "forged".to_owned())].into());
        assert_eq!(verified_content(&revision, &rendered.facts.hash), None);
    }

    #[test]
    fn going_forward_supersedes_and_going_back_gives_up() {
        let history = applied(&[("a", false), ("b", false), ("a", true)], 10);
        assert_eq!(
            outline(&history),
            [(3, HistoryOutcome::Applied), (2, HistoryOutcome::RolledBack), (1, HistoryOutcome::Superseded)]
        );
        assert_eq!(history[0].config_map, history[2].config_map, "the same revision under a new number");
    }

    #[test]
    fn the_same_config_again_is_no_new_entry() {
        assert_eq!(applied(&[("a", false), ("a", false), ("a", true)], 10).len(), 1);
    }

    #[test]
    fn the_limit_counts_what_is_not_applied_and_numbers_go_on() {
        let history = applied(&[("a", false), ("b", false), ("c", false), ("d", false)], 2);
        assert_eq!(history.iter().map(|entry| entry.revision).collect::<Vec<_>>(), [4, 3, 2]);
        assert_eq!(outline(&applied(&[("a", false), ("b", false)], 0)), [(2, HistoryOutcome::Applied)]);
    }

    #[test]
    fn a_rebuilt_history_learns_what_is_applied() {
        let rendered = rendered("a", "a");
        let stamp_of = Stamp { number: 1, applied_at: at(0) };
        let rebuilt = rebuild(&[assemble(&rendered, stamp_of)], 10);
        assert_eq!(outline(&rebuilt), [(1, HistoryOutcome::Superseded)]);
        let stamp = stamp(&rebuilt, &[], None, &rendered.facts, None, at(9));
        assert_eq!(
            outline(&record(&rebuilt, &rendered.facts, stamp, false, 10)),
            [(1, HistoryOutcome::Applied)]
        );
    }

    #[test]
    fn what_failed_takes_no_place_from_what_can_be_gone_back_to() {
        let history = applied(&[("a", false), ("b", false)], 1);
        let failed = (&Digest::sha256(b"x"), &Digest::sha256(b"image"));
        assert_eq!(
            record_failure(&history, failed, 7, at(5), 1)[0].revision,
            8,
            "7 is on a revision already"
        );
        let history = record_failure(&history, failed, 0, at(5), 1);
        assert_eq!(
            outline(&history),
            [(3, HistoryOutcome::Failed), (2, HistoryOutcome::Applied), (1, HistoryOutcome::Superseded)]
        );
    }

    #[test]
    fn a_renamed_target_has_revisions_of_its_own() {
        let before = applied(&[("a", false)], 10);
        let mut facts = rendered("a", "a").facts;
        facts.revision = Some("other-0123456789".to_owned());
        let stamp = stamp(&before, &[], None, &facts, None, at(9));
        let after = record(&before, &facts, stamp, false, 10);
        assert_eq!(outline(&after), [(2, HistoryOutcome::Applied), (1, HistoryOutcome::Superseded)]);
        assert_eq!(after[0].config_map, facts.revision);
    }

    #[test]
    fn a_limit_of_zero_lets_go_of_what_was_kept() {
        let before = applied(&[("a", false), ("b", false)], 10);
        let facts = Facts { revision: None, ..rendered("b", "b").facts };
        let stamp = stamp(&before, &[], None, &facts, None, at(9));
        let after = record(&before, &facts, stamp, false, 0);
        assert_eq!(outline(&after), [(2, HistoryOutcome::Applied)]);
        assert_eq!(after[0].config_map, None);
    }

    /// Design §2.8: killed between revision and status, the operator takes up the number that it left on the revision.
    #[test]
    fn a_killed_operator_goes_on_with_the_number_it_left() {
        let history = applied(&[("a", false)], 10);
        let next = rendered("b", "b");
        let left = assemble(&next, Stamp { number: 2, applied_at: at(50) });
        let owned = [Arc::new(Watched::of(&left.metadata))];
        let again = stamp(&history, &owned, None, &next.facts, Some(&left), at(900));
        assert_eq!(again, Stamp { number: 2, applied_at: at(50) });
        // Another config in the meantime gets a number of its own.
        let other = stamp(&history, &owned, None, &rendered("c", "c").facts, None, at(900));
        assert_eq!(other.number, 3);
    }

    /// The watch may not have reported a revision yet when the next one is made, and no status names the first: two configs
    /// under one number could not be told apart once a history is rebuilt from the revisions.
    #[test]
    fn a_number_that_was_given_is_not_given_to_another_config() {
        let (history, b, c) =
            (applied(&[("a", false)], 10), rendered("b", "b").facts, rendered("c", "c").facts);
        let given = Given { number: 2, revision: b.revision.clone().unwrap() };
        assert_eq!(stamp(&history, &[], Some(&given), &c, None, at(9)).number, 3);
        assert_eq!(
            stamp(&history, &[], Some(&given), &b, None, at(9)).number,
            2,
            "it was meant for this one"
        );
        // What is in the history by now was counted on from there.
        let history = applied(&[("a", false), ("b", false), ("a", false)], 10);
        assert_eq!(stamp(&history, &[], Some(&given), &b, None, at(9)).number, 4);
        assert_eq!(highest(&[], Some(&given)), 2, "an artifact that failed gets the next one");
    }

    #[test]
    fn surplus_is_what_the_history_does_not_name() {
        let revisions: Vec<ConfigMap> = ["a", "b"]
            .iter()
            .map(|artifact| assemble(&rendered(artifact, artifact), Stamp { number: 1, applied_at: at(0) }))
            .collect();
        let target = rendered("a", "a").config_map;
        let owned: Vec<_> =
            revisions.iter().chain([&target]).map(|object| Arc::new(Watched::of(&object.metadata))).collect();
        let surplus = surplus(&applied(&[("b", false)], 10), &owned);
        assert_eq!(surplus.len(), 1, "neither what is recorded nor the target");
        assert_eq!(Some(surplus[0].name.to_string()), revisions[0].metadata.name);
    }
}
