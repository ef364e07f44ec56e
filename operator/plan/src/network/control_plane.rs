//! The NetworkPolicies of Dapr's control plane: what the table of flows says, and nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;

use catalyst_crds::RegionSpec;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::parts::{block, egress, ingress, labels, pods_of, policy, port};
use super::platform::{families, region};
use super::policies::{default_deny, dns, monitoring};
use super::rules::Reader;
use crate::cidr;
use crate::flows::{API_PORTS, CONTROL_PLANE, FLOWS, Flow, Party};
use crate::names::{DAPR_NAMESPACE, PROJECT};

/// Where the API server answers, behind its Service.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ApiServer {
    /// Its addresses; none where they are not known, and then any is let through.
    pub addresses: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<i32>,
}

/// The policies, in the order in which they take effect without a gap: what is needed is open before the rest closes.
pub(crate) fn control_plane(
    spec: &RegionSpec,
    resolvers: &[IpAddr],
    api: &ApiServer,
) -> Vec<NetworkPolicy> {
    let network = spec.network.clone().unwrap_or_default();
    let families = families(&network);
    let platform = region(&network, &mut Reader::new(&families));
    let addresses =
        platform.dns.addresses.iter().chain(resolvers).map(|address| cidr::host(*address));
    let addresses = addresses.filter(|net| families.contains(&cidr::family(net))).collect();
    let parts = CONTROL_PLANE.into_iter().filter_map(|party| part(party, api));
    [
        dns(DAPR_NAMESPACE, &platform.dns, addresses),
        monitoring(DAPR_NAMESPACE, &platform.monitoring),
    ]
    .into_iter()
    .flatten()
    .chain(parts)
    .chain([default_deny(DAPR_NAMESPACE)])
    .collect()
}

/// What one part of the control plane may reach, and who may reach it.
fn part(party: Party, api: &ApiServer) -> Option<NetworkPolicy> {
    let app = party.app()?;
    let from = |flow: &Flow| {
        let peer = match flow.from {
            Party::Server => projects(),
            other => beside(other)?,
        };
        ingress(vec![peer], vec![port(flow.port, "TCP")])
    };
    let to = |flow: &Flow| match flow.to {
        Party::ApiServer => to_api(api),
        other => egress(vec![beside(other)?], vec![port(flow.port, "TCP")]),
    };
    let incoming = FLOWS.iter().filter(|flow| flow.to == party).filter_map(from).collect();
    let outgoing = FLOWS.iter().filter(|flow| flow.from == party).filter_map(to).collect();
    let name = format!("allow-{app}");
    Some(policy(DAPR_NAMESPACE, &name, of(app), Some(incoming), Some(outgoing)))
}

/// The pods of a part.
pub(super) fn of(app: &str) -> LabelSelector {
    labels(&BTreeMap::from([("app".to_string(), app.to_string())]))
}

fn beside(party: Party) -> Option<NetworkPolicyPeer> {
    Some(NetworkPolicyPeer { pod_selector: Some(of(party.app()?)), ..NetworkPolicyPeer::default() })
}

/// The pods of every project, whose namespaces carry a label that admission keeps for them.
fn projects() -> NetworkPolicyPeer {
    let exists =
        LabelSelectorRequirement { key: PROJECT.into(), operator: "Exists".into(), values: None };
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_expressions: Some(vec![exists]),
            match_labels: None,
        }),
        pod_selector: Some(labels(&BTreeMap::new())),
        ip_block: None,
    }
}

fn to_api(api: &ApiServer) -> Option<k8s_openapi::api::networking::v1::NetworkPolicyEgressRule> {
    let known = !api.addresses.is_empty() && !api.ports.is_empty();
    let ports = if known { api.ports.as_slice() } else { API_PORTS.as_slice() };
    let ports = ports.iter().map(|number| port(*number, "TCP")).collect();
    let everywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|net| net.parse().ok());
    let nets: Vec<ipnet::IpNet> = if known {
        cidr::aggregate(api.addresses.iter().map(|address| cidr::host(*address)))
    } else {
        everywhere.collect()
    };
    egress(nets.iter().map(block).collect(), ports)
}

/// What lets a project's pods reach the parts that they need.
pub(super) fn to_control_plane() -> Vec<k8s_openapi::api::networking::v1::NetworkPolicyEgressRule> {
    let flows = FLOWS.iter().filter(|flow| flow.from == Party::Server);
    flows
        .filter_map(|flow| {
            let app = BTreeMap::from([("app".to_string(), flow.to.app()?.to_string())]);
            egress(vec![pods_of([DAPR_NAMESPACE.into()], &app)], vec![port(flow.port, "TCP")])
        })
        .collect()
}
