//! Entries of Docker configs, read and matched as the kubelet does it (kubernetes v1.36
//! `pkg/credentialprovider/keyring.go`) with Go's parser of URLs (`net/url` of Go 1.26).

/// Host, with its port, and decoded path of a URL.
type Place = (String, String);

/// The pattern of images that credentials under the name of a registry are for; `None` if Go cannot read the name as a
/// URL. The kubelet then skips the entry. Scheme, user information, query and fragment do not count, nor the `/v1/` or
/// `/v2/` of old configs.
pub(crate) fn key(registry: &str) -> Option<String> {
    let bare =
        registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://")).unwrap_or(registry);
    let (host, path) = parse(bare)?;
    let path = if path.starts_with("/v1/") || path.starts_with("/v2/") { &path[3..] } else { path.as_str() };
    Some(if path == "/" { host } else { host + path })
}

/// Ports equal, as many labels in the host, each with `*` for a part of it, and the path a prefix.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (Some((globs, prefix)), Some((host, path))) = (parse(pattern), parse(name)) else { return false };
    path.starts_with(&prefix) && host_matches(&globs, &host)
}

/// The part of [`matches`] before the path.
pub(crate) fn host_matches(pattern: &str, name: &str) -> bool {
    let ((globs, glob_port), (host, port)) = (split_port(pattern), split_port(name));
    glob_port == port
        && globs.split('.').count() == host.split('.').count()
        && globs.split('.').zip(host.split('.')).all(|(glob, label)| star_matches(glob, label))
}

/// Go's `url.Parse` of `https://` and this.
fn parse(text: &str) -> Option<Place> {
    let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
    if url.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return None;
    }
    let hierarchy = url.split_once('?').map_or(url, |(before, _)| before);
    let (authority, path) = hierarchy.find('/').map_or((hierarchy, ""), |slash| hierarchy.split_at(slash));
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
    let is_user = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !user.bytes().all(is_user) {
        return None;
    }
    // Only the form of the user information is checked.
    bytes_of(user)?;
    bytes_of(fragment)?;
    Some((parse_host(host)?, unescape(path)?))
}

/// Go's `parseHost`: an IPv6 address in brackets or a name, and a port of digits.
fn parse_host(host: &str) -> Option<String> {
    let is_port = |port: &str| {
        port.is_empty()
            || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
    };
    if host.contains('[') {
        let (address, port) = host.strip_prefix('[')?.rsplit_once(']')?;
        let (bare, zone) = address.split_once("%25").unwrap_or((address, ""));
        let fine = is_port(port) && bare.parse::<std::net::Ipv6Addr>().is_ok();
        return if fine { Some(format!("[{bare}{}]{port}", unescape_zone(zone)?)) } else { None };
    }
    let port = host.find(':').map_or("", |colon| &host[colon..]);
    // Characters of a host below 0x80 are written as they are. Others may be escaped.
    let is_host =
        |byte: u8| byte >= 0x80 || byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"%".contains(&byte);
    let escapes_ascii =
        host.match_indices('%').any(|(at, _)| matches!(host.as_bytes().get(at + 1), Some(b'0'..=b'7')));
    if is_port(port) && host.bytes().all(is_host) && !escapes_ascii { unescape(host) } else { None }
}

fn unescape_zone(zone: &str) -> Option<String> {
    if zone.is_empty() { Some(String::new()) } else { Some(format!("%{}", unescape(zone)?)) }
}

/// A path whose unescaped bytes are not UTF-8 matches no image.
fn unescape(text: &str) -> Option<String> {
    String::from_utf8(bytes_of(text)?).ok()
}

/// `%` and two hexadecimal digits → the byte.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(*rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(bytes)
}

/// Go's `net.SplitHostPort`; if that finds no port, the host as a whole.
fn split_port(authority: &str) -> (&str, &str) {
    let split = || {
        let (host, port) = authority.rsplit_once(':')?;
        match host.strip_prefix('[') {
            Some(address) => Some((address.strip_suffix(']')?, port)),
            None => (!host.contains([':', '[', ']'])).then_some((host, port)),
        }
    };
    split().unwrap_or((authority, ""))
}

/// `*` stands for any part of a label. In linear steps for each star: the last star takes one character more whenever
/// what follows it does not fit.
fn star_matches(glob: &str, label: &str) -> bool {
    let (glob, label) = (glob.as_bytes(), label.as_bytes());
    let (mut g, mut l, mut retry) = (0, 0, None);
    while l < label.len() {
        if glob.get(g) == Some(&b'*') {
            retry = Some((g, l));
            g += 1;
        } else if glob.get(g) == Some(&label[l]) {
            (g, l) = (g + 1, l + 1);
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            (g, l) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("r.example", Some("r.example"))]
    #[case("https://r.example/", Some("r.example"))]
    #[case("HTTPS://r.example", Some("HTTPS://r.example"))]
    #[case("https://user:pass@r.example/team?x=1#y", Some("r.example/team"))]
    #[case("r.example/t%65am", Some("r.example/team"))]
    #[case("r.example#%aa", Some("r.example"))]
    #[case("r.example#%a", None)]
    #[case("r.example/v1/", Some("r.example"))]
    #[case("r.example/v1", Some("r.example/v1"))]
    #[case("r.example:", Some("r.example:"))]
    #[case("r.example:x", None)]
    #[case("r example", None)]
    #[case("r.example/%zz", None)]
    #[case("r.example\n", None)]
    #[case("1:2:3", None)]
    #[case("[fd00::1]:5000", Some("[fd00::1]:5000"))]
    #[case("[r.example]", None)]
    #[case("", Some(""))]
    fn names_of_registries_are_urls_to_go(#[case] name: &str, #[case] expected: Option<&str>) {
        assert_eq!(key(name).as_deref(), expected);
    }

    #[rstest::rstest]
    #[case("*", "anything", true)]
    #[case("*", "", true)]
    #[case("a*c", "abbc", true)]
    #[case("a*c", "abbd", false)]
    #[case("*a*b", "xaayb", true)]
    #[case("a**", "a", true)]
    #[case("", "a", false)]
    fn stars_stand_for_parts_of_labels(#[case] glob: &str, #[case] label: &str, #[case] expected: bool) {
        assert_eq!(star_matches(glob, label), expected);
    }

    /// Entries come from Secrets that anybody may have written: no pattern takes long.
    #[test]
    fn many_stars_are_no_work() {
        assert!(!star_matches(&format!("{}b", "*a".repeat(10_000)), &"a".repeat(250)));
    }
}
