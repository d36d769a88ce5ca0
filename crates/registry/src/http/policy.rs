//! Which registries and addresses may be asked. Others choose the host, and this process can reach addresses in the
//! network that they cannot.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use oci::RepositoryRef;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::credentials::pattern;
use crate::error::{Error, Kind};
use crate::http::address::Place;

/// Which registries may be asked, and which addresses never.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// Hosts as the kubelet matches them, and whole segments of a path (`registry.example.com`, `*.example.com/team`).
    /// Empty: every registry.
    pub allow: Vec<String>,
    /// Also talk to link-local and metadata addresses.
    pub link_local: bool,
}

/// How private an address a request may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// All addresses that are not link-local: registries and their redirects have private addresses, too.
    Anywhere,
    /// Neither this machine itself, nor link-local.
    Private,
    /// The internet.
    Public,
}

impl AddressPolicy {
    /// Checks a pattern for [`AddressPolicy::allow`].
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn pattern(text: &str) -> Result<String, String> {
        let (host, path) = split(text);
        if text.contains("://") {
            Err("a scheme does not belong here; write registry.example.com or registry.example.com/team"
                .to_owned())
        } else if host.is_empty() {
            Err("it names no host; write registry.example.com, *.example.com or registry.example.com/team"
                .to_owned())
        } else if path.contains('*') {
            Err("'*' stands for a part of the host only; a path allows everything below it".to_owned())
        } else {
            Ok(text.to_owned())
        }
    }

    /// # Errors
    /// [`Kind::NotPermitted`], with the permitted registries.
    pub(crate) fn check(&self, repository: &RepositoryRef) -> Result<(), Error> {
        let name = repository.to_string();
        if self.allow.is_empty() || self.allow.iter().any(|pattern| allows(pattern, &name)) {
            return Ok(());
        }
        let permitted = Kind::NotPermitted(self.allow.clone().into());
        let error = Error::new(permitted, format!("{name}: that registry may not be asked"));
        Err(error.asked(repository, None))
    }

    /// Judges a host that is an address. Names are judged when they are resolved.
    ///
    /// # Errors
    /// If it is out of reach.
    pub(crate) fn check_url(&self, url: &Url, reach: Reach) -> Result<(), Refusal> {
        match address(url) {
            Some(address) => self.judge(&address.to_string(), address, reach),
            None => Ok(()),
        }
    }

    fn judge(&self, who: &str, address: IpAddr, reach: Reach) -> Result<(), Refusal> {
        let place = Place::of(address);
        let fine = match reach {
            Reach::Anywhere => place < Place::LinkLocal || self.link_local,
            Reach::Private => place < Place::Loopback,
            Reach::Public => place < Place::Internal,
        };
        if fine {
            return Ok(());
        }
        Err(Refusal { who: who.to_owned(), place, by_name: false })
    }
}

/// The address in a URL whose host is an address.
pub(crate) fn address(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

/// Host and port, and the path without the slashes at its ends.
fn split(text: &str) -> (&str, &str) {
    let (host, path) = text.split_once('/').unwrap_or((text, ""));
    (host, path.trim_matches('/'))
}

/// A permission ends at the end of a segment: a permission for `team` does not include `team-evil`. Names of hosts have
/// no case, and Docker Hub has two names.
fn allows(pattern: &str, name: &str) -> bool {
    let (host, path) = split(pattern);
    let (asked, repository) = split(name);
    let hub = |host: &str| match host.to_ascii_lowercase() {
        host if host == "index.docker.io" => "docker.io".to_owned(),
        host => host,
    };
    let below = repository.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    pattern::host_matches(&hub(host), &hub(asked)) && (path.is_empty() || below)
}

/// Why an address is not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    who: String,
    place: Place,
    by_name: bool,
}

impl Refusal {
    /// Why a registry, or the target of its redirect, is not asked.
    pub(crate) fn into_error(self) -> Error {
        let Self { place, by_name, .. } = self;
        let kind = Kind::Address { by_name, link_local: place == Place::LinkLocal };
        Error::new(kind, format!("{self}; it is not asked"))
    }

