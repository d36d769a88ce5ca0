//! Decides whether the content of an object that claims to keep a config can be trusted.
//!
//! Everyone who may create `ConfigMaps` can choose labels, annotations and names, but not the status. So if the status
//! recorded a hash, only that counts. Otherwise a revision proves itself by the manifest that it keeps ([`proof`]), or
//! it has no proof.

use api::{Binding, HistoryOutcome, annotation};
use k8s_openapi::api::core::v1::ConfigMap;
use kube_core::ResourceExt as _;
use oci::{Digest, ImageRef, truncate};

use crate::history::{Application, History};
use crate::numbers::{self, Stamp};
use crate::plan::{Facts, MAX_CREATED, Origin, bounded};
use crate::proof;
use crate::render::Content;
use crate::revision;
use crate::spec::Desired;
use crate::watched::Watched;

/// A config that was read from an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Its origin, and whether that is proven.
    pub origin: Origin,
    /// Its content.
    pub content: Content,
}

/// The content of an object, without any check. A key that somebody moved between `data` and `binaryData` is in its
/// right place again: `envFrom` reads only `data`, and a repair must restore the applied state.
#[must_use]
pub fn content_of(object: &ConfigMap) -> Content {
    let text = object.data.iter().flatten().map(|(key, value)| (key, value.clone().into_bytes()));
    let binary = object.binary_data.iter().flatten().map(|(key, value)| (key, value.0.clone()));
    let mut content = Content::default();
    for (key, value) in text.chain(binary) {
        content.insert(key.clone(), value);
    }
    content
}

/// The content of an object, if it has the recorded hash: everyone with the right to delete and create `ConfigMaps` can
/// have replaced it by another object of its name.
#[must_use]
pub fn content_with(object: &ConfigMap, hash: &str) -> Option<Content> {
    let content = content_of(object);
    (content.hash() == hash).then_some(content)
}

/// The config that the history recorded, if the object has its content. From the object's own annotations only the
/// creation time of the artifact is used, if no manifest has it.
#[must_use]
pub fn recorded(desired: &Desired, object: &ConfigMap, entry: &Application) -> Option<Kept> {
    let content = content_with(object, entry.hash.as_deref()?)?;
    let image = entry.image_reference.clone().unwrap_or_else(|| desired.image.to_string());
    let origin =
        Origin { proven: true, ..claimed_origin(object, entry.artifact.clone(), image, entry.image.clone()) };
    Some(Kept { origin, content })
}

/// The config of a binding, if the object has its content.
#[must_use]
pub fn bound(desired: &Desired, object: &ConfigMap, binding: &Binding) -> Option<Kept> {
    let (artifact, image): (Digest, Digest) = (binding.artifact.parse().ok()?, binding.digest.parse().ok()?);
    let content = content_with(object, &binding.hash).filter(|_| is_of(object, &artifact))?;
    let reference = desired.image.to_string();
    let origin = Origin { proven: true, ..claimed_origin(object, artifact, reference, image) };
    Some(Kept { origin, content })
}

/// The config that the operator applied, from memory, if the object has its content.
#[must_use]
pub fn remembered(object: &ConfigMap, facts: &Facts) -> Option<Kept> {
    let content = content_with(object, &facts.hash)?;
    let Facts { image, image_digest, artifact, created, annotations, proven, .. } = facts;
    let manifest = claimed_origin(object, artifact.clone(), image.clone(), image_digest.clone()).manifest;
    let origin = Origin {
        image: image.clone(),
        image_digest: image_digest.clone(),
        artifact: artifact.clone(),
        created: created.clone(),
        annotations: annotations.clone(),
        manifest,
        proven: *proven,
    };
    Some(Kept { origin, content })
}

