//! The one value that a pass ends with. Conditions, history, event, metric, log line and the next pass all derive from it.

use api::{Class, Reason};
use oci::Digest;

use crate::Failure;
use crate::contest::Contest;
use crate::history::History;
use crate::plan::Applied;

/// How a pass ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The requested config is in the target.
    Synced {
        /// Returned by applying; nothing else makes one.
        applied: Applied,
        /// Remarks that a person should see, such as a tie that was decided by the digest.
        notes: Vec<String>,
        /// `spec.rollbackTo` asked for it.
        rolled_back: bool,
    },
    /// `spec.suspend` is set.
    Suspended,
    /// It failed; the config that was applied before stays.
    Failed(Failure),
}

impl Outcome {
    /// The closed reason.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Synced { rolled_back: false, .. } => Reason::Synced,
            Self::Synced { rolled_back: true, .. } => Reason::RolledBack,
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

/// The config that the policy selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// Digest of the artifact.
    pub artifact: Digest,
    /// Digest of the image that it is attached to.
    pub image: Digest,
}

/// How a pass ended, and the facts that it learned.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The config that the policy selects. `None`: not known this time.
    pub latest: Option<Latest>,
    /// A rollback is done, and the registry was not yet asked which config would come next. The status reports the
    /// rollback first.
    pub half_done: bool,
    /// The history from the revisions, if the status had lost it.
    pub rebuilt: Option<History>,
    /// Highest revision number in use. It may exceed the history's: a crash can leave a revision that no status mentions.
    pub highest: i64,
    /// The config in the target after a failure, if the pass had to restore it or to read it.
    pub kept: Option<Applied>,
    /// The pass failed, and could not confirm that the target still holds what was applied last: the target cannot be
    /// written, or nothing proves that config.
    pub in_doubt: bool,
    /// The pass only repaired the target, and checked nothing else.
    pub repaired: bool,
}

impl Report {
    /// The report of a pass that learned no other facts.
    #[must_use]
    pub const fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            latest: None,
            half_done: false,
            rebuilt: None,
            highest: 0,
            kept: None,
            in_doubt: false,
            repaired: false,
        }
    }

    /// The report of a pass that failed before it learned any facts.
    #[must_use]
    pub const fn failed(failure: Failure) -> Self {
        Self::of(Outcome::Failed(failure))
    }

    /// The config in the target after this pass, if known.
    #[must_use]
    pub const fn applied(&self) -> Option<&Applied> {
        match &self.outcome {
            Outcome::Synced { applied, .. } => Some(applied),
            Outcome::Failed(_) | Outcome::Suspended => self.kept.as_ref(),
        }
    }

    /// Whether anything but the status was written.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.applied().is_some_and(Applied::changed)
    }

    /// The same with a remark on who else writes the target.
    #[must_use]
    pub fn remarked(self, contest: Option<&Contest>) -> Self {
        let target = self.applied().map(|applied| applied.facts().target.as_str());
        let remark = target.zip(contest).and_then(|(target, contest)| contest.note(target));
        self.noted(remark)
    }

    /// The same with a further remark, if the config is in the target.
    #[must_use]
    pub fn noted(mut self, remark: Option<String>) -> Self {
        if let Outcome::Synced { notes, .. } = &mut self.outcome {
            notes.extend(remark);
        }
        self
    }
}
