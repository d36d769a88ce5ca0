//! Why a stage of a pass ends without a result.

use std::time::Duration;

use decide::Failure;
use decide::turns::Next;

/// How soon the next pass comes for a resource that changed during this one. The watch usually comes first.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// Why a stage ends without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// It failed, and the status reports it.
    Failed(Failure),
    /// The target holds the config of another operator, which may know of a newer one. Nothing was written.
    Overtaken,
    /// The pass is broken off: it learned nothing about the resource or its registry, and the status stays unchanged.
    BrokenOff(Next),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Halt {
    /// The same, with the failure mapped.
    pub(super) fn map(self, change: impl FnOnce(Failure) -> Failure) -> Self {
        match self {
            Self::Failed(failure) => Self::Failed(change(failure)),
            halt @ (Self::Overtaken | Self::BrokenOff(_)) => halt,
        }
    }
}
