//! The grammar of image references: that of <https://pkg.go.dev/github.com/distribution/reference>. If it allows two
//! readings, this parser decides like Docker. Digests and IPv6 addresses must also be valid.

use std::net::Ipv6Addr;

use super::digest::{Digest, DigestError};
use super::text::truncate;

/// Longest reference in bytes: more than the longest host, repository, tag and digest make together.
const MAX_LENGTH: usize = 1024;
/// Longest tag in characters (distribution-spec, "Pulling manifests").
const MAX_TAG_LENGTH: usize = 128;
/// How many bytes of a part an error message repeats.
const QUOTED: usize = 160;
/// The format of a tag (distribution-spec, "Pulling manifests").
const TAG_FORMAT: &str = "the format of a tag is [A-Za-z0-9_][A-Za-z0-9._-]*";

/// The parts of a reference as they were written.
#[derive(Debug)]
pub(super) struct Written<'a> {
    /// Host, and port if one is given.
    pub registry: Option<&'a str>,
    pub path: &'a str,
    pub tag: Option<&'a str>,
    pub digest: Option<Digest>,
}

/// The fault of a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("longer than {MAX_LENGTH} bytes")]
    Length,
    #[error("a scheme such as https:// or oci:// does not belong here")]
    Scheme,
    #[error("a repository has no tag and no digest")]
    NotARepository,
    #[error("its registry '{0}' is neither the name of a host nor an IP address (IPv6 in brackets)")]
    Host(String),
    #[error("'{0}' is not the number of a port")]
    Port(String),
    #[error("the name, or a part of it between '/', is empty")]
    Empty,
    #[error("repositories are lower case")]
    UpperCase,
    #[error("'{}' in the name; repositories are made of a-z, 0-9, '.', '_', '-' and '/'", .0.escape_debug())]
    NameCharacter(char),
    #[error(
        "'{0}' in the name: each part begins and ends with a letter or digit, and between two of them stand one '.', \
         one or two '_', or any number of '-'"
    )]
    NamePart(String),
    #[error("the name of the repository is longer than {0} characters")]
    NameLength(usize),
    #[error("the tag is empty; {TAG_FORMAT}")]
    TagEmpty,
    #[error("the tag is longer than {MAX_TAG_LENGTH} characters")]
    TagLength,
    #[error("the tag begins with '{0}'; {TAG_FORMAT}")]
    TagStart(char),
    #[error("'{}' in the tag; {TAG_FORMAT}", .0.escape_debug())]
    TagCharacter(char),
    #[error("wrong format after '@': {0}")]
    Digest(#[from] DigestError),
}

/// Splits a reference: `[registry/]path[:tag][@digest]`.
///
/// # Errors
/// [`Flaw`], the first from the left.
pub(super) fn read(text: &str) -> Result<Written<'_>, Flaw> {
    if text.len() > MAX_LENGTH {
        return Err(Flaw::Length);
    }
    if text.contains("://") {
        return Err(Flaw::Scheme);
    }
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    let (name, tag) = split_at_colon_behind('/', rest);
    let (registry, path) = split_registry(name);
    registry.map_or(Ok(()), check_registry)?;
    path.split('/').try_for_each(check_part)?;
    tag.map_or(Ok(()), check_tag)?;
    let digest = digest.map(str::parse).transpose()?;
    Ok(Written { registry, path, tag, digest })
}

/// Splits at the first colon after the last `last`.
fn split_at_colon_behind(last: char, text: &str) -> (&str, Option<&str>) {
    let from = text.rfind(last).unwrap_or_default();
    match text[from..].split_once(':') {
        Some((before, after)) => (&text[..from + before.len()], Some(after)),
        None => (text, None),
    }
}

/// By the grammar, `shop/web` may be a path, or a host and a path. Docker decides by the form of the first part.
fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, path)) if first == "localhost" || first.contains(['.', ':']) => (Some(first), path),
        _ => (None, name),
    }
}

fn check_registry(registry: &str) -> Result<(), Flaw> {
    let (host, port) = split_at_colon_behind(']', registry);
    // By the grammar, `my_registry.internal/web` is not a host and a path, but it passes as a path of two parts. Docker
    // then uses the first part as the host.
    let fine = is_domain(host) || is_ipv6(host) || (port.is_none() && is_part(host));
    if !fine {
        return Err(Flaw::Host(truncate(host, QUOTED)));
    }
    match port {
        Some(port) if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(Flaw::Port(truncate(port, QUOTED)))
        }
        _ => Ok(()),
    }
}

/// A domain name; an IPv4 address is one as well.
fn is_domain(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

/// An IPv6 address in brackets, in hexadecimal throughout and without a zone.
fn is_ipv6(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    address.is_some_and(|address| !address.contains('.') && address.parse::<Ipv6Addr>().is_ok())
}

/// A part of the path, between two `/`.
fn check_part(part: &str) -> Result<(), Flaw> {
    let is_common = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || ['.', '_', '-'].contains(&character)
    };
    if part.is_empty() {
        return Err(Flaw::Empty);
    }
    match part.chars().find(|&character| !is_common(character)) {
        Some(character) if character.is_ascii_uppercase() => Err(Flaw::UpperCase),
        Some(character) => Err(Flaw::NameCharacter(character)),
        None if is_part(part) => Ok(()),
        None => Err(Flaw::NamePart(truncate(part, QUOTED))),
    }
}

