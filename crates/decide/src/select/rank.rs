//! The criteria of the selection: matching annotations, age and version. For an artifact that cannot be read, each of
//! them may be known or unknown.

use std::cmp::Ordering;

use jiff::Timestamp;
use oci::{Artifact, CREATED, VERSION};
use semver::Version;

use crate::spec::Selector;

/// A value that may be unknown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rank<T> {
    Is(T),
    Unknown,
}

/// Whether an artifact has the required annotations; `None` if that is not known.
pub(super) fn matches<E>(artifact: &Artifact<E>, selector: &Selector) -> Option<bool> {
    let mut certain = true;
    for (key, wanted) in &selector.annotations {
        match artifact.annotations.get(key) {
            Some(value) if value == wanted => {}
            None if !knows_annotations(artifact) => certain = false,
            _ => return Some(false),
        }
    }
    certain.then_some(true)
}

/// Whether the annotations are complete, so that a missing annotation does not exist.
fn knows_annotations<E>(artifact: &Artifact<E>) -> bool {
    artifact.fault.as_ref().is_none_or(|fault| fault.known.annotations)
}

/// Time of creation. An artifact without a readable time is older than all that have one.
pub(super) fn created<E>(artifact: &Artifact<E>) -> Option<Timestamp> {
    artifact.created().and_then(|created| created.parse().ok())
}

/// Total order by time of creation, then digest.
pub(super) fn by_age<E>(left: &Artifact<E>, right: &Artifact<E>) -> Ordering {
    created(left).cmp(&created(right)).then_with(|| left.digest.cmp(&right.digest))
}

/// Whether an artifact that cannot be used may be newer than the usable ones. If its time is not known, it may.
pub(super) fn may_be_newer<E>(faulty: &Artifact<E>, best: &Artifact<E>) -> bool {
    let unknown = faulty.annotations.get(CREATED).is_none() && !knows_annotations(faulty);
    unknown || by_age(faulty, best) == Ordering::Greater
}

pub(super) fn version<E>(artifact: &Artifact<E>) -> Option<Version> {
    let text = artifact.annotations.get(VERSION)?.trim();
    Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
}

/// The version of an artifact that cannot be used.
pub(super) fn version_of_faulty<E>(artifact: &Artifact<E>) -> Rank<Option<Version>> {
    match artifact.annotations.get(VERSION) {
        None if !knows_annotations(artifact) => Rank::Unknown,
        _ => Rank::Is(version(artifact)),
    }
}
