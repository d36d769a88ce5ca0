//! Wakes the workload of a resource after its bindings are written.

use api::Binding;
use decide::view::View;
use decide::wake::{Wake, wake};
use jiff::Timestamp;

use crate::cluster::Cluster;

use super::context::Context;

/// What came of it.
#[derive(Default)]
pub(super) struct Woken {
    /// When the workload was woken last.
    pub(super) at: Option<Timestamp>,
    /// When to decide again.
    pub(super) again: Option<std::time::Duration>,
}

/// Wakes the workload if pods were refused whose config is known now. A failure is tried again, and harms nothing else.
pub(super) async fn workload<R, C: Cluster>(
    context: &Context<R, C>,
    view: &View<'_>,
    bindings: &[Binding],
    last: Option<Timestamp>,
) -> Woken {
    let now = (context.now)();
    let workload = view.desired.as_ref().ok().and_then(|desired| desired.workload.as_deref());
    let Some(workload) = workload else { return Woken::default() };
    let owner = &view.header.owner;
    match wake(workload, bindings, last, now) {
        None => Woken { at: last, again: None },
        Some(Wake::Later(again)) => Woken { at: last, again: Some(again) },
        Some(Wake::Now(value)) => {
            let waking = Box::pin(context.cluster.wake(owner, &workload.reference, &value));
            if let Err(failure) = waking.await {
                let error = failure.message;
                tracing::warn!(namespace = owner.namespace, name = owner.name, error, "workload not woken");
            } else {
                tracing::info!(namespace = owner.namespace, name = owner.name, value, "workload woken");
            }
            Woken { at: Some(now), again: Some(AGAIN) }
        }
    }
}

/// Soon after the first time, because an API server may have admitted pods by an older index.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(2);
