//! Which resources wait together.

use std::sync::Arc;

/// The servers that a reconcile may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The API server only.
    Cluster,
    /// Registries as well.
    Registry,
}

/// The common properties of all resources in one line: all of them may get a turn, or none. Lines of one registry are
/// adjacent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) lane: Lane,
    /// The registries that are asked; empty for none.
    pub(super) place: Arc<str>,
    /// The last reconcile of each of these resources was slow.
    pub(super) slow: bool,
    pub(super) namespace: Arc<str>,
}

impl Line {
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        (self.lane, self.slow) == (other.lane, other.slow) && self.place == other.place
    }
}
