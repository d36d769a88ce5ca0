//! Desired and observed `ConfigMap` → the write that is needed, if any.

mod drift;
mod object;
mod owner;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube_core::ResourceExt as _;

pub use self::drift::{leftovers, misplaced, own_part};
pub use self::object::{Applied, Facts, Origin, Rendered, assemble, written};
pub(crate) use self::object::{MAX_CREATED, bounded};
pub use self::owner::{admit, field_manager, rival, rivals};
use api::{CreationPolicy, DeletionPolicy, annotation};

use self::drift::{differs, is_unmerged, same_entries};
use self::owner::refuse_foreign;
use crate::Failure;
use crate::spec::Desired;
use crate::watched::Watched;

/// The write that a revision needs.
#[derive(Clone, Debug, PartialEq)]
pub enum RevisionStep {
    /// It does not exist.
    Create,
    /// It exists with this content; its labels and annotations must be updated.
    Relabel,
    /// It exists, is ours, and has other content: somebody deleted and created it again. It is immutable, so it must be
    /// deleted first.
    Replace,
    /// It is as it should be.
    Keep,
}

/// Compares an existing revision with the desired one.
///
/// # Errors
/// `TargetConflict` if the object belongs to someone else.
pub fn revision(
    desired: &Desired,
    wanted: &ConfigMap,
    observed: Option<&ConfigMap>,
) -> Result<RevisionStep, Failure> {
    let Some(observed) = observed else { return Ok(RevisionStep::Create) };
    refuse_foreign(desired, &observed.metadata)?;
    let same_content = same_entries(observed.data.as_ref(), wanted.data.as_ref())
        && same_entries(observed.binary_data.as_ref(), wanted.binary_data.as_ref());
    // A missing manifest is no reason to write a revision of an earlier version again.
    let mut wanted = wanted.clone();
    if !observed.annotations().contains_key(annotation::MANIFEST) {
        wanted.annotations_mut().remove(annotation::MANIFEST);
    }
    Ok(if !same_content {
        RevisionStep::Replace
    } else if differs(&wanted, observed) || observed.immutable != Some(true) {
        RevisionStep::Relabel
    } else {
        RevisionStep::Keep
    })
}

/// The write that the target needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetStep {
    /// It does not exist.
    Create,
    /// It exists, is ours, and differs.
    Update,
    /// It is as it should be.
    Keep,
}

/// Compares the existing target with the desired one.
#[must_use]
pub fn target(desired: &Desired, wanted: &ConfigMap, observed: Option<&ConfigMap>) -> TargetStep {
    let Some(observed) = observed else { return TargetStep::Create };
    let drifted = match desired.target.creation_policy {
        CreationPolicy::Owner | CreationPolicy::Orphan => differs(wanted, observed),
        CreationPolicy::Merge => is_unmerged(&field_manager(desired), wanted, observed),
    };
    if drifted { TargetStep::Update } else { TargetStep::Keep }
}

/// Objects that an earlier `spec.target.name` left behind: ours by UID, written by the operator, and not the target. A copy
/// that a person made carries the same labels, and the same owner, but the API server knows who wrote it.
#[must_use]
pub fn strays<'a>(desired: &Desired, owned: &'a [Arc<Watched>]) -> Vec<&'a Watched> {
    if desired.target.deletion_policy == DeletionPolicy::Retain
        || desired.target.creation_policy != CreationPolicy::Owner
    {
        return Vec::new();
    }
    owned
        .iter()
        .map(|object| &**object)
        .filter(|object| !object.is_revision && object.is_written && object.is_of(&desired.owner))
        .filter(|object| *object.name != *desired.target.name)
        .collect()
}
