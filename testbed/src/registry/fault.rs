//! Faults: the effects of a registry, or of a gateway in front of it, on a request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::request::Parts as RequestParts;
use axum::http::response::Parts as ResponseParts;
use axum::http::{HeaderMap, Method, StatusCode};

type Matcher = Arc<dyn Fn(&RequestParts) -> bool + Send + Sync>;
type BodyRewrite = Arc<dyn Fn(&mut ResponseParts, Bytes) -> Bytes + Send + Sync>;
type HeaderRewrite = Arc<dyn Fn(&mut HeaderMap) + Send + Sync>;
type Location = Arc<dyn Fn(&RequestParts) -> String + Send + Sync>;

/// Which requests, how often, and what happens to them.
///
/// ```
/// # use testbed::registry::Fault;
/// Fault::on("/referrers/").method("GET").status(503).times(2);
/// Fault::on("/manifests/").body(|_, _| b"not what the digest says".to_vec());
/// ```
#[derive(Clone)]
pub struct Fault {
    /// Only requests with this method.
    pub method: Option<Method>,
    /// Only these requests.
    pub path: PathMatch,
    /// Only the first so many of them.
    pub times: Option<u32>,
    /// What happens.
    pub action: Action,
}

/// Which requests a fault is for.
#[derive(Clone)]
pub enum PathMatch {
    /// All of them.
    Any,
    /// Those whose path contains this text.
    Contains(String),
    /// Those whose path and query are this text.
    Exactly(String),
    /// Those the function says yes to.
    When(Matcher),
}

/// What happens to a request.
#[derive(Clone)]
pub enum Action {
    /// The registry is not asked; this is the answer.
    Respond {
        /// Status of the answer.
        status: StatusCode,
        /// Headers of the answer.
        headers: Vec<(String, String)>,
        /// Body of the answer.
        body: Bytes,
    },
    /// The request waits, then goes its way.
    Delay(Duration),
    /// No answer ever, until the client gives up or the registry is stopped.
    Hang,
    /// The connection is closed without an answer.
    Disconnect,
    /// The registry's answer gets another body (and head, if wanted); `Content-Length` follows the new body.
    RewriteBody(BodyRewrite),
    /// The registry's answer gets other headers.
    RewriteHeaders(HeaderRewrite),
    /// The connection breaks after so many bytes of the body, although `Content-Length` promised all of them.
    TruncateBody(usize),
    /// `Content-Length` promises so many bytes for any body; the connection breaks after the real body.
    DeclareLength(u64),
    /// The body never ends (and has no `Content-Length`).
    EndlessBody,
    /// The answer sends the client elsewhere.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
        /// Where to, by request.
        location: Location,
    },
}

impl Fault {
    fn new(path: PathMatch) -> Self {
        let respond = Action::Respond {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            headers: Vec::new(),
            body: Bytes::new(),
        };
        Self { method: None, path, times: None, action: respond }
    }

    /// For requests whose path contains `part`. Without any further word it answers 500.
    #[must_use]
    pub fn on(part: &str) -> Self {
        Self::new(PathMatch::Contains(part.to_owned()))
    }

    /// For one path, query included.
    #[must_use]
    pub fn exactly(path_and_query: &str) -> Self {
        Self::new(PathMatch::Exactly(path_and_query.to_owned()))
    }

    /// For every request.
    #[must_use]
    pub fn always() -> Self {
        Self::new(PathMatch::Any)
    }

    /// For the requests that `matches` says yes to.
    #[must_use]
    pub fn when(matches: impl Fn(&RequestParts) -> bool + Send + Sync + 'static) -> Self {
        Self::new(PathMatch::When(Arc::new(matches)))
    }

    /// Only for this method. An unknown one matches nothing.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(Method::from_bytes(method.as_bytes()).unwrap_or(Method::CONNECT));
        self
    }

    /// Only for the next so many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Answers with a status and an empty body.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        self.respond(status, &[], "")
    }

    /// Answers with this instead of asking the registry.
    #[must_use]
    pub fn respond(self, status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.does(Action::Respond { status: status_code(status), headers, body: body.into() })
    }

    /// Lets requests wait first.
    #[must_use]
    pub fn delay(self, time: Duration) -> Self {
        self.does(Action::Delay(time))
    }

    /// Never answers.
    #[must_use]
    pub fn hang(self) -> Self {
        self.does(Action::Hang)
    }

    /// Closes the connection without an answer.
    #[must_use]
    pub fn disconnect(self) -> Self {
        self.does(Action::Disconnect)
    }

    /// Changes the body of the registry's answer, and its status and headers if wanted.
    #[must_use]
    pub fn body<B: Into<Bytes>>(
        self,
        rewrite: impl Fn(&mut ResponseParts, Bytes) -> B + Send + Sync + 'static,
    ) -> Self {
        self.does(Action::RewriteBody(Arc::new(move |parts, bytes| rewrite(parts, bytes).into())))
    }

    /// Changes the headers of the registry's answer.
    #[must_use]
    pub fn headers(self, rewrite: impl Fn(&mut HeaderMap) + Send + Sync + 'static) -> Self {
        self.does(Action::RewriteHeaders(Arc::new(rewrite)))
    }

    /// Breaks the connection after so many bytes of the body.
    #[must_use]
    pub fn truncate(self, keep: usize) -> Self {
        self.does(Action::TruncateBody(keep))
    }

    /// Promises so many bytes.
    #[must_use]
    pub fn declares(self, length: u64) -> Self {
        self.does(Action::DeclareLength(length))
    }

    /// Sends bytes without end.
    #[must_use]
    pub fn endless(self) -> Self {
        self.does(Action::EndlessBody)
    }

    /// Sends the client to this URL.
    #[must_use]
    pub fn redirect(self, status: u16, location: &str) -> Self {
        let location = location.to_owned();
        self.does(Action::Redirect {
            status: status_code(status),
            location: Arc::new(move |_| location.clone()),
        })
    }

    /// Sends the client to the same path on another host (`127.0.0.1:port`).
    #[must_use]
    pub fn redirect_to_host(self, status: u16, host: &str) -> Self {
        let host = host.to_owned();
        let location: Location = Arc::new(move |request| format!("http://{host}{}", request.uri));
        self.does(Action::Redirect { status: status_code(status), location })
    }

    /// Does this.
    #[must_use]
    pub fn does(mut self, action: Action) -> Self {
        self.action = action;
        self
    }

    pub(super) fn is_for(&self, request: &RequestParts) -> bool {
        self.method.as_ref().is_none_or(|method| method == request.method) && self.path.matches(request)
    }
}

impl PathMatch {
    fn matches(&self, request: &RequestParts) -> bool {
        match self {
            Self::Any => true,
            Self::Contains(part) => request.uri.path().contains(part.as_str()),
            Self::Exactly(path) => request.uri.path_and_query().is_some_and(|found| found.as_str() == path),
            Self::When(matches) => matches(request),
        }
    }
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("method", &self.method)
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}
