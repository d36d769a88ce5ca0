//! Goal → config: from the registry, from a revision, or in the target already.

mod keep;
mod newest;
mod revisions;
mod rollback;

pub(super) use newest::latest;
pub(super) use revisions::rebuilt;

use decide::goal::{Goal, Trigger};
use decide::kept::Kept;
use decide::plan::{Applied, Origin};
use decide::render::Content;
use decide::report::Latest;
use registry::Registry;

use crate::cluster::Cluster;

use super::halt::Halt;
use super::memory::{Question, Recall};
use super::pass::Pass;

/// The result for a goal, and the facts learned meanwhile.
pub(super) struct Found {
    /// The config. `None` if the goal has no config for the target.
    pub(super) config: Result<Option<Config>, Halt>,
    /// The config that the policy selects, if the registry was asked for it.
    pub(super) latest: Option<Latest>,
    /// Remarks that a person should see.
    pub(super) notes: Vec<String>,
}

impl Found {
    /// Found without a request to the registry.
    const fn of(config: Result<Option<Config>, Halt>) -> Self {
        Self { config, latest: None, notes: Vec::new() }
    }
}

/// The config for a goal.
pub(super) enum Config {
    /// It is in the target, and nobody changed it.
    InPlace(Applied),
    /// It must be applied.
    Wanted(Box<Wanted>),
}

/// Content that will be applied, if it passes the gate.
pub(super) struct Wanted {
    /// The question that it answers.
    pub(super) question: Question,
    /// Its origin.
    pub(super) origin: Origin,
    /// The content.
    pub(super) content: Content,
}

impl Wanted {
    /// Content that an object in the cluster keeps.
    fn kept(kept: Kept, question: Question) -> Self {
        let Kept { origin, content } = kept;
        Self { question, origin, content }
    }
}

/// Finds the config for a goal.
pub(super) async fn config<R: Registry, C: Cluster>(
    pass: &Pass<'_, R, C>,
    goal: &Goal,
    trigger: Trigger,
    recall: &Recall,
) -> Found {
    match goal {
        Goal::Repair => keep::repair(pass, recall).await,
        Goal::RollBack(digest) => rollback::find(pass, digest, trigger, recall).await,
        Goal::Newest => newest::find(pass, trigger, recall).await,
        Goal::KeepLast => Found::of(keep::last(pass, recall).await),
    }
}
