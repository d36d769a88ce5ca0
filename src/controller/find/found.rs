//! The result of a search for a config.

use decide::kept::Kept;
use decide::plan::{Applied, Origin};
use decide::render::Content;
use decide::report::Latest;

use super::super::halt::Halt;
use super::super::memory::Question;

/// What was found for a goal, and what was learned on the way.
pub(in crate::controller) struct Found {
    /// The config. `None` where the goal has nothing to put into the target.
    pub(in crate::controller) config: Result<Option<Config>, Halt>,
    /// The config that the policy selects, where the registry was asked for it.
    pub(in crate::controller) latest: Option<Latest>,
    /// Remarks that a person should see.
    pub(in crate::controller) notes: Vec<String>,
}

impl Found {
    /// Found without a question to the registry.
    pub(super) const fn of(config: Result<Option<Config>, Halt>) -> Self {
        Self { config, latest: None, notes: Vec::new() }
    }
}

/// The config for a goal.
pub(in crate::controller) enum Config {
    /// It is in the target, and nobody changed it.
    InPlace(Applied),
    /// It is to be applied.
    Wanted(Box<Wanted>),
}

/// Content that is to be applied, if it passes the gate.
pub(in crate::controller) struct Wanted {
    /// What it answers.
    pub(in crate::controller) question: Question,
    /// Where it comes from.
    pub(in crate::controller) origin: Origin,
    /// The content.
    pub(in crate::controller) content: Content,
}

impl Wanted {
    /// Content that an object in the cluster keeps.
    pub(super) fn kept(kept: Kept, question: Question) -> Self {
        let Kept { origin, content } = kept;
        Self { question, origin, content }
    }
}
