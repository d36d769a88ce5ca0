//! `WWW-Authenticate`: the challenges of a registry, and whether they may be answered (distribution-spec,
//! "Authentication"; distribution project, "Token Authentication Specification").
//!
//! Registries are written against clients that read leniently: oras-go, containerd and the distribution project take
//! `Basic realm=` and what follows a broken parameter. So does this reader, which never fails: it skips parts that it
//! cannot read, and reports that they exist.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use reqwest::Url;

use crate::http::address::Place;
use crate::http::policy::{self, Reach};

/// A challenge that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Send user name and password with each request.
    Basic,
    /// Fetch a token first.
    Bearer {
        /// The token endpoint.
        realm: Url,
        /// Name of the service, to be repeated to the endpoint.
        service: Option<String>,
        /// The scope that the registry asks for.
        scope: Option<String>,
    },
}

/// The challenges of a 401.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The answer had no such header.
    Nothing,
    /// No challenge can be read, or only schemes that are unknown here.
    Unreadable,
    /// Challenges that can be answered, the safest first: a token that is bound to a scope and a time comes before a
    /// password.
    Readable(Vec<Challenge>),
}

/// Most bytes of a header line that are read. A header does not need more.
const MAX_HEADER: usize = 8 * 1024;

/// Most challenges that are answered. Each costs a request for each credential, and registries send two.
const MAX_CHALLENGES: usize = 4;

/// Reads all challenges of all header lines.
pub(crate) fn parse(headers: &HeaderMap) -> Asked {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut lines = headers.get_all(WWW_AUTHENTICATE).iter().peekable();
    if lines.peek().is_none() {
        return Asked::Nothing;
    }
    for line in lines {
        let bytes = line.as_bytes();
        for challenge in line_of(&String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_HEADER)])) {
            if challenges.len() < MAX_CHALLENGES && !challenges.contains(&challenge) {
                challenges.push(challenge);
            }
        }
    }
    challenges.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
    if challenges.is_empty() { Asked::Unreadable } else { Asked::Readable(challenges) }
}

/// The challenges of a line. If a quote that is not closed hides all of them, each word that could begin a challenge is
/// tried.
fn line_of(line: &str) -> Vec<Challenge> {
    let found: Vec<Challenge> = Words(line).filter_map(|found| understand(&found)).collect();
    if !found.is_empty() {
        return found;
    }
    let begins = |at: &usize| {
        let word = line[*at..].split([' ', ',', '\t']).next().unwrap_or_default();
        let after_a_separator = line[..*at].ends_with([' ', ',', '\t', '"']);
        after_a_separator && ["basic", "bearer"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
    };
    let starts = line.char_indices().map(|(at, _)| at).filter(begins).take(MAX_CHALLENGES);
    starts.filter_map(|at| Words(&line[at..]).find_map(|found| understand(&found))).collect()
}

/// A scheme with its parameters, as they are written.
#[derive(Debug, Default)]
struct Found {
    scheme: String,
    parameters: Vec<(String, String)>,
}

fn understand(found: &Found) -> Option<Challenge> {
    let parameter = |name: &str| {
        let (_, value) = found.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value.trim()).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    if found.scheme.eq_ignore_ascii_case("Basic") {
        return Some(Challenge::Basic);
    }
    if !found.scheme.eq_ignore_ascii_case("Bearer") {
        return None;
    }
    let realm: Url = parameter("realm")?.parse().ok()?;
    realm.has_host().then(|| Challenge::Bearer {
        realm,
        service: parameter("service"),
        scope: parameter("scope"),
    })
}

/// Takes a line apart: a word that no `=` follows is a scheme, and what follows it with one are its parameters, whether
/// commas stand between them or not.
struct Words<'a>(&'a str);

impl Iterator for Words<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let mut found: Option<Found> = None;
        loop {
            let rest = self.0.trim_start_matches(is_separator);
            let end = rest.find(|letter: char| is_separator(letter) || letter == '=').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let value = after.trim_start().strip_prefix('=');
            match (&mut found, value) {
                (None, None) if word.is_empty() => return None,
                (Some(_), None) => {
                    // Not consumed: this word begins the next challenge.
                    self.0 = rest;
                    return found;
                }
                (None, None) => {
                    found = Some(Found { scheme: word.to_owned(), parameters: Vec::new() });
                    self.0 = after;
                }
                (_, Some(text)) => {
                    let (value, rest) = value_of(text);
                    if let Some(found) = &mut found {
                        found.parameters.push((word.to_owned(), value));
                    }
                    self.0 = rest;
                }
            }
        }
    }
}

