//! The proxy for the API server, by the rules of kubectl: those of Go's
//! `golang.org/x/net/http/httpproxy`. Pure.
//!
//! `proxy-url` of the kubeconfig comes first, without exceptions. If it is absent, the environment counts:
//! `HTTPS_PROXY` for an API server behind HTTPS, and `NO_PROXY` for exceptions.

use std::net::IpAddr;

use http::Uri;
use reqwest::Url;

/// The variables that name proxies. Upper case comes first; an empty variable counts as not set.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    https: Option<(&'static str, String)>,
    http: Option<(&'static str, String)>,
    exceptions: String,
}

/// The settings for proxies.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

impl Environment {
    /// The settings from the variables that `look_up` returns.
    pub fn new(look_up: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: [&'static str; 2]| {
            names
                .into_iter()
                .find_map(|name| look_up(name).filter(|value| !value.is_empty()).map(|value| (name, value)))
        };
        let exceptions = first(EXCEPTIONS).map(|(_, value)| value).unwrap_or_default();
        Self { https: first(HTTPS), http: first(HTTP), exceptions }
    }

    /// The settings of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }
}

/// The proxy for an API server; `None` for a direct connection.
///
/// # Errors
/// If the setting is not the address of a proxy. The error leaves out the address, because it may hold a password.
pub fn for_server(
    proxy_url: Option<&str>,
    environment: &Environment,
    server: &Uri,
) -> Result<Option<Uri>, String> {
    if let Some(named) = proxy_url.filter(|named| !named.is_empty()) {
        return parsed("proxy-url of the kubeconfig", named).map(Some);
    }
    let is_plain = server.scheme_str() == Some("http");
    let (named, port) = if is_plain { (&environment.http, 80) } else { (&environment.https, 443) };
    let Some((variable, named)) = named else { return Ok(None) };
    let host = server.host().unwrap_or_default();
    if is_exempt(host, server.port_u16().unwrap_or(port), &environment.exceptions) {
        return Ok(None);
    }
    parsed(variable, named).map(Some)
}

/// Converts an address, which may lack its scheme, to a URI for the client.
fn parsed(source: &str, named: &str) -> Result<Uri, String> {
    let whole = if named.contains("://") { named.to_owned() } else { format!("http://{named}") };
    let url = Url::parse(&whole).ok().filter(Url::has_host).ok_or_else(|| {
        format!("{source} is not the address of a proxy; expected an address such as http://proxy.example.com:3128")
    })?;
    let scheme = match url.scheme() {
        scheme @ ("http" | "https") => scheme,
        // In both, the proxy resolves names, as in Go.
        "socks5" | "socks5h" => "socks5",
        other => {
            return Err(format!(
                "{source} names a proxy that speaks '{other}'; expected http, https, socks5 or socks5h"
            ));
        }
    };
    let user = match (url.username(), url.password()) {
        ("", None) => String::new(),
        (user, None) => format!("{user}@"),
        (user, Some(password)) => format!("{user}:{password}@"),
    };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let authority = format!("{user}{}{port}", url.host_str().unwrap_or_default());
    Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query("/")
        .build()
        .map_err(|_| format!("{source} cannot be used as the address of a proxy"))
}

/// Whether a host needs no proxy. The own machine never needs one.
fn is_exempt(host: &str, port: u16, exceptions: &str) -> bool {
    let host = bare(host).to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    exceptions
        .split(',')
        .map(|entry| entry.trim().to_ascii_lowercase())
        .filter(|entry| !entry.is_empty())
        .any(|entry| entry == "*" || matches(&entry, &host, address, port))
}

