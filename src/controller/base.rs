//! The status that was written last, which may be newer than the resource at hand.

use api::{ArtifactConfig, ArtifactConfigStatus};
use kube::Resource as _;
use kube::core::DeserializeGuard;

use super::memory::{Recall, Written};

/// The status that the next one is written over.
pub(super) struct Base {
    /// The status as this operator wrote it, where the resource at hand is older than that.
    pub(super) written: Option<Written>,
    /// `resourceVersion` of the resource with it.
    pub(super) version: Option<String>,
}

impl Base {
    /// Takes it out of what is remembered.
    pub(super) fn of(object: &DeserializeGuard<ArtifactConfig>, recall: Recall) -> (Self, Recall) {
        let at_hand = object.meta().resource_version.as_ref();
        let written = recall.written.and_then(|written| written.newer_than(at_hand));
        let version = written.as_ref().map_or(at_hand, |written| written.version.as_ref()).cloned();
        (Self { written, version }, Recall { written: None, ..recall })
    }

    /// The status that the resource at hand does not have yet.
    pub(super) fn status(&self) -> Option<&ArtifactConfigStatus> {
        self.written.as_ref().map(|written| &written.status)
    }

    /// The memory after a pass that wrote no status.
    pub(super) fn keep_in(self, recall: Recall) -> Recall {
        Recall { written: self.written.map(Box::new), ..recall }
    }
}
