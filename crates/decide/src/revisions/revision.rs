//! Revisions: every applied config, kept as a separate object, so that a rollback needs no registry.
//!
//! A revision is an immutable `ConfigMap` with a name from artifact and content. Numbers belong to applications, and no
//! number is used twice: a rollback to an earlier config adds a new entry to the history, with an old revision.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::{Binding, HistoryEntry, annotation, label};
use k8s_openapi::api::core::v1::ConfigMap;
use oci::MAX_KEPT_MANIFEST;

use crate::plan::Rendered;
use crate::render::MAX_CONFIG_MAP;
use crate::spec::Owner;
use crate::watched::Watched;

use super::stamp::Stamp;

pub use super::name::{is_name, name};

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

/// Revisions of the resource that neither the history nor a binding names. This check by name comes before any request about
/// workloads, so that no request is sent if no revision is left over. An object with another controller belongs to that
/// controller, even if its labels say otherwise.
#[must_use]
pub fn surplus<'a>(
    history: &[HistoryEntry],
    bindings: &[Binding],
    watched: &'a [Arc<Watched>],
    owner: &Owner,
) -> Vec<&'a Watched> {
    let applied = history.iter().filter_map(|entry| entry.config_map.as_deref());
    let kept: BTreeSet<&str> = applied.chain(bindings.iter().map(|binding| &*binding.config_map)).collect();
    watched
        .iter()
        .map(|object| &**object)
        .filter(|object| object.is_revision && object.is_of(owner) && !kept.contains(&*object.name))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use api::{ArtifactConfig, HistoryOutcome};

    use super::*;
    use crate::history::History;
    use crate::kept;
    use crate::numbers::{self, Numbers};
    use crate::plan::{self, Facts, Origin};
    use crate::render::Content;
    use crate::spec;
    use jiff::Timestamp;
    use oci::{Annotations, Digest};
    use serde_json::json;

    /// The stamp if only the history has numbers.
    pub fn stamp(history: &History, facts: &Facts, now: Timestamp) -> Stamp {
        Numbers { history, watched: &[], owner: &owner(), last_number: None, target: None }
            .stamp(facts, None, now)
    }

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
        spec::parse(&config, None).unwrap()
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

    /// Applies one config after the other, with a written status each time.
    pub fn applied(steps: &[(&str, bool)], limit: usize) -> History {
        steps.iter().enumerate().fold(History::default(), |history, (index, (artifact, back))| {
            let facts = rendered(artifact, artifact).facts;
            let stamp = stamp(&history, &facts, at(i64::try_from(index).unwrap()));
            history.applied(&facts, stamp, *back, limit)
        })
    }

    fn outline(history: &History) -> Vec<(i64, HistoryOutcome)> {
        history.iter().map(|entry| (entry.number, entry.outcome)).collect()
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
        assert_eq!(name_of(&a, "sha256:1").len(), "web-".len() + 10);
    }

    #[test]
    fn a_revision_is_immutable_and_says_what_it_is() {
        let revision = assemble(&rendered("a", "1"), Stamp { number: 7, applied_at: at(100) });
        assert_eq!(revision.immutable, Some(true));
        assert!(Watched::of(&revision.metadata).is_revision);
        assert_eq!(numbers::read_stamp(&revision.metadata), Some(Stamp { number: 7, applied_at: at(100) }));
        let entry = kept::entry_of(&desired(), &revision).unwrap();
        assert_eq!((entry.number, &entry.config_map), (7, &revision.metadata.name));
        assert!(is_name(revision.metadata.name.as_deref().unwrap()));
    }

    /// The manifest must not make an object too large, and no target has one.
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
    fn an_update_supersedes_and_a_rollback_rolls_back() {
        let history = applied(&[("a", false), ("b", false), ("a", true)], 10);
        assert_eq!(
            outline(&history),
            [(3, HistoryOutcome::Applied), (2, HistoryOutcome::RolledBack), (1, HistoryOutcome::Superseded)]
        );
        let entries = history.to_entries();
        assert_eq!(entries[0].config_map, entries[2].config_map, "the same revision under a new number");
    }

    #[test]
    fn the_same_config_again_is_no_new_entry() {
        assert_eq!(applied(&[("a", false), ("a", false), ("a", true)], 10).numbers().count(), 1);
    }

    #[test]
    fn the_limit_counts_what_is_not_applied_and_numbers_go_on() {
        let history = applied(&[("a", false), ("b", false), ("c", false), ("d", false)], 2);
        assert_eq!(history.numbers().collect::<Vec<_>>(), [4, 3, 2]);
        assert_eq!(outline(&applied(&[("a", false), ("b", false)], 0)), [(2, HistoryOutcome::Applied)]);
    }

    /// The applied entry has the hash that a revision without proof could not give.
    #[test]
    fn a_rebuilt_history_learns_what_is_applied() {
        let rendered = rendered("a", "a");
        let revision = assemble(&rendered, Stamp { number: 1, applied_at: at(0) });
        let rebuilt = kept::history(kept::entry_of(&desired(), &revision).into_iter().collect(), 10);
        assert_eq!(outline(&rebuilt), [(1, HistoryOutcome::Superseded)]);
        assert_eq!(rebuilt.to_entries()[0].hash, None, "its own word is not recorded");
        let stamp = stamp(&rebuilt, &rendered.facts, at(9));
        let history = rebuilt.applied(&rendered.facts, stamp, false, 10);
        assert_eq!(outline(&history), [(1, HistoryOutcome::Applied)]);
        assert_eq!(history.to_entries()[0].hash.as_ref(), Some(&rendered.facts.hash));
    }

    /// An unproven config, applied because nothing else was available, stays one entry over several reconciles. The
    /// status has no hash for it until the content is proven.
    #[test]
    fn what_vouches_only_for_itself_is_recorded_without_its_hash() {
        for revision in [Some("web-0123456789".to_owned()), None] {
            let proven = Facts { revision, ..(*rendered("a", "a").facts).clone() };
            let unproven = Facts { proven: false, ..proven.clone() };
            let after = |history: &History, facts: &Facts| {
                let stamp = stamp(history, facts, at(9));
                history.applied(facts, stamp, true, 10)
            };
            let first = after(&History::default(), &unproven);
            assert_eq!(first.to_entries()[0].hash, None);
            assert_eq!(after(&first, &unproven), first);
            let known = after(&first, &proven).to_entries();
            assert_eq!(known[0].hash.as_ref(), Some(&proven.hash));
            assert_eq!(known.len(), if proven.revision.is_some() { 1 } else { 2 });
        }
    }

    #[test]
    fn a_failure_takes_no_place_of_a_config_for_a_rollback() {
        let history = applied(&[("a", false), ("b", false)], 1);
        let (artifact, image) = (&Digest::sha256(b"x"), &Digest::sha256(b"image"));
        let numbered = history.failed(artifact, image, 7, at(5), 1);
        assert_eq!(numbered.numbers().next(), Some(8), "7 is on a revision already");
        let history = history.failed(artifact, image, 0, at(5), 1);
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
        let stamp = stamp(&before, &facts, at(9));
        let after = before.applied(&facts, stamp, false, 10);
        assert_eq!(outline(&after), [(2, HistoryOutcome::Applied), (1, HistoryOutcome::Superseded)]);
        assert_eq!(after.to_entries()[0].config_map, facts.revision);
    }

    #[test]
    fn a_limit_of_zero_lets_go_of_what_was_kept() {
        let before = applied(&[("a", false), ("b", false)], 10);
        let facts = Facts { revision: None, ..(*rendered("b", "b").facts).clone() };
        let stamp = stamp(&before, &facts, at(9));
        let after = before.applied(&facts, stamp, false, 0);
        assert_eq!(outline(&after), [(2, HistoryOutcome::Applied)]);
        assert_eq!(after.to_entries()[0].config_map, None);
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
        let surplus = surplus(&applied(&[("b", false)], 10).to_entries(), &[], &owned, &owner());
        assert_eq!(surplus.len(), 1, "neither what is recorded nor the target");
        assert_eq!(Some(surplus[0].name.to_string()), revisions[0].metadata.name);
    }

    /// Everyone can write labels, also on objects that belong to another controller.
    #[test]
    fn what_has_another_controller_is_not_surplus() {
        let mut object = assemble(&rendered("x", "x"), Stamp { number: 7, applied_at: at(0) });
        let is_surplus = |object: &ConfigMap| {
            let owned = [Arc::new(Watched::of(&object.metadata))];
            !surplus(&[], &[], &owned, &owner()).is_empty()
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
