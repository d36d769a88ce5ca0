//! Spans of traces: one for each reconcile, each stage, and each request to a registry.
//!
//! They have a separate tracing target, so that they are created only if traces are enabled, and never appear in log
//! lines.

use decide::Failure;
use tracing::{Instrument as _, Span};

/// The tracing target of all spans.
pub const TARGET: &str = registry::SPANS;

/// A span for a stage, with fields for its result.
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

/// Runs the work within the span, and records whether it failed and why. The text is the message of the condition, so
/// it holds no credentials.
pub(crate) async fn within<T>(
    span: Span,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    // Boxed, because nested stages would make the future of the reconcile larger by all their state.
    let result = Box::pin(work.instrument(span.clone())).await;
    note(&span, &result);
    result
}

/// The same for synchronous work.
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
