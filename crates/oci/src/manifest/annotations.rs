//! Annotations within a document. Their number is bounded.

use std::ops::ControlFlow;

use super::error::ManifestError;
use super::json::{Raw, each_member, text};
use crate::annotations::Annotations;

/// Most annotations of one manifest that are kept. Kubernetes allows 256 KiB of them on an object, which is far more
/// than anybody reads.
const MAX_ANNOTATIONS: usize = 1024;

/// Bytes of the annotations of one manifest that are kept.
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// The annotations that can be read, and whether they are all. Of several values for a key the last one counts, as in
/// Go.
pub(super) fn annotations_of(value: Raw<'_>) -> (Annotations, Result<(), ManifestError>) {
    let mut kept: Vec<(String, Box<str>)> = Vec::new();
    let (mut wrong, mut bytes) = (Ok(()), 0);
    let is_object = each_member(value, |name, value| {
        bytes += name.len() + value.get().len();
        if kept.len() == MAX_ANNOTATIONS || bytes > MAX_ANNOTATION_BYTES {
            wrong = Err(ManifestError::TooMany("annotations", MAX_ANNOTATIONS));
            return ControlFlow::Break(());
        }
        match text(value) {
            Ok(value) => kept.push((name, value.unwrap_or_default())),
            Err(()) => wrong = Err(ManifestError::Member("annotations", "an object of texts")),
        }
        ControlFlow::Continue(())
    });
    if !is_object {
        wrong = Err(ManifestError::Member("annotations", "an object of texts"));
    }
    (kept.into_iter().collect(), wrong)
}
