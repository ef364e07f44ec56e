//! Rendered policies agree with a direct reading of the rules, whatever the rules.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use catalyst_crds::network::{AllowRule, BlockRule, Egress, EgressDefault, PortRange, Protocol};
use catalyst_crds::region::IpFamily;
use catalyst_crds::{EgressPolicy, Project, Region};
use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;

use crate::verdict::{Labels, Peer, assert_valid, may_reach};
use crate::world::{Fence, labelled, pod, policy, project, region, world};

/// Networks that touch, nest and border each other, and some that nobody can read.
const CIDRS: [&str; 30] = [
    "0.0.0.0/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "10.0.0.0/8",
    "10.4.0.0/16",
    "10.4.5.0/24",
    "10.4.5.6/32",
    "10.5.0.0/16",
    "8.8.0.0/16",
    "8.8.8.8/32",
    "8.8.8.9/32",
    "100.100.100.200/32",
    "169.254.169.254/32",
    "255.255.255.255/32",
    "0.0.0.0/32",
    "::/0",
    "2000::/3",
    "2000::/4",
    "3000::/4",
    "2001:4860::/32",
    "2001:4860::8888/128",
    "fc00::/7",
    "fd00:ec2::254/128",
    "3fff:ffff::/32",
    "ffff::/16",
    // Bad ones: host bits, leading zeros, no prefix, IPv4-mapped, none at all.
    "10.4.5.6/8",
    "010.0.0.0/8",
    "8.8.8.8",
    "::ffff:10.0.0.0/104",
    "2001:4860::1/32",
];
const NAMESPACES: [&str; 6] =
    ["databases", "kube-system", "prj-blog", "prj-other", "catalyst-dapr", "prj-shop"];
const APPS: [&str; 4] = ["orders", "payments", "cart", ""];
const PORTS: [i32; 3] = [53, 443, 8001];
const PROBES: [(i32, &str); 4] = [(53, "TCP"), (443, "TCP"), (443, "UDP"), (8000, "UDP")];

fn cidrs(most: usize) -> impl Strategy<Value = Vec<String>> {
    // Mostly readable ones, or hardly an entry would ever count.
    let one = prop_oneof![19 => select(&CIDRS[..25]), 1 => select(&CIDRS[25..])];
    prop::collection::btree_set(one, 1..=most)
        .prop_map(|set| set.into_iter().map(Into::into).collect())
}

fn allow_rule() -> impl Strategy<Value = AllowRule> {
    let ports = select(vec![
        vec![],
        vec![PortRange { port: 443, end_port: None, protocol: Protocol::TCP }],
        vec![PortRange { port: 443, end_port: Some(8000), protocol: Protocol::UDP }],
        vec![PortRange { port: 0, end_port: None, protocol: Protocol::TCP }],
    ]);
    let labels = select(vec![vec![], vec![], vec![("app", "pg")]]);
    (prop_oneof![cidrs(2), Just(vec![])], subsequence(&NAMESPACES[..], 0..3), labels, ports)
        .prop_map(|(cidrs, namespaces, labels, ports)| AllowRule {
            name: String::new(),
            cidrs,
            namespaces: namespaces.into_iter().map(Into::into).collect(),
            pod_labels: labelled(&labels),
            ports,
        })
}

fn allow_rules() -> impl Strategy<Value = Vec<AllowRule>> {
    prop::collection::vec(allow_rule(), 0..4).prop_map(|mut rules| {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("r{index}");
        }
        rules
    })
}

fn block_rules() -> impl Strategy<Value = Vec<BlockRule>> {
    prop::collection::vec(cidrs(3), 0..3).prop_map(|lists| {
        let named = |(index, cidrs)| BlockRule { name: format!("b{index}"), cidrs };
        lists.into_iter().enumerate().map(named).collect()
    })
}

