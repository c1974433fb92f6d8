//! Where the gateway may connect to when somebody else chose the address: URLs in requests.
//!
//! Rule: what is not plainly a public address of the internet is refused, unless its network was allowed by name. An
//! address inside another one (mapped, translated, tunnelled) is judged by both.
//! Not here: names. They are resolved first, and the address that is connected to is the one that was judged.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses, such as `10.20.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a network is an address, `/` and how many of its bits count, with no bit set behind them")]
pub struct BadNetwork;

impl Network {
    /// Whether an address lies in it. Addresses of one family never lie in networks of the other.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().map_err(|_| BadNetwork)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = if text.contains('/') { prefix.parse().map_err(|_| BadNetwork)? } else { longest };
        let zero = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        if prefix > longest {
            return Err(BadNetwork);
        }
        // Bits behind the prefix are a slip: another network was meant.
        let behind = match (address, zero) {
            (IpAddr::V4(it), _) => u128::from(it.to_bits() & u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)),
            (IpAddr::V6(it), _) => it.to_bits() & u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0),
        };
        if behind == 0 { Ok(Self { address, prefix }) } else { Err(BadNetwork) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Whether an address may be connected to.
pub fn may_reach(address: IpAddr, allowed: &[Network]) -> bool {
    if allowed.iter().any(|network| network.contains(address)) {
        return true;
    }
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match (instead(address), within(address)) {
            (Some(other), _) => may_reach(IpAddr::V4(other), allowed),
            (None, Some(inner)) => is_public_v6(address) && may_reach(IpAddr::V4(inner), allowed),
            (None, None) => is_public_v6(address),
        },
    }
}

/// The IANA registry of special purposes, and nothing that is not for one machine of the internet.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match a {
        // This network, loopback, multicast, reserved and broadcast; a private network.
        0 | 10 | 127 | 224..=255 => true,
        // Carriers' shared addresses.
        100 => (64..=127).contains(&b),
        // Link-local: where clouds keep their metadata.
        169 => b == 254,
        // Oracle's metadata beside the private networks.
        172 => (16..=31).contains(&b),
        192 => {
            // Protocol assignments, documentation, anycast of 6to4, private networks.
            (b == 0 && (c == 0 || c == 2))
                || (b == 88 && c == 99)
                || b == 168
                || (b == 31 && c == 196)
                || (b == 52 && c == 193)
                || (b == 175 && c == 48)
        }
        // Benchmarks, documentation; Azure's metadata at 168.63.129.16.
        198 => (18..=19).contains(&b) || (b == 51 && c == 100),
        203 => b == 0 && c == 113,
        168 => (b, c) == (63, 129),
        _ => false,
    };
    !is_special
}

/// Global unicast (2000::/3) without what was set apart in it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_special = match first {
        // Protocol assignments (Teredo, benchmarks, ORCHID), documentation.
        0x2001 => second < 0x0200 || second == 0x0db8,
        // Documentation; local use of SRv6.
        0x3fff => second < 0x1000,
        0x5f00 => true,
        // Direct delegation of AS112.
        0x2620 => second == 0x004f,
        _ => false,
    };
    (0x2000..0x4000).contains(&first) && !is_special
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, translated (NAT64 by its well-known prefix; a local one,
/// 64:ff9b:1::/48, may hold it anywhere, and is not public).
fn instead(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let joined = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] if high != 0 || low > 1 => Some(joined(high, low)),
        [0, 0, 0, 0, 0xffff, 0, high, low] | [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => Some(joined(high, low)),
        _ => None,
    }
}

/// The IPv4 address at the end of a tunnel that an IPv6 one leads into: 6to4, ISATAP.
fn within(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let joined = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0x2002, high, low, ..] | [.., 0x5efe, high, low] => Some(joined(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_reached() {
        let no = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.0.9",
            "168.63.129.16",
            "169.254.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::2",
            "::ffff:127.0.0.1",
            "::ffff:a9fe:a9fe",
            "::ffff:10.0.0.1",
            "::ffff:0:127.0.0.1",
            "::127.0.0.1",
            "::a9fe:a9fe",
            "64:ff9b::10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::7f00:1",
            "64:ff9b:1:2:3:4:192.168.1.1",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:0:4136:e378::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2002:c0a8:101::",
            "2620:4f:8000::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd12:3456::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
            "2607:f8b0::5efe:10.0.0.1",
            "fe80::5efe:8.8.8.8",
            "4000::1",
            "1::1",
        ];
        for text in no {
            assert!(!may_reach(text.parse().unwrap(), &[]), "{text}");
        }
        let yes = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "169.253.1.1",
            "169.255.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "203.0.112.1",
            "223.255.255.254",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ];
        for text in yes {
            assert!(may_reach(text.parse().unwrap(), &[]), "{text}");
        }
    }

    #[test]
    fn a_network_that_is_allowed_is_reached_and_no_other() {
        let allowed: Vec<Network> =
            ["10.20.0.0/16", "fd00::/8", "127.0.0.1"].map(|text| text.parse().unwrap()).to_vec();
        for (text, expected) in [
            ("10.20.0.1", true),
            ("10.20.255.255", true),
            ("10.21.0.1", false),
            ("fd12::1", true),
            ("fc00::1", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            // It is the same machine, said otherwise.
            ("::ffff:10.20.0.1", true),
            ("::ffff:10.21.0.1", false),
            ("169.254.169.254", false),
        ] {
            assert_eq!(may_reach(text.parse().unwrap(), &allowed), expected, "{text}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(may_reach("10.0.0.1".parse().unwrap(), &[all]));
        assert!(!may_reach("fe80::1".parse().unwrap(), &[all]));
    }

    #[test]
    fn a_network_is_read_as_it_is_written() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/8", "1.2.3.4/32"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        assert_eq!("::1".parse::<Network>().unwrap().to_string(), "::1/128");
        for text in [
            "",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0/8",
            "a/8",
            "10.0.0.0/8/8",
            "/8",
            "fd00::1/8",
        ] {
            assert_eq!(text.parse::<Network>(), Err(BadNetwork), "{text}");
        }
    }
}
