//! The place of an address in a network. All addresses are judged here, no matter who names them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most private place that an address can lead to, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Somewhere on the internet.
    Public,
    /// A private network.
    Internal,
    /// This machine, or this Pod.
    Loopback,
    /// The node's own link, and services of a cloud for its machines, which give out credentials.
    LinkLocal,
}

impl Place {
    /// An IPv6 address is also judged by every IPv4 address that it may stand for: a gateway on the way would lead
    /// there.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => embedded(v6).map(of_v4).fold(of_v6(v6), Self::max),
        }
    }

    /// For messages: "10.0.0.1 is …".
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Public => "a public address",
            Self::Internal => "a private address",
            Self::Loopback => "an address of the operator itself",
            Self::LinkLocal => "a link-local address, where cloud metadata services answer",
        }
    }
}

/// Services of clouds for their machines, outside of the link-local range.
const METADATA_V4: [Ipv4Addr; 3] = [
    // Alibaba Cloud.
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure: WireServer.
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle Cloud.
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The same over IPv6, each with the bits that count.
const METADATA_V6: [(Ipv6Addr, u32); 6] = [
    // AWS, the whole range that it reserves for its services: metadata ::254, EKS Pod Identity ::23, DNS ::253, time
    // ::123.
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32),
    // Google Cloud.
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128),
    // Oracle Cloud.
    (Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe), 128),
    // Scaleway.
    (Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128),
    // Akamai (Linode).
    (Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1), 128),
    // Alibaba Cloud.
    (Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200), 128),
];

fn of_v4(address: Ipv4Addr) -> Place {
    let [first, second, ..] = address.octets();
    if address.is_link_local() || METADATA_V4.contains(&address) {
        Place::LinkLocal
    } else if address.is_loopback() || first == 0 {
        // Linux connects 0.0.0.0 to the local machine.
        Place::Loopback
    } else if address.is_private()
        // Carrier-grade NAT (RFC 6598), which clouds give to Pods; benchmarks (RFC 2544); multicast, and the reserved rest.
        || (first == 100 && second & 0b1100_0000 == 64)
        || (first == 198 && second & 0b1111_1110 == 18)
        || first >= 224
    {
        Place::Internal
    } else {
        Place::Public
    }
}

fn of_v6(address: Ipv6Addr) -> Place {
    let is_metadata = METADATA_V6.iter().any(|&(service, bits)| within(address, service, bits));
    let [first, second, third, ..] = address.segments();
    if address.is_unicast_link_local() || is_metadata {
        Place::LinkLocal
    } else if address.is_loopback() || address.is_unspecified() {
        Place::Loopback
    } else if address.is_unique_local()
        || address.is_multicast()
        // Site-local, which is deprecated and still routed (RFC 3879); the NAT64 prefix for local use (RFC 8215).
        || first & 0xffc0 == 0xfec0
        || (first, second, third) == (0x64, 0xff9b, 1)
    {
        Place::Internal
    } else {
        Place::Public
    }
}

fn within(address: Ipv6Addr, prefix: Ipv6Addr, bits: u32) -> bool {
    (address.to_bits() ^ prefix.to_bits()).leading_zeros() >= bits
}