/// Lower-case letters and digits, with separators between them.
fn is_part(part: &str) -> bool {
    let is_inner = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let is_separator =
        |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
    part.starts_with(is_inner) && part.ends_with(is_inner) && part.split(is_inner).all(is_separator)
}

fn check_tag(tag: &str) -> Result<(), Flaw> {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let is_edge = |character: char| ['.', '-'].contains(&character);
    match (tag.chars().next(), tag.chars().find(|&character| !is_word(character) && !is_edge(character))) {
        (None, _) => Err(Flaw::TagEmpty),
        (_, Some(character)) => Err(Flaw::TagCharacter(character)),
        (Some(first), _) if is_edge(first) => Err(Flaw::TagStart(first)),
        _ if tag.len() > MAX_TAG_LENGTH => Err(Flaw::TagLength),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("web", None, "web", None)]
    #[case("shop/web", None, "shop/web", None)]
    #[case("localhost/web", Some("localhost"), "web", None)]
    #[case("r.example:5000", None, "r.example", Some("5000"))]
    #[case("r:5000/web:_1.2-A", Some("r:5000"), "web", Some("_1.2-A"))]
    #[case("R.Example/a_b/c__d/e---f.g", Some("R.Example"), "a_b/c__d/e---f.g", None)]
    #[case("[::1]/web", Some("[::1]"), "web", None)]
    #[case("[FD00::1]:5000/shop/web:v1", Some("[FD00::1]:5000"), "shop/web", Some("v1"))]
    #[case("my_registry.internal/web", Some("my_registry.internal"), "web", None)]
    fn takes_a_reference_apart(
        #[case] text: &str,
        #[case] registry: Option<&str>,
        #[case] path: &str,
        #[case] tag: Option<&str>,
    ) {
        let written = read(text).unwrap();
        assert_eq!((written.registry, written.path, written.tag), (registry, path, tag));
        assert_eq!(written.digest, None);
    }

    #[rstest::rstest]
    #[case::nothing("", &Flaw::Empty)]
    #[case::tag_alone(":v1", &Flaw::Empty)]
    #[case::registry_alone("r.example/", &Flaw::Empty)]
    #[case::slash_twice("r.example/a//b", &Flaw::Empty)]
    #[case::slash_first("/web", &Flaw::Empty)]
    #[case::blank_first(" web", &Flaw::NameCharacter(' '))]
    #[case::not_ascii("r.example/wéb", &Flaw::NameCharacter('é'))]
    #[case::bracket_without_port("[abc]/web", &Flaw::NameCharacter('['))]
    #[case::dots("r.example/a..b", &Flaw::NamePart("a..b".into()))]
    #[case::three_underscores("a___b", &Flaw::NamePart("a___b".into()))]
    #[case::mixed("a.-b", &Flaw::NamePart("a.-b".into()))]
    #[case::parent("r.example/../web", &Flaw::NamePart("..".into()))]
    #[case::hyphen_last("web-", &Flaw::NamePart("web-".into()))]
    #[case::hyphen_in_host("-r.example/web", &Flaw::Host("-r.example".into()))]
    #[case::empty_label("r..example/web", &Flaw::Host("r..example".into()))]
    #[case::no_host(":5000/web", &Flaw::Host(String::new()))]
    #[case::underscore_with_port("my_registry.internal:5000/web", &Flaw::Host("my_registry.internal".into()))]
    #[case::no_ipv6("[1::2::3]/web", &Flaw::Host("[1::2::3]".into()))]
    #[case::mapped("[::ffff:127.0.0.1]/web", &Flaw::Host("[::ffff:127.0.0.1]".into()))]
    #[case::zone("[fe80::1%eth0]/web", &Flaw::Host("[fe80::1%eth0]".into()))]
    #[case::no_bracket("::1/web", &Flaw::Host(String::new()))]
    #[case::empty_port("r.example:/web", &Flaw::Port(String::new()))]
    #[case::letters_in_port("r.example:v1/web", &Flaw::Port("v1".into()))]
    #[case::two_ports("[::1]:1:2/web", &Flaw::Port("1:2".into()))]
    #[case::empty_tag("web:", &Flaw::TagEmpty)]
    #[case::tag_begins("web:-v1", &Flaw::TagStart('-'))]
    #[case::tag_begins_not_ascii("web:é", &Flaw::TagCharacter('é'))]
    #[case::newline_in_tag("web:v1\n", &Flaw::TagCharacter('\n'))]
    #[case::two_tags("web:v1:v2", &Flaw::TagCharacter(':'))]
    #[case::no_digest("web@", &Flaw::Digest(DigestError::Form(String::new())))]
    #[case::digest_first("web@sha256:abc:v1/x", &Flaw::Digest("sha256:abc:v1/x".parse::<Digest>().unwrap_err()))]
    fn names_the_part_that_is_wrong(#[case] text: &str, #[case] flaw: &Flaw) {
        assert_eq!(&read(text).unwrap_err(), flaw);
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(read(&format!("web:{}", "v".repeat(128))).unwrap().tag.map(str::len), Some(128));
        assert_eq!(read(&format!("web:{}", "v".repeat(129))).unwrap_err(), Flaw::TagLength);
        assert!(read(&"a".repeat(1024)).is_ok());
        assert_eq!(read(&"a".repeat(1025)).unwrap_err(), Flaw::Length);
    }

    #[test]
    fn a_character_that_does_not_show_is_named() {
        let shown = read("web:v1\u{200b}").unwrap_err().to_string();
        assert!(shown.starts_with("'\\u{200b}' in the tag;"), "{shown}");
    }
}
