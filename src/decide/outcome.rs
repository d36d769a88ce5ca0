//! The one value with which a reconcile ends. Condition, event, metric, log line and the next reconcile all derive from
//! it.

use crate::api::{Class, HistoryEntry, Reason};
use crate::types::{Digest, Failure};

use super::plan::Applied;

/// How a reconcile ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The selected config, or the one of the rollback, is in the target.
    Synced {
        /// The result of the apply, which alone can create it.
        applied: Applied,
        /// Notes for people, such as a tie that the digest decided.
        notes: Vec<String>,
        /// Whether it is the config of `spec.rollbackTo`.
        back: bool,
    },
    /// `spec.suspend` is set.
    Suspended,
    /// It failed; the config that was applied before stays.
    Failed(Failure),
}

/// Facts that the reconcile found, with or without success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The artifact that the policy selected, and its image. `None` if that is not known this time.
    pub latest: Option<(Digest, Digest)>,
    /// The history that was rebuilt from the revisions, if the status had lost it.
    pub rebuilt: Option<Vec<HistoryEntry>>,
    /// Highest revision number in use. It may exceed the history's: a crash can leave a revision that no status
    /// mentions.
    pub highest: i64,
    /// The rollback is applied, and the registry was not asked yet for the next config: the status reports the rollback
    /// first.
    pub half_done: bool,
    /// The content of the target after a failure, if it had to be repaired or read.
    pub held: Option<Applied>,
    /// The reconcile only repaired the target.
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

    /// How the operator continues.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.reason().class()
    }
}
