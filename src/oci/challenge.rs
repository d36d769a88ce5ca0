//! `WWW-Authenticate`: what a registry wants, and whether it may be given (distribution-spec, "Authentication";
//! distribution project, "Token Authentication Specification").

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use reqwest::Url;

/// A challenge that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Send user name and password with each request.
    Basic,
    /// Fetch a token first.
    Bearer {
        /// The token endpoint.
        realm: Url,
        /// Name of the service, to be repeated to the endpoint.
        service: Option<String>,
        /// What to ask for; the registry knows best.
        scope: Option<String>,
    },
}

/// Most bytes of challenge that are read: a header is no place for a document.
const MAX_HEADER: usize = 8 * 1024;

/// Reads all challenges of all header lines, the safest first: a token that is bound to a scope and a time before a
/// password.
pub fn parse(headers: &HeaderMap) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .filter(|value| value.len() <= MAX_HEADER)
        .flat_map(|value| http_auth::parse_challenges(value).unwrap_or_default())
        .filter_map(|challenge| read(&challenge))
        .collect();
    challenges.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
    challenges
}

fn read(challenge: &http_auth::ChallengeRef<'_>) -> Option<Challenge> {
    let parameter = |name: &str| {
        challenge
            .params
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_unescaped())
    };
    if challenge.scheme.eq_ignore_ascii_case("Basic") {
        return Some(Challenge::Basic);
    }
    if challenge.scheme.eq_ignore_ascii_case("Bearer") {
        let realm = parameter("realm")?.parse().ok()?;
        return Some(Challenge::Bearer { realm, service: parameter("service"), scope: parameter("scope") });
    }
    None
}

/// Checks that credentials for a registry may be sent to the token endpoint it names. The registry chooses that URL,
/// so a hostile one could name anything that the operator can reach.
///
/// # Errors
/// Says what is wrong with the realm.
pub fn check_realm(realm: &Url, registry: &Url) -> Result<(), String> {
    let same_host = realm.host_str() == registry.host_str();
    match (registry.scheme(), realm.scheme()) {
        (_, "https") | ("http", "http") => {}
        (_, scheme) => {
            return Err(format!(
                "its scheme is {scheme}, and credentials for an https registry go over https only"
            ));
        }
    }
    if !realm.username().is_empty() || realm.password().is_some() {
        return Err("it holds user information".to_owned());
    }
    let address =
        |url: &Url| url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    match address(realm) {
        Some(realm_address)
            if !same_host && is_internal(realm_address) && !address(registry).is_some_and(is_internal) =>
        {
            Err(format!(
                "{realm_address} is a private or link-local address, which a public registry has no business to name"
            ))
        }
        _ => Ok(()),
    }
}

/// Loopback, private, link-local (where cloud metadata services answer) and unspecified addresses.
pub fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.to_ipv4_mapped().is_some_and(|v4| is_internal(IpAddr::V4(v4)))
                || v6 == Ipv6Addr::LOCALHOST
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (WWW_AUTHENTICATE, value.parse().unwrap())).collect()
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.parse().unwrap(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    /// Checklist A17: several challenges in one header and in several.
    #[test]
    fn reads_every_challenge_and_prefers_tokens() {
        let expected =
            [bearer("https://a.example/token", Some("r"), Some("repository:web:pull")), Challenge::Basic];
        let one = r#"Basic realm="x", Bearer realm="https://a.example/token",service="r",scope="repository:web:pull""#;
        assert_eq!(parse(&headers(&[one])), expected);
        let two = [
            "basic realm=x",
            r#"bearer realm="https://a.example/token", service=r, scope="repository:web:pull""#,
        ];
        assert_eq!(parse(&headers(&two)), expected);
    }

    #[test]
    fn passes_over_what_it_cannot_answer() {
        assert_eq!(parse(&headers(&["Negotiate", "Bearer service=x", "Bearer realm=\"::\""])), []);
        assert_eq!(parse(&HeaderMap::new()), []);
    }

    #[rstest::rstest]
    #[case("https://auth.example/token", "https://r.example/", true)]
    #[case("http://auth.example/token", "https://r.example/", false)]
    #[case("http://auth.example/token", "http://r.example/", true)]
    #[case("http://169.254.169.254/latest", "http://r.example/", false)]
    #[case("https://10.0.0.1/token", "https://r.example/", false)]
    #[case("https://[::1]/token", "https://r.example/", false)]
    #[case("https://[::ffff:127.0.0.1]/token", "https://r.example/", false)]
    #[case("http://127.0.0.1:9/token", "http://127.0.0.1:5000/", true)]
    #[case("https://10.0.0.1:8443/token", "https://10.0.0.1/", true)]
    #[case("https://u:p@auth.example/token", "https://r.example/", false)]
    #[case("ftp://auth.example/token", "http://r.example/", false)]
    fn judges_realms(#[case] realm: &str, #[case] registry: &str, #[case] fine: bool) {
        assert_eq!(check_realm(&realm.parse().unwrap(), &registry.parse().unwrap()).is_ok(), fine);
    }

    proptest! {
        /// Whatever a registry writes: no panic, and never more challenges than commas allow.
        #[test]
        fn any_header_is_survived(value in "[ -~]{0,200}") {
            prop_assert!(parse(&headers(&[&value])).len() <= value.matches(',').count() + 1);
        }
    }
}