fn is_separator(letter: char) -> bool {
    letter.is_whitespace() || letter == ',' || letter == ';'
}

/// The value behind a `=`, and the rest of the text. A quoted value ends at the next quote, any other at the next
/// separator: a URL or a slash is accepted although the grammar wants it quoted.
fn value_of(text: &str) -> (String, &str) {
    let start = text.trim_start_matches([' ', '\t']);
    let Some(quoted) = start.strip_prefix('"') else {
        // A blank is followed by the next word, and not by a value: `Bearer realm= , Basic`.
        let end = text.find(is_separator).unwrap_or(text.len());
        let bare = if end == 0 { start } else { text };
        let end = bare.find(is_separator).unwrap_or(bare.len());
        let value = bare[..end].trim_matches('\'');
        return (value.to_owned(), &bare[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// The scope to ask a token endpoint for: only to pull from this repository, even if the registry asks for more. A
/// token for another repository, or one that may push, is never needed, and could be stolen.
///
/// A scope that is not a resource with actions is a registry's own name for "to pull" (`aws` at public.ecr.aws).
pub(crate) fn scope(asked: Option<&str>, repository: &str) -> String {
    let asked: Vec<&str> = asked.unwrap_or_default().split_whitespace().take(MAX_CHALLENGES).collect();
    if !asked.is_empty() && asked.iter().all(|scope| !scope.contains(':')) {
        return asked.join(" ");
    }
    let own = format!("repository:{repository}:");
    // Azure's name for the right to read tags and lists of referrers.
    let metadata = asked.iter().any(|scope| {
        scope
            .strip_prefix(own.as_str())
            .is_some_and(|actions| actions.split(',').any(|action| action == "metadata_read"))
    });
    if metadata { format!("{own}metadata_read,pull") } else { format!("{own}pull") }
}

/// The registry that named a realm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Namer<'a> {
    /// Its URL.
    pub url: &'a Url,
    /// The address that sent the challenge; `None` behind a proxy.
    pub peer: Option<IpAddr>,
}

/// How far the credentials for a registry may be sent to the token endpoint it names. The registry chooses that URL, so
/// a hostile one could name anything that this process can reach.
///
/// The address that the registry answered from shows whether the registry is on a private network. Its name is not
/// resolved again, because it could lead anywhere by then.
///
/// # Errors
/// A sentence that names the fault of the realm.
pub(crate) fn reach_of(realm: &Url, registry: Namer<'_>) -> Result<Reach, String> {
    match (registry.url.scheme(), realm.scheme()) {
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
    let own = policy::address(registry.url).map(Place::of);
    let peer = registry.peer.map(Place::of);
    let same_host = realm.host_str() == registry.url.host_str();
    Ok(match (own, peer) {
        (Some(own), _) if own > Place::Public => Reach::Anywhere,
        (_, Some(Place::Public)) => Reach::Public,
        _ if same_host => Reach::Anywhere,
        (_, Some(Place::Internal)) => Reach::Private,
        _ => Reach::Public,
    })
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
        let expected = Asked::Readable(expected.to_vec());
        let one = r#"Basic realm="x", Bearer realm="https://a.example/token",service="r",scope="repository:web:pull""#;
        assert_eq!(parse(&headers(&[one])), expected);
        let two = [
            "basic realm=x",
            r#"bearer realm="https://a.example/token", service=r, scope="repository:web:pull""#,
        ];
        assert_eq!(parse(&headers(&two)), expected);
    }

    #[test]
    fn says_when_there_is_nothing_to_read() {
        assert_eq!(parse(&HeaderMap::new()), Asked::Nothing);
        for line in ["", "Negotiate", "Bearer service=x", "Bearer realm=\"::\"", "Bearer realm=", "=,=", "\""]
        {
            assert_eq!(parse(&headers(&[line])), Asked::Unreadable, "{line}");
        }
    }

    /// The challenges that clients written in Go accept, and invalid ones beside them.
    #[rstest::rstest]
    #[case::slash("Basic realm=/")]
    #[case::no_realm("Basic realm=")]
    #[case::nothing("Basic")]
    #[case::upper_case("BASIC REALM=\"x\"")]
    #[case::blanks("  Basic   realm = \"x\"  ")]
    #[case::comma_at_the_end("Basic realm=\"x\",")]
    #[case::commas(",, Basic realm=\"x\",,charset=\"UTF-8\"")]
    #[case::open_quote("Basic realm=\"x")]
    #[case::not_ascii("Basic realm=\"Zugriff für alle\"")]
    #[case::behind_unknown("Negotiate, Basic realm=x")]
    #[case::behind_a_token("Negotiate YII=, Basic realm=x")]
    #[case::behind_parameters("Digest qop=auth, nonce=, algorithm, Basic realm=/")]
    #[case::behind_a_broken_bearer("Bearer realm=, Basic realm=\"x\"")]
    #[case::behind_a_bearer_without_value("Bearer realm= , Basic realm=\"x\"")]
    #[case::behind_a_bad_realm("Bearer realm=\"/token\",service=\"a,b\", Basic realm=\"x\"")]
    #[case::behind_an_open_quote("Digest realm=\"x, Basic realm=\"y\"")]
    fn takes_basic_as_others_do(#[case] line: &str) {
        let line = http::HeaderValue::from_bytes(line.as_bytes()).unwrap();
        let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, line)]);
        assert_eq!(parse(&headers), Asked::Readable(vec![Challenge::Basic]));
    }

    #[rstest::rstest]
    #[case::usual(r#"Bearer realm="https://a.example/t",service="r",scope="s""#, Some("r"), Some("s"))]
    #[case::no_more_than_a_realm(r#"Bearer realm="https://a.example/t""#, None, None)]
    #[case::no_quotes("Bearer realm=https://a.example/t,service=r,scope=s", Some("r"), Some("s"))]
    #[case::single_quotes("Bearer realm='https://a.example/t',service='r'", Some("r"), None)]
    #[case::no_commas(r#"Bearer realm="https://a.example/t" service="r" scope="s""#, Some("r"), Some("s"))]
    #[case::semicolons(r#"Bearer realm="https://a.example/t"; service="r""#, Some("r"), None)]
    #[case::upper_case(r#"BEARER REALM="https://a.example/t", SERVICE="r""#, Some("r"), None)]
    #[case::blanks(r#"Bearer   realm = "https://a.example/t" , service = r"#, Some("r"), None)]
    #[case::escapes(r#"Bearer realm="https:\/\/a.example\/t",service="\"r\"""#, Some("\"r\""), None)]
    #[case::empty_ones(r#"Bearer realm="https://a.example/t",service="",scope="#, None, None)]
    #[case::comma_in_a_value(
        r#"Bearer service="a, Basic b",realm="https://a.example/t""#,
        Some("a, Basic b"),
        None
    )]
    #[case::comma_at_the_end(r#"Bearer realm="https://a.example/t",service="r","#, Some("r"), None)]
    #[case::behind_a_bad_one(
        r#"Bearer realm="::",service="x", Bearer realm="https://a.example/t""#,
        None,
        None
    )]
    #[case::behind_unknown(r#"NTLM, Bearer realm="https://a.example/t",error="invalid_token""#, None, None)]
    #[case::open_quote(r#"Bearer realm="https://a.example/t",service="r"#, Some("r"), None)]
    fn takes_bearer_as_others_do(
        #[case] line: &str,
        #[case] service: Option<&str>,
        #[case] scope: Option<&str>,
    ) {
        let expected = vec![bearer("https://a.example/t", service, scope)];
        assert_eq!(parse(&headers(&[line])), Asked::Readable(expected));
    }

    #[test]
    fn a_bad_line_hides_no_other() {
        let lines = ["Bearer realm=\"", "\"", "Digest", "Basic realm=/"];
        assert_eq!(parse(&headers(&lines)), Asked::Readable(vec![Challenge::Basic]));
    }

    #[test]
    fn only_so_many_are_answered() {
        let line = (0..100)
            .map(|n| format!("Bearer realm=\"https://a.example/{n}\""))
            .collect::<Vec<_>>()
            .join(", ");
        let Asked::Readable(challenges) = parse(&headers(&[&line])) else { panic!("unreadable") };
        assert_eq!(challenges.len(), MAX_CHALLENGES);
    }

    #[rstest::rstest]
    #[case::none(None, "repository:shop/web:pull")]
    #[case::own(Some("repository:shop/web:pull"), "repository:shop/web:pull")]
    #[case::push(Some("repository:shop/web:pull,push"), "repository:shop/web:pull")]
    #[case::everything(Some("repository:shop/web:*"), "repository:shop/web:pull")]
    #[case::other(Some("repository:bank/vault:pull"), "repository:shop/web:pull")]
    #[case::own_and_other(
        Some("repository:shop/web:pull repository:bank/vault:pull"),
        "repository:shop/web:pull"
    )]
    #[case::catalog(Some("registry:catalog:*"), "repository:shop/web:pull")]
    #[case::azure(Some("repository:shop/web:metadata_read,delete"), "repository:shop/web:metadata_read,pull")]
    #[case::azure_other(Some("repository:bank/vault:metadata_read"), "repository:shop/web:pull")]
    #[case::public_ecr(Some("aws"), "aws")]
    #[case::blank(Some("  "), "repository:shop/web:pull")]
    fn asks_for_no_more_than_to_pull(#[case] asked: Option<&str>, #[case] expected: &str) {
        assert_eq!(scope(asked, "shop/web"), expected);
    }

    /// The address that the registry answered from, in the third column.
    #[rstest::rstest]
    #[case("https://auth.example/token", "https://r.example/", Some("93.184.215.14"), Some(Reach::Public))]
    #[case("http://auth.example/token", "https://r.example/", None, None)]
    #[case("http://auth.example/token", "http://r.example/", None, Some(Reach::Public))]
    #[case::private("https://auth.corp/token", "https://r.corp/", Some("10.0.0.1"), Some(Reach::Private))]
    #[case::nat64(
        "https://auth.example/t",
        "https://r.example/",
        Some("64:ff9b::5db8:d70e"),
        Some(Reach::Public)
    )]
    #[case::loopback_by_name("http://other/token", "http://r.test/", Some("127.0.0.5"), Some(Reach::Public))]
    #[case::same_address(
        "http://127.0.0.1:9/token",
        "http://127.0.0.1:5000/",
        Some("127.0.0.1"),
        Some(Reach::Anywhere)
    )]
    #[case::own_number("http://10.0.0.2/token", "http://10.0.0.1/", None, Some(Reach::Anywhere))]
    #[case::same_name(
        "https://r.corp:8443/token",
        "https://r.corp/",
        Some("10.0.0.1"),
        Some(Reach::Anywhere)
    )]
    #[case::same_public_name(
        "https://r.example:8443/t",
        "https://r.example/",
        Some("93.184.215.14"),
        Some(Reach::Public)
    )]
    #[case::same_name_by_proxy("https://r.example:8443/t", "https://r.example/", None, Some(Reach::Anywhere))]
    #[case::other_by_proxy("https://auth.example/t", "https://r.example/", None, Some(Reach::Public))]
    #[case("https://u:p@auth.example/token", "https://r.example/", None, None)]
    #[case("https://u@auth.example/token", "https://r.example/", None, None)]
    #[case("ftp://auth.example/token", "http://r.example/", None, None)]
    fn a_realm_leads_no_further_than_its_registry(
        #[case] realm: &str,
        #[case] registry: &str,
        #[case] peer: Option<&str>,
        #[case] expected: Option<Reach>,
    ) {
        let url = registry.parse().unwrap();
        let namer = Namer { url: &url, peer: peer.map(|peer| peer.parse().unwrap()) };
        assert_eq!(reach_of(&realm.parse().unwrap(), namer).ok(), expected);
    }

    proptest! {
        /// For any header: no panic, an end, and no more challenges than the bound.
        #[test]
        fn any_header_is_survived(value in "\\PC{0,200}") {
            if let Ok(value) = http::HeaderValue::from_bytes(value.as_bytes())
                && let Asked::Readable(found) = parse(&HeaderMap::from_iter([(WWW_AUTHENTICATE, value)])) {
                prop_assert!(found.len() <= MAX_CHALLENGES);
            }
        }

        /// A good challenge is found after any text whose quotes are closed.
        #[test]
        fn a_bad_challenge_hides_no_good_one(before in "([A-Za-z]{1,9}( [a-z]{1,5}=?(\"[ -!#-\\[\\]-~]{0,9}\"|[a-z/:]{0,5})?,?){0,3}, ){0,3}") {
            let line = format!("{before}Bearer realm=\"https://a.example/t\"");
            let found = match parse(&headers(&[&line])) {
                Asked::Readable(found) => found,
                other => return Err(TestCaseError::fail(format!("{other:?}: {line}"))),
            };
            prop_assert!(found.contains(&bearer("https://a.example/t", None, None)), "{line}");
        }
    }
}
