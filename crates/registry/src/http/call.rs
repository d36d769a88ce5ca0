//! A request before it is authorized.

use http::Method;
use reqwest::Url;

/// The operation that resolves an image: the first request for it. A registry must not refuse it to a caller that may
/// pull.
pub(crate) const RESOLVE: &str = "resolve";

/// A request that is not yet authorized.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub operation: &'static str,
    pub method: Method,
    pub url: Url,
    pub accept: Option<String>,
    /// Return any answer of another origin after a redirect, instead of trying again. GHCR redirects requests for
    /// referrers to a web site that answers 429 on some days (artifacthub#4785). This means nothing for the registry.
    pub take_foreign_answer: bool,
    /// Return the last answer with any status: the caller can still send a simpler request.
    pub take_last_answer: bool,
}
