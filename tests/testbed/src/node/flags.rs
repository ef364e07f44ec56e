//! What the parts of a node are started with, and why.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::directory::write;
use crate::error::{Doing, Result};
use crate::flags::Flags;
use crate::node::containers::Containers;
use crate::node::network;

/// The name of the one node.
pub(crate) const NAME: &str = "node";

pub(crate) fn scheduler(kubeconfig: &Path) -> Vec<String> {
    let kubeconfig = kubeconfig.display();
    Flags::default()
        .set("kubeconfig", &kubeconfig)
        .set("authentication-kubeconfig", &kubeconfig)
        .set("authorization-kubeconfig", &kubeconfig)
        .set("leader-elect", false)
        .0
}

/// Also makes the folders that it takes.
pub(crate) fn kubelet(
    directory: &Path,
    keys: &Path,
    kubeconfig: &Path,
    containers: &Containers,
) -> Result<Vec<String>> {
    let root = directory.join("kubelet");
    fs::create_dir_all(&root).doing("making", &root)?;
    let names = directory.join("resolv.conf");
    write(&names, "")?;
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": keys.join("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": keys.join("kubelet.crt"),
        "tlsPrivateKeyFile": keys.join("kubelet.key"),
        "containerRuntimeEndpoint": format!("unix://{}", containers.socket().display()),
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        // An empty one: no name outside of the cluster is known.
        "resolvConf": names,
        "podLogsDir": directory.join("pods"),
        // Or it ends at once where the machine has cgroups of the first version.
        "failCgroupV1": false,
        // Beside another kubelet on this machine: with it both would keep, and clean, the same cgroups.
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "maxPods": 200,
        // A full disk is the machine's own; otherwise kubelet removes images and pods for it.
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        // What is mounted of a ConfigMap or a Secret follows in seconds, and not in a minute.
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "syncFrequency": "10s",
    });
    let config = configured(directory, "kubelet", &configuration)?;
    Ok(Flags::default()
        .set("config", config)
        .set("kubeconfig", kubeconfig.display())
        .set("hostname-override", NAME)
        .set("node-ip", network::NODE.join(","))
        .set("root-dir", root.display())
        .0)
}

pub(crate) fn proxy(directory: &Path, kubeconfig: &Path) -> Result<Vec<String>> {
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": kubeconfig},
        "clusterCIDR": network::PODS.join(","),
        "hostnameOverride": NAME,
        // The machine's own settings are not ours to change.
        "conntrack": {"maxPerCore": 0},
    });
    Ok(Flags::default().set("config", configured(directory, "kube-proxy", &configuration)?).0)
}

pub(crate) fn enforcer(kubeconfig: &Path) -> Vec<String> {
    Flags::default()
        .set("kubeconfig", kubeconfig.display())
        .set("hostname-override", NAME)
        // What it can't judge does not pass: by default it does.
        .set("fail-open", false)
        // containerd 1.6 has no such interface.
        .set("disable-nri", true)
        // The log has each packet with the policy that decided.
        .set("v", 2)
        .0
}

/// Writes a part's configuration, and says where.
fn configured(directory: &Path, part: &str, configuration: &Value) -> Result<String> {
    let path = directory.join(format!("{part}.json"));
    write(&path, &format!("{configuration:#}\n"))?;
    Ok(path.display().to_string())
}
