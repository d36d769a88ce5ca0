//! The requests a registry has seen.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::marks::ClientCertificate;

/// The oldest go first beyond this; about 100 MB, more than any test looks at.
const MOST: usize = 100_000;

/// A request as it arrived, and the status it was answered with.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// `GET`, `HEAD` …
    pub method: String,
    /// Without the query.
    pub path: String,
    /// What follows the question mark.
    pub query: Option<String>,
    /// `None` while it is unanswered, and forever when the client gave up first.
    pub status: Option<u16>,
    /// The whole `Authorization` header.
    pub authorization: Option<String>,
    /// Whether the client showed a certificate.
    pub client_certificate: bool,
    /// All headers.
    pub headers: HeaderMap,
    /// When it arrived.
    pub at: SystemTime,
}

impl RecordedRequest {
    /// Path and query, as in the request line.
    #[must_use]
    pub fn target(&self) -> String {
        self.query.as_ref().map_or_else(|| self.path.clone(), |query| format!("{}?{query}", self.path))
    }
}

#[derive(Debug, Default)]
struct Kept {
    requests: VecDeque<RecordedRequest>,
    /// Number of the first kept one, counted from the start.
    first: u64,
}

/// Remembers requests in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Kept>);

impl Recorder {
    /// Returns the request's number, for [`Recorder::answered`].
    pub(super) fn arrived(&self, request: &Parts) -> u64 {
        let authorization = request.headers.get(header::AUTHORIZATION);
        let recorded = RecordedRequest {
            method: request.method.to_string(),
            path: request.uri.path().to_owned(),
            query: request.uri.query().map(str::to_owned),
            status: None,
            authorization: authorization.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            client_certificate: request.extensions.get::<ClientCertificate>().is_some(),
            headers: request.headers.clone(),
            at: SystemTime::now(),
        };
        let mut kept = self.lock();
        if kept.requests.len() == MOST {
            kept.requests.pop_front();
            kept.first += 1;
        }
        kept.requests.push_back(recorded);
        kept.first + kept.requests.len() as u64 - 1
    }

    pub(super) fn answered(&self, number: u64, status: u16) {
        let mut kept = self.lock();
        let index = number.checked_sub(kept.first).and_then(|index| usize::try_from(index).ok());
        if let Some(request) = index.and_then(|index| kept.requests.get_mut(index)) {
            request.status = Some(status);
        }
    }

    pub(super) fn all(&self) -> Vec<RecordedRequest> {
        self.lock().requests.iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        let mut kept = self.lock();
        kept.first += kept.requests.len() as u64;
        kept.requests.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
