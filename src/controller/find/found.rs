//! The result of a search for a config.

use decide::kept::Kept;
use decide::plan::{Applied, Origin};
use decide::render::Content;
use decide::report::Latest;

use super::super::halt::Halt;
use super::super::memory::Question;

/// The result for a goal, and the facts learned meanwhile.
pub(in crate::controller) struct Found {
    /// The config. `None` if the goal has no config for the target.
    pub(in crate::controller) config: Result<Option<Config>, Halt>,
    /// The config that the policy selects, if the registry was asked for it.
    pub(in crate::controller) latest: Option<Latest>,
    /// Remarks that a person should see.
    pub(in crate::controller) notes: Vec<String>,
}

impl Found {
    /// Found without a request to the registry.
    pub(super) const fn of(config: Result<Option<Config>, Halt>) -> Self {
        Self { config, latest: None, notes: Vec::new() }
    }
}

/// The config for a goal.
pub(in crate::controller) enum Config {
    /// It is in the target, and nobody changed it.
    InPlace(Applied),
    /// It must be applied.
    Wanted(Box<Wanted>),
}

/// Content that will be applied, if it passes the gate.
pub(in crate::controller) struct Wanted {
    /// The question that it answers.
    pub(in crate::controller) question: Question,
    /// Its origin.
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