/// Whether an entry of `NO_PROXY` covers this host. An entry is a network, or an address or a name with or without a
/// port. Other entries are ignored, as in Go.
fn matches(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if let Some((network, length)) = network(entry) {
        return address.is_some_and(|address| is_within(address, network, length));
    }
    let (name, only_port) = with_port(entry);
    if only_port.is_some_and(|only| only.parse() != Ok(port)) {
        return false;
    }
    match (name.parse::<IpAddr>(), address) {
        (Ok(meant), Some(address)) => meant.to_canonical() == address,
        (Ok(_), None) => false,
        (Err(_), _) => is_named(name, host),
    }
}

/// `example.com` covers itself and all names below it, `.example.com` and `*.example.com` only the names below.
fn is_named(name: &str, host: &str) -> bool {
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    if name.is_empty() {
        return false;
    }
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|below| below.ends_with('.')),
    }
}

/// Splits an entry from its port. An IPv6 address has a port only after brackets.
fn with_port(entry: &str) -> (&str, Option<&str>) {
    match entry.rsplit_once(':') {
        Some((name, port)) if name.ends_with(']') || !name.contains(':') => (bare(name), Some(port)),
        _ => (bare(entry), None),
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn network(entry: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = entry.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length = length.parse().ok()?;
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

fn is_within(address: IpAddr, network: IpAddr, length: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let rest = 32 - length;
            address.to_bits().checked_shr(rest) == network.to_bits().checked_shr(rest)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let rest = 128 - length;
            address.to_bits().checked_shr(rest) == network.to_bits().checked_shr(rest)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn chosen(proxy_url: Option<&str>, variables: &[(&str, &str)], server: &str) -> Option<String> {
        let proxy = for_server(proxy_url, &environment(variables), &server.parse().unwrap()).unwrap();
        proxy.map(|proxy| proxy.to_string())
    }

    /// Cases from the tests of Go's httpproxy, and from settings that people use.
    #[rstest::rstest]
    #[case::other_name("example.com", "api.example.org", 443, false)]
    #[case::name("api.example.com", "api.example.com", 443, true)]
    #[case::name_in_capitals("API.Example.com", "api.example.COM", 443, true)]
    #[case::below_a_name("example.com", "api.example.com", 443, true)]
    #[case::same_end_of_another_name("example.com", "myexample.com", 443, false)]
    #[case::dot_is_not_the_name_itself(".example.com", "example.com", 443, false)]
    #[case::below_a_dot(".example.com", "a.b.example.com", 443, true)]
    #[case::star_and_dot("*.example.com", "api.example.com", 443, true)]
    #[case::star_and_dot_is_not_the_name("*.example.com", "example.com", 443, false)]
    #[case::everything("*", "api.example.com", 443, true)]
    #[case::everything_among_others("foo, *", "10.0.0.1", 443, true)]
    #[case::port("example.com:6443", "example.com", 6443, true)]
    #[case::other_port("example.com:443", "example.com", 6443, false)]
    #[case::address("10.0.0.1", "10.0.0.1", 443, true)]
    #[case::other_address("10.0.0.1", "10.0.0.2", 443, false)]
    #[case::address_and_port("10.0.0.1:6443", "10.0.0.1", 6443, true)]
    #[case::address_and_other_port("10.0.0.1:443", "10.0.0.1", 6443, false)]
    #[case::network("10.0.0.0/8", "10.96.0.1", 443, true)]
    #[case::network_not_at_its_beginning("10.1.2.3/8", "10.96.0.1", 443, true)]
    #[case::other_network("10.0.0.0/16", "10.96.0.1", 443, false)]
    #[case::all_addresses("0.0.0.0/0", "192.0.2.1", 443, true)]
    #[case::no_network_of_names("10.0.0.0/8", "api.example.com", 443, false)]
    #[case::too_long_a_prefix("10.0.0.0/33", "10.0.0.1", 443, false)]
    #[case::ipv6("2001:db8::1", "[2001:db8::1]", 443, true)]
    #[case::ipv6_in_brackets("[2001:db8::1]", "[2001:db8:0::1]", 443, true)]
    #[case::ipv6_and_port("[2001:db8::1]:6443", "[2001:db8::1]", 6443, true)]
    #[case::ipv6_network("2001:db8::/32", "[2001:db8:1::1]", 443, true)]
    #[case::ipv4_in_ipv6("10.0.0.0/8", "[::ffff:10.0.0.1]", 443, true)]
    #[case::empty_entries(",, example.com ,", "example.com", 443, true)]
    #[case::nonsense("http://example.com,:443,/", "example.com", 443, false)]
    #[case::localhost("", "localhost", 6443, true)]
    #[case::loopback("", "127.0.0.2", 6443, true)]
    #[case::ipv6_loopback("", "[::1]", 6443, true)]
    #[case::nothing("", "api.example.com", 443, false)]
    fn exceptions(#[case] no_proxy: &str, #[case] host: &str, #[case] port: u16, #[case] expected: bool) {
        assert_eq!(is_exempt(host, port, no_proxy), expected);
        let server = format!("https://{host}:{port}");
        let variables = [("HTTPS_PROXY", "http://proxy.example:3128"), ("no_proxy", no_proxy)];
        assert_eq!(chosen(None, &variables, &server).is_none(), expected, "{server}");
    }

    #[rstest::rstest]
    #[case::without_scheme("proxy.example:3128", "http://proxy.example:3128/")]
    #[case::address_without_scheme("10.0.0.1:3128", "http://10.0.0.1:3128/")]
    #[case::host_alone("proxy.example", "http://proxy.example/")]
    #[case::password("http://me:p%40ss@proxy.example:3128/x", "http://me:p%40ss@proxy.example:3128/")]
    #[case::tls("https://proxy.example", "https://proxy.example/")]
    #[case::socks("socks5h://proxy.example:1080", "socks5://proxy.example:1080/")]
    fn addresses(#[case] named: &str, #[case] expected: &str) {
        let server = "https://api.example.com";
        assert_eq!(chosen(None, &[("https_proxy", named)], server).as_deref(), Some(expected));
        assert_eq!(chosen(Some(named), &[], server).as_deref(), Some(expected));
    }

    #[test]
    fn the_kubeconfig_comes_before_the_environment_and_knows_no_exceptions() {
        let variables = [("HTTPS_PROXY", "http://upper"), ("https_proxy", "http://lower"), ("NO_PROXY", "*")];
        let server = "https://api.example.com:6443";
        assert_eq!(chosen(Some("http://own:1"), &variables, server).as_deref(), Some("http://own:1/"));
        assert_eq!(chosen(Some(""), &variables, server), None);
        assert_eq!(chosen(None, &variables[..2], server).as_deref(), Some("http://upper/"));
        assert_eq!(
            chosen(None, &[("HTTPS_PROXY", ""), variables[1]], server).as_deref(),
            Some("http://lower/")
        );
    }

    #[test]
    fn each_scheme_of_the_api_server_has_its_proxy() {
        let variables = [("HTTP_PROXY", "http://plain"), ("HTTPS_PROXY", "http://tls")];
        assert_eq!(chosen(None, &variables, "http://api.example").as_deref(), Some("http://plain/"));
        assert_eq!(chosen(None, &variables, "https://api.example").as_deref(), Some("http://tls/"));
        assert_eq!(chosen(None, &variables[..1], "https://api.example"), None);
    }

    #[test]
    fn what_is_no_proxy_is_named_without_its_password() {
        let server = "https://api.example".parse().unwrap();
        let said =
            |named: &str| for_server(None, &environment(&[("HTTPS_PROXY", named)]), &server).unwrap_err();
        assert!(said("ftp://me:secret@proxy").contains("speaks 'ftp'"), "{}", said("ftp://me:secret@proxy"));
        for named in ["http://me:secret@", "http://", "http://me:secret@proxy:99999"] {
            let said = said(named);
            assert!(said.starts_with("HTTPS_PROXY is not the address") && !said.contains("secret"), "{said}");
        }
    }
}
