//! The layer in front of the embedded registry: records, injects faults, asks for credentials.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::response::Parts as ResponseParts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use futures::{Stream, StreamExt as _, stream};

use super::auth::Auth;
use super::fault::Action;
use super::faults::Faults;
use super::marks::DISCONNECT;
use super::record::Recorder;

/// The registry behind accepts no larger manifest, and tests have no larger blob.
const LARGEST_BODY: usize = 512 * 1024 * 1024;

/// One piece of a body without end.
const ENDLESS_PIECE: &[u8] = &[b'x'; 16 * 1024];

/// Between the last byte that is sent and the end of the connection.
const BEFORE_BREAKING: Duration = Duration::from_millis(20);

/// What the layer knows.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) host: String,
    pub(super) scheme: &'static str,
    pub(super) recorder: Recorder,
    pub(super) faults: Faults,
    pub(super) auth: Auth,
}

/// One request on its way.
pub(super) async fn pass(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let number = front.recorder.arrived(&parts);
    let mut on_answer = Vec::new();
    for action in front.faults.actions_for(&parts) {
        let answer = match action {
            Action::Delay(time) => {
                tokio::time::sleep(time).await;
                continue;
            }
            Action::Hang => std::future::pending::<Response<Body>>().await,
            Action::Disconnect => {
                simple_response(StatusCode::BAD_GATEWAY, &[(DISCONNECT.as_str(), "1")], Bytes::new())
            }
            Action::Respond { status, headers, body } => {
                let headers: Vec<_> =
                    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                simple_response(status, &headers, body)
            }
            Action::Redirect { status, location } => {
                simple_response(status, &[(header::LOCATION.as_str(), &location(&parts))], Bytes::new())
            }
            later => {
                on_answer.push(later);
                continue;
            }
        };
        front.recorder.answered(number, answer.status().as_u16());
        return answer;
    }

    let mut answer = if front.auth.is_token_request(&parts) {
        let form = to_bytes(body, LARGEST_BODY).await.unwrap_or_default();
        front.auth.token(&parts, &form)
    } else {
        match front.auth.check(&parts, front.scheme, &front.host) {
            Ok(()) => next.run(Request::from_parts(parts, body)).await,
            Err(challenge) => challenge,
        }
    };
    for action in on_answer {
        answer = change(answer, action).await;
    }
    front.recorder.answered(number, answer.status().as_u16());
    answer
}

async fn change(answer: Response<Body>, action: Action) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    let body = match action {
        Action::RewriteHeaders(rewrite) => {
            rewrite(&mut parts.headers);
            body
        }
        Action::RewriteBody(rewrite) => {
            let bytes = to_bytes(body, LARGEST_BODY).await.unwrap_or_default();
            let bytes = rewrite(&mut parts, bytes);
            set_length(&mut parts, bytes.len());
            Body::from(bytes)
        }
        Action::TruncateBody(keep) => {
            let bytes = to_bytes(body, LARGEST_BODY).await.unwrap_or_default();
            set_length(&mut parts, bytes.len());
            Body::from_stream(broken_off(bytes.slice(..keep.min(bytes.len()))))
        }
        Action::DeclareLength(length) => {
            let bytes = to_bytes(body, LARGEST_BODY).await.unwrap_or_default();
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            Body::from_stream(broken_off(bytes))
        }
        Action::EndlessBody => {
            parts.headers.remove(header::CONTENT_LENGTH);
            Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(ENDLESS_PIECE))))
        }
        Action::Respond { .. }
        | Action::Redirect { .. }
        | Action::Delay(_)
        | Action::Hang
        | Action::Disconnect => body,
    };
    Response::from_parts(parts, body)
}

/// These bytes, and then the connection breaks.
fn broken_off(bytes: Bytes) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    // The pause lets the server send what there is before the error makes it break the connection.
    let broken = async {
        tokio::time::sleep(BEFORE_BREAKING).await;
        Err(io::Error::other("a fault breaks the connection off"))
    };
    stream::iter([Ok(bytes)]).chain(stream::once(broken))
}

fn set_length(parts: &mut ResponseParts, length: usize) {
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
}

/// An answer of ours. A header that HTTP cannot carry is left out.
pub(super) fn simple_response(status: StatusCode, headers: &[(&str, &str)], body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(*name), HeaderValue::try_from(*value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
