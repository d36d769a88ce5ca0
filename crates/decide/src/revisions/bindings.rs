//! Which revision belongs to which image: the index that admission reads when a pod is created, and a person at night.
//!
//! A reference belongs to a digest only if the registry has said so. No object in the cluster can prove it: everyone who may
//! create `ConfigMaps` can write an image into an annotation, and a pod would get another image than it asked for.

use api::Binding;
use oci::Digest;

use crate::bind;
use crate::plan::{Applied, Facts};
use crate::report::Report;
use crate::spec::Desired;
use crate::usage::Usage;
use crate::workload::Workload;

/// Most bindings of a resource: at 500 bytes each, the API server and etcd handle 50 KiB with ease, and a policy reads them
/// within its budget.
pub const MOST: usize = 100;

/// The bindings after a pass, newest first. The same list as before if nothing about them changed, and none for a resource
/// that follows no workload. A spec that cannot bind adds nothing, but pods of an image that was bound still find its config.
#[must_use]
pub fn after(before: &[Binding], desired: &Desired, report: &Report) -> Vec<Binding> {
    if desired.workload.is_none() {
        return Vec::new();
    }
    let mut bindings = before.to_vec();
    let Some((workload, applied)) = bindable(desired, report) else { return bindings };
    for binding in newest(&bindings, workload, applied, report) {
        put(&mut bindings, binding);
    }
    bindings.truncate(MOST);
    bindings
}

/// The workload and the config to bind. A config without proof, or without a revision, is not bound.
fn bindable<'a>(desired: &'a Desired, report: &'a Report) -> Option<(&'a Workload, &'a Applied)> {
    let workload = desired.workload.as_deref().filter(|_| !report.repaired)?;
    let applied = report.applied().filter(|applied| applied.facts().proven)?;
    let is_bound = bind::by_spec(desired).is_none() && !workload.container.is_empty();
    is_bound.then_some((workload, applied))
}

/// The bindings that an applied config makes: for the image of the pod template if the registry has just resolved it to the
/// image of the config, and for every reference that was known for this image before.
fn newest(before: &[Binding], workload: &Workload, applied: &Applied, report: &Report) -> Vec<Binding> {
    let Facts { image_digest, artifact, hash, revision, .. } = applied.facts();
    let Some(revision) = revision else { return Vec::new() };
    let is_resolved = report.latest.as_ref().is_some_and(|latest| latest.image == *image_digest);
    let named = is_resolved.then(|| workload.image.clone());
    let known = before.iter().enumerate().filter(|(place, binding)| {
        let is_of_the_image =
            binding.digest == image_digest.to_string() && binding.container == workload.container;
        is_of_the_image && counts(before, *place)
    });
    let mut images: Vec<String> = Vec::new();
    for image in known.map(|(_, binding)| binding.image.clone()).chain(named) {
        if !images.contains(&image) {
            images.push(image);
        }
    }
    images
        .into_iter()
        .map(|image| Binding {
            pinned: pinned(&image, image_digest),
            image,
            digest: image_digest.to_string(),
            container: workload.container.clone(),
            artifact: artifact.to_string(),
            config_map: revision.clone(),
            hash: hash.clone(),
        })
        .collect()
}

/// Whether the binding at this place is the one that counts for its image.
fn counts(bindings: &[Binding], place: usize) -> bool {
    let (before, rest) = bindings.split_at(place.min(bindings.len()));
    rest.first().is_some_and(|binding| {
        !before.iter().any(|other| (&other.image, &other.container) == (&binding.image, &binding.container))
    })
}

/// The image with its digest. All else stays as it is written, the tag too, because people and tools read it, and policies
/// compare the text.
fn pinned(image: &str, digest: &Digest) -> String {
    if image.contains('@') { image.to_owned() } else { format!("{image}@{digest}") }
}

