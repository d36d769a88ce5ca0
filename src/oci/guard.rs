//! Where the operator may be sent. Whoever may create a resource chooses the host that is asked, and the operator
//! stands where its network position is worth something.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::api::Reason;
use crate::types::{Failure, RepositoryRef};

use super::pattern;

/// Which registries may be asked, and which addresses never.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Patterns of the kubelet's kind (`registry.example.com`, `*.example.com/team`). Empty: every registry.
    pub allow: Vec<String>,
    /// Also talk to link-local and metadata addresses.
    pub link_local: bool,
}

impl Guard {
    /// # Errors
    /// `RegistryNotAllowed`, with what to do.
    pub(super) fn check(&self, repository: &RepositoryRef) -> Result<(), Failure> {
        let name = repository.to_string();
        if self.allow.is_empty() || self.allow.iter().any(|pattern| pattern::matches(pattern, &name)) {
            return Ok(());
        }
        Err(Failure::new(
            Reason::RegistryNotAllowed,
            format!(
                "{name}: this operator may not ask that registry; its flag --allow-registry permits {}",
                self.allow.join(", ")
            ),
        ))
    }

    /// # Errors
    /// Where the host of a URL is an address that is never asked. Names are judged when they are resolved.
    pub(super) fn check_url(&self, url: &Url) -> Result<(), Failure> {
        let address = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        match address {
            Some(address) if !self.permits(address) => {
                Err(Failure::new(Reason::RegistryNotAllowed, refusal(&address.to_string())))
            }
            _ => Ok(()),
        }
    }

    fn permits(&self, address: IpAddr) -> bool {
        self.link_local || !is_link_local(address)
    }
}

fn refusal(what: &str) -> String {
    format!(
        "{what} is a link-local address, where cloud metadata services answer; it is not asked (see the flag --allow-link-local)"
    )
}

/// Link-local, and the metadata services that live elsewhere: AWS over IPv6, Alibaba Cloud.
fn is_link_local(address: IpAddr) -> bool {
    const AWS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    const ALIBABA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4 == ALIBABA,
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6 == AWS
                || v6.to_ipv4_mapped().is_some_and(|v4| is_link_local(IpAddr::V4(v4)))
        }
    }
}

/// Resolves names as the system does, and leaves out what is never asked.
pub(super) struct GuardedResolver(pub(super) Arc<Guard>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let permitted: Vec<SocketAddr> =
                found.iter().copied().filter(|address| guard.permits(address.ip())).collect();
            match found.first() {
                Some(address) if permitted.is_empty() => {
                    Err(refusal(&format!("'{}' ({})", name.as_str(), address.ip())).into())
                }
                _ => Ok(Box::new(permitted.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("http://169.254.169.254/latest", false)]
    #[case("http://[fe80::1]/", false)]
    #[case("http://[::ffff:169.254.169.254]/", false)]
    #[case("http://[fd00:ec2::254]/", false)]
    #[case("http://100.100.100.200/", false)]
    #[case("http://127.0.0.1:5000/", true)]
    #[case("https://10.0.0.1/", true)]
    #[case("https://registry.example.com/", true)]
    fn metadata_addresses_are_never_asked(#[case] url: &str, #[case] fine: bool) {
        assert_eq!(Guard::default().check_url(&url.parse().unwrap()).is_ok(), fine);
        let told = Guard { link_local: true, ..Guard::default() };
        assert!(told.check_url(&url.parse().unwrap()).is_ok());
    }

    #[test]
    fn only_permitted_registries_are_asked() {
        let guard = Guard { allow: vec!["*.example.com/shop".into(), "docker.io".into()], link_local: false };
        for (image, fine) in [
            ("r.example.com/shop/web", true),
            ("r.example.com/other", false),
            ("nginx", true),
            ("r.example.org/shop", false),
        ] {
            assert_eq!(guard.check(&image.parse().unwrap()).is_ok(), fine, "{image}");
        }
        let failure = guard.check(&"r.example.org/shop".parse().unwrap()).unwrap_err();
        assert!(failure.message.contains("*.example.com/shop"), "{}", failure.message);
    }

    #[tokio::test]
    async fn names_that_lead_nowhere_else_resolve() {
        let resolver = GuardedResolver(Arc::new(Guard::default()));
        let addresses = resolver.resolve("localhost".parse().unwrap()).await.unwrap();
        assert!(addresses.count() > 0);
    }
}
