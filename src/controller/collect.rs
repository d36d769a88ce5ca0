//! Takes bindings out of the status that nobody needs, and deletes revisions that neither the history nor a binding names.

use std::collections::BTreeSet;

use api::ArtifactConfigStatus;
use decide::revision;
use decide::spec::{Header, Owner};
use decide::usage::Usage;
use decide::view::View;
use decide::{Failure, bindings};

use crate::cluster::{self, Cluster, WriteError};

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

/// Collects. A failure is tried again at the next change, and surplus revisions do no harm until then.
pub(super) async fn collect<R, C: Cluster>(
    context: &Context<R, C>,
    view: &View<'_>,
    current: Current,
    recall: &Recall,
) -> Result<Settled, WriteError> {
    let (Header { owner, generation, .. }, cluster) = (&view.header, &context.cluster);
    let (now, before) = ((context.now)(), recall.collected.as_deref());
    let objects = cluster.owned(owner);
    let status = &current.status;
    let bound = bound(view.status, status);
    let surplus = revision::surplus(&status.history, &status.bindings, &objects, owner);
    let names = candidates(status, surplus.iter().map(|revision| &*revision.name));
    let newest = status.history.first().map(|entry| entry.revision);
    let is_known = before.is_some_and(|before| before.answers(newest, *generation, &names, now));
    if names.is_empty() || is_known {
        return Ok(current.settled());
    }
    let checked = |at| Collected::new(newest, *generation, names, before, &bound, at);
    let usage = match cluster.usage(owner).await {
        Ok(usage) => usage,
        Err(failure) => return Ok(not_collected(owner, &failure, current, checked(now))),
    };
    let follows = view.desired.as_ref().is_ok_and(|desired| desired.workload.is_some());
    let waits = follows || !bound.is_empty() || recall.was_bound(now);
    let is_ripe = |name: &str| {
        let since_before = before.and_then(|before| before.is_ripe(name, now));
        !bound.contains(name) && since_before.unwrap_or(!waits)
    };
    let is_unused = |name: &str| !usage.config_maps.contains(name) && is_ripe(name);
    let unused: Vec<_> = surplus.into_iter().filter(|revision| is_unused(&revision.name)).collect();
    let current = unbind(cluster, owner, current, &usage, unused.is_empty()).await?;
    // From here on, no status binds what was taken out.
    let collected = checked((context.now)());
    match cluster::discard(cluster, owner, &unused).await {
        Ok(()) => Ok(Settled { collected: Some(collected), ..current.settled() }),
        Err(failure) => Ok(not_collected(owner, &failure, current, collected)),
    }
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

/// Takes bindings out that nobody needs. A revision is deleted only when no status names it, so the present status is
/// written before that as well.
async fn unbind(
    cluster: &impl Cluster,
    owner: &Owner,
    current: Current,
    usage: &Usage,
    deletes_nothing: bool,
) -> Result<Current, WriteError> {
    let Current { status, version, is_certain } = current;
    let needed = {
        let kept = kept(&status);
        bindings::needed(&status.bindings, |name| kept.contains(name), usage)
    };
    let is_same = needed == status.bindings;
    let status = ArtifactConfigStatus { bindings: needed, ..status };
    let version = if is_same && (deletes_nothing || is_certain) {
        version
    } else {
        cluster.write_status(owner, &status, version.as_deref()).await?
    };
    Ok(Current { status, version, is_certain: true })
}

fn not_collected(owner: &Owner, failure: &Failure, current: Current, collected: Collected) -> Settled {
    let Owner { namespace, name, .. } = owner;
    tracing::warn!(namespace, name, error = failure.message, "revisions not collected");
    Settled { collected: Some(collected.unfinished()), ..current.settled() }
}
