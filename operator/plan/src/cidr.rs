//! Networks: strict reading, a little algebra, and the ranges that have a meaning of their own.

use std::fmt;
use std::net::IpAddr;

use catalyst_crds::region::IpFamily;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Why a text is no network that Catalyst takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unreadable {
    /// The text as it was written.
    pub value: String,
    /// What is wrong with it, and what to write.
    pub mend: String,
    /// The network around it where only host bits are set. A block takes it, so that it never widens.
    pub masked: Option<IpNet>,
}

impl fmt::Display for Unreadable {
    /// `"10.4.5.6/8": host bits are set; write 10.0.0.0/8`, as messages put it after the field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": {}", self.value, self.mend)
    }
}

/// Reads a network as Kubernetes 1.36 does (KEP-4858), and stricter than `ipnet`, which takes host
/// bits, leading zeros and IPv4-mapped addresses. IPv6 may be spelled in any way.
///
/// # Errors
/// What is wrong with the text, and what to write instead.
pub fn parse(value: &str) -> Result<IpNet, Unreadable> {
    let unreadable = |mend: String| Unreadable { value: value.into(), mend, masked: None };
    let Some((address, prefix)) = value.split_once('/') else {
        return Err(unreadable(without_prefix(value)));
    };
    let address = parse_address(address).map_err(&unreadable)?;
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let bits = prefix
        .parse::<u8>()
        .ok()
        .filter(|bits| *bits <= widest && !prefix.starts_with('+'))
        .ok_or_else(|| {
            unreadable(format!(
                "the prefix length \"{prefix}\" is none of 0 to {widest}; write {address}/{widest} \
                 for this one address"
            ))
        })?;
    if prefix.len() > 1 && prefix.starts_with('0') {
        return Err(unreadable(format!(
            "the prefix length has leading zeros; write {address}/{bits}"
        )));
    }
    let net = IpNet::new_assert(address, bits);
    if net == net.trunc() {
        Ok(net)
    } else {
        Err(Unreadable {
            masked: Some(net.trunc()),
            ..unreadable(format!("host bits are set; write {}", net.trunc()))
        })
    }
}

/// Reads one address, as [`parse`] reads the address of a network.
///
/// # Errors
/// What is wrong with the text, and what to write instead.
pub fn parse_address(text: &str) -> Result<IpAddr, String> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
            Some(v4) => Err(format!(
                "an IPv4-mapped IPv6 address matches nothing; write the IPv4 address, {v4}"
            )),
            None => Ok(v6.into()),
        },
        Ok(v4) => Ok(v4),
        Err(_) => Err(match without_leading_zeros(text) {
            Some(address) => format!(
                "leading zeros are read as octal by some; write {address} if that is what is meant"
            ),
            None => "it is no IP address; write one such as 10.20.5.6, and 10.20.5.6/32 where a \
                     network is asked for"
                .into(),
        }),
    }
}

fn without_prefix(value: &str) -> String {
    match parse_address(value) {
        Ok(address) => {
            let widest = if address.is_ipv4() { 32 } else { 128 };
            format!("the prefix length is missing; write {address}/{widest}")
        }
        Err(_) => "it is no network in CIDR notation; write one such as 10.20.5.6/32".into(),
    }
}

fn without_leading_zeros(text: &str) -> Option<IpAddr> {
    let octets: Vec<_> = text
        .split('.')
        .map(|octet| match octet.trim_start_matches('0') {
            "" if !octet.is_empty() => "0",
            trimmed => trimmed,
        })
        .collect();
    octets.join(".").parse().ok().filter(IpAddr::is_ipv4)
}

/// The family that a network belongs to.
pub fn family(net: &IpNet) -> IpFamily {
    match net {
        IpNet::V4(_) => IpFamily::IPv4,
        IpNet::V6(_) => IpFamily::IPv6,
    }
}

