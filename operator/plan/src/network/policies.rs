//! The NetworkPolicies of a project namespace, one function each.

use std::collections::{BTreeMap, BTreeSet};

use catalyst_crds::region::IpFamily;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::control_plane::to_control_plane;
use super::parts::{
    all_but, block, egress, ingress, labels, one_of, peers, pods_of, policy, port, ports,
};
use super::platform::Resolvers;
use super::sums::{Allow, Blocks};
use super::team::Team;
use crate::cidr;
use crate::mutant;
use crate::names::APP;

/// Denies whatever no other policy of the namespace allows, in both directions.
pub(super) const DEFAULT_DENY: &str = "default-deny";

pub(super) fn default_deny(namespace: &str) -> NetworkPolicy {
    policy(namespace, DEFAULT_DENY, LabelSelector::default(), Some(vec![]), Some(vec![]))
}

/// Lets pods ask the resolvers, on port 53 only: most resolvers lie in networks that are blocked.
const DNS: &str = "allow-dns";

pub(super) fn dns(
    namespace: &str,
    resolvers: &Resolvers,
    addresses: Vec<IpNet>,
) -> Option<NetworkPolicy> {
    /// What the resolvers of Kubernetes carry as `k8s-app`.
    const RESOLVERS: [&str; 3] = ["kube-dns", "coredns", "node-local-dns"];
    let pods = resolvers.pods.as_ref().map(|dns| NetworkPolicyPeer {
        pod_selector: Some(if dns.pod_labels.is_empty() {
            one_of("k8s-app", "In", RESOLVERS.map(Into::into))
        } else {
            labels(&dns.pod_labels)
        }),
        ..pods_of(dns.namespace.clone(), &BTreeMap::new())
    });
    let nets = cidr::aggregate(addresses);
    let peers = pods.into_iter().chain(nets.iter().map(block));
    let ports = vec![port(53, "UDP"), port(53, "TCP")];
    let rule = egress(peers.collect(), ports)?;
    Some(policy(namespace, DNS, LabelSelector::default(), None, Some(vec![rule])))
}

/// Lets Dapr servers reach the Dapr control plane, on the ports of its pods.
const CONTROL_PLANE: &str = "allow-dapr-control-plane";

pub(super) fn control_plane(namespace: &str) -> Option<NetworkPolicy> {
    let rules = to_control_plane();
    (!rules.is_empty())
        .then(|| policy(namespace, CONTROL_PLANE, LabelSelector::default(), None, Some(rules)))
}

/// Lets the pods of the project reach each other.
const SAME_PROJECT: &str = "allow-same-project";

pub(super) fn same_project(namespace: &str) -> Option<NetworkPolicy> {
    let pods = NetworkPolicyPeer {
        pod_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    };
    let to = egress(vec![pods.clone()], vec![])?;
    let from = ingress(vec![pods], vec![])?;
    let all = LabelSelector::default();
    Some(policy(namespace, SAME_PROJECT, all, Some(vec![from]), Some(vec![to])))
}

/// Lets Catalyst's own namespace call the Dapr API of every server.
const RELEASE: &str = "allow-release";

pub(super) fn release(namespace: &str, release: &str) -> Option<NetworkPolicy> {
    /// HTTP and gRPC.
    const PORTS: [i32; 2] = [3500, 50001];
    let peer = pods_of([release.into()], &BTreeMap::new());
    let rule = ingress(vec![peer], PORTS.map(|number| port(number, "TCP")).into())?;
    let rules = Some(vec![rule]);
    Some(policy(namespace, RELEASE, LabelSelector::default(), rules, None))
}

/// Lets the monitoring scrape metrics.
const MONITORING: &str = "allow-monitoring";

pub(super) fn monitoring(namespace: &str, from: &[String]) -> Option<NetworkPolicy> {
    /// Where a Dapr server shows its metrics.
    const METRICS: i32 = 9090;
    let peers = match from {
        [] => vec![],
        from => vec![pods_of(from.iter().cloned(), &BTreeMap::new())],
    };
    let rules = Some(vec![ingress(peers, vec![port(METRICS, "TCP")])?]);
    Some(policy(namespace, MONITORING, LabelSelector::default(), rules, None))
}

