//! Goal → config: from the registry, from a revision, or in the target already.

mod found;
mod keep;
mod newest;
mod revisions;
mod rollback;

pub(super) use found::{Config, Found, Wanted};
pub(super) use newest::latest;
pub(super) use revisions::rebuilt;

use decide::goal::{Goal, Trigger};
use registry::Registry;

use crate::cluster::Cluster;

use super::memory::Recall;
use super::pass::Pass;

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
