//! Which addresses are public.
//!
//! The tables follow the IANA registries of special-purpose addresses,
//! <https://www.iana.org/assignments/iana-ipv4-special-registry> and
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>. Where a block is in doubt, because it is reachable
//! but no one's server is there, it is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Reach;

/// IPv4 blocks that aren't public: first address and length of the prefix in bits.
const V4_REFUSED: [(Ipv4Addr, u32); 18] = [
    (Ipv4Addr::UNSPECIFIED, 8),      // "this network", RFC 791; Linux connects 0.0.0.0 to itself
    (Ipv4Addr::new(10, 0, 0, 0), 8), // private, RFC 1918
    (Ipv4Addr::new(100, 64, 0, 0), 10), // shared between carrier and customers, RFC 6598
    (Ipv4Addr::new(127, 0, 0, 0), 8), // loopback, RFC 1122
    (Ipv4Addr::new(169, 254, 0, 0), 16), // link-local, RFC 3927; clouds' metadata and credentials are there
    (Ipv4Addr::new(172, 16, 0, 0), 12), // private, RFC 1918
    (Ipv4Addr::new(192, 0, 0, 0), 24), // IETF protocols, RFC 6890
    (Ipv4Addr::new(192, 0, 2, 0), 24), // documentation, RFC 5737
    (Ipv4Addr::new(192, 31, 196, 0), 24), // AS112, RFC 7535: answers for names of private addresses
    (Ipv4Addr::new(192, 52, 193, 0), 24), // multicast tunnels, RFC 7450
    (Ipv4Addr::new(192, 88, 99, 0), 24), // relays into 6to4, RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16), // private, RFC 1918
    (Ipv4Addr::new(192, 175, 48, 0), 24), // AS112, RFC 7534
    (Ipv4Addr::new(198, 18, 0, 0), 15), // measurements inside networks, RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation, RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24), // documentation, RFC 5737
    (Ipv4Addr::new(224, 0, 0, 0), 4), // multicast, RFC 5771
    (Ipv4Addr::new(240, 0, 0, 0), 4), // reserved, RFC 1112; 255.255.255.255 is everyone on the link
];

/// The only block of IPv6 that unicast addresses are given out of,
/// <https://www.iana.org/assignments/ipv6-address-space>. Outside of it, and so refused: `::`, `::1`, `::/96` and
/// `::ffff:0:0/96` (IPv4 in other words), `64:ff9b::/96` and `64:ff9b:1::/48` (NAT64), `100::/64` (discard),
/// `5f00::/16` (segment routing), `fc00::/7` (private, with the AWS metadata at `fd00:ec2::254`), `fe80::/10` and
/// `fec0::/10` (link, site), `ff00::/8` (multicast).
const V6_UNICAST: (Ipv6Addr, u32) = (v6(0x2000, 0, 0), 3);

/// IPv6 blocks inside [`V6_UNICAST`] that aren't public.
const V6_REFUSED: [(Ipv6Addr, u32); 6] = [
    (v6(0x2001, 0, 0), 23), // IETF protocols, RFC 2928: Teredo (holds an IPv4 address), ORCHID, benchmarks
    (v6(0x2001, 0x0db8, 0), 32), // documentation, RFC 3849
    (v6(0x2002, 0, 0), 16), // 6to4, RFC 3056: holds an IPv4 address, maybe a private one
    (v6(0x2620, 0x4f, 0x8000), 48), // AS112, RFC 7534
    (v6(0x3ffe, 0, 0), 16), // the 6bone, given back, RFC 3701
    (v6(0x3fff, 0, 0), 20), // documentation, RFC 9637
];

const fn v6(a: u16, b: u16, c: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
}

/// Whether `ip` is an address on the public internet that somebody's server may have. An IPv4 address written as an
/// IPv6 one (mapped, 6to4, NAT64, Teredo) never is, whatever address it holds.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !V4_REFUSED.iter().any(|&block| in_v4(ip, block)),
        IpAddr::V6(ip) => in_v6(ip, V6_UNICAST) && !V6_REFUSED.iter().any(|&block| in_v6(ip, block)),
    }
}

/// Whether a deployment of this `reach` may connect to `ip`.
#[must_use]
pub fn allowed(ip: IpAddr, reach: Reach) -> bool {
    match reach {
        Reach::Public => is_public(ip),
        Reach::Loopback => is_public(ip) || ip.is_loopback(),
        Reach::Any => is_unicast(ip),
    }
}

