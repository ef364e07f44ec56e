//! What each part of the control plane is started with, and why.

use std::path::{Path, PathBuf};

use crate::node::network;
use crate::options::{Controllers, Options};
use crate::site::{Ports, Site};

/// Cluster addresses of services: what kubeadm takes, so the first one, the API's, is 10.96.0.1.
const SERVICES: &str = "10.96.0.0/16";

/// The same in both families, where there are pods.
const BOTH_SERVICES: &str = "10.96.0.0/16,fd00:96::/112";

/// The names and addresses that the API server's certificate is for.
pub(crate) const API_SERVER_NAMES: [&str; 8] = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
    "127.0.0.1",
    "10.96.0.1",
    network::NODE[0],
];

pub(crate) fn etcd(directory: &Path, ports: Ports) -> Vec<String> {
    let client = format!("http://127.0.0.1:{}", ports.etcd);
    let peer = format!("http://127.0.0.1:{}", ports.etcd_peer);
    Flags::default()
        .set("name", "testbed")
        .set("data-dir", directory.join("etcd").display())
        // The data ends with the process, and waiting for the disk is most of what a write costs.
        .set("unsafe-no-fsync", true)
        .set("log-level", "warn")
        .set("listen-client-urls", &client)
        .set("advertise-client-urls", &client)
        .set("listen-peer-urls", &peer)
        .set("initial-advertise-peer-urls", &peer)
        .set("initial-cluster", format!("testbed={peer}"))
        .0
}

pub(crate) fn api_server(keys: &Path, directory: &Path, site: &Site) -> Vec<String> {
    let key = |name: &str| keys.join(name).display().to_string();
    let flags = if site.has_pods() {
        Flags::default()
            .set("advertise-address", network::NODE[0])
            .set("service-cluster-ip-range", BOTH_SERVICES)
            // Or exec and logs look up the node's name, which no DNS server knows.
            .set("kubelet-preferred-address-types", "InternalIP")
            .set("kubelet-certificate-authority", key("ca.crt"))
            .set("kubelet-client-certificate", key("kubelet-client.crt"))
            .set("kubelet-client-key", key("kubelet-client.key"))
    } else {
        Flags::default()
            .set("bind-address", "127.0.0.1")
            .set("advertise-address", "127.0.0.1")
            // Endpoints may not be loopback addresses, so there are none to keep for `kubernetes`.
            .set("endpoint-reconciler-type", "none")
            .set("service-cluster-ip-range", SERVICES)
    };
    flags
        .set("etcd-servers", format!("http://127.0.0.1:{}", site.ports.etcd))
        .set("secure-port", site.ports.api_server)
        .set("client-ca-file", key("ca.crt"))
        .set("tls-cert-file", key("kube-apiserver.crt"))
        .set("tls-private-key-file", key("kube-apiserver.key"))
        .set("service-account-issuer", "https://kubernetes.default.svc.cluster.local")
        .set("service-account-key-file", key("tokens.pub"))
        .set("service-account-signing-key-file", key("tokens.key"))
        .set("authorization-mode", "Node,RBAC")
        .set("enable-admission-plugins", "NodeRestriction")
        .set("allow-privileged", true)
        .set("audit-policy-file", directory.join("audit-policy.json").display())
        .set("audit-log-path", audit_log(directory).display())
        // One authority signs users and the aggregator's own certificate: only this name is a proxy.
        .set("requestheader-client-ca-file", key("ca.crt"))
        .set("requestheader-allowed-names", "front-proxy-client")
        .set("requestheader-username-headers", "X-Remote-User")
        .set("requestheader-group-headers", "X-Remote-Group")
        .set("requestheader-extra-headers-prefix", "X-Remote-Extra-")
        .set("proxy-client-cert-file", key("front-proxy-client.crt"))
        .set("proxy-client-key-file", key("front-proxy-client.key"))
        .0
}

pub(crate) fn controller_manager(
    keys: &Path,
    controllers: Controllers,
    site: &Site,
) -> Vec<String> {
    let key = |name: &str| keys.join(name).display().to_string();
    let controllers = match controllers {
        Controllers::All => "*",
        Controllers::Few => {
            "namespace-controller,serviceaccount-controller,garbage-collector-controller"
        }
    };
    let flags = if site.has_pods() {
        Flags::default()
            .set("service-cluster-ip-range", BOTH_SERVICES)
            .set("allocate-node-cidrs", true)
            .set("cluster-cidr", network::PODS.join(","))
    } else {
        Flags::default().set("service-cluster-ip-range", SERVICES)
    };
    flags
        .set("kubeconfig", key("kube-controller-manager.kubeconfig"))
        .set("controllers", controllers)
        .set("leader-elect", false)
        .set("use-service-account-credentials", true)
        .set("service-account-private-key-file", key("tokens.key"))
        .set("root-ca-file", key("ca.crt"))
        .set("cluster-signing-cert-file", key("ca.crt"))
        .set("cluster-signing-key-file", key("ca.key"))
        // The default of 20 requests a second is what tests would otherwise wait for.
        .set("kube-api-qps", 500)
        .set("kube-api-burst", 1000)
        // Nobody asks it anything, and one port less can't clash.
        .set("secure-port", 0)
        .0
}

/// What the API server records about requests: who, what and the answer; of some users the bodies too.
pub(crate) fn audit_policy(options: &Options) -> serde_json::Value {
    let mut rules = vec![serde_json::json!({"level": "Metadata"})];
    if !options.audit_bodies_of.is_empty() {
        let bodies = serde_json::json!({
            "level": "Request",
            "users": options.audit_bodies_of,
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
        });
        rules.insert(0, bodies);
    }
    serde_json::json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        // Or every request is there twice.
        "omitStages": ["RequestReceived"],
        "rules": rules,
    })
}

/// In the cluster's folder, and gone with it; or in the folder that this variable names, for whoever reads the logs of
/// many clusters afterwards.
const AUDIT: &str = "CATALYST_AUDIT";

pub(crate) fn audit_log(directory: &Path) -> PathBuf {
    match (std::env::var_os(AUDIT), directory.file_name()) {
        (Some(kept), Some(name)) => Path::new(&kept).join(name).with_extension("log"),
        _ => directory.join("log").join("audit.log"),
    }
}

/// The arguments of one program.
#[derive(Default)]
pub(crate) struct Flags(pub(crate) Vec<String>);

impl Flags {
    pub(crate) fn set(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.0.push(format!("--{name}={value}"));
        self
    }
}