fn egress() -> impl Strategy<Value = Egress> {
    let default = prop_oneof![
        8 => Just(None),
        1 => Just(Some(EgressDefault::Internet)),
        1 => Just(Some(EgressDefault::None)),
    ];
    let delegated =
        (cidrs(4), subsequence(&NAMESPACES[..], 0..3)).prop_map(|(cidrs, namespaces)| {
            serde_json::from_value(json!({"cidrs": cidrs, "namespaces": namespaces})).unwrap()
        });
    (default, prop::option::of(block_rules()), allow_rules(), prop::option::of(delegated)).prop_map(
        |(default, blocked, allowed, delegated)| Egress { default, blocked, allowed, delegated },
    )
}

fn team() -> impl Strategy<Value = (Option<Vec<&'static str>>, Vec<BlockRule>, Vec<AllowRule>)> {
    let apps = prop::option::of(subsequence(&APPS[..3], 1..3));
    (apps, block_rules(), allow_rules())
}

/// All that is said, by everybody.
#[derive(Debug)]
struct Said {
    families: Vec<IpFamily>,
    region: Arc<Region>,
    project: Arc<Project>,
    policies: Vec<Arc<EgressPolicy>>,
}

fn said() -> impl Strategy<Value = Said> {
    let families = select(vec![
        vec![],
        vec![IpFamily::IPv4],
        vec![IpFamily::IPv6],
        vec![IpFamily::IPv4, IpFamily::IPv6],
    ]);
    (families, egress(), egress(), prop::collection::vec(team(), 0..3)).prop_map(
        |(families, of_region, of_project, teams)| Said {
            region: region(&match families.as_slice() {
                [] => json!({"egress": of_region}),
                families => json!({"egress": of_region, "ipFamilies": families}),
            }),
            families: if families.is_empty() {
                vec![IpFamily::IPv4, IpFamily::IPv6]
            } else {
                families
            },
            project: project("shop", &json!({"egress": of_project})),
            policies: teams
                .iter()
                .enumerate()
                .map(|(index, (apps, blocked, allowed))| {
                    let mut spec = json!({"blocked": blocked, "allowed": allowed});
                    if let Some(apps) = apps {
                        spec["appIds"] = json!(apps);
                    }
                    policy(&format!("p{index}"), &spec)
                })
                .collect(),
        },
    )
}

/// A network as the contract takes it: `Err(Some)` with host bits, `Err(None)` unreadable.
fn net(text: &str) -> Result<IpNet, Option<IpNet>> {
    if ["010.0.0.0/8", "8.8.8.8", "::ffff:10.0.0.0/104"].contains(&text) {
        return Err(None);
    }
    let net: IpNet = text.parse().unwrap();
    if net.trunc() == net { Ok(net) } else { Err(Some(net.trunc())) }
}

/// What was said, read rule by rule.
struct Reading<'a> {
    said: &'a Said,
    /// What the platform blocks, and whether it leaves nothing open by default.
    blocks: Vec<IpNet>,
    closed: bool,
    never: Vec<IpNet>,
    delegated: Vec<IpNet>,
    delegated_namespaces: Vec<String>,
    /// Entries that count, each with the apps that it is for.
    allowed: Vec<(Option<Vec<String>>, Vec<IpNet>, AllowRule)>,
}