/// One host's address, be it private. What only another notation of an IPv4 address is doesn't count: its plain form
/// does.
fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        // 240.0.0.0/4 holds the broadcast address.
        IpAddr::V4(ip) => ip.octets().first().is_some_and(|first| (1..224).contains(first)),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && ip.to_ipv4_mapped().is_none(),
    }
}

fn in_v4(ip: Ipv4Addr, (first, bits): (Ipv4Addr, u32)) -> bool {
    (ip.to_bits() ^ first.to_bits()).leading_zeros() >= bits
}

fn in_v6(ip: Ipv6Addr, (first, bits): (Ipv6Addr, u32)) -> bool {
    (ip.to_bits() ^ first.to_bits()).leading_zeros() >= bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// First and last address of every refused block, and the neighbours that are public.
    #[test]
    fn blocks_end_where_the_registries_say() {
        let table = "
            refused 0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255
            refused 169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0
            refused 192.0.0.255 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.0 192.168.255.255 192.175.48.1
            refused 198.18.0.0 198.19.255.255 198.51.100.7 203.0.113.7 224.0.0.1 239.255.255.255 240.0.0.1
            refused 255.255.255.254 255.255.255.255
            public 1.0.0.0 1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
            public 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.31.195.255 192.31.197.0
            public 192.52.192.255 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 192.175.47.255 198.17.255.255
            public 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
            refused :: ::1 ::7f00:1 ::8.8.8.8 ::ffff:8.8.8.8 ::ffff:127.0.0.1 ::ffff:0:8.8.8.8 64:ff9b::808:808
            refused 64:ff9b:1::1 100::1 100:0:0:1::1 1fff:ffff::1 2001::1 2001:1::1 2001:20::1 2001:1ff:ffff::1
            refused 2001:db8::1 2001:db8:ffff::1 2002:7f00:1:: 2002:808:808::1 2620:4f:8000::1 3ffe::1 3fff::1
            refused 3fff:fff:ffff::1 4000::1 5f00::1 fbff::1 fc00::1 fd00:ec2::254 fdff::1 fe80::1 febf::1 fec0::1
            refused feff::1 ff00::1 ff02::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
            public 2000::1 2001:200::1 2001:4860:4860::8888 2001:db7:ffff::1 2001:db9::1 2003::1 2600:1f00::1
            public 2606:4700:4700::1111 2620:4f:7fff::1 2620:4f:8001::1 2a00:1450::1 3ffd::1 3fff:1000::1
        ";
        for line in table.trim().lines() {
            let mut words = line.split_whitespace();
            let expected = words.next() == Some("public");
            for word in words {
                assert_eq!(is_public(word.parse().unwrap()), expected, "{word}");
            }
        }
    }

    #[test]
    fn a_reach_allows_what_the_one_before_allows_and_more() {
        for (ip, public, loopback, any) in [
            ("8.8.8.8", true, true, true),
            ("2606:4700::1", true, true, true),
            ("127.0.0.1", false, true, true),
            ("127.8.9.10", false, true, true),
            ("::1", false, true, true),
            ("10.0.0.1", false, false, true),
            ("192.168.1.1", false, false, true),
            ("fd00::1", false, false, true),
            ("::ffff:127.0.0.1", false, false, false),
            ("0.0.0.0", false, false, false),
            ("::", false, false, false),
            ("224.0.0.1", false, false, false),
            ("255.255.255.255", false, false, false),
            ("ff02::1", false, false, false),
        ] {
            let ip = ip.parse().unwrap();
            let got = [Reach::Public, Reach::Loopback, Reach::Any].map(|reach| allowed(ip, reach));
            assert_eq!(got, [public, loopback, any], "{ip}");
        }
    }

    proptest! {
        #[test]
        fn no_notation_of_ipv4_as_ipv6_is_public(bits: u32, low: u64) {
            let v4 = Ipv4Addr::from_bits(bits);
            let [a, b, c, d] = v4.octets();
            let (high, bottom) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let sixtofour = (0x2002_u128 << 112) | (u128::from(bits) << 80) | u128::from(low);
            for ip in [
                v4.to_ipv6_mapped(),
                v4.to_ipv6_compatible(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, bottom),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, bottom),
                Ipv6Addr::from_bits(sixtofour),
                Ipv6Addr::new(0x2001, 0, high, bottom, 0, 0, !high, !bottom),
            ] {
                prop_assert!(!is_public(ip.into()), "{}", ip);
            }
        }
    }
}
