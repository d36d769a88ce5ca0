//! Redirects: which ones are followed, and which are refused.

use http::HeaderValue;
use http::header::LOCATION;
use reqwest::Url;

use crate::error::{Cause, Defect, Kind};

/// The target of a redirect; `None` for any other answer. A redirect that cannot be followed is an error.
pub(crate) fn redirect(response: &reqwest::Response) -> Result<Option<Url>, (Kind, String)> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    target(response.url(), response.headers().get(LOCATION)).map(Some)
}

/// Reads `Location` as other clients do: relative or not, in UTF-8 or ASCII.
fn target(from: &Url, location: Option<&HeaderValue>) -> Result<Url, (Kind, String)> {
    let unavailable = |why: &str| (Kind::Unavailable(Cause::Other), why.to_owned());
    let location = location
        .map(HeaderValue::as_bytes)
        .filter(|location| !location.is_empty())
        .ok_or_else(|| unavailable("without saying where it redirects to (the header Location)"))?;
    let mut next = std::str::from_utf8(location)
        .ok()
        .and_then(|location| from.join(location).ok())
        .filter(Url::has_host)
        .ok_or_else(|| unavailable("and redirects to what is no URL"))?;
    if !matches!(next.scheme(), "http" | "https") {
        return Err(unavailable("and redirects to what is neither http nor https"));
    }
    if from.scheme() == "https" && next.scheme() != "https" {
        let why = "and redirects from https to http, which is not followed";
        return Err((Kind::Invalid(Defect::Other), why.to_owned()));
    }
    // The client would send it as a password. The registry must not choose a password and its receiver.
    if !next.username().is_empty() || next.password().is_some() {
        let why = "and redirects to a URL with user information, which is not followed";
        return Err((Kind::Invalid(Defect::Other), why.to_owned()));
    }
    next.set_fragment(None);
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNAVAILABLE: Kind = Kind::Unavailable(Cause::Other);
    const INVALID: Kind = Kind::Invalid(Defect::Other);

    #[rstest::rstest]
    #[case::absolute("https://store.example/blob?sig=1", Ok("https://store.example/blob?sig=1"))]
    #[case::relative("/v2/web/blobs/x", Ok("https://r.example/v2/web/blobs/x"))]
    #[case::same_scheme("//store.example/x", Ok("https://store.example/x"))]
    #[case::fragment("https://store.example/x#y", Ok("https://store.example/x"))]
    #[case::utf8("https://store.example/ü", Ok("https://store.example/%C3%BC"))]
    #[case::port("https://store.example:8443/x", Ok("https://store.example:8443/x"))]
    #[case::nothing("", Err(UNAVAILABLE))]
    #[case::no_url("http://[", Err(UNAVAILABLE))]
    #[case::no_host("https:///", Err(UNAVAILABLE))]
    #[case::file("file:///etc/passwd", Err(UNAVAILABLE))]
    #[case::data("data:text/plain,x", Err(UNAVAILABLE))]
    #[case::downgrade("http://r.example/x", Err(INVALID))]
    #[case::user_and_password("https://admin:admin@store.example/x", Err(INVALID))]
    #[case::user("https://admin@store.example/x", Err(INVALID))]
    #[case::password("https://:admin@store.example/x", Err(INVALID))]
    #[case::escaped("https://%61dmin:x@store.example/x", Err(INVALID))]
    #[case::relative_with_user("//admin:admin@store.example/x", Err(INVALID))]
    #[case::backslashes("https:\\\\admin:admin@store.example\\x", Err(INVALID))]
    fn redirects_are_followed_to_where_nothing_is_brought_along(
        #[case] location: &str,
        #[case] expected: Result<&str, Kind>,
    ) {
        let from = "https://r.example/v2/web/manifests/v1".parse().unwrap();
        let header = HeaderValue::from_bytes(location.as_bytes()).unwrap();
        let found = target(&from, Some(&header)).map(String::from).map_err(|(kind, _)| kind);
        assert_eq!(found, expected.map(str::to_owned));
    }

    #[test]
    fn a_redirect_to_nowhere_is_no_answer() {
        let from: Url = "https://r.example/v2/web/manifests/v1".parse().unwrap();
        let latin = HeaderValue::from_bytes(b"https://store.example/\xfc").unwrap();
        for location in [None, Some(&latin)] {
            assert_eq!(target(&from, location).unwrap_err().0, UNAVAILABLE);
        }
    }
}