    /// The refusal that made a request fail.
    pub(crate) fn within(error: &reqwest::Error) -> Option<Self> {
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(refusal) = cause.downcast_ref::<Self>() {
                return Some(refusal.clone());
            }
            source = cause.source();
        }
        None
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let leads = if self.by_name { "leads to" } else { "is" };
        write!(f, "{} {leads} {}", self.who, self.place.describe())
    }
}

impl std::error::Error for Refusal {}

/// Resolves names as the system does, and removes addresses that are out of reach. The connection is made to the
/// addresses that remain, so that a name cannot lead to one address when it is judged and to another when it is used.
pub(crate) struct PolicyResolver {
    pub(crate) policy: Arc<AddressPolicy>,
    pub(crate) reach: Reach,
}

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, reach) = (self.policy.clone(), self.reach);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(policy.permitted(name.as_str(), found, reach)?.into_iter()) as Addrs)
        })
    }
}

impl AddressPolicy {
    /// The addresses of a name that are within reach; an error if it has only others.
    fn permitted(
        &self,
        name: &str,
        found: impl Iterator<Item = SocketAddr>,
        reach: Reach,
    ) -> Result<Vec<SocketAddr>, Refusal> {
        let mut refusal = None;
        let permitted: Vec<SocketAddr> = found
            .filter(|address| match self.judge(&format!("'{name}'"), address.ip(), reach) {
                Ok(()) => true,
                Err(why) => {
                    refusal = Some(Refusal { by_name: true, ..why });
                    false
                }
            })
            .collect();
        match refusal {
            Some(refusal) if permitted.is_empty() => Err(refusal),
            _ => Ok(permitted),
        }
    }
}

/// The proxies of the environment, by the rules of the HTTP client that uses them.
pub(crate) struct Proxies(Matcher);

impl Proxies {
    pub(crate) fn of_environment() -> Self {
        Self(Matcher::from_env())
    }

    /// Whether a proxy resolves the host of a URL and connects to it.
    pub(crate) fn carry(&self, url: &Url) -> bool {
        url.as_str().parse::<Uri>().is_ok_and(|uri| self.0.intercept(&uri).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("http://169.254.169.254/latest", false)]
    #[case("http://2852039166/", false)]
    #[case("http://0xa9.0xfe.0xa9.0xfe/", false)]
    #[case("http://[fe80::1]/", false)]
    #[case("http://[::ffff:169.254.169.254]/", false)]
    #[case("http://[64:ff9b::a9fe:a9fe]/", false)]
    #[case("http://[fd00:ec2::254]/", false)]
    #[case("http://[fd00:ec2::23]/", false)]
    #[case("http://[fd20:ce::254]/", false)]
    #[case("http://168.63.129.16/", false)]
    #[case("http://192.0.0.192/", false)]
    #[case("http://100.100.100.200/", false)]
    #[case("http://127.0.0.1:5000/", true)]
    #[case("https://10.0.0.1/", true)]
    #[case("https://registry.example.com/", true)]
    fn metadata_addresses_are_never_asked(#[case] url: &str, #[case] fine: bool) {
        let url = url.parse().unwrap();
        assert_eq!(AddressPolicy::default().check_url(&url, Reach::Anywhere).is_ok(), fine);
        let told = AddressPolicy { link_local: true, ..AddressPolicy::default() };
        assert!(told.check_url(&url, Reach::Anywhere).is_ok());
        assert!(fine || told.check_url(&url, Reach::Private).is_err(), "the flag is for registries");
    }

    #[test]
    fn only_permitted_registries_are_asked() {
        let policy =
            AddressPolicy { allow: vec!["*.example.com/shop".into(), "docker.io".into()], link_local: false };
        for (image, fine) in [
            ("r.example.com/shop/web", true),
            ("r.example.com/other", false),
            ("nginx", true),
            ("r.example.org/shop", false),
        ] {
            assert_eq!(policy.check(&image.parse().unwrap()).is_ok(), fine, "{image}");
        }
        let error = policy.check(&"r.example.org/shop".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), &Kind::NotPermitted(policy.allow.into()));
    }

