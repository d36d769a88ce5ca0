//! What the server and the layer in front of the registry tell each other on a request and on its answer.

use axum::http::HeaderName;

/// Header of an answer that is not to be sent: the server closes the connection instead.
pub(super) const DISCONNECT: HeaderName = HeaderName::from_static("x-testbed-disconnect");

/// Marks requests of a client that showed a certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientCertificate;
