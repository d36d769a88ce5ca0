//! Lists, a page at a time: a whole list may be larger than the memory of the operator.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::api::ListParams;

/// The question for the page after this one. `None`: this was the last.
#[must_use]
pub fn next_page(parameters: &ListParams, page: &ListMeta) -> Option<ListParams> {
    let token = page.continue_.as_ref().filter(|token| !token.is_empty())?;
    Some(parameters.clone().continue_token(token))
}
