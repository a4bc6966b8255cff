//! Which addresses may be connected to at all (rule R6): global unicast, and nothing that a
//! registry set apart. The table is the union of the IANA special-purpose registries and what
//! other projects learnt the hard way; it is an allow-rule first and a block list second.

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 networks of the IANA special-purpose registry, and the classes above unicast.
const BLOCKED_V4: [&str; 20] = [
    "0.0.0.0/8",       // this network; some systems take it for loopback
    "10.0.0.0/8",      // private
    "100.64.0.0/10",   // carrier-grade NAT
    "127.0.0.0/8",     // loopback
    "169.254.0.0/16",  // link-local, cloud metadata
    "172.16.0.0/12",   // private
    "192.0.0.0/24",    // protocol assignments
    "192.0.2.0/24",    // documentation
    "192.31.196.0/24", // AS112
    "192.52.193.0/24", // AMT relays
    "192.88.99.0/24",  // 6to4 relays
    "192.168.0.0/16",  // private
    "192.175.48.0/24", // AS112
    "198.18.0.0/15",   // benchmarks
    "198.51.100.0/24", // documentation
    "203.0.113.0/24",  // documentation
    "224.0.0.0/4",     // multicast
    "233.252.0.0/24",  // documentation of multicast
    "240.0.0.0/4",     // reserved
    "255.255.255.255/32",
];

/// The only part of IPv6 that holds global unicast today. It leaves out loopback, mapped,
/// translated (64:ff9b::/96, 64:ff9b:1::/48), discard (100::/64), segment routing (5f00::/16),
/// unique local, link-local and multicast without naming them.
const GLOBAL_V6: &str = "2000::/3";

/// Networks within [`GLOBAL_V6`] that are set apart.
const BLOCKED_V6: [&str; 5] = [
    "2001::/23",         // protocol assignments: Teredo, benchmarks, ORCHID
    "2001:db8::/32",     // documentation
    "2002::/16",         // 6to4: an IPv4 address in disguise
    "2620:4f:8000::/48", // AS112
    "3fff::/20",         // documentation
];

struct Table {
    blocked_v4: Vec<Ipv4Net>,
    global_v6: Ipv6Net,
    blocked_v6: Vec<Ipv6Net>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let v4 = |text: &&str| text.parse().expect("the table holds IPv4 networks");
    let v6 = |text: &&str| text.parse().expect("the table holds IPv6 networks");
    Table {
        blocked_v4: BLOCKED_V4.iter().map(v4).collect(),
        global_v6: v6(&GLOBAL_V6),
        blocked_v6: BLOCKED_V6.iter().map(v6).collect(),
    }
});

/// Whether anybody on the internet may have this address. An IPv4 address written as IPv6
/// (`::ffff:a.b.c.d`) is judged as the IPv4 address that it is.
pub fn is_global_unicast(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !TABLE.blocked_v4.iter().any(|net| net.contains(&v4)),
        IpAddr::V6(v6) => {
            TABLE.global_v6.contains(&v6) && !TABLE.blocked_v6.iter().any(|net| net.contains(&v6))
        }
    }
}

/// Whether we may connect: global unicast, or on the operator's own list.
pub(super) fn is_allowed(address: IpAddr, allow_networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    is_global_unicast(address) || allow_networks.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first and last address of every network that must never be reached.
    const NEVER: [&str; 46] = [
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "192.168.255.255",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "fe80::1",
        "febf::1",
        "fc00::1",
        "fdff::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "2002:7f00:1::",
        "2002::1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001:db8::1",
        "2001::1",
        "3fff::1",
        "5f00::1",
        "2001:2::1",
    ];

    #[test]
    fn what_is_set_apart_is_never_reached() {
        for text in NEVER {
            let address: IpAddr = text.parse().expect("an address");
            assert!(!is_global_unicast(address), "{text}");
        }
    }

    #[test]
    fn ordinary_addresses_are_reached() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.216.34",
            "99.255.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a01:4f8::1",
            "2001:200::1",
            "2400::1",
            "::ffff:8.8.8.8",
        ] {
            let address: IpAddr = text.parse().expect("an address");
            assert!(is_global_unicast(address), "{text}");
        }
    }

    #[test]
    fn a_listed_network_is_reached_and_its_neighbour_is_not() {
        let allow = ["127.0.10.0/24".parse().expect("a network")];
        let at = |text: &str| is_allowed(text.parse().expect("an address"), &allow);
        assert!(at("127.0.10.7"));
        assert!(at("::ffff:127.0.10.7"));
        assert!(!at("127.0.0.1"));
        assert!(!at("127.0.11.0"));
    }

    proptest! {
        #[test]
        fn a_mapped_address_is_judged_like_the_plain_one(bits: u32) {
            let plain = std::net::Ipv4Addr::from(bits);
            prop_assert_eq!(
                is_global_unicast(plain.into()),
                is_global_unicast(plain.to_ipv6_mapped().into())
            );
        }

        #[test]
        fn nothing_outside_2000_slash_3_is_reached(bits: u128) {
            let v6 = std::net::Ipv6Addr::from(bits);
            prop_assume!(v6.to_ipv4_mapped().is_none());
            if bits >> 125 != 1 {
                prop_assert!(!is_global_unicast(v6.into()));
            }
        }
    }
}