/// Puts a binding first, unless it is already the one that counts.
fn put(bindings: &mut Vec<Binding>, binding: Binding) {
    let is_of_the_image =
        |other: &&Binding| (&other.image, &other.container) == (&binding.image, &binding.container);
    if bindings.iter().find(is_of_the_image) == Some(&binding) {
        return;
    }
    bindings.retain(|other| *other != binding);
    bindings.insert(0, binding);
}

/// The bindings that count: the first one of each image and container.
pub fn counting(bindings: &[Binding]) -> impl Iterator<Item = &Binding> {
    bindings.iter().enumerate().filter(|(place, _)| counts(bindings, *place)).map(|(_, binding)| binding)
}

/// The binding that counts for the image of a workload.
#[must_use]
pub fn of<'b>(bindings: &'b [Binding], workload: &Workload) -> Option<&'b Binding> {
    bindings
        .iter()
        .find(|binding| (&binding.image, &binding.container) == (&workload.image, &workload.container))
}

/// The bindings that are still needed. `kept` names the revisions of the history. Beyond these, a binding stays while a pod
/// or a pod template names its revision, and the one that counts for an image while one of them names the image:
/// `kubectl rollout undo` brings back that image, and its pods must find their config.
#[must_use]
pub fn needed(bindings: &[Binding], kept: impl Fn(&str) -> bool, usage: &Usage) -> Vec<Binding> {
    let is_needed = |(place, binding): &(usize, &Binding)| {
        kept(&binding.config_map)
            || usage.config_maps.contains(&binding.config_map)
            || counts(bindings, *place) && usage.has_image(binding)
    };
    bindings.iter().enumerate().filter(is_needed).map(|(_, binding)| binding.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::ArtifactConfig;
    use jiff::Timestamp;
    use oci::Annotations;
    use serde_json::json;

    use super::*;
    use crate::numbers::Stamp;
    use crate::report::{Latest, Outcome};
    use crate::spec::{self, Following};

    fn desired(image: &str) -> Desired {
        let config: ArtifactConfig = serde_json::from_value(json!({
            "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
            "metadata": {"name": "web", "namespace": "shop"}, "spec": {
                "artifactType": "a/b", "workloadRef": {"kind": "Deployment", "name": "web", "container": "web"}},
        }))
        .unwrap();
        let reference = config.spec.workload_ref.as_ref().unwrap();
        let workload = Box::new(Workload::named(reference, image.to_owned()));
        let image = workload.image().unwrap();
        spec::parse(&config, Some(Ok(Following { workload, image }))).unwrap()
    }

    fn digest(image: &str) -> Digest {
        Digest::sha256(image.as_bytes())
    }

    /// A pass that applied a config for an image. `resolved` is the image that the registry resolved in it.
    fn applied(image: &str, config: &str, resolved: Option<&str>) -> Report {
        let facts = Facts {
            target: "web".to_owned(),
            image: image.to_owned(),
            image_digest: digest(image),
            artifact: digest(config),
            created: None,
            annotations: Annotations::default(),
            size: 1,
            hash: format!("sha256:{config}"),
            revision: Some(format!("web-{config}")),
            proven: true,
        };
        let stamp = Stamp { number: 1, applied_at: Timestamp::UNIX_EPOCH };
        let applied = Applied::confirmed(Arc::new(facts), stamp, "1".to_owned(), None, true);
        let outcome = Outcome::Synced { applied, notes: Vec::new(), rolled_back: resolved.is_none() };
        let latest = resolved.map(|image| Latest { artifact: digest(config), image: digest(image) });
        Report { latest, ..Report::of(outcome) }
    }

    fn outline(bindings: &[Binding]) -> Vec<(&str, &str)> {
        bindings.iter().map(|binding| (&*binding.image, &*binding.config_map)).collect()
    }

    fn two() -> Vec<Binding> {
        let first = after(&[], &desired("r/web:v1"), &applied("r/web:v1", "a", Some("r/web:v1")));
        after(&first, &desired("r/web:v2"), &applied("r/web:v2", "b", Some("r/web:v2")))
    }

    #[test]
    fn the_newest_comes_first_and_the_same_changes_nothing() {
        let bindings = two();
        assert_eq!(outline(&bindings), [("r/web:v2", "web-b"), ("r/web:v1", "web-a")]);
        assert_eq!(bindings[0].pinned, format!("r/web:v2@{}", digest("r/web:v2")));
        // Of the first image again, as after `kubectl rollout undo`.
        let again = after(&bindings, &desired("r/web:v1"), &applied("r/web:v1", "a", Some("r/web:v1")));
        assert_eq!(again, bindings);
        let newer = after(&bindings, &desired("r/web:v1"), &applied("r/web:v1", "c", Some("r/web:v1")));
        assert_eq!(outline(&newer), [("r/web:v1", "web-c"), ("r/web:v2", "web-b"), ("r/web:v1", "web-a")]);
    }

    /// Rule 12: an annotation, or the reference of the resource, proves no digest. Only the registry does.
    #[test]
    fn a_reference_is_bound_only_to_the_digest_that_the_registry_resolved() {
        let back = applied("r/web:v1", "a", None);
        assert!(after(&[], &desired("r/web:v2"), &back).is_empty());
        let other = applied("r/web:v1", "a", Some("r/web:v2"));
        assert!(after(&[], &desired("r/web:v2"), &other).is_empty());
        // A rollback counts for the references that are known of its image, and for no other.
        let rolled_back = after(&two(), &desired("r/web:v2"), &applied("r/web:v1", "c", None));
        assert_eq!(of_image(&rolled_back, "r/web:v2"), Some("web-b"));
        assert_eq!(of_image(&rolled_back, "r/web:v1"), Some("web-c"));
    }

    fn of_image<'b>(bindings: &'b [Binding], image: &str) -> Option<&'b str> {
        let desired = desired(image);
        of(bindings, desired.workload.as_deref().unwrap()).map(|binding| &*binding.config_map)
    }

    #[test]
    fn nothing_without_proof_or_workload_is_bound() {
        let mut report = applied("r/web:v1", "a", Some("r/web:v1"));
        report.repaired = true;
        assert!(after(&[], &desired("r/web:v1"), &report).is_empty(), "a repair has asked nobody");
        let mut plain = desired("r/web:v1");
        plain.workload = None;
        assert!(after(&two(), &plain, &applied("r/web:v1", "a", Some("r/web:v1"))).is_empty());
    }

    #[test]
    fn they_are_bounded() {
        let bindings = (0..150).fold(Vec::new(), |bindings, number| {
            let image = format!("r/web:v{number}");
            after(&bindings, &desired(&image), &applied(&image, &number.to_string(), Some(&image)))
        });
        assert_eq!((bindings.len(), &*bindings[0].image), (MOST, "r/web:v149"));
    }

    #[test]
    fn a_binding_is_needed_while_something_names_its_revision_or_its_image() {
        let bindings = after(&two(), &desired("r/web:v1"), &applied("r/web:v1", "c", Some("r/web:v1")));
        let kept = |usage: &Usage, history: &[&str]| {
            let needed = needed(&bindings, |name| history.contains(&name), usage);
            needed.into_iter().map(|binding| binding.config_map).collect::<Vec<_>>()
        };
        let named = |config_maps: &[&str], images: &[&str]| Usage {
            config_maps: config_maps.iter().map(|&name| name.to_owned()).collect(),
            images: images.iter().map(|&name| name.to_owned()).collect(),
        };
        assert_eq!(kept(&Usage::default(), &["web-b"]), ["web-b"]);
        // Of an image that is named, only the config that new pods would get.
        assert_eq!(kept(&named(&[], &["r/web:v1"]), &[]), ["web-c"]);
        assert_eq!(kept(&named(&["web-a"], &["r/web:v1"]), &[]), ["web-c", "web-a"]);
        assert_eq!(kept(&named(&[], &[&format!("r/web@{}", digest("r/web:v2"))]), &[]), ["web-b"]);
        assert!(kept(&Usage::default(), &[]).is_empty());
    }
}
