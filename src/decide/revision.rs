//! Revisions: every applied config, kept as a separate object, so that a rollback needs no registry.
//!
//! A revision is an immutable `ConfigMap` with a name from artifact and content. Numbers belong to applications, and no
//! number is used twice: a rollback to an earlier config adds a new entry to the history, with an old revision.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use sha2::{Digest as _, Sha256};

use crate::api::{HistoryEntry, HistoryOutcome, annotation, label};
use crate::types::{Digest, MAX_KEPT_MANIFEST};

use super::numbers::{self, Stamp};
use super::plan::{Facts, Rendered};
use super::render::MAX_CONFIG_MAP;
use super::spec::Owner;
use super::watched::Watched;

/// Hexadecimal characters of the hash at the end of the name: as many as `ReplicaSets` have, and enough that two
/// revisions of one target never share them.
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

/// Whether an object has the name of a revision.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let hash = name.rsplit_once('-').map(|(_, hash)| hash);
    hash.is_some_and(|hash| {
        hash.len() == NAME_HASH && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The entry of the applied config: the newest that did not fail.
#[must_use]
pub fn current(history: &[HistoryEntry]) -> Option<&HistoryEntry> {
    history.iter().find(|entry| entry.outcome != HistoryOutcome::Failed)
}

/// Whether an entry is for the same config and image, with a revision of the same name: after a rename of the target,
/// revisions have other names. A revision that is not kept any more does not make the entry another one.
pub(super) fn is_entry_of(entry: &HistoryEntry, facts: &Facts) -> bool {
    let kept = facts.revision.is_none() || entry.config_map == facts.revision;
    // An entry without proof has no hash. The name of the revision contains the hash.
    let unproven = facts.revision.is_some() || !facts.proven;
    let same = entry.hash.as_ref().map_or(unproven, |hash| *hash == facts.hash);
    entry.artifact == facts.artifact.to_string()
        && entry.image == facts.image_digest.to_string()
        && kept
        && same
}

/// The revision of a rendered config: the same content and origin, immutable, under its own name.
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
    if let Some(manifest) = rendered.manifest.as_ref().filter(|manifest| has_room(manifest, &revision)) {
        let annotations = revision.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation::MANIFEST.to_owned(), manifest.to_string());
    }
    revision
}

/// Whether the manifest fits beside the content: an object that is small enough without it must not become too large.
fn has_room(manifest: &str, revision: &ConfigMap) -> bool {
    let annotations = revision.metadata.annotations.iter().flatten();
    let annotated: usize = annotations.map(|(key, value)| key.len() + value.len()).sum();
    let text = revision.data.iter().flatten().map(|(key, value)| (key, value.len()));
    let binary = revision.binary_data.iter().flatten().map(|(key, value)| (key, value.0.len()));
    // `managedFields` lists each key twice.
    let content: usize = text.chain(binary).map(|(key, size)| 3 * key.len() + size).sum();
    let whole = (content + annotated + manifest.len()) as u64;
    manifest.len() <= MAX_KEPT_MANIFEST
        && annotated + annotation::MANIFEST.len() + manifest.len() <= MAX_ANNOTATIONS
        && whole <= MAX_CONFIG_MAP
}

/// Bytes that Kubernetes allows for all annotations of an object (`TotalAnnotationSizeLimitB` in apimachinery), keys
/// included.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// The history after an application: the new entry comes first, and the one before it gets its outcome. The same entry
/// again changes nothing.
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
            hash: facts.proven.then(|| facts.hash.clone()),
            applied_at: stamp.applied_at.to_string(),
            outcome: HistoryOutcome::Applied,
        };
        next.insert(0, entry);
    } else if let Some(entry) = next.iter_mut().find(|entry| entry.outcome != HistoryOutcome::Failed) {
        // A rebuilt history does not know yet which entry is applied, and has no hash for unproven ones.
        entry.outcome = HistoryOutcome::Applied;
        // The same digest with another reference: the next repair uses the newer one.
        entry.image_reference = Some(facts.image.clone());
        if facts.proven {
            entry.hash = Some(facts.hash.clone());
        }
    }
    if facts.revision.is_none() {
        // With a limit of 0 no revision is kept, and earlier revisions are released.
        for entry in &mut next {
            entry.config_map = None;
        }
    }
    bounded(next, limit)
}

