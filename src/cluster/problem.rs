//! Failures of requests to the API server, and their timeout.

use std::time::Duration;

use api::Reason;
use decide::Failure;
use oci::truncate;

use super::WriteError;
use super::permit::Missing;

/// Longest wait for an answer of the API server. Requests other than watches have no limit of their own in kube 5.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Longest part of the API server's message that our messages repeat.
const MAX_MESSAGE: usize = 400;

/// Runs a request with a timeout.
pub(super) async fn limited<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Problem> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(result) => result.map_err(|error| Problem::of(&error)),
        Err(_) => {
            Err(Problem::Other(format!("the API server did not answer within {} s", TIMEOUT.as_secs())))
        }
    }
}

/// Why a request to the API server failed.
pub(super) enum Problem {
    NotFound,
    Conflict,
    Terminating,
    /// The API server does not serve the kind.
    NoKind,
    /// The object is too large for the API server or etcd; with the API server's message.
    TooLarge(String),
    Other(String),
}

impl Problem {
    pub(super) fn of(error: &kube::Error) -> Self {
        match error {
            // A group that does not exist is answered with plain text.
            kube::Error::Api(status) if status.is_not_found() || status.code == 404 => Self::NotFound,
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => Self::Conflict,
            kube::Error::Api(status) if is_terminating(status) => Self::Terminating,
            kube::Error::Api(status) if is_too_large(status) => {
                Self::TooLarge(format!("the API server refused: {}", truncate(&status.message, MAX_MESSAGE)))
            }
            kube::Error::Api(status) => {
                Self::Other(format!("the API server refused: {}", truncate(&status.message, MAX_MESSAGE)))
            }
            kube::Error::Discovery(_) => Self::NoKind,
            other => {
                if let Some(missing) = Missing::of(other) {
                    return Self::Other(missing.to_string());
                }
                // The innermost cause, as for registries. The outer errors only repeat that a request failed.
                let mut message = other.to_string();
                let mut source = std::error::Error::source(other);
                while let Some(cause) = source {
                    message = cause.to_string();
                    source = cause.source();
                }
                Self::Other(format!("the API server cannot be reached: {}", truncate(&message, MAX_MESSAGE)))
            }
        }
    }

    pub(super) fn into_failure(self, what: &str) -> Failure {
        self.into_failure_of(Reason::ApplyFailed, what)
    }

    /// The same with another reason, for an object that others own.
    pub(super) fn into_failure_of(self, reason: Reason, what: &str) -> Failure {
        let why = match self {
            Self::NoKind => "the API server does not know this kind".to_owned(),
            Self::NotFound => "it does not exist".to_owned(),
            Self::Conflict => "it changed in between".to_owned(),
            Self::Terminating => {
                return Failure::new(
                    Reason::NamespaceTerminating,
                    format!("{what}: its namespace is being deleted"),
                );
            }
            Self::TooLarge(why) | Self::Other(why) => why,
        };
        Failure::new(reason, format!("{what}: {why}"))
    }

    pub(super) fn into_write_error(self, name: &str) -> WriteError {
        match self {
            // A deleted object is not the object that was read any more.
            Self::Conflict | Self::NotFound => WriteError::Conflict,
            // Content of others in the object counts too, so this cannot be checked before.
            Self::TooLarge(why) => WriteError::Failure(Failure::new(
                Reason::TooLarge,
                format!(
                    "ConfigMap '{name}' was not written: {why}; take fewer files with spec.files, attach less, or remove the content of others from it"
                ),
            )),
            Self::Terminating | Self::NoKind | Self::Other(_) => {
                WriteError::Failure(self.into_failure(&format!("ConfigMap '{name}' was not written")))
            }
        }
    }
}

/// A body above the API server's bound, an object above etcd's, or a field above that of its kind.
fn is_too_large(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 413
        || status.message.contains("etcdserver: request is too large")
        || causes.into_iter().any(|cause| cause.reason == "FieldValueTooLong")
}

/// The cause that the API server names (`NamespaceTerminatingCause` in kubernetes `api/core/v1`).
fn is_terminating(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// An object that is too large stays too large: somebody must act, and the operator does not retry again and again.
    #[rstest::rstest]
    #[case(json!({"code": 413, "reason": "RequestEntityTooLarge", "message": "limit is 3145728"}), true)]
    #[case(json!({"code": 500, "message": "etcdserver: request is too large"}), true)]
    #[case(json!({"code": 422, "reason": "Invalid", "message": "Too long", "details": {"causes": [{"reason": "FieldValueTooLong"}]}}), true)]
    #[case(json!({"code": 422, "reason": "Invalid", "message": "no", "details": {"causes": [{"reason": "FieldValueInvalid"}]}}), false)]
    #[case(json!({"code": 500, "message": "etcdserver: request timed out"}), false)]
    fn what_is_too_large_is_no_passing_trouble(#[case] status: serde_json::Value, #[case] too_large: bool) {
        let status = serde_json::from_value(status).unwrap();
        let WriteError::Failure(failure) = Problem::of(&kube::Error::Api(status)).into_write_error("web")
        else {
            panic!("a conflict")
        };
        let expected = if too_large { Reason::TooLarge } else { Reason::ApplyFailed };
        assert_eq!(failure.reason, expected, "{}", failure.message);
    }
}
