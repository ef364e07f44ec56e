//! The parts of a NetworkPolicy, as every implementation reads them alike: directions and protocols
//! written out, no empty list, namespaces by the name that only the API server sets.

use std::collections::{BTreeMap, BTreeSet};

use catalyst_crds::network::PortRange;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::sums::Allow;
use crate::cidr;
use crate::mutant;
use crate::names::NAMESPACE_NAME;

/// What an entry names: networks, and pods of namespaces.
pub(super) fn peers(allow: &Allow) -> Vec<NetworkPolicyPeer> {
    let nets = cidr::aggregate(allow.cidrs.iter().map(|(_, net)| *net));
    let names = allow.namespaces.iter().map(|(_, name)| name.clone());
    let pods = (!allow.namespaces.is_empty()).then(|| pods_of(names, &allow.pod_labels));
    nets.iter().map(block).chain(pods).collect()
}

/// A base without the blocks in it; `None` where nothing is left.
pub(super) fn all_but(base: IpNet, blocks: &[IpNet]) -> Option<NetworkPolicyPeer> {
    if cidr::contains(blocks, &base) {
        return None;
    }
    let within = blocks.iter().filter(|net| base.contains(*net)).enumerate();
    let kept = within.filter(|(at, _)| *at != 1 || !mutant("ignore-an-except"));
    let except: Vec<_> = kept.map(|(_, net)| net.to_string()).collect();
    Some(NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: base.to_string(), except: some(except) }),
        ..NetworkPolicyPeer::default()
    })
}

pub(super) fn block(net: &IpNet) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: net.to_string(), except: None }),
        ..NetworkPolicyPeer::default()
    }
}

/// Pods of namespaces, which are told by the label that only the API server sets, so that nobody can
/// join by labelling a namespace. The pod selector is written even where it selects all, as some
/// implementations take no host-network pods without it.
pub(super) fn pods_of(
    names: impl IntoIterator<Item = String>,
    pod_labels: &BTreeMap<String, String>,
) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(one_of(NAMESPACE_NAME, "In", names)),
        pod_selector: Some(labels(pod_labels)),
        ip_block: None,
    }
}

pub(super) fn labels(labels: &BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: (!labels.is_empty()).then(|| labels.clone()),
        match_expressions: None,
    }
}

/// Objects by the values of one label, sorted and without doubles.
pub(super) fn one_of(
    key: &str,
    operator: &str,
    values: impl IntoIterator<Item = String>,
) -> LabelSelector {
    let values: BTreeSet<_> = values.into_iter().collect();
    LabelSelector {
        match_labels: None,
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: Some(values.into_iter().collect()),
        }]),
    }
}

pub(super) fn ports(ranges: &[PortRange]) -> Vec<NetworkPolicyPort> {
    let ranges: BTreeSet<_> = ranges.iter().collect();
    let port = |range: &PortRange| NetworkPolicyPort {
        end_port: range.end_port,
        ..port(range.port, &format!("{:?}", range.protocol))
    };
    ranges.into_iter().map(port).collect()
}

pub(super) fn port(number: i32, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        end_port: None,
        port: Some(IntOrString::Int(number)),
        protocol: Some(protocol.into()),
    }
}

/// A rule to these peers; `None` where there is none, since a rule without peers means everywhere.
pub(super) fn egress(
    to: Vec<NetworkPolicyPeer>,
    ports: Vec<NetworkPolicyPort>,
) -> Option<NetworkPolicyEgressRule> {
    some(to).map(|to| NetworkPolicyEgressRule { to: Some(to), ports: some(ports) })
}

/// A rule from these peers; `None` where there is none, since a rule without peers means everywhere.
pub(super) fn ingress(
    from: Vec<NetworkPolicyPeer>,
    ports: Vec<NetworkPolicyPort>,
) -> Option<NetworkPolicyIngressRule> {
    some(from).map(|from| NetworkPolicyIngressRule { from: Some(from), ports: some(ports) })
}

/// A policy for the directions that are given, be it without a rule.
pub(super) fn policy(
    namespace: &str,
    name: &str,
    pods: LabelSelector,
    ingress: Option<Vec<NetworkPolicyIngressRule>>,
    egress: Option<Vec<NetworkPolicyEgressRule>>,
) -> NetworkPolicy {
    let types = [
        ingress.is_some().then(|| "Ingress".to_string()),
        egress.is_some().then(|| "Egress".to_string()),
    ];
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some(namespace.into()),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods),
            policy_types: Some(types.into_iter().flatten().collect()),
            ingress: ingress.and_then(some),
            egress: egress.and_then(some),
        }),
    }
}

pub(super) fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
