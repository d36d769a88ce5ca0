//! Takes bindings out of the status that nobody needs, and deletes revisions that neither the history nor a binding names.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::{ArtifactConfigStatus, Binding};
use decide::revision;
use decide::spec::Owner;
use decide::usage::Usage;
use decide::view::View;
use decide::watched::Watched;
use decide::{Failure, bindings};
use jiff::Timestamp;

use crate::cluster::{self, Cluster};

use super::context::Context;
use super::memory::{Collected, Recall};

/// The status of a resource.
pub(super) struct Current {
    pub(super) status: ArtifactConfigStatus,
    /// `resourceVersion` of the resource.
    pub(super) version: Option<String>,
    /// The status is certainly the present one, because it was just written.
    pub(super) is_certain: bool,
}

/// A status after it was written, and what was collected.
pub(super) struct Settled {
    pub(super) status: ArtifactConfigStatus,
    /// `resourceVersion` that the resource has now.
    pub(super) version: Option<String>,
    /// The check of surplus revisions, if one was tried.
    pub(super) collected: Option<Collected>,
}

impl Current {
    /// The status, with nothing collected.
    pub(super) fn settled(self) -> Settled {
        Settled { status: self.status, version: self.version, collected: None }
    }
}

/// What is to be collected: first the status is written where that is needed, and then revisions are deleted.
pub(super) struct Plan {
    /// The status without the bindings that nobody needs.
    pub(super) status: ArtifactConfigStatus,
    /// `resourceVersion` of the resource.
    pub(super) version: Option<String>,
    /// A revision is deleted only when the present status does not name it, so it may have to be written once more.
    pub(super) must_write: bool,
    unused: Vec<Arc<Watched>>,
    check: Check,
}

/// What was checked.
struct Check {
    newest: Option<i64>,
    generation: i64,
    /// The revisions that may be collected.
    names: BTreeSet<String>,
    /// The revisions that the status before the pass binds, or the one after it.
    bound: BTreeSet<String>,
}

impl Check {
    fn of(view: &View<'_>, status: &ArtifactConfigStatus, surplus: &[&Watched]) -> Self {
        let names = candidates(status, surplus.iter().map(|revision| &*revision.name));
        let newest = status.history.first().map(|entry| entry.revision);
        Self { newest, generation: view.header.generation, names, bound: bound(view.status, status) }
    }

    /// The check, for the memory.
    fn at(&self, now: Timestamp, before: Option<&Collected>) -> Collected {
        let Self { newest, generation, names, bound } = self;
        Collected::new(*newest, *generation, names.clone(), before, bound, now)
    }
}

/// Finds out what is to be collected.
///
/// # Errors
/// The status as it is, if there is nothing to collect, or if it is not known which revisions are in use. That is tried
/// again at the next change, and surplus revisions do no harm until then.
pub(super) async fn plan<R, C: Cluster>(
    context: &Context<R, C>,
    view: &View<'_>,
    current: Current,
    recall: &Recall,
) -> Result<Plan, Settled> {
    let (owner, now) = (&view.header.owner, (context.now)());
    let (objects, before) = (context.cluster.owned(owner), recall.collected.as_deref());
    let surplus = revision::surplus(&current.status.history, &current.status.bindings, &objects, owner);
    let check = Check::of(view, &current.status, &surplus);
    let is_known =
        before.is_some_and(|before| before.answers(check.newest, check.generation, &check.names, now));
    if check.names.is_empty() || is_known {
        return Err(current.settled());
    }
    let usage = match context.cluster.usage(owner).await {
        Ok(usage) => usage,
        Err(failure) => return Err(not_collected(owner, &failure, current, check.at(now, before))),
    };
    let follows = view.desired.as_ref().is_ok_and(|desired| desired.workload.is_some());
    let waits = follows || !check.bound.is_empty() || recall.was_bound(now);
    let is_ripe = |name: &str| {
        // A resource that has bound nothing waits for nothing.
        let is_old = || before.and_then(|before| before.is_ripe(name, now)) == Some(true);
        !check.bound.contains(name) && (!waits || is_old())
    };
    let is_unused = |name: &str| !usage.config_maps.contains(name) && is_ripe(name);
    let unused: BTreeSet<_> =
        surplus.iter().map(|revision| &*revision.name).filter(|name| is_unused(name)).collect();
    let unused: Vec<_> =
        objects.iter().filter(|object| unused.contains(&*object.name)).map(Arc::clone).collect();
    let Current { status, version, is_certain } = current;
    let needed = needed(&status, &usage);
    let must_write = needed != status.bindings || !(unused.is_empty() || is_certain);
    let status = ArtifactConfigStatus { bindings: needed, ..status };
    Ok(Plan { status, version, must_write, unused, check })
}

impl Plan {
    /// Deletes the revisions, after the status was written where that was needed. `version` is that of the resource now.
    pub(super) async fn discard<R, C: Cluster>(
        self,
        context: &Context<R, C>,
        owner: &Owner,
        version: Option<String>,
        recall: &Recall,
    ) -> Settled {
        // From here on, no status binds what was taken out.
        let collected = self.check.at((context.now)(), recall.collected.as_deref());
        let current = Current { status: self.status, version, is_certain: true };
        let unused: Vec<&Watched> = self.unused.iter().map(|revision| &**revision).collect();
        match cluster::discard(&context.cluster, owner, &unused).await {
            Ok(()) => Settled { collected: Some(collected), ..current.settled() },
            Err(failure) => not_collected(owner, &failure, current, collected),
        }
    }
}

/// The bindings that somebody needs.
fn needed(status: &ArtifactConfigStatus, usage: &Usage) -> Vec<Binding> {
    let kept = kept(status);
    bindings::needed(&status.bindings, |name| kept.contains(name), usage)
}

/// The revisions that the status before the pass binds, or the one after it.
fn bound(before: Option<&ArtifactConfigStatus>, after: &ArtifactConfigStatus) -> BTreeSet<String> {
    let bindings = before.into_iter().chain([after]).flat_map(|status| &status.bindings);
    bindings.map(|binding| binding.config_map.clone()).collect()
}

/// The revisions that may be collected: those that nothing names, and those that only a binding names.
fn candidates<'a>(
    status: &'a ArtifactConfigStatus,
    surplus: impl Iterator<Item = &'a str>,
) -> BTreeSet<String> {
    let kept = kept(status);
    let bound = status.bindings.iter().map(|binding| &*binding.config_map);
    surplus.chain(bound.filter(|name| !kept.contains(name))).map(str::to_owned).collect()
}

fn kept(status: &ArtifactConfigStatus) -> BTreeSet<&str> {
    status.history.iter().filter_map(|entry| entry.config_map.as_deref()).collect()
}

fn not_collected(owner: &Owner, failure: &Failure, current: Current, collected: Collected) -> Settled {
    let Owner { namespace, name, .. } = owner;
    tracing::warn!(namespace, name, error = failure.message, "revisions not collected");
    Settled { collected: Some(collected.unfinished()), ..current.settled() }
}