impl<'a> Reading<'a> {
    fn new(said: &'a Said) -> Self {
        let of_region = said.region.spec.network.clone().unwrap().egress.unwrap();
        let of_project = said.project.spec.network.clone().unwrap().egress.unwrap();
        let says_none = |egress: &Egress| egress.default == Some(EgressDefault::None);
        let mut closed = says_none(&of_region) || says_none(&of_project);
        let mut blocks = vec![];
        if of_region.blocked.is_none() {
            blocks.extend(shipped());
        }
        for blocked in [&of_region.blocked, &of_project.blocked].into_iter().flatten() {
            closed |= add_blocks(blocked, &mut blocks);
        }
        let bounds = || [&of_region.delegated, &of_project.delegated].into_iter().flatten();
        let nets = bounds().flat_map(|bound| &bound.cidrs).filter_map(|text| net(text).ok());
        let never = [
            "169.254.0.0/16",
            "fe80::/10",
            "100.100.100.200/32",
            "168.63.129.16/32",
            "192.0.0.192/32",
            "fd00:ec2::254/128",
            "fd20:ce::254/128",
            "64:ff9b::a9fe:0/112",
        ];
        let mut reading = Self {
            said,
            blocks,
            closed,
            never: never.iter().map(|text| text.parse().unwrap()).collect(),
            delegated: IpNet::aggregate(&nets.collect()),
            delegated_namespaces: bounds().flat_map(|bound| bound.namespaces.clone()).collect(),
            allowed: vec![],
        };
        let of_platform = of_region.allowed.iter().chain(&of_project.allowed);
        let of_platform = of_platform.filter(|rule| counts(rule)).map(|rule| (None, rule));
        let of_teams = said.policies.iter().flat_map(|policy| {
            let rules = policy.spec.allowed.iter().filter(|rule| counts(rule));
            rules.map(|rule| (policy.spec.app_ids.clone(), rule))
        });
        let of_teams = of_teams.filter(|(_, rule)| reading.permits(rule));
        let nets = |rule: &AllowRule| {
            let read = rule.cidrs.iter().map(|text| net(text).unwrap());
            read.filter(|net| said.serves(net)).collect()
        };
        reading.allowed = of_platform
            .chain(of_teams)
            .map(|(apps, rule)| (apps, nets(rule), rule.clone()))
            .collect();
        reading
    }

    /// Whether a team may say this.
    fn permits(&self, rule: &AllowRule) -> bool {
        let touches = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
        let mut nets = rule.cidrs.iter().map(|text| net(text).unwrap());
        let permits_net = |net: IpNet| {
            let is_open = !self.closed
                && base(net.network()).contains(&net)
                && !self.blocks.iter().any(|block| touches(block, &net));
            !self.never.iter().any(|never| touches(never, &net))
                && (is_open || self.delegated.iter().any(|outer| outer.contains(&net)))
        };
        let permits_namespace = |name: &String| {
            // `blog` consents, and `shop` is the project itself.
            name != "catalyst-dapr"
                && (["prj-blog", "prj-shop"].contains(&name.as_str())
                    || self.delegated_namespaces.contains(name))
        };
        nets.all(|net| !self.said.serves(&net) || permits_net(net))
            && rule.namespaces.iter().all(permits_namespace)
    }

    /// "Whatever an allow entry matches, else what lies in the base and in no block", and the floor.
    fn opens(&self, app: &str, to: &Peer, port: i32, protocol: &str) -> bool {
        let is_for = |apps: &Option<Vec<String>>| {
            apps.as_ref().is_none_or(|apps| apps.iter().any(|id| id == app))
        };
        let floor = match to {
            Peer::Address(address) => {
                let served = self.said.families.contains(&IpFamily::IPv4);
                served && port == 53 && address.to_string() == "169.254.20.10"
            }
            Peer::Pod(namespace, _) => namespace == "prj-shop",
        };
        let allowed = self.allowed.iter().any(|(apps, nets, rule)| {
            let peer = match to {
                Peer::Address(address) => nets.iter().any(|net| net.contains(address)),
                Peer::Pod(namespace, labels) => {
                    let mut wanted = rule.pod_labels.iter();
                    rule.namespaces.contains(namespace)
                        && wanted.all(|(key, value)| labels.get(key) == Some(value))
                }
            };
            let ports = rule.ports.is_empty()
                || rule.ports.iter().any(|range| {
                    format!("{:?}", range.protocol) == protocol
                        && port >= range.port
                        && port <= range.end_port.unwrap_or(range.port)
                });
            is_for(apps) && peer && ports
        });
        let in_base = || match to {
            Peer::Pod(..) => false,
            Peer::Address(address) => {
                let (mut blocks, mut closed) = (self.blocks.clone(), self.closed);
                for policy in &self.said.policies {
                    if is_for(&policy.spec.app_ids) {
                        closed |= add_blocks(&policy.spec.blocked, &mut blocks);
                    }
                }
                let base = base(*address);
                !closed
                    && self.said.serves(&base)
                    && base.contains(address)
                    && !blocks.iter().any(|block| block.contains(address))
            }
        };
        floor || allowed || in_base()
    }
}