/// The IPv4 addresses that an IPv6 address may stand for.
fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let o = address.octets();
    let s = address.segments();
    let last = [o[12], o[13], o[14], o[15]];
    let in_the_last_bits = match s[..6] {
        // Compatible and mapped (RFC 4291), translated (RFC 2765), and NAT64 by its well-known prefix (RFC 6052) or the one
        // for local use (RFC 8215).
        [0, 0, 0, 0, 0, 0 | 0xffff]
        | [0, 0, 0, 0, 0xffff, 0]
        | [0x64, 0xff9b, 0, 0, 0, 0]
        | [0x64, 0xff9b, 1, ..] => true,
        // ISATAP (RFC 5214), below any prefix.
        [_, _, _, _, interface, 0x5efe] => matches!(interface, 0 | 0x200),
        _ => false,
    };
    let mut found = if in_the_last_bits { vec![last] } else { Vec::new() };
    match s {
        // The length of the prefix for local use is unknown here (RFC 6052, section 2.2).
        [0x64, 0xff9b, 1, ..] => {
            found.extend([
                [o[6], o[7], o[9], o[10]],
                [o[7], o[9], o[10], o[11]],
                [o[9], o[10], o[11], o[12]],
            ]);
        }
        // 6to4 (RFC 3056).
        [0x2002, ..] => found.push([o[2], o[3], o[4], o[5]]),
        // Teredo (RFC 4380): its server, and the client with every bit inverted.
        [0x2001, 0, ..] => found.extend([[o[4], o[5], o[6], o[7]], last.map(|octet| !octet)]),
        _ => {}
    }
    // No gateway leads to an address that begins with 0: the IPv6 address does not have this form.
    found.into_iter().filter(|octets| octets[0] != 0).map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[rstest::rstest]
    #[case::link_local("169.254.169.254", Place::LinkLocal)]
    #[case::ecs("169.254.170.2", Place::LinkLocal)]
    #[case::tencent("169.254.0.23", Place::LinkLocal)]
    #[case::alibaba("100.100.100.200", Place::LinkLocal)]
    #[case::azure("168.63.129.16", Place::LinkLocal)]
    #[case::oracle("192.0.0.192", Place::LinkLocal)]
    #[case::aws_v6("fd00:ec2::254", Place::LinkLocal)]
    #[case::eks_v6("fd00:ec2::23", Place::LinkLocal)]
    #[case::aws_dns_v6("fd00:ec2::253", Place::LinkLocal)]
    #[case::google_v6("fd20:ce::254", Place::LinkLocal)]
    #[case::oracle_v6("fd00:c1::a9fe:a9fe", Place::LinkLocal)]
    #[case::scaleway_v6("fd00:42::42", Place::LinkLocal)]
    #[case::linode_v6("fd00:a9fe:a9fe::1", Place::LinkLocal)]
    #[case::alibaba_v6("fd00:100::100:200", Place::LinkLocal)]
    #[case::link_local_v6("fe80::a9fe:a9fe", Place::LinkLocal)]
    #[case::end_of_the_range("febf::1", Place::LinkLocal)]
    #[case::mapped("::ffff:169.254.169.254", Place::LinkLocal)]
    #[case::compatible("::169.254.169.254", Place::LinkLocal)]
    #[case::translated("::ffff:0:169.254.169.254", Place::LinkLocal)]
    #[case::nat64("64:ff9b::a9fe:a9fe", Place::LinkLocal)]
    #[case::nat64_of_azure("64:ff9b::168.63.129.16", Place::LinkLocal)]
    #[case::nat64_local_96("64:ff9b:1::a9fe:a9fe", Place::LinkLocal)]
    #[case::nat64_local_48("64:ff9b:1:a9fe:a9:fe00::", Place::LinkLocal)]
    #[case::nat64_local_56("64:ff9b:1:a9:fe:a9fe::", Place::LinkLocal)]
    #[case::nat64_local_64("64:ff9b:1:0:a9:fea9:fe00:0", Place::LinkLocal)]
    #[case::six_to_four("2002:a9fe:a9fe::1", Place::LinkLocal)]
    #[case::teredo_server("2001:0:a9fe:a9fe::", Place::LinkLocal)]
    #[case::teredo_client("2001:0:1:1::5601:5601", Place::LinkLocal)]
    #[case::isatap("2001:db8::5efe:a9fe:a9fe", Place::LinkLocal)]
    #[case::loopback("127.0.0.53", Place::Loopback)]
    #[case::this_network("0.0.0.0", Place::Loopback)]
    #[case::loopback_v6("::1", Place::Loopback)]
    #[case::unspecified_v6("::", Place::Loopback)]
    #[case::mapped_loopback("::ffff:127.0.0.1", Place::Loopback)]
    #[case::nat64_loopback("64:ff9b::7f00:1", Place::Loopback)]
    #[case::ten("10.0.0.1", Place::Internal)]
    #[case::one_seven_two("172.31.255.255", Place::Internal)]
    #[case::one_nine_two("192.168.0.1", Place::Internal)]
    #[case::shared("100.64.0.1", Place::Internal)]
    #[case::benchmark("198.19.0.1", Place::Internal)]
    #[case::broadcast("255.255.255.255", Place::Internal)]
    #[case::unique_local("fd12:3456::1", Place::Internal)]
    #[case::site_local("fec0::1", Place::Internal)]
    #[case::mapped_private("::ffff:10.0.0.1", Place::Internal)]
    #[case::nat64_private("64:ff9b::a00:1", Place::Internal)]
    #[case::multicast("ff02::1", Place::Internal)]
    #[case::outside_shared("100.128.0.1", Place::Public)]
    #[case::outside_private("172.32.0.1", Place::Public)]
    #[case::beside_azure("168.63.129.17", Place::Public)]
    #[case::public("93.184.215.14", Place::Public)]
    #[case::public_v6("2606:2800:21f:cb07:6820:80da:af6b:8b2c", Place::Public)]
    #[case::nat64_public("64:ff9b::5db8:d70e", Place::Public)]
    #[case::six_to_four_public("2002:5db8:d70e::1", Place::Public)]
    fn addresses_are_where_they_lead(#[case] address: &str, #[case] place: Place) {
        assert_eq!(Place::of(address.parse().unwrap()), place);
    }

    proptest! {
        /// An IPv4 address within an IPv6 address of any form counts as at least as private as by itself.
        #[test]
        fn no_wrapping_makes_an_address_more_public(octets in any::<[u8; 4]>()) {
            let bare = Ipv4Addr::from(octets);
            prop_assume!(octets[0] != 0);
            let [a, b, c, d] = octets.map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            for wrapped in [
                bare.to_ipv6_mapped(),
                bare.to_ipv6_compatible(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, !high, !low),
            ] {
                prop_assert!(Place::of(wrapped.into()) >= Place::of(bare.into()), "{}", wrapped);
            }
        }
    }
}
