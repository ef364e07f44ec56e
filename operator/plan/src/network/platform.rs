//! What the platform says: the rules of Region and Project, added up.

use std::net::IpAddr;

use catalyst_crds::network::{Egress, EgressDefault, Ingress};
use catalyst_crds::region::{Dns, IpFamily, NetworkMode, RegionNetwork};
use catalyst_crds::{Project, RegionSpec};

use super::rules::{CLOSED, Reader};
use super::sums::{Allow, Blocks, Bounds};
use crate::cidr;
use crate::plan::Invalid;

/// Where NodeLocal DNSCache answers if nobody says otherwise.
/// <https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/>
const NODE_LOCAL_DNS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 20, 10));

/// Where the monitoring lives if nobody says otherwise.
const MONITORING: &str = "monitoring";

/// The rules of Region and Project together.
pub(super) struct Platform {
    pub(super) mode: NetworkMode,
    pub(super) families: Vec<IpFamily>,
    pub(super) base: Blocks,
    pub(super) allowed: Vec<Allow>,
    pub(super) bounds: Bounds,
    pub(super) ingress: Vec<Allow>,
    pub(super) monitoring: Vec<String>,
    pub(super) dns: Resolvers,
    /// What is wrong with the Project's own rules.
    pub(super) problem: Option<Invalid>,
    /// What the Project should hear beside.
    pub(super) warnings: Vec<String>,
}

/// Where pods find DNS.
pub(super) struct Resolvers {
    /// Namespace and labels of the resolver's pods; `None` where what the Region says can't be read.
    pub(super) pods: Option<Dns>,
    /// Addresses that are no pods.
    pub(super) addresses: Vec<IpAddr>,
}

/// What is wrong with the network rules of a Region, and what is probably not meant: for the
/// `problem` and the `warnings` of its plan. A bad entry counts for nothing, and one of `blocked`
/// never widens, as in every Project.
pub fn validate_region(spec: &RegionSpec) -> (Option<Invalid>, Vec<String>) {
    let network = spec.network.clone().unwrap_or_default();
    let families = families(&network);
    let mut reader = Reader::new(&families);
    region(&network, &mut reader);
    reader.finish()
}

impl Platform {
    /// The rules of a Region and a Project added up.
    pub(super) fn new(region_spec: &RegionSpec, project: &Project) -> Self {
        let network = region_spec.network.clone().unwrap_or_default();
        let families = families(&network);
        let mut above = Reader::new(&families);
        let mut platform = region(&network, &mut above);

        let mut reader = Reader::new(&families);
        let own = project.spec.network.clone().unwrap_or_default();
        let egress = own.egress.unwrap_or_default();
        if platform.tightened && egress.default == Some(EgressDefault::Internet) {
            reader.warnings.push(
                "spec.network.egress.default is Internet, but the Region says None: None holds"
                    .into(),
            );
        }
        if platform.rules.base.closed && !platform.tightened {
            reader.warnings.push(format!(
                "an entry of the Region's spec.network.egress.blocked is to be mended; {CLOSED}"
            ));
        }
        let rules = Rules::read(&egress, own.ingress.as_ref(), &mut reader);
        platform.rules.base = platform.rules.base.and(&rules.base);
        platform.rules.allowed.extend(rules.allowed);
        platform.rules.ingress.extend(rules.ingress);
        let bounds = &mut platform.rules.bounds;
        bounds.cidrs = cidr::aggregate(bounds.cidrs.drain(..).chain(rules.bounds.cidrs));
        bounds.namespaces.extend(rules.bounds.namespaces);

        let (problem, warnings) = reader.finish();
        Self {
            mode: network.mode,
            base: platform.rules.base,
            allowed: platform.rules.allowed,
            bounds: platform.rules.bounds,
            ingress: platform.rules.ingress,
            monitoring: platform.monitoring,
            dns: platform.dns,
            problem,
            warnings,
            families,
        }
    }
}

/// What Region and Project have in common.
struct Rules {
    base: Blocks,
    allowed: Vec<Allow>,
    bounds: Bounds,
    ingress: Vec<Allow>,
}

impl Rules {
    fn read(egress: &Egress, ingress: Option<&Ingress>, reader: &mut Reader) -> Self {
        let path = "spec.network.egress";
        let blocked = egress.blocked.as_deref().unwrap_or_default();
        let mut base = reader.blocked(&format!("{path}.blocked"), blocked);
        base.closed |= egress.default == Some(EgressDefault::None);
        let allowed = reader.allowed(&format!("{path}.allowed"), &egress.allowed);
        let delegated = egress.delegated.as_ref();
        let bounds = delegated.map(|d| reader.delegated(&format!("{path}.delegated"), d));
        reader.reason = "InvalidIngress";
        let from = ingress.map(|ingress| ingress.allowed.as_slice()).unwrap_or_default();
        let ingress = reader.allowed("spec.network.ingress.allowed", from);
        let unplaced =
            |rules: Vec<(String, Allow)>| rules.into_iter().map(|(_, rule)| rule).collect();
        Self {
            base,
            allowed: unplaced(allowed),
            bounds: bounds.unwrap_or_default(),
            ingress: unplaced(ingress),
        }
    }
}

/// What a Region says by itself.
pub(super) struct OfRegion {
    rules: Rules,
    /// Whether the Region says `default: None`.
    tightened: bool,
    pub(super) monitoring: Vec<String>,
    pub(super) dns: Resolvers,
}

pub(super) fn region(network: &RegionNetwork, reader: &mut Reader) -> OfRegion {
    let egress = network.egress.clone().unwrap_or_default();
    let mut rules = Rules::read(&egress, network.ingress.as_ref(), reader);
    if egress.blocked.is_none() {
        let shipped = cidr::default_blocked().into_iter().flat_map(|group| group.nets);
        rules.base.nets = cidr::aggregate(shipped);
    }
    reader.reason = "InvalidNetwork";
    let monitoring = match &network.monitoring_namespaces {
        None => vec![MONITORING.into()],
        Some(names) => {
            let names = reader.namespaces("spec.network.monitoringNamespaces", names);
            names.into_iter().map(|(_, name)| name).collect()
        }
    };
    OfRegion {
        rules,
        tightened: egress.default == Some(EgressDefault::None),
        monitoring,
        dns: resolvers(network.dns.clone().unwrap_or_default(), reader),
    }
}

fn resolvers(mut dns: Dns, reader: &mut Reader) -> Resolvers {
    let mut addresses = Vec::new();
    for (index, text) in dns.addresses.iter().enumerate() {
        match cidr::parse_address(text) {
            Ok(address) => addresses.push(address),
            Err(problem) => reader.refuse(
                format_args!("spec.network.dns.addresses[{index}]"),
                format_args!("is \"{text}\": {problem}"),
            ),
        }
    }
    if dns.addresses.is_empty() {
        addresses.push(NODE_LOCAL_DNS);
    }
    let before = reader.problems.len();
    let namespace = dns.namespace.get_or_insert_with(|| "kube-system".into());
    reader.namespace("spec.network.dns.namespace", namespace);
    reader.labels("spec.network.dns.podLabels", &dns.pod_labels);
    Resolvers { pods: (reader.problems.len() == before).then_some(dns), addresses }
}

/// The families that the cluster serves: both where the Region says nothing.
pub(super) fn families(network: &RegionNetwork) -> Vec<IpFamily> {
    match network.ip_families.as_slice() {
        [] => vec![IpFamily::IPv4, IpFamily::IPv6],
        served => served.to_vec(),
    }
}
