//! The observations that the client reports, for metrics.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use strum::IntoStaticStr;

/// Target of the log lines, so that one filter selects those of this client and of the program around it.
pub(crate) const LOG: &str = "artifactconfig::registry";

/// One request as it went out.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Host that was asked, with its port where the URL names one: a registry, a token endpoint, or a store of blobs.
    pub host: String,
    /// The operation: `resolve`, `referrers`, `manifest`, `blob` or `token`.
    pub operation: &'static str,
    /// Status code; `None` if no answer came.
    pub status: Option<u16>,
    /// Time until the headers of the answer came.
    pub took: Duration,
}

/// The caches that save requests to registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum CacheKind {
    /// Digests of tags, for less than a second.
    Digest,
    /// Lists of what is attached, for less than a second.
    List,
    /// Manifests by digest.
    Manifest,
    /// Blobs by digest.
    Blob,
}

impl CacheKind {
    /// The word that stands in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why a request was not sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum WaitCause {
    /// The client's own bounds for one host: requests side by side, or a second.
    Turn,
    /// The registry named a time in `Retry-After`.
    RetryAfter,
    /// An answer asked for another try without a time, or no answer came.
    Backoff,
}

impl WaitCause {
    /// The word that stands in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One thing that happened on the way to an answer.
#[derive(Clone, Debug)]
pub enum Observation<'a> {
    /// A request was answered, or failed. Each try and each redirect is one.
    Requested(RequestRecord),
    /// Bytes of bodies were read.
    Received {
        /// Who sent them.
        host: &'a str,
        /// What was asked.
        operation: &'static str,
        /// How many.
        bytes: u64,
    },
    /// A request is sent again, after an answer that asks for it or none at all.
    Retried {
        /// Who is asked again.
        host: &'a str,
        /// What was asked.
        operation: &'static str,
    },
    /// An answer asked for less: 429, or `Retry-After`.
    Throttled {
        /// Who asked for it.
        host: &'a str,
    },
    /// A request waited before it was sent.
    Waited {
        /// Who was to be asked.
        host: &'a str,
        /// Why.
        cause: WaitCause,
        /// How long.
        time: Duration,
    },
    /// A cache was asked for an answer.
    Cached {
        /// The cache.
        cache: CacheKind,
        /// Whether the answer was there, or another caller was just fetching it.
        hit: bool,
    },
}

/// Receives what happens. Called from the middle of requests, so it must not block.
pub type Observer = Arc<dyn Fn(Observation<'_>) + Send + Sync>;

/// Counts the bytes of one body. Reports them when the body is dropped, read to its end or not.
pub(crate) struct Meter {
    observer: Observer,
    host: String,
    operation: &'static str,
    bytes: u64,
}

impl Meter {
    pub(crate) fn new(observer: &Observer, url: &Url, operation: &'static str) -> Self {
        Self { observer: Arc::clone(observer), host: authority(url), operation, bytes: 0 }
    }

    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let Self { observer, host, operation, bytes } = self;
        if *bytes > 0 {
            observer(Observation::Received { host, operation, bytes: *bytes });
        }
    }
}

/// Host of a URL, with its port where the URL names one.
pub(crate) fn authority(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    }
}