/// A revision by its own annotations, and whether it proves them. `None` if the annotations contradict each other, or
/// the object does not belong to the resource.
#[must_use]
pub fn by_annotations(desired: &Desired, object: &ConfigMap) -> Option<(Stamp, Kept)> {
    let annotated = |key: &str| object.annotations().get(key);
    let watched = Watched::of(&object.metadata);
    let stamp = numbers::read_stamp(&object.metadata)?;
    let artifact: Digest = annotated(annotation::ARTIFACT_DIGEST)?.parse().ok()?;
    let hash = annotated(annotation::CONTENT_HASH)?;
    let (target, _) = watched.name.rsplit_once('-')?;
    let fits = watched.is_revision
        && watched.is_of(&desired.owner)
        && revision::name(target, &artifact, hash) == *watched.name;
    let content = content_with(object, hash).filter(|_| fits)?;
    let image = annotated(annotation::IMAGE).filter(|image| image.parse::<ImageRef>().is_ok());
    let image = image.cloned().unwrap_or_else(|| desired.image.to_string());
    let manifest = annotated(annotation::MANIFEST);
    let proven = manifest.and_then(|manifest| proof::of(desired, &artifact, manifest, &content));
    let origin = match proven.as_ref().and_then(|proven| Some((proven, proven.subject.clone()?))) {
        Some((proven, subject)) => Origin::of(image, subject, proven),
        None => claimed_origin(object, artifact, image, annotated(annotation::IMAGE_DIGEST)?.parse().ok()?),
    };
    Some((stamp, Kept { origin, content }))
}

/// Whether an object claims to hold this artifact. An artifact with equal content may have another creation time.
#[must_use]
pub fn is_of(object: &ConfigMap, artifact: &Digest) -> bool {
    object
        .annotations()
        .get(annotation::ARTIFACT_DIGEST)
        .is_some_and(|claimed| *claimed == artifact.to_string())
}

/// Whether an object claims to hold another artifact than this one. An object without a claim does not.
#[must_use]
pub fn is_of_another(object: &ConfigMap, artifact: &Digest) -> bool {
    object.annotations().contains_key(annotation::ARTIFACT_DIGEST) && !is_of(object, artifact)
}

/// The origin, from the manifest in the object or from its annotations.
fn claimed_origin(object: &ConfigMap, artifact: Digest, image: String, image_digest: Digest) -> Origin {
    let annotated = |key: &str| object.annotations().get(key);
    let manifest = annotated(annotation::MANIFEST).and_then(|text| proof::manifest_of(&artifact, text));
    let created = manifest.as_ref().map_or_else(
        || annotated(annotation::ARTIFACT_CREATED).filter(|_| is_of(object, &artifact)).map(String::as_str),
        |manifest| manifest.created(),
    );
    Origin {
        image,
        image_digest,
        artifact,
        created: created.map(|created| truncate(created, MAX_CREATED)),
        annotations: manifest.as_ref().map(|manifest| bounded(&manifest.annotations)).unwrap_or_default(),
        manifest: manifest.and_then(|manifest| manifest.manifest),
        proven: false,
    }
}

/// The entry of a revision in a rebuilt history. Without proof the entry has no hash, because a hash in the status is
/// trusted later.
#[must_use]
pub fn entry_of(desired: &Desired, object: &ConfigMap) -> Option<Application> {
    let (stamp, Kept { origin, content }) = by_annotations(desired, object)?;
    Some(Application {
        number: stamp.number,
        artifact: origin.artifact,
        image: origin.image_digest,
        image_reference: Some(origin.image),
        config_map: object.metadata.name.clone(),
        hash: origin.proven.then(|| content.hash()),
        applied_at: stamp.applied_at,
        // It is not known which of them was in the target last. The next application sets that.
        outcome: HistoryOutcome::Superseded,
    })
}

/// A history from the entries of the revisions, for a resource that lost its status (for example after a restore from a
/// backup).
#[must_use]
pub fn history(mut entries: Vec<Application>, limit: usize) -> History {
    // Of two entries with one number, the proven one comes first.
    entries.sort_by_key(|entry| (std::cmp::Reverse(entry.number), entry.hash.is_none()));
    // One application can have left two revisions, if the target was renamed.
    entries.dedup_by_key(|entry| entry.number);
    entries.truncate(limit.saturating_add(1));
    entries.into_iter().collect()
}

/// Searches the revisions for a config: keeps the best one so far.
#[derive(Debug, Default)]
pub struct Search {
    best: Option<(bool, i64, String, Kept)>,
}