/// Lets in what Region and Project allow.
const INGRESS: &str = "allow-ingress";

pub(super) fn allowed_ingress(namespace: &str, allowed: &[Allow]) -> Option<NetworkPolicy> {
    let rules: Vec<_> =
        allowed.iter().filter_map(|allow| ingress(peers(allow), ports(&allow.ports))).collect();
    let all = LabelSelector::default();
    (!rules.is_empty()).then(|| policy(namespace, INGRESS, all, Some(rules), None))
}

/// Lets every pod reach what Region and Project allow.
const EGRESS: &str = "allow-egress";

pub(super) fn allowed_egress(namespace: &str, allowed: &[Allow]) -> Option<NetworkPolicy> {
    allows(namespace, EGRESS, LabelSelector::default(), allowed)
}

/// Lets the apps of one EgressPolicy reach what it allows: `egress-<name>`. Each EgressPolicy has
/// its own, so that none can make another's too large.
const TEAM: &str = "egress";

pub(super) fn team_egress(
    namespace: &str,
    policy: &str,
    apps: Option<&BTreeSet<String>>,
    allowed: &[Allow],
) -> Option<NetworkPolicy> {
    let selector = match apps {
        None => LabelSelector::default(),
        Some(apps) => one_of(APP, "In", apps.iter().cloned()),
    };
    allows(namespace, &format!("{TEAM}-{policy}"), selector, allowed)
}

/// Opens what lies in the base and in no block, for every pod but those of apps with blocks of their own.
pub(super) const BASE: &str = "base-egress";

pub(super) fn base<'a>(
    namespace: &str,
    blocks: &Blocks,
    families: &[IpFamily],
    scoped: impl Iterator<Item = &'a String>,
) -> Option<NetworkPolicy> {
    let scoped: Vec<_> = scoped.cloned().collect();
    let selector = match scoped.as_slice() {
        [] => LabelSelector::default(),
        _ => one_of(APP, "NotIn", scoped),
    };
    open(namespace, BASE, selector, blocks, families)
}

/// The same for one app with blocks of its own, `base-egress-<app>`: NetworkPolicies only add, so
/// that it has to leave the shared one.
pub(super) fn base_of_app(
    namespace: &str,
    app: &str,
    blocks: &Blocks,
    families: &[IpFamily],
) -> Option<NetworkPolicy> {
    let selector = labels(&BTreeMap::from([(APP.to_string(), app.to_string())]));
    open(namespace, &format!("{BASE}-{app}"), selector, blocks, families)
}

/// Whether a policy of that name carries what an EgressPolicy says.
pub(super) fn carries(name: &str, team: &Team) -> bool {
    let all = team.apps.as_ref().is_none_or(BTreeSet::is_empty);
    let of = |app: &str| team.apps.as_ref().is_some_and(|apps| apps.contains(app));
    let is_base = || match name.strip_prefix(BASE) {
        Some("") => all,
        Some(app) => all || app.strip_prefix('-').is_some_and(of),
        None => false,
    };
    name.strip_prefix(TEAM).and_then(|rest| rest.strip_prefix('-')) == Some(&team.policy)
        || (team.blocks && is_base())
}

fn open(
    namespace: &str,
    name: &str,
    selector: LabelSelector,
    blocks: &Blocks,
    families: &[IpFamily],
) -> Option<NetworkPolicy> {
    if blocks.closed && !mutant("open-what-is-unreadable") {
        return None;
    }
    let bases = families.iter().map(|family| cidr::base(*family));
    let peers: Vec<_> = bases.filter_map(|base| all_but(base, &blocks.nets)).collect();
    let rule = egress(peers, vec![])?;
    Some(policy(namespace, name, selector, None, Some(vec![rule])))
}

fn allows(
    namespace: &str,
    name: &str,
    selector: LabelSelector,
    allowed: &[Allow],
) -> Option<NetworkPolicy> {
    let mut rules: Vec<_> =
        allowed.iter().filter_map(|allow| egress(peers(allow), ports(&allow.ports))).collect();
    if mutant("drop-a-rule") {
        rules.pop();
    }
    (!rules.is_empty()).then(|| policy(namespace, name, selector, None, Some(rules)))
}
