//! A request, before anybody has a right to it.

use http::Method;
use reqwest::Url;

/// The operation that asks for an image: the first question about it, and the one that may be refused to nobody who may pull.
pub(crate) const RESOLVE: &str = "resolve";

/// A request that is not yet authorized.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub operation: &'static str,
    pub method: Method,
    pub url: Url,
    pub accept: Option<String>,
    /// Return whatever another origin answers to a redirect, instead of trying again. GHCR sends questions about
    /// referrers to a web site that answers 429 on some days (artifacthub#4785), which says nothing about the registry.
    pub take_foreign_answer: bool,
    /// Return the last answer, whatever its status, to a caller who has a plainer question left.
    pub take_last_answer: bool,
}