impl Search {
    /// Checks a revision. `recorded` are the entries of the artifact with a hash. If there are any, no other content
    /// counts.
    pub fn check(
        &mut self,
        desired: &Desired,
        artifact: &Digest,
        entries: &[&Application],
        object: &ConfigMap,
    ) {
        // Equal bytes of another artifact are another revision.
        let mut named = entries.iter().filter(|_| is_of(object, artifact));
        let by_hash = named.find_map(|entry| Some((entry.number, recorded(desired, object, entry)?)));
        let found = match by_hash {
            None if entries.is_empty() => {
                by_annotations(desired, object).map(|(stamp, kept)| (stamp.number, kept))
            }
            by_hash => by_hash,
        };
        let Some((number, kept)) = found.filter(|(_, kept)| kept.origin.artifact == *artifact) else {
            return;
        };
        let rank = (kept.origin.proven, number);
        if self.best.as_ref().is_none_or(|(proven, best, ..)| rank > (*proven, *best)) {
            self.best = Some((rank.0, rank.1, object.name_any(), kept));
        }
    }

    /// The best one, and the name of its object.
    #[must_use]
    pub fn found(self) -> Option<(String, Kept)> {
        self.best.map(|(_, _, name, kept)| (name, kept))
    }
}

#[cfg(test)]
mod tests {
    use api::label;

    use super::*;
    use crate::plan;
    use crate::revision::assemble;
    use crate::revision::tests::{at, desired};
    use oci::parse_artifact;
    use serde_json::json;

