//! The next page of a list, in the `Link` header (RFC 8288).
//!
//! An unreadable header does not mean that no next page exists. Go's clients take the first link with any relation
//! (oras-go, `registry/remote/utils.go`; go-containerregistry, `pkg/v1/remote/list.go`), so some registries leave `rel`
//! out. Others send several links, and one of them is the next page.

use http::HeaderMap;
use http::header::LINK;
use reqwest::Url;

/// The header may name a next page, but it is not clear which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unclear;

/// The relation of a link.
#[derive(PartialEq, Eq)]
enum Relation {
    Next,
    Unsaid,
    Else,
}

/// The next page, relative to the one that the headers came with.
pub(crate) fn next_page(headers: &HeaderMap, page: &Url) -> Result<Option<Url>, Unclear> {
    let mut links = Vec::new();
    for value in headers.get_all(LINK) {
        let value = value.to_str().map_err(|_| Unclear)?;
        parse(value, &mut links)?;
    }
    let of = |relation: &Relation| -> Result<Vec<Url>, Unclear> {
        let targets = links.iter().filter(|(_, found)| found == relation);
        let mut urls = targets
            .map(|(target, _)| page.join(target).map_err(|_| Unclear))
            .collect::<Result<Vec<_>, _>>()?;
        urls.dedup();
        Ok(urls)
    };
    let mut next = of(&Relation::Next)?;
    if next.is_empty() {
        next = of(&Relation::Unsaid)?;
    }
    match next.len() {
        0 => Ok(None),
        1 => Ok(next.pop()),
        // Only one of them would be followed, and the other one may be the next page.
        _ => Err(Unclear),
    }
}

/// `<target>; name=value; name="value", …`
fn parse<'a>(mut rest: &'a str, links: &mut Vec<(&'a str, Relation)>) -> Result<(), Unclear> {
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(());
        }
        // `<` and `>` cannot stand in a URL, commas and semicolons can.
        let (target, after) = rest.strip_prefix('<').and_then(|rest| rest.split_once('>')).ok_or(Unclear)?;
        let mut relation = Relation::Unsaid;
        rest = after;
        loop {
            rest = rest.trim_start();
            let Some(parameter) = rest.strip_prefix(';') else { break };
            let (name, value, after) = split_parameter(parameter)?;
            if name.eq_ignore_ascii_case("rel") {
                let is_next = value.split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("next"));
                relation = match relation {
                    _ if is_next => Relation::Next,
                    // An empty relation counts as no relation.
                    Relation::Unsaid if !value.trim().is_empty() => Relation::Else,
                    said => said,
                };
            }
            rest = after;
        }
        if !(rest.is_empty() || rest.starts_with(',')) {
            return Err(Unclear);
        }
        links.push((target.trim(), relation));
    }
}

