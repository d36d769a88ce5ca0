//! Answers of registries: bodies that are read with a bound, and what a refusal means.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use reqwest::Url;
use tokio::sync::OwnedSemaphorePermit;

use crate::api::Reason;
use crate::types::{Advice, Failure};

use super::access::Repository;
use super::observe::{Meter, authority};
use super::transport::Call;

/// Bytes of an error body that are read for its message.
const MAX_ERROR_BODY: usize = 16 * 1024;

/// The head of an answer; the body is read with a bound, or not at all.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Where the answer came from in the end.
    pub url: Url,
    /// Whether a redirect led to another scheme, host or port.
    pub moved: bool,
    pub body: Body,
}

/// What is left to read of an answer.
pub(super) enum Body {
    /// The content that was asked for. The turn at the host lasts until it is read, so it must be read, or dropped,
    /// before the next request is sent: whoever waits for a turn while holding one may wait for ever.
    Content { response: reqwest::Response, turn: OwnedSemaphorePermit, meter: Meter },
    /// Anything else: as much of it as an error message needs, and the turn is over.
    Read(Bytes),
}

impl Answer {
    /// `Content-Type`, where it is text.
    pub(super) fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
    }

    /// Reads the body, at most `most` bytes of it. What claims to be longer is not even begun.
    pub(super) async fn bytes(
        self,
        repository: &Repository,
        what: &str,
        most: u64,
    ) -> Result<Bytes, Failure> {
        let too_large = |size: String| {
            Failure::new(
                Reason::TooLarge,
                format!("{repository}: {what} has {size} bytes; at most {most} are read"),
            )
        };
        let declared =
            self.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if let Some(declared) = declared.filter(|declared| *declared > most) {
            return Err(too_large(declared.to_string()));
        }
        let (mut response, turn, mut meter) = match self.body {
            Body::Content { response, turn, meter } => (response, turn, meter),
            Body::Read(bytes) => return Ok(bytes),
        };
        let mut bytes = BytesMut::new();
        loop {
            let chunk = response
                .chunk()
                .await
                .map_err(|error| unreachable(repository, &self.url, &error.without_url()))?;
            let Some(chunk) = chunk else {
                drop(turn);
                return Ok(bytes.freeze());
            };
            meter.add(chunk.len());
            if (bytes.len() + chunk.len()) as u64 > most {
                return Err(too_large(format!("more than {most}")));
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    /// The failure that a status stands for where it is none of those a caller expects.
    pub(super) fn to_failure(&self, repository: &Repository, call: &Call) -> Failure {
        refused(repository, call, self, None)
    }
}

/// The beginning of a body that is only good for a message; whatever goes wrong with it does not matter.
pub(super) async fn beginning(mut response: reqwest::Response, meter: &mut Meter) -> Bytes {
    let mut bytes = BytesMut::new();
    while bytes.len() < MAX_ERROR_BODY {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                meter.add(chunk.len());
                bytes.extend_from_slice(&chunk);
            }
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(MAX_ERROR_BODY);
    bytes.freeze()
}

/// `Retry-After` in either of its forms (RFC 9110, section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

/// The innermost cause is the one that tells a person something: refused, unknown host, bad certificate.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message = cause.to_string();
        source = cause.source();
    }
    message
}

pub(super) fn unreachable(repository: &Repository, url: &Url, error: &reqwest::Error) -> Failure {
    let what = if error.is_timeout() { "did not answer in time" } else { "cannot be reached" };
    let host = authority(url);
    let who = if host == repository.host {
        format!("registry {host}")
    } else {
        // A store of blobs, or a web site, that the operator's network may not let it reach.
        format!("registry {} leads to {host}, which", repository.host)
    };
    Failure::new(Reason::RegistryUnavailable, format!("{who} {what}: {}", innermost(error)))
}

/// What a refusal means, and what to do about it. Statuses that a caller knows how to take never come here.
pub(super) fn refused(
    repository: &Repository,
    call: &Call,
    answer: &Answer,
    retry_after: Option<Duration>,
) -> Failure {
    let status = answer.status;
    let detail = error_detail(answer);
    let operation = call.operation;
    let (reason, advice) = match status.as_u16() {
        401 if repository.credentials.is_empty() => (Reason::AuthenticationFailed, Advice::GiveCredentials),
        401 => (Reason::AuthenticationFailed, Advice::CheckCredentials),
        403 if repository.credentials.is_empty() => (Reason::Forbidden, Advice::GiveCredentials),
        403 => (Reason::Forbidden, Advice::GrantPull),
        429 => (Reason::RateLimited, Advice::AskLess),
        _ => (Reason::RegistryUnavailable, Advice::Wait),
    };
    let message = format!("{repository}: the registry answered {status} to {operation}{detail}");
    Failure { retry_after, ..Failure::new(reason, message).advised(advice) }
}

/// The codes of an error envelope (distribution-spec, "Error Codes"). Its messages are left out: some registries put
/// request ids there, which would make every retry a new message.
fn error_detail(answer: &Answer) -> String {
    #[derive(serde::Deserialize)]
    struct Envelope {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        code: String,
    }
    let Body::Read(body) = &answer.body else { return String::new() };
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else { return String::new() };
    let known = |code: &String| {
        code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let mut codes: Vec<String> = envelope.errors.into_iter().map(|entry| entry.code).filter(known).collect();
    codes.truncate(3);
    if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checklist A21: seconds and date.
    #[rstest::rstest]
    #[case("2", Some(2))]
    #[case("Thu, 01 Jan 1970 00:01:40 GMT", Some(90))]
    #[case("Thu, 01 Jan 1970 00:00:01 GMT", None)]
    #[case("soon", None)]
    fn reads_retry_after(#[case] value: &str, #[case] seconds: Option<u64>) {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs));
    }
}