impl Said {
    fn serves(&self, net: &IpNet) -> bool {
        self.families.contains(&match net {
            IpNet::V4(_) => IpFamily::IPv4,
            IpNet::V6(_) => IpFamily::IPv6,
        })
    }
}

/// Whether an entry counts, whoever says it.
fn counts(rule: &AllowRule) -> bool {
    let some = !rule.cidrs.is_empty() || !rule.namespaces.is_empty();
    let narrows = rule.pod_labels.is_empty() || !rule.namespaces.is_empty();
    some && narrows
        && rule.cidrs.iter().all(|text| net(text).is_ok())
        && rule.ports.iter().all(|port| port.port > 0)
}

/// The default block list.
fn shipped() -> impl Iterator<Item = IpNet> {
    catalyst_plan::cidr::default_blocked().into_iter().flat_map(|group| group.nets)
}

/// The base of an address's family.
fn base(address: IpAddr) -> IpNet {
    if address.is_ipv4() { "0.0.0.0/0" } else { "2000::/3" }.parse().unwrap()
}

/// Adds what can be read; answers whether something could not.
fn add_blocks(rules: &[BlockRule], nets: &mut Vec<IpNet>) -> bool {
    let mut closed = false;
    for text in rules.iter().flat_map(|rule| &rule.cidrs) {
        match net(text) {
            Ok(net) | Err(Some(net)) => nets.push(net),
            Err(None) => closed = true,
        }
    }
    closed
}

/// First, last, and their neighbours, of every network that anybody could name.
fn boundaries() -> BTreeSet<IpAddr> {
    let named = CIDRS.iter().filter_map(|text| match net(text) {
        Ok(net) | Err(Some(net)) => Some(net),
        Err(None) => None,
    });
    let around = |net: IpNet| {
        let neighbour = |address: IpAddr, up: bool| match address {
            IpAddr::V4(v4) => {
                let bits = u32::from(v4);
                if up { bits.checked_add(1) } else { bits.checked_sub(1) }
                    .map(|bits| IpAddr::V4(bits.into()))
            }
            IpAddr::V6(v6) => {
                let bits = u128::from(v6);
                if up { bits.checked_add(1) } else { bits.checked_sub(1) }
                    .map(|bits| IpAddr::V6(bits.into()))
            }
        };
        let (first, last) = (net.network(), net.broadcast());
        [neighbour(first, false), Some(first), Some(last), neighbour(last, true)]
            .into_iter()
            .flatten()
    };
    let resolver: IpNet = "169.254.20.10/32".parse().unwrap();
    shipped().chain(named).chain([resolver]).flat_map(around).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn rendered_policies_agree_with_a_direct_reading(said in said()) {
        let mut world = world(&json!({}), said.policies.clone());
        world.apps = APPS[..3].iter().map(ToString::to_string).collect();
        world.region = Some(said.region.clone());
        world.projects = vec![project("blog", &json!({"ingress": {"allowed": [{"name": "shop", "namespaces": ["prj-shop"]}]}}))];
        let fence = Fence::read(catalyst_plan::network::plan(&said.project, &world).unwrap());
        assert_valid(&fence.policies);
        prop_assert_eq!(fence.plan.findings.len(), said.policies.len());
        let reading = Reading::new(&said);

        for app in APPS {
            for address in boundaries() {
                for (port, protocol) in PROBES {
                    let to = Peer::Address(address);
                    let rendered = may_reach(&fence.policies, &pod(app), &to, port, protocol);
                    prop_assert_eq!(rendered, reading.opens(app, &to, port, protocol), "{} to {}:{}/{}", app, address, port, protocol);
                }
            }
            for namespace in NAMESPACES.into_iter().filter(|name| *name != "catalyst-dapr") {
                for labels in [Labels::new(), labelled(&[("app", "pg"), ("x", "y")])] {
                    for port in PORTS {
                        let to = Peer::Pod(namespace.into(), labels.clone());
                        let rendered = may_reach(&fence.policies, &pod(app), &to, port, "TCP");
                        prop_assert_eq!(rendered, reading.opens(app, &to, port, "TCP"), "{} to {} {:?}:{}", app, namespace, labels, port);
                    }
                }
            }
        }
    }
}
