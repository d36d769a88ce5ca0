//! A reconcile with metrics of the queue and with traces.

use std::time::Duration;

use decide::turns::Next;
use kube::Resource as _;
use registry::Registry;
use tracing::Instrument as _;

use crate::cluster::KubeCluster;
use crate::spans;
use crate::telemetry::waited;

use super::context::Context;
use super::reconcile::reconcile;
use super::turn::Turn;
use super::watch::{Guarded, key_of};

/// Reconciles a resource, and records it in metrics and traces.
pub(super) async fn observed<R: Registry>(
    object: &Guarded,
    context: &Context<R, KubeCluster>,
    turn: &Turn,
) -> Next {
    let key = key_of(object);
    let waiting = context.metrics.queue().begin(&key.namespace, &key.name);
    let span = tracing::info_span!(
        target: spans::TARGET,
        "reconcile",
        "k8s.namespace.name" = &*key.namespace,
        "artifactconfig.name" = &*key.name,
        "artifactconfig.generation" = object.meta().generation,
        "artifactconfig.reason" = tracing::field::Empty,
        "otel.status_code" = tracing::field::Empty,
        "otel.status_description" = tracing::field::Empty,
        "error.type" = tracing::field::Empty,
    );
    if let Some(time) = waiting.waited() {
        waited(&span, "watch", time);
    }
    let next = reconcile(object, context, turn).instrument(span).await;
    waiting.end(match next {
        Next::After(wait) => Some(wait),
        Next::AtRegistry => Some(Duration::ZERO),
        Next::OnChange => None,
    });
    next
}