/// The network of one address.
pub fn host(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

/// The fewest networks that hold the same addresses: sorted, without doubles, nesting or halves.
pub fn aggregate(nets: impl IntoIterator<Item = IpNet>) -> Vec<IpNet> {
    let mut nets = IpNet::aggregate(&nets.into_iter().collect());
    nets.sort_unstable();
    nets
}

/// Whether aggregated networks hold all of `net`.
pub fn contains(aggregated: &[IpNet], net: &IpNet) -> bool {
    let before = aggregated.partition_point(|other| other <= net);
    before.checked_sub(1).is_some_and(|last| aggregated[last].contains(net))
}

/// The first of the networks that shares an address with `net`.
pub fn overlap<'a>(aggregated: &'a [IpNet], net: &IpNet) -> Option<&'a IpNet> {
    // Sorted and apart, so that only the neighbours can touch it.
    let before = aggregated.partition_point(|other| other <= net);
    let around = &aggregated[before.saturating_sub(1)..(before + 1).min(aggregated.len())];
    around.iter().find(|other| other.contains(net) || net.contains(*other))
}

/// What an app may reach of a family when nothing is blocked: all of IPv4, and the global unicast
/// range of IPv6, which leaves out ULA, link-local, NAT64 and IPv4-mapped addresses.
pub fn base(family: IpFamily) -> IpNet {
    match family {
        IpFamily::IPv4 => v4([0, 0, 0, 0], 0),
        IpFamily::IPv6 => v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3),
    }
}

/// A named part of the default block list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// The name, as a rule of it would be called.
    pub name: &'static str,
    /// Why nobody reaches it by default.
    pub why: &'static str,
    /// Its networks.
    pub nets: Vec<IpNet>,
}

/// What is blocked where a Region says nothing: private, link-local, metadata and special-purpose ranges.
///
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>,
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>
pub fn default_blocked() -> Vec<Group> {
    let group = |name, why, nets| Group { name, why, nets };
    vec![
        group(
            "private",
            "RFC 1918 and RFC 4193: nodes, pods, services and neighbours",
            vec![
                v4([10, 0, 0, 0], 8),
                v4([172, 16, 0, 0], 12),
                v4([192, 168, 0, 0], 16),
                v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
                v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
            ],
        ),
        group(
            "link-local",
            "the metadata services of most clouds",
            vec![v4([169, 254, 0, 0], 16), v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10)],
        ),
        group(
            "shared",
            "RFC 6598: pods and nodes of some clouds, and a metadata service",
            vec![v4([100, 64, 0, 0], 10)],
        ),
        group(
            "loopback",
            "the host itself, and addresses that stand for none; with IPv4-mapped and NAT64 ranges",
            vec![v4([0, 0, 0, 0], 8), v4([127, 0, 0, 0], 8), v6([0, 0, 0, 0, 0, 0, 0, 0], 8)],
        ),
        group(
            "protocol",
            "assigned to protocols, and a metadata service",
            vec![
                v4([192, 0, 0, 0], 24),
                v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
                v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
                v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
            ],
        ),
        group("benchmark", "RFC 2544, used privately", vec![v4([198, 18, 0, 0], 15)]),
        group(
            "documentation",
            "never routed",
            vec![
                v4([192, 0, 2, 0], 24),
                v4([198, 51, 100, 0], 24),
                v4([203, 0, 113, 0], 24),
                v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
                v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
            ],
        ),
        group(
            "relay",
            "6to4, which carries IPv4 addresses inside IPv6",
            vec![v4([192, 88, 99, 0], 24), v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16)],
        ),
        group(
            "multicast",
            "no peer of anybody",
            vec![v4([224, 0, 0, 0], 4), v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8)],
        ),
        group(
            "reserved",
            "never assigned, with the broadcast address",
            vec![v4([240, 0, 0, 0], 4)],
        ),
        group(
            "wireserver",
            "Azure's platform channel: a public address, yet a metadata service",
            vec![v4([168, 63, 129, 16], 32)],
        ),
    ]
}

/// What no team may open for itself, whatever is delegated: link-local ranges and the metadata
/// services of clouds, which hand out the credentials of the node. Their NAT64 images count too.
pub fn never_delegable() -> Vec<IpNet> {
    let v4s = [
        ([169, 254, 0, 0], 16),
        ([100, 100, 100, 200], 32), // Alibaba Cloud
        ([192, 0, 0, 192], 32),     // Oracle Cloud, classic
        ([168, 63, 129, 16], 32),   // Azure
    ];
    let v6s = [
        ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
        ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128), // EKS Pod Identity
        ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253], 128), // AWS, DNS
        ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), // AWS
        ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), // Google Cloud
        ([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128), // Oracle Cloud
        ([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128),  // Scaleway
    ];
    let images = v4s.iter().map(|(octets, bits)| nat64(*octets, *bits));
    v4s.iter()
        .map(|(octets, bits)| v4(*octets, *bits))
        .chain(images)
        .chain(v6s.into_iter().map(|(segments, bits)| v6(segments, bits)))
        .collect()
}