/// One parameter: its name, its value without quotes, and the rest. The standard has no single quotes, but some
/// registries write them.
fn split_parameter(text: &str) -> Result<(&str, &str, &str), Unclear> {
    let end = text.find([';', ',', '=']).unwrap_or(text.len());
    let name = text[..end].trim();
    let Some(value) = text[end..].strip_prefix('=') else { return Ok((name, "", &text[end..])) };
    let value = value.trim_start();
    for quote in ['"', '\''] {
        if let Some(quoted) = value.strip_prefix(quote) {
            let (value, rest) = quoted.split_once(quote).ok_or(Unclear)?;
            return Ok((name, value, rest));
        }
    }
    let end = value.find([';', ',']).unwrap_or(value.len());
    Ok((name, value[..end].trim(), &value[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const PAGE: &str = "http://r.example/v2/a/referrers/x?artifactType=y";

    /// Several headers are separated by line breaks, which no header can contain.
    fn next(values: &[u8]) -> Result<Option<String>, Unclear> {
        let value = |value: &[u8]| (LINK, HeaderValue::from_bytes(value).unwrap());
        let headers = values.split(|byte| *byte == b'\n').map(value).collect();
        Ok(next_page(&headers, &PAGE.parse().unwrap())?.map(|url| url.to_string()))
    }

    #[rstest::rstest]
    #[case::absolute_path(r#"</v2/a/referrers/x?n=2>; rel="next""#, "http://r.example/v2/a/referrers/x?n=2")]
    #[case::odd_url("<https://r.example/x,y;z>;title=a; rel=next", "https://r.example/x,y;z")]
    #[case::several(
        r#"<first>; rel="first", <second>; rel="prev next""#,
        "http://r.example/v2/a/referrers/second"
    )]
    #[case::query_alone("<?n=2>; rel=next", "http://r.example/v2/a/referrers/x?n=2")]
    #[case::no_relation("</x?n=2>", "http://r.example/x?n=2")]
    #[case::no_relation_but_a_parameter(r#"</x?n=2>; title="a, b""#, "http://r.example/x?n=2")]
    #[case::empty_relation(r#"</x?n=2>; rel="""#, "http://r.example/x?n=2")]
    #[case::single_quotes("</x?n=2>; rel='next'", "http://r.example/x?n=2")]
    #[case::any_case("</x?n=2>; REL=NEXT", "http://r.example/x?n=2")]
    #[case::space_around("< /x?n=2 > ; rel = \"next\"", "http://r.example/x?n=2")]
    #[case::said_goes_before_unsaid("<a>, <b>; rel=next", "http://r.example/v2/a/referrers/b")]
    #[case::comma_in_quotes(
        r#"<a>; title="x, <y>; rel=next"; rel=prev, <b>; rel=next"#,
        "http://r.example/v2/a/referrers/b"
    )]
    #[case::the_same_twice("<a>; rel=next, <a>; rel=next", "http://r.example/v2/a/referrers/a")]
    fn a_next_page(#[case] value: &str, #[case] expected: &str) {
        assert_eq!(next(value.as_bytes()), Ok(Some(expected.to_owned())));
    }

    #[rstest::rstest]
    #[case::empty(b"")]
    #[case::another_relation(br#"<first>; rel="prev""#)]
    #[case::documentation(b"<https://docs.example/>; rel=\"service-doc\"")]
    fn no_next_page(#[case] values: &[u8]) {
        assert_eq!(next(values), Ok(None));
        assert_eq!(next_page(&HeaderMap::new(), &PAGE.parse().unwrap()), Ok(None));
    }

    /// Each of these headers was once read as "no next page".
    #[rstest::rstest]
    #[case::no_brackets(br#"/v2/a/referrers/x?n=2; rel="next""#)]
    #[case::open(b"<open; rel=next")]
    #[case::no_link(b"nothing")]
    #[case::invalid_bytes(b"</x?n=\xff>; rel=next")]
    #[case::invalid_bytes_beside_a_good_one(b"<a>; rel=prev\n\xff")]
    #[case::open_quote(br#"<a>; rel="next"#)]
    #[case::no_url(b"<http://[>; rel=next")]
    #[case::text_behind(b"<a> rel=next")]
    #[case::two_next_pages(b"<a>; rel=next\n<b>; rel=next")]
    fn unclear(#[case] values: &[u8]) {
        assert_eq!(next(values), Err(Unclear));
    }

    proptest! {
        #[test]
        fn any_link_header_is_survived(value in "[ -~]{0,200}") {
            let _ = next(value.as_bytes());
        }

        /// With any one damaged byte in a header that names a next page, the result is a page or a failure. It is "no
        /// next page" only if the damage makes another valid relation.
        #[test]
        fn damage_never_ends_a_list(at in 0usize..27, byte in 0x20u8..=0xff) {
            let good = b"</x?n=2>; rel=\"next\"; a=bc!";
            prop_assume!(byte != 0x7f && !(10..19).contains(&at));
            let mut damaged = good.to_vec();
            damaged[at] = byte;
            prop_assert!(next(&damaged) != Ok(None), "{}", String::from_utf8_lossy(&damaged));
        }
    }
}
