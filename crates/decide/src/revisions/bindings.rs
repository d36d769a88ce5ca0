//! Which revision belongs to which image: the index that admission reads when a pod is created, and a person at night.
//!
//! A reference belongs to a digest only if the registry has said so. No object in the cluster can prove it: everyone who may
//! create `ConfigMaps` can write an image into an annotation, and a pod would get another image than it asked for.

use api::{Binding, CreationPolicy, Resolve};
use oci::Digest;

use crate::plan::{Applied, Facts};
use crate::report::Report;
use crate::spec::Desired;
use crate::usage::Usage;
use crate::workload::Workload;

/// Most bindings of a resource: at 500 bytes each, the API server and etcd handle 50 KiB with ease, and a policy reads them
/// within its budget.
pub const MOST: usize = 100;

/// The bindings after a pass, newest first. The same list as before if nothing about them changed.
#[must_use]
pub fn after(before: &[Binding], desired: &Desired, report: &Report) -> Vec<Binding> {
    if desired.workload.is_none() {
        // Nobody keeps them any more.
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
    let is_bound = desired.target.creation_policy != CreationPolicy::Merge
        && workload.reference.resolve == Resolve::Template
        && !workload.container.is_empty();
    let applied = report.applied().filter(|applied| applied.facts().proven)?;
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
