//! Evaluates NetworkPolicies by the specification, and checks what the API server would refuse.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub(crate) type Labels = BTreeMap<String, String>;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// An address outside of the cluster's pods.
    Address(IpAddr),
    /// A pod, by namespace and labels.
    Pod(String, Labels),
}

/// Whether a pod with these labels, in the policies' namespace, may open a connection to the peer.
pub(crate) fn may_reach(
    policies: &[NetworkPolicy],
    pod: &Labels,
    to: &Peer,
    port: i32,
    protocol: &str,
) -> bool {
    decide(policies, pod, "Egress", |policy| {
        let spec = policy.spec.as_ref().unwrap();
        spec.egress.iter().flatten().any(|rule| {
            matches(namespace(policy), rule.to.as_ref(), rule.ports.as_ref(), to, port, protocol)
        })
    })
}

/// Whether the peer may open a connection to a pod with these labels, in the policies' namespace.
pub(crate) fn may_be_reached(
    policies: &[NetworkPolicy],
    pod: &Labels,
    from: &Peer,
    port: i32,
    protocol: &str,
) -> bool {
    decide(policies, pod, "Ingress", |policy| {
        let spec = policy.spec.as_ref().unwrap();
        spec.ingress.iter().flatten().any(|rule| {
            matches(
                namespace(policy),
                rule.from.as_ref(),
                rule.ports.as_ref(),
                from,
                port,
                protocol,
            )
        })
    })
}

fn namespace(policy: &NetworkPolicy) -> &str {
    policy.metadata.namespace.as_deref().unwrap()
}

/// A pod that no policy of this direction selects is open; else any rule of any such policy opens.
fn decide(
    policies: &[NetworkPolicy],
    pod: &Labels,
    direction: &str,
    opens: impl Fn(&NetworkPolicy) -> bool,
) -> bool {
    let mut selecting = policies
        .iter()
        .filter(|policy| {
            let spec = policy.spec.as_ref().unwrap();
            let types = spec.policy_types.as_ref().unwrap();
            types.iter().any(|kind| kind == direction)
                && selects(spec.pod_selector.as_ref().unwrap(), pod)
        })
        .peekable();
    selecting.peek().is_none() || selecting.any(opens)
}

fn matches(
    home: &str,
    peers: Option<&Vec<NetworkPolicyPeer>>,
    ports: Option<&Vec<NetworkPolicyPort>>,
    peer: &Peer,
    port: i32,
    protocol: &str,
) -> bool {
    let peer_matches = peers
        .is_none_or(|peers| peers.is_empty() || peers.iter().any(|item| is_peer(home, item, peer)));
    let port_matches = ports.is_none_or(|ports| {
        ports.is_empty()
            || ports.iter().any(|range| {
                let Some(IntOrString::Int(first)) = range.port else {
                    panic!("a port that is no number: {range:?}")
                };
                let last = range.end_port.unwrap_or(first);
                range.protocol.as_deref() == Some(protocol) && (first..=last).contains(&port)
            })
    });
    peer_matches && port_matches
}

fn is_peer(home: &str, item: &NetworkPolicyPeer, peer: &Peer) -> bool {
    match (item, peer) {
        (NetworkPolicyPeer { ip_block: Some(block), .. }, Peer::Address(address)) => {
            let holds = |cidr: &String| net(cidr).contains(address);
            holds(&block.cidr) && !block.except.iter().flatten().any(holds)
        }
        (
            NetworkPolicyPeer { ip_block: None, namespace_selector, pod_selector },
            Peer::Pod(of, labels),
        ) => {
            let in_namespace = match namespace_selector {
                None => of == home,
                Some(selector) => {
                    let name = ("kubernetes.io/metadata.name".to_string(), of.clone());
                    selects(selector, &Labels::from([name]))
                }
            };
            in_namespace && pod_selector.as_ref().is_none_or(|selector| selects(selector, labels))
        }
        _ => false,
    }
}

/// A network, read once per text: the laws probe the same ones very often.
fn net(text: &str) -> IpNet {
    thread_local! {
        static READ: RefCell<HashMap<String, IpNet>> = RefCell::default();
    }
    READ.with_borrow_mut(|read| {
        if let Some(net) = read.get(text) {
            return *net;
        }
        let net = text.parse().unwrap();
        read.insert(text.into(), net);
        net
    })
}

fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    let all_equal =
        selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let all_hold = selector.match_expressions.iter().flatten().all(|requirement| {
        let values = requirement.values.as_ref().unwrap();
        let among = labels.get(&requirement.key).is_some_and(|value| values.contains(value));
        match requirement.operator.as_str() {
            "In" => among,
            "NotIn" => !among,
            other => panic!("operator {other}"),
        }
    });
    all_equal && all_hold
}

/// What the API server of Kubernetes 1.36 refuses, and what the canonical form forbids beside.
pub(crate) fn assert_valid(policies: &[NetworkPolicy]) {
    let mut names = BTreeSet::new();
    for policy in policies {
        let name = policy.metadata.name.as_deref().unwrap();
        assert!(names.insert(name), "{name} twice");
        assert!(name.len() <= 253);
        let spec = policy.spec.as_ref().unwrap();
        let written = serde_json::to_value(spec).unwrap();
        assert_no_empty_list(name, &written);
        let types = spec.policy_types.as_ref().unwrap();
        assert!(!types.is_empty());
        let is = |kind: &str| types.iter().any(|written| written == kind);
        assert!(spec.ingress.is_none() || is("Ingress"), "{name}");
        assert!(spec.egress.is_none() || is("Egress"), "{name}");
        for rule in spec.egress.iter().flatten() {
            assert!(rule.to.is_some(), "{name}: a rule without peers means everywhere");
            rule.to.iter().flatten().for_each(|peer| assert_peer(name, peer));
            rule.ports.iter().flatten().for_each(|port| assert_port(name, port));
        }
        for rule in spec.ingress.iter().flatten() {
            assert!(rule.from.is_some(), "{name}: a rule without peers means everywhere");
            rule.from.iter().flatten().for_each(|peer| assert_peer(name, peer));
            rule.ports.iter().flatten().for_each(|port| assert_port(name, port));
        }
    }
}

fn assert_no_empty_list(name: &str, value: &serde_json::Value) {
    match value {
        serde_json::Value::Array(items) => {
            assert!(!items.is_empty(), "{name} has an empty list");
            for item in items {
                assert_no_empty_list(name, item);
            }
        }
        serde_json::Value::Object(fields) => {
            for (key, field) in fields {
                let may_be_empty = key == "podSelector";
                assert!(
                    may_be_empty || field.as_object().is_none_or(|map| !map.is_empty()),
                    "{name}: {key} is empty"
                );
                assert_no_empty_list(name, field);
            }
        }
        _ => {}
    }
}

fn assert_peer(name: &str, peer: &NetworkPolicyPeer) {
    let Some(IPBlock { cidr, except }) = &peer.ip_block else {
        assert!(peer.pod_selector.is_some(), "{name}: a peer without podSelector");
        return;
    };
    assert!(peer.pod_selector.is_none() && peer.namespace_selector.is_none());
    let outer = canonical(name, cidr);
    let inner: Vec<_> = except.iter().flatten().map(|text| canonical(name, text)).collect();
    for (index, net) in inner.iter().enumerate() {
        let is_strict_subset = outer.contains(net) && outer.prefix_len() < net.prefix_len();
        assert!(is_strict_subset, "{name}: {net} in {outer}");
        for other in &inner[index + 1..] {
            assert!(!net.contains(other) && !other.contains(net), "{name}: {net} and {other}");
        }
    }
}

fn canonical(name: &str, text: &str) -> IpNet {
    let net: IpNet = text.parse().unwrap();
    assert_eq!(net.trunc().to_string(), text, "{name}");
    if let IpAddr::V6(address) = net.network() {
        assert!(address.to_ipv4_mapped().is_none(), "{name}: {text}");
    }
    net
}

fn assert_port(name: &str, port: &NetworkPolicyPort) {
    let Some(IntOrString::Int(first)) = port.port else { panic!("{name}: {port:?}") };
    assert!((1..=65535).contains(&first), "{name}");
    assert!(port.end_port.is_none_or(|end| (first..=65535).contains(&end)), "{name}");
    assert!(matches!(port.protocol.as_deref(), Some("TCP" | "UDP" | "SCTP")), "{name}");
}