    /// A string prefix, which the kubelet takes for credentials, let `team-evil` pass where `team` was permitted.
    #[rstest::rstest]
    #[case::itself("r.example/team", "r.example/team", true)]
    #[case::below("r.example/team", "r.example/team/web", true)]
    #[case::neighbour("r.example/team", "r.example/team-evil/web", false)]
    #[case::longer("r.example/team", "r.example/team2/web", false)]
    #[case::dot("r.example/team", "r.example/team.evil", false)]
    #[case::above("r.example/team/web", "r.example/team", false)]
    #[case::slash("r.example/team/", "r.example/team/web", true)]
    #[case::slash_itself("r.example/team/", "r.example/team", true)]
    #[case::slash_neighbour("r.example/team/", "r.example/team-evil/web", false)]
    #[case::host_with_slash("r.example/", "r.example/web", true)]
    #[case::host("r.example", "r.example.evil/web", false)]
    #[case::port("r.example:5000", "r.example:5000/web", true)]
    #[case::missing_port("r.example", "r.example:5000/web", false)]
    #[case::other_port("r.example:5000", "r.example:50001/web", false)]
    #[case::surplus_port("r.example:443", "r.example/web", false)]
    #[case::case_of_the_host("R.Example/team", "r.eXample/team/web", true)]
    #[case::one_label("*.example", "r.example/web", true)]
    #[case::two_labels("*.example", "a.b.example/web", false)]
    #[case::no_label("*.example", "example/web", false)]
    #[case::part_of_a_label("reg-*.example", "reg-1.example/web", true)]
    #[case::hub("index.docker.io", "docker.io/library/nginx", true)]
    #[case::part_of_hub("docker.io/library", "docker.io/library-evil/nginx", false)]
    #[case::other_host_than_hub("docker.io", "docker.io.evil.example/nginx", false)]
    #[case::ipv6("[fd00::1]:5000", "[fd00::1]:5000/web", true)]
    fn a_permission_ends_with_a_segment(#[case] pattern: &str, #[case] name: &str, #[case] fine: bool) {
        assert_eq!(allows(pattern, name), fine);
    }

    #[rstest::rstest]
    #[case("registry.example.com", true)]
    #[case("*.example.com:5000/team/", true)]
    #[case("https://registry.example.com", false)]
    #[case("registry.example.com/team-*", false)]
    #[case("", false)]
    #[case("/team", false)]
    fn a_pattern_that_never_matches_is_refused(#[case] pattern: &str, #[case] fine: bool) {
        assert_eq!(AddressPolicy::pattern(pattern).is_ok(), fine);
    }

    /// Each address of a name is judged, and only those within reach are connected to.
    #[rstest::rstest]
    #[case::private(&["10.0.0.1"], &[])]
    #[case::public(&["93.184.215.14"], &["93.184.215.14"])]
    #[case::both(&["10.0.0.1", "93.184.215.14", "::1"], &["93.184.215.14"])]
    #[case::mapped(&["::ffff:10.0.0.1"], &[])]
    fn names_are_judged_by_their_addresses(#[case] found: &[&str], #[case] expected: &[&str]) {
        let addresses = found.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0));
        let permitted = AddressPolicy::default().permitted("t.example", addresses, Reach::Public);
        let permitted = permitted.unwrap_or_else(|refusal| {
            assert!(refusal.to_string().contains("'t.example' leads to"), "{refusal}");
            Vec::new()
        });
        let permitted: Vec<String> = permitted.iter().map(|address| address.ip().to_string()).collect();
        assert_eq!(permitted, expected);
    }

    #[tokio::test]
    async fn names_that_lead_nowhere_else_resolve() {
        for (reach, fine) in [(Reach::Anywhere, true), (Reach::Private, false), (Reach::Public, false)] {
            let resolver = PolicyResolver { policy: Arc::default(), reach };
            assert_eq!(resolver.resolve("localhost".parse().unwrap()).await.is_ok(), fine);
        }
    }
}
