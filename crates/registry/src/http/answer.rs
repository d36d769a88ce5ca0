//! Answers of registries: bodies that are read with a bound, and the errors that refusals stand for.

use std::io::Read as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use reqwest::Url;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::credentials::access::Repository;
use crate::error::{Bound, Cause, Error, Kind, Login, Party};
use crate::http::call::Call;
use crate::http::pace::Pace;
use crate::http::room::{LONGEST, Place, Room, SMALL};
use crate::http::trouble::{Trouble, innermost};
use crate::observe::{Meter, authority};

/// Bytes of an error body that are read for its message.
const MAX_ERROR_BODY: usize = 16 * 1024;

/// Bytes that are kept of a body that is too long. Go writes the type of a manifest first.
const MAX_BEGINNING: usize = 64 * 1024;

/// The head of an answer; the body is read with a bound, or not at all.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The URL that the answer came from, after all redirects.
    pub url: Url,
    /// Whether a redirect led to another scheme, host or port.
    pub moved: bool,
    /// The credentials that the request to this server carried.
    pub shown: Shown,
    /// The address that it came from; `None` behind a proxy.
    pub peer: Option<IpAddr>,
    pub body: Body,
}

/// A body that was read.
pub(crate) struct Sent {
    /// As it was sent.
    pub bytes: Bytes,
    pub content_type: Option<String>,
    pub encoding: Encoding,
    /// Whether it came from another host than the registry.
    pub moved: bool,
    /// Kept until the bytes are decoded.
    _place: Option<Place>,
}

/// The encoding of a body, although the client asked for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    None,
    Gzip,
    /// An unknown encoding.
    Other,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Self {
        match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase()) {
            None => Self::None,
            Some(value) if value.is_empty() || value == b"identity" => Self::None,
            Some(value) if value == b"gzip" || value == b"x-gzip" => Self::Gzip,
            Some(_) => Self::Other,
        }
    }
}

impl Sent {
    /// The body without an encoding that nobody asked for: some gateways compress for every client, because Go's client
    /// always asks for it. At most `most` bytes. `None` if the body has no such encoding, or if it cannot be decoded.
    pub(crate) fn inflated(&self, most: u64) -> Option<Bytes> {
        if self.encoding != Encoding::Gzip {
            return None;
        }
        let mut bytes = Vec::new();
        let read = MultiGzDecoder::new(&*self.bytes).take(most + 1).read_to_end(&mut bytes);
        (read.is_ok() && bytes.len() as u64 <= most).then(|| bytes.into())
    }
}

/// A body, or the beginning of one that is too long.
pub(crate) enum Read {
    Whole(Sent),
    /// Its first bytes, which may show its type.
    TooLong {
        beginning: Bytes,
        error: Error,
    },
}

/// The credentials of a request that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// A request without credentials, or with a token that everybody gets.
    Nothing,
    /// A request with credentials, or with a token for them.
    Credentials,
    /// The same, with credentials that the registry has accepted for this repository before.
    Accepted,
}

/// The body of an answer, read or not.
pub(crate) enum Body {
    /// The content that was asked for. The turn at the host lasts until the body is read. So it must be read, or
    /// dropped, before the next request is sent: a caller that waits for a turn while it holds one may wait forever.
    Content { response: reqwest::Response, turn: OwnedSemaphorePermit, meter: Meter },
    /// Any other body: the part of it that an error message needs. The turn is over.
    Read(Bytes),
}

impl Answer {
    /// Whether another host answered, to which the registry redirected. `false` if the redirects led back to the
    /// registry.
    fn is_of_another(&self, repository: &Repository) -> bool {
        self.moved && !repository.owns(&self.url)
    }

    /// Whether another host refuses the URL to which the registry redirected. The URL is most likely signed, and the
    /// next one gets a new signature.
    pub(crate) fn refuses_a_signed_url(&self, repository: &Repository) -> bool {
        self.is_of_another(repository)
            && matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }

    /// `Content-Type`, if it is text. If it cannot be read, the body decides.
    pub(crate) fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
    }

    /// Reads the body, at most `most` bytes of it.
    pub(crate) async fn content(
        self,
        repository: &Repository,
        what: &str,
        most: u64,
        room: &Room,
    ) -> Result<Sent, Error> {
        match self.read(repository, what, most, room).await? {
            Read::Whole(content) => Ok(content),
            Read::TooLong { error, .. } => Err(error),
        }
    }

    /// The same for a caller that can use the beginning of a body that is too long. If the declared length is too long,
    /// only the beginning is read.
    pub(crate) async fn read(
        self,
        repository: &Repository,
        what: &str,
        most: u64,
        room: &Room,
    ) -> Result<Read, Error> {
        let (encoding, moved) = (Encoding::of(&self.headers), self.moved);
        let content_type = self.content_type().map(str::to_owned);
        let too_long = |size: String, beginning: BytesMut| Read::TooLong {
            beginning: first(beginning, MAX_BEGINNING),
            error: Error::new(
                Kind::TooLarge(Bound::Bytes),
                format!("{repository}: {what} has {size} bytes; at most {most} are read"),
            ),
        };
        // A body that was compressed unasked can be a little longer than its content.
        let most_sent = if encoding == Encoding::None { most } else { most + most / 100 + 1024 };
        // The HTTP client has already refused a length that is not a number.
        let declared =
            self.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let claims_too_much = declared.filter(|declared| *declared > most_sent);
        let (mut response, turn, mut meter) = match self.body {
            Body::Content { response, turn, meter } => (response, turn, meter),
            Body::Read(bytes) => {
                return Ok(Read::Whole(Sent { bytes, content_type, encoding, moved, _place: None }));
            }
        };
        let mut bytes = BytesMut::new();
        let (mut held, mut until, mut pace) = (None, None, Pace::begin());
        loop {
            let chunk = pace.next(&mut response);
            let chunk = match until {
                None => chunk.await,
                Some(until) => tokio::time::timeout_at(until, chunk).await.unwrap_or_else(|_| {
                    Err(format!("takes more than {} s for its answer", LONGEST.as_secs()))
                }),
            };
            let chunk = match (chunk, claims_too_much) {
                (Ok(chunk), _) => chunk,
                (Err(_), Some(declared)) => return Ok(too_long(declared.to_string(), bytes)),
                (Err(why), None) => {
                    let message = format!("{} {why}", who(repository, &self.url));
                    return Err(Error::new(Kind::Unavailable(Cause::Other), message));
                }
            };
            let Some(chunk) = chunk else {
                drop(turn);
                let bytes = bytes.freeze();
                return Ok(Read::Whole(Sent { bytes, content_type, encoding, moved, _place: held }));
            };
            meter.add(chunk.len());
            let length = bytes.len() + chunk.len();
            if length as u64 > most_sent {
                return Ok(too_long(format!("more than {most}"), bytes));
            }
            if let Some(declared) = claims_too_much.filter(|_| length >= MAX_BEGINNING) {
                bytes.extend_from_slice(&chunk);
                return Ok(too_long(declared.to_string(), bytes));
            }
            if length > SMALL && held.is_none() {
                held = room.enter().await;
                until = Some(Instant::now() + LONGEST);
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    /// Whether the answer asks for fewer or later requests.
    pub(crate) fn wants_less(&self) -> bool {
        let later = self.status.is_server_error() && self.headers.contains_key(RETRY_AFTER);
        later || self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// The error for a status that the caller does not expect.
    pub(crate) fn to_error(&self, repository: &Repository, call: &Call) -> Error {
        refused(repository, call, self, retry_after(&self.headers, SystemTime::now()))
    }
}

/// The beginning of a body that is only used for a message. Errors while reading it do not matter.
pub(crate) async fn beginning(mut response: reqwest::Response, meter: &mut Meter) -> Bytes {
    let mut bytes = BytesMut::new();
    let mut pace = Pace::begin();
    while bytes.len() < MAX_ERROR_BODY {
        match pace.next(&mut response).await {
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
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

/// The server that did or did not answer, as the beginning of a sentence.
fn who(repository: &Repository, url: &Url) -> String {
    if repository.owns(url) {
        format!("registry {}", repository.host)
    } else {
        // A store of blobs, or a web site, that a network policy may keep this process from.
        format!("registry {} leads to {}, which", repository.host, authority(url))
    }
}

/// The error for no answer at all. Only text from the registry itself is repeated. Text of another host, for example of
/// its certificate, must not reach everybody who can make a registry redirect there.
pub(crate) fn unreachable(repository: &Repository, url: &Url, error: &reqwest::Error) -> Error {
    let (trouble, who) = (Trouble::of(error), who(repository, url));
    if !repository.owns(url) {
        return Error::new(Kind::Unavailable(Cause::Other), format!("{who} {}", trouble.what()));
    }
    let message = format!("{who} {}: {}", trouble.what(), innermost(error));
    Error::new(Kind::Unavailable(trouble.cause(repository.plain_http)), message)
}

/// The error for a refusal. Statuses that a caller handles itself never come here.
pub(crate) fn refused(
    repository: &Repository,
    call: &Call,
    answer: &Answer,
    retry_after: Option<Duration>,
) -> Error {
    let error = if answer.is_of_another(repository) {
        refused_elsewhere(repository, call, answer)
    } else {
        refused_by_registry(repository, call, answer)
    };
    error.answered(answer.status.as_u16(), retry_after)
}

/// The meaning depends on the request: a server that got no credentials has not refused any.
fn refused_by_registry(repository: &Repository, call: &Call, answer: &Answer) -> Error {
    let Answer { status, shown, .. } = answer;
    let answered =
        format!("{repository}: the registry answered {status} to {}{}", call.operation, error_detail(answer));
    let error = |kind| Error::new(kind, &answered);
    let given = !repository.credentials.is_empty();
    match (status.as_u16(), shown) {
        (401, Shown::Nothing) if answer.moved => error(Kind::Unauthorized(Login::Unsent))
            .and("it redirects to another host and back, where credentials do not go along"),
        (401, Shown::Nothing) if given => error(Kind::Unauthorized(Login::Unsent))
            .and("the credentials that are given for it do not fit what it asks for, and were not sent"),
        (401, Shown::Nothing) => error(Kind::Unauthorized(Login::Missing)),
        (401, Shown::Credentials) => error(Kind::Unauthorized(Login::Refused)),
        (401, Shown::Accepted) => error(Kind::Unauthorized(Login::Refused))
            .and("the credentials were accepted for this repository before"),
        (403, Shown::Nothing) if given => error(Kind::Forbidden(Login::Unsent))
            .and("it did not ask for credentials, so those that are given for it were not sent"),
        (403, Shown::Nothing) => error(Kind::Forbidden(Login::Missing)),
        (403, _) => error(Kind::Forbidden(Login::Refused)),
        (429, _) => error(Kind::RateLimited(Party::Registry)),
        (400, _) if wants_tls(answer) => error(Kind::Unavailable(Cause::SpeaksHttps)),
        _ => error(Kind::Unavailable(Cause::Status(Party::Registry))),
    }
}

/// Whether this is the answer of an HTTPS server to plain HTTP: Go's server and nginx have fixed texts for it.
fn wants_tls(answer: &Answer) -> bool {
    const SAID: [&str; 2] = ["HTTP request to an HTTPS server", "HTTP request was sent to HTTPS port"];
    let Body::Read(body) = &answer.body else { return false };
    let text = String::from_utf8_lossy(body);
    answer.url.scheme() == "http" && SAID.iter().any(|said| text.contains(said))
}

/// The first bytes of a buffer.
fn first(mut bytes: BytesMut, most: usize) -> Bytes {
    bytes.truncate(most);
    bytes.freeze()
}

/// Another host got no credentials, so credentials are not the cause. Its text is not shown: the registry may have
/// named any host.
fn refused_elsewhere(repository: &Repository, call: &Call, answer: &Answer) -> Error {
    let kind = match answer.status.as_u16() {
        401 | 403 => Kind::Unavailable(Cause::SignedUrl),
        429 => Kind::RateLimited(Party::Elsewhere),
        _ => Kind::Unavailable(Cause::Status(Party::Elsewhere)),
    };
    Error::new(
        kind,
        format!(
            "{repository}: the registry leads to {} for {}, which answered {}",
            authority(&answer.url),
            call.operation,
            answer.status
        ),
    )
}

/// The codes of an error envelope (distribution-spec, "Error Codes"). Its messages are left out: some registries put
/// request ids there, which would make every retry a new message. Nothing of another host that the registry redirects
/// to is repeated.
fn error_detail(answer: &Answer) -> String {
    #[derive(serde::Deserialize)]
    struct Envelope {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: Option<String>,
    }
    let Body::Read(body) = &answer.body else { return String::new() };
    if answer.moved {
        return String::new();
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else { return String::new() };
    let known = |code: &String| {
        code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let mut codes: Vec<String> =
        envelope.errors.into_iter().filter_map(|entry| entry.code).filter(known).collect();
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
