//! The programs that a node runs in pods, built, and as images.

use std::path::PathBuf;

use crate::error::Result;
use crate::image::archive;
use crate::node::containers::POD_IMAGE;
use crate::peers::program;

/// The image of the cluster's DNS server, as `dns.yaml` has it.
const DNS_IMAGE: &str = "localhost/testbed/dns:1";

/// What a node runs that is no part of Kubernetes.
pub(crate) struct Programs {
    /// `tests/peers/pod`: waits, serves and dials, and joins networks.
    pub(crate) pod: PathBuf,
    /// The NetworkPolicy enforcer, of SIG Network.
    pub(crate) enforcer: PathBuf,
    /// The archives of both images: of pods first, as no pod starts without it.
    pub(crate) images: [PathBuf; 2],
}

impl Programs {
    /// Builds them, or finds them built before.
    pub(crate) fn build() -> Result<Self> {
        let pod = program("pod", None, ".")?;
        let dns = program("dns", Some("github.com/coredns/coredns"), ".")?;
        let images = [archive(POD_IMAGE, "/program", &pod)?, archive(DNS_IMAGE, "/program", &dns)?];
        let policies = "sigs.k8s.io/kube-network-policies";
        let standard = format!("{policies}/cmd/kube-network-policies/standard");
        Ok(Self { pod, enforcer: program("network", Some(policies), &standard)?, images })
    }
}
