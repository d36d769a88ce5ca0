//! Spans of traces: one a reconcile, one a stage of the pipeline, one a request to a registry.
//!
//! They have a target of their own, so that they are made only where traces are wanted, and never stand in log lines.

use tracing::{Instrument as _, Span};

use crate::types::Failure;

/// The target of all of them.
pub const TARGET: &str = registry::SPANS;

/// A stage of the pipeline, with the fields that tell how it ended.
macro_rules! stage {
    ($name:literal $(, $field:literal = $value:expr)* $(,)?) => {
        tracing::info_span!(
            target: $crate::spans::TARGET,
            $name,
            "otel.status_code" = tracing::field::Empty,
            "otel.status_description" = tracing::field::Empty,
            "error.type" = tracing::field::Empty,
            $($field = $value,)*
        )
    };
}
pub(crate) use stage;

/// Does the work within the span, which says whether it failed and why. A failure's words are those of the condition: no
/// credentials are in them.
pub(crate) async fn within<T>(
    span: Span,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    // Boxed: each stage within a stage would make the future of the reconcile larger by all that is in it.
    let result = Box::pin(work.instrument(span.clone())).await;
    note(&span, &result);
    result
}

/// The same for work that does not wait.
pub(crate) fn within_sync<T>(span: &Span, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let result = span.in_scope(work);
    note(span, &result);
    result
}

fn note<T>(span: &Span, result: &Result<T, Failure>) {
    if let Err(failure) = result {
        failed(span, failure.reason.as_str(), &failure.message);
    }
}

/// Marks a span as failed.
pub(crate) fn failed(span: &Span, kind: &str, message: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", kind);
    span.record("otel.status_description", message);
}