/// Where NAT64 shows an IPv4 network, under its well-known prefix (RFC 6052).
fn nat64([a, b, c, d]: [u8; 4], bits: u8) -> IpNet {
    let high = u16::from_be_bytes([a, b]);
    let low = u16::from_be_bytes([c, d]);
    v6([0x64, 0xff9b, 0, 0, 0, 0, high, low], 96 + bits)
}

fn v4(octets: [u8; 4], bits: u8) -> IpNet {
    Ipv4Net::new_assert(octets.into(), bits).into()
}

fn v6(segments: [u16; 8], bits: u8) -> IpNet {
    Ipv6Net::new_assert(segments.into(), bits).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        parse(text).unwrap()
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        for (value, sentence) in [
            ("10.4.5.6/8", "\"10.4.5.6/8\": host bits are set; write 10.0.0.0/8"),
            ("10.4.5.6", "\"10.4.5.6\": the prefix length is missing; write 10.4.5.6/32"),
            ("fd00::1", "\"fd00::1\": the prefix length is missing; write fd00::1/128"),
            (
                "10.0.0.0/08",
                "\"10.0.0.0/08\": the prefix length has leading zeros; write 10.0.0.0/8",
            ),
            (
                "010.0.0.0/8",
                "\"010.0.0.0/8\": leading zeros are read as octal by some; write 10.0.0.0 if that is what is meant",
            ),
            (
                "::ffff:10.0.0.0/104",
                "\"::ffff:10.0.0.0/104\": an IPv4-mapped IPv6 address matches nothing; write the IPv4 address, 10.0.0.0",
            ),
            (
                "10.0.0.0/33",
                "\"10.0.0.0/33\": the prefix length \"33\" is none of 0 to 32; write 10.0.0.0/32 for this one address",
            ),
            (
                "example.com",
                "\"example.com\": it is no network in CIDR notation; write one such as 10.20.5.6/32",
            ),
        ] {
            assert_eq!(parse(value).unwrap_err().to_string(), sentence);
        }
        for value in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0/8",
            " 10.0.0.0/8",
            "fe80::%1/64",
        ] {
            assert!(parse(value).is_err(), "{value}");
        }
    }

    #[test]
    fn only_host_bits_leave_a_network_to_block() {
        assert_eq!(parse("10.4.5.6/8").unwrap_err().masked, Some(net("10.0.0.0/8")));
        assert_eq!(parse("fd00::1/8").unwrap_err().masked, Some(net("fd00::/8")));
        assert_eq!(parse("010.0.0.0/8").unwrap_err().masked, None);
        assert_eq!(parse("10.4.5.6").unwrap_err().masked, None);
    }

    #[test]
    fn ipv6_is_read_in_any_spelling_and_written_in_one() {
        assert_eq!(net("2001:0DB8:0::/32").to_string(), "2001:db8::/32");
    }

    #[test]
    fn every_shipped_range_is_what_kubernetes_takes() {
        let groups = default_blocked().into_iter().flat_map(|group| group.nets);
        let bases = [base(IpFamily::IPv4), base(IpFamily::IPv6)];
        for shipped in groups.chain(never_delegable()).chain(bases) {
            assert_eq!(parse(&shipped.to_string()), Ok(shipped));
        }
    }

    #[test]
    fn metadata_services_are_blocked_by_default_or_outside_of_the_base() {
        let blocked = aggregate(default_blocked().into_iter().flat_map(|group| group.nets));
        for metadata in never_delegable() {
            assert!(contains(&blocked, &metadata), "{metadata}");
        }
    }

    #[test]
    fn halves_doubles_and_nested_networks_become_one() {
        let nets = ["10.0.0.0/9", "10.128.0.0/9", "10.4.0.0/16", "fd00::/8"].map(net);
        assert_eq!(aggregate(nets), [net("10.0.0.0/8"), net("fd00::/8")]);
    }
}
