//! The one value a reconcile ends with. Condition, event, metric, log line and next look all derive from it.

use crate::api::{Class, Reason};
use crate::types::Failure;

use super::plan::Applied;

/// How a reconcile ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The selected config is in the target.
    Synced {
        /// What applying returned; only it can.
        applied: Box<Applied>,
        /// Remarks that a person should see, such as a tie that was decided by the digest.
        notes: Vec<String>,
    },
    /// `spec.suspend` is set.
    Suspended,
    /// It failed; whatever was applied before stays.
    Failed(Failure),
}

impl Outcome {
    /// The closed reason.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Synced { .. } => Reason::Synced,
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