/// The history after an artifact could not be applied. Each artifact gets one entry, which later reconciles do not
/// change.
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
    let mut next = history.to_vec();
    next.insert(
        0,
        HistoryEntry {
            revision: numbers::next(history, highest),
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

/// Keeps the applied entry, and as many others as the limit allows. The applied entry is never dropped, and failed
/// entries do not take the place of entries for a rollback. The newest entry always stays, because numbers continue
/// from it.
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

/// Revisions of the resource that the history does not name. This check by name comes before any request about
/// workloads, so that no request is sent if no revision is left over. An object with another controller belongs to that
/// controller, even if its labels say otherwise.
#[must_use]
pub fn surplus<'a>(history: &[HistoryEntry], watched: &'a [Arc<Watched>], owner: &Owner) -> Vec<&'a Watched> {
    let kept: BTreeSet<&str> = history.iter().filter_map(|entry| entry.config_map.as_deref()).collect();
    watched
        .iter()
        .map(|object| &**object)
        .filter(|object| object.is_revision && object.is_of(owner) && !kept.contains(&*object.name))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::api::ArtifactConfig;
    use crate::decide::kept;
    use crate::decide::numbers::stamp;
    use crate::decide::plan::{self, Origin};
    use crate::decide::render::Content;
    use crate::decide::spec;
    use crate::types::Annotations;
    use serde_json::json;

    pub fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    pub fn owner() -> Owner {
        desired().owner
    }

    pub fn desired() -> spec::Desired {
        let config: ArtifactConfig = serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "generation": 1},
            "spec": {"image": "r.example/web:v1", "artifactType": "custom/config"}
        }))
        .unwrap();
        spec::parse(&config).unwrap()
    }

    pub fn rendered(artifact: &str, value: &str) -> Rendered {
        let origin = Origin {
            image: "r.example/web:v1".into(),
            image_digest: Digest::sha256(b"image"),
            artifact: Digest::sha256(artifact.as_bytes()),
            created: None,
            annotations: Annotations::default(),
            manifest: None,
            proven: true,
        };
        let content = Content { data: [("a".to_owned(), value.to_owned())].into(), ..Content::default() };
        plan::assemble(&desired(), origin, content)
    }

    /// Applies one after the other, as the operator does it with its status written each time.
    pub fn applied(steps: &[(&str, bool)], limit: usize) -> Vec<HistoryEntry> {
        steps.iter().enumerate().fold(Vec::new(), |history, (index, (artifact, back))| {
            let facts = rendered(artifact, artifact).facts;
            let stamp = stamp(&history, &[], &owner(), None, &facts, None, at(i64::try_from(index).unwrap()));
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
        assert_eq!(numbers::read_stamp(&revision.metadata), Some(Stamp { number: 7, applied_at: at(100) }));
        let entry = kept::entry_of(&desired(), &revision).unwrap();
        assert_eq!((entry.revision, &entry.config_map), (7, &revision.metadata.name));
        assert!(is_name(revision.metadata.name.as_deref().unwrap()));
    }

    /// The manifest must not be what makes an object too large, and stands on no target.
    #[test]
    fn a_manifest_is_kept_where_there_is_room_for_it() {
        let mut rendered = rendered("a", "1");
        rendered.manifest = Some("m".repeat(MAX_KEPT_MANIFEST).into());
        let is_kept = |rendered: &Rendered| {
            let revision = assemble(rendered, Stamp { number: 1, applied_at: at(0) });
            revision.metadata.annotations.unwrap().contains_key(annotation::MANIFEST)
        };
        assert!(is_kept(&rendered));
        let target = rendered.clone().stamped(Stamp { number: 1, applied_at: at(0) }).config_map;
        assert!(!target.metadata.annotations.unwrap().contains_key(annotation::MANIFEST));
        let mut annotated = rendered.clone();
        let annotations = annotated.config_map.metadata.annotations.as_mut().unwrap();
        annotations.insert("x".to_owned(), "x".repeat(MAX_ANNOTATIONS - MAX_KEPT_MANIFEST));
        assert!(!is_kept(&annotated), "the annotations are full");
        let mut large = rendered.clone();
        large.config_map.data = Some([("a".to_owned(), "x".repeat(1024 * 1024 - 1000))].into());
        assert!(!is_kept(&large), "the content fills the object");
        let mut long = rendered;
        long.manifest = Some("m".repeat(MAX_KEPT_MANIFEST + 1).into());
        assert!(!is_kept(&long), "it is longer than what is kept");
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

    /// What is applied, and the hash that a revision without a proof could not give.
    #[test]
    fn a_rebuilt_history_learns_what_is_applied() {
        let rendered = rendered("a", "a");
        let revision = assemble(&rendered, Stamp { number: 1, applied_at: at(0) });
        let rebuilt = kept::history(kept::entry_of(&desired(), &revision).into_iter().collect(), 10);
        assert_eq!(outline(&rebuilt), [(1, HistoryOutcome::Superseded)]);
        assert_eq!(rebuilt[0].hash, None, "its own word is not recorded");
        let stamp = stamp(&rebuilt, &[], &owner(), None, &rendered.facts, None, at(9));
        let history = record(&rebuilt, &rendered.facts, stamp, false, 10);
        assert_eq!(outline(&history), [(1, HistoryOutcome::Applied)]);
        assert_eq!(history[0].hash.as_ref(), Some(&rendered.facts.hash));
    }

    /// What was taken on its own word while nothing else could be had is one entry, however often it is looked at, and its
    /// hash is not in the status until it is known to be right.
    #[test]
    fn what_vouches_only_for_itself_is_recorded_without_its_hash() {
        for revision in [Some("web-0123456789".to_owned()), None] {
            let proven = Facts { revision, ..(*rendered("a", "a").facts).clone() };
            let said = Facts { proven: false, ..proven.clone() };
            let stamp_of = |history: &[HistoryEntry], facts: &Facts| {
                stamp(history, &[], &owner(), None, facts, None, at(9))
            };
            let first = record(&[], &said, stamp_of(&[], &said), true, 10);
            assert_eq!(first[0].hash, None);
            let again = record(&first, &said, stamp_of(&first, &said), true, 10);
            assert_eq!(again, first);
            let known = record(&first, &proven, stamp_of(&first, &proven), true, 10);
            assert_eq!(known[0].hash.as_ref(), Some(&proven.hash));
            assert_eq!(known.len(), if proven.revision.is_some() { 1 } else { 2 });
        }
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
        let revision = Some("other-0123456789".to_owned());
        let facts = Facts { revision, ..(*rendered("a", "a").facts).clone() };
        let stamp = stamp(&before, &[], &owner(), None, &facts, None, at(9));
        let after = record(&before, &facts, stamp, false, 10);
        assert_eq!(outline(&after), [(2, HistoryOutcome::Applied), (1, HistoryOutcome::Superseded)]);
        assert_eq!(after[0].config_map, facts.revision);
    }

    #[test]
    fn a_limit_of_zero_lets_go_of_what_was_kept() {
        let before = applied(&[("a", false), ("b", false)], 10);
        let facts = Facts { revision: None, ..(*rendered("b", "b").facts).clone() };
        let stamp = stamp(&before, &[], &owner(), None, &facts, None, at(9));
        let after = record(&before, &facts, stamp, false, 0);
        assert_eq!(outline(&after), [(2, HistoryOutcome::Applied)]);
        assert_eq!(after[0].config_map, None);
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
        let surplus = surplus(&applied(&[("b", false)], 10), &owned, &owner());
        assert_eq!(surplus.len(), 1, "neither what is recorded nor the target");
        assert_eq!(Some(surplus[0].name.to_string()), revisions[0].metadata.name);
    }

    /// Labels are anybody's to write, also on what a controller of somebody else keeps.
    #[test]
    fn what_has_another_controller_is_not_surplus() {
        let mut object = assemble(&rendered("x", "x"), Stamp { number: 7, applied_at: at(0) });
        let is_surplus = |object: &ConfigMap| {
            let owned = [Arc::new(Watched::of(&object.metadata))];
            !surplus(&[], &owned, &owner()).is_empty()
        };
        assert!(is_surplus(&object));
        object.metadata.owner_references.as_mut().unwrap()[0].uid = "another".to_owned();
        assert!(!is_surplus(&object));
        object.metadata.owner_references = None;
        assert!(is_surplus(&object), "a namesake left it behind");
        let labels = object.metadata.labels.as_mut().unwrap();
        labels.insert(label::NAME.to_owned(), "other".to_owned());
        assert!(!is_surplus(&object), "it is labelled as another's");
    }
}