    /// An artifact of one file, and its revision.
    fn revision(content: &str, number: i64) -> (Digest, ConfigMap) {
        let text = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "custom/config",
            "layers": [{"mediaType": "a/b", "digest": Digest::sha256(content.as_bytes()).to_string(),
                "size": content.len(), "annotations": {"org.opencontainers.image.title": "config.json"}}],
            "subject": {"digest": Digest::sha256(b"image").to_string(), "size": 1},
            "annotations": {"org.opencontainers.image.created": "2026-01-01T00:00:00Z", "a": "b"},
        })
        .to_string();
        let digest = Digest::sha256(text.as_bytes());
        let artifact = parse_artifact(digest.clone(), text.as_bytes(), None).unwrap();
        let origin = Origin::of("r.example/web:v1".to_owned(), Digest::sha256(b"image"), &artifact);
        let content =
            Content { data: [("config.json".to_owned(), content.to_owned())].into(), ..Content::default() };
        let rendered = plan::assemble(&desired(), origin, content);
        (digest, assemble(&rendered, Stamp { number, applied_at: at(number) }))
    }

    fn annotate(object: &mut ConfigMap, key: &str, value: Option<&str>) {
        let annotations = object.metadata.annotations.as_mut().unwrap();
        annotations.remove(key);
        annotations.extend(value.map(|value| (key.to_owned(), value.to_owned())));
    }

    /// The forgery that everyone who may create `ConfigMaps` can make: other content, with the name, the hash and the
    /// labels that fit it.
    fn forged(of: &ConfigMap, artifact: &Digest, text: &str, number: i64) -> ConfigMap {
        let mut forged = of.clone();
        forged.data = Some([("config.json".to_owned(), text.to_owned())].into());
        let hash = content_of(&forged).hash();
        forged.metadata.name = Some(revision::name("web", artifact, &hash));
        annotate(&mut forged, annotation::CONTENT_HASH, Some(&hash));
        let labels = forged.metadata.labels.as_mut().unwrap();
        labels.insert(label::REVISION.to_owned(), number.to_string());
        forged
    }

    fn found(artifact: &Digest, entries: &[&Application], objects: &[&ConfigMap]) -> Option<(bool, String)> {
        let mut search = Search::default();
        for object in objects {
            search.check(&desired(), artifact, entries, object);
        }
        search.found().map(|(_, kept)| (kept.origin.proven, kept.content.data["config.json"].clone()))
    }

    #[test]
    fn a_revision_proves_what_it_holds_and_from_where() {
        let (digest, revision) = revision("good", 1);
        let (stamp, Kept { origin, content }) = by_annotations(&desired(), &revision).unwrap();
        assert_eq!((stamp.number, content.data["config.json"].as_str()), (1, "good"));
        assert_eq!((origin.artifact, origin.image_digest), (digest, Digest::sha256(b"image")));
        assert_eq!(origin.created.as_deref(), Some("2026-01-01T00:00:00Z"));
        assert!(origin.proven && origin.manifest.is_some() && origin.annotations.get("a") == Some("b"));
    }

    /// The attack: somebody deletes the revision, and creates another one with the same digest and matching labels and
    /// annotations.
    #[test]
    fn a_forged_revision_is_never_better_than_a_word() {
        let (digest, good) = revision("good", 1);
        let evil = forged(&good, &digest, "EVIL", 99);
        assert_eq!(found(&digest, &[], &[&evil]), Some((false, "EVIL".to_owned())), "it has its own word");
        assert_eq!(found(&digest, &[], &[&evil, &good]), Some((true, "good".to_owned())));
        assert_eq!(found(&digest, &[], &[&good, &evil]), Some((true, "good".to_owned())));
        // Only the content that the history recorded counts, in any object.
        let entry = entry_of(&desired(), &good).unwrap();
        assert_eq!(found(&digest, &[&entry], &[&evil]), None);
        let mut moved = good.clone();
        moved.metadata.name = Some("web-0000000000".to_owned());
        assert_eq!(found(&digest, &[&entry], &[&evil, &moved]), Some((true, "good".to_owned())));
    }

    /// With recorded content, no claim of the object itself gets into the status.
    #[test]
    fn what_was_recorded_says_where_it_is_from() {
        let (_, good) = revision("good", 1);
        let entry = entry_of(&desired(), &good).unwrap();
        let mut lying = good;
        for key in [annotation::IMAGE_DIGEST, annotation::ARTIFACT_DIGEST] {
            annotate(&mut lying, key, Some(&Digest::sha256(b"evil").to_string()));
        }
        annotate(&mut lying, annotation::IMAGE, Some("evil.example/x:v1"));
        let origin = recorded(&desired(), &lying, &entry).unwrap().origin;
        assert_eq!(origin.artifact, entry.artifact);
        assert_eq!(origin.image_digest, entry.image);
        assert_eq!(origin.image, "r.example/web:v1");
    }

    #[test]
    fn what_does_not_fit_itself_or_is_anothers_is_no_revision() {
        let (digest, good) = revision("good", 1);
        let mut other_name = good.clone();
        other_name.metadata.name = Some("web-0000000000".to_owned());
        let mut other_data = good.clone();
        other_data.data.as_mut().unwrap().insert("config.json".to_owned(), "EVIL".to_owned());
        let mut foreign = good.clone();
        foreign.metadata.owner_references.as_mut().unwrap()[0].uid = "another".to_owned();
        let mut unlabelled = good.clone();
        unlabelled.metadata.labels.as_mut().unwrap().remove(label::REVISION);
        let far = forged(&good, &digest, "good", i64::MAX);
        for (what, object) in [
            ("name", &other_name),
            ("data", &other_data),
            ("controller", &foreign),
            ("label", &unlabelled),
            ("number", &far),
        ] {
            assert_eq!(by_annotations(&desired(), object), None, "{what}");
        }
    }

    /// A hash in the status is trusted later, so a forged hash must not get there through a rebuilt history.
    #[test]
    fn a_rebuilt_history_trusts_no_revision_without_proof() {
        let (digest, good) = revision("good", 1);
        let mut old = revision("old", 2).1;
        annotate(&mut old, annotation::MANIFEST, None);
        let evil = [forged(&good, &digest, "EVIL", 1), forged(&good, &digest, "EVIL", 3)];
        let all = [&evil[0], &evil[1], &good, &old];
        let entries = all.into_iter().filter_map(|object| entry_of(&desired(), object)).collect();
        let history = history(entries, 10);
        let outline: Vec<(i64, bool)> =
            history.iter().map(|entry| (entry.number, entry.hash.is_some())).collect();
        assert_eq!(outline, [(3, false), (2, false), (1, true)], "of two under one number the proven one");
        assert_eq!(history.to_entries()[2].config_map, good.metadata.name);
    }
}
