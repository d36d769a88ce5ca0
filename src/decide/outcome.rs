//! The one value a reconcile ends with. Condition, event, metric, log line and next look all derive from it.

use oci::Digest;

use crate::api::{Class, HistoryEntry, Reason};
use crate::types::Failure;

use super::plan::Applied;

/// How a reconcile ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The config that was asked for is in the target.
    Synced {
        /// What applying returned; only it can.
        applied: Applied,
        /// Remarks that a person should see, such as a tie that was decided by the digest.
        notes: Vec<String>,
        /// `spec.rollbackTo` asked for it.
        back: bool,
    },
    /// `spec.suspend` is set.
    Suspended,
    /// It failed; whatever was applied before stays.
    Failed(Failure),
}

/// What discovery saw on the way, whatever came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The artifact that the policy selected, and the image that it is attached to. `None`: not known this time.
    pub latest: Option<(Digest, Digest)>,
    /// The history as the revisions tell it, where the status had lost it.
    pub rebuilt: Option<Vec<HistoryEntry>>,
    /// Highest number that a revision has: that of one which a killed operator left is not in the history yet, nor is one
    /// that was given in vain.
    pub highest: i64,
    /// The config is back, and what would come next was not asked for: who went back is told first.
    pub half_done: bool,
    /// What is in the target all the same, where that had to be put back or looked up.
    pub held: Option<Applied>,
    /// The target was repaired, and nothing else was looked at.
    pub mended: bool,
}

impl Outcome {
    /// The closed reason.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Synced { back: false, .. } => Reason::Synced,
            Self::Synced { back: true, .. } => Reason::RolledBack,
            Self::Suspended => Reason::Suspended,
            Self::Failed(failure) => failure.reason,
        }
    }

    /// How the operator goes on from here.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.reason().class()
    }
}
