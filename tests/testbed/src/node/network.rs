//! Networks of their own: the one of the node, which leads nowhere, and those of hosts outside that are joined to it.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::process::Command;

use crate::directory::Directory;
use crate::error::Result;
use crate::node::tool::run;

/// The node's addresses.
pub(crate) const NODE: [&str; 2] = ["192.168.77.10", "fd00:77::10"];

/// Where the API server listens there, as in most clusters.
pub(crate) const API_SERVER: u16 = 6443;

/// The addresses of all pods a cluster may have.
pub(crate) const PODS: [&str; 2] = ["10.244.0.0/16", "fd00:244::/56"];

/// A network of its own: that of the node, or of a host outside of the cluster.
#[derive(Debug, Clone)]
pub struct Network {
    name: String,
}

impl Network {
    /// The node's: its addresses, a default route, as a pod's packets must be routed before they are refused, and
    /// forwarding. Its one link begins and ends in it, so no packet leaves.
    pub(crate) fn of_node(directory: &Directory) -> Result<Self> {
        let network = Self::add(directory, "node")?;
        network.ip("link add node0 type veth peer name node0-end")?;
        network.ip(&format!("addr add {}/24 dev node0", NODE[0]))?;
        network.ip(&format!("addr add {}/64 dev node0 nodad", NODE[1]))?;
        network.ip("link set node0 up")?;
        network.ip("link set node0-end up")?;
        network.ip("route add default dev node0")?;
        network.ip("-6 route add default dev node0")?;
        network.set("net/ipv4/ip_forward")?;
        network.set("net/ipv6/conf/all/forwarding")?;
        Ok(network)
    }

    /// A host outside of the cluster, with addresses of its own. What pods send there is forwarded by the node, so that
    /// policies apply: what they send to the node itself would not be.
    pub(crate) fn of_host(
        &self,
        directory: &Directory,
        name: &str,
        number: usize,
        addresses: &[IpAddr],
    ) -> Result<Self> {
        let host = Self::add(directory, name)?;
        let link = format!("out{number}");
        let (node, far) = (&self.name, &host.name);
        run(Command::new("ip").args(
            format!("link add {link} netns {node} type veth peer name eth0 netns {far}").split(' '),
        ))?;
        let [v4, v6] = [format!("10.70.{number}."), format!("fd00:70:{number}::")];
        for (network, link, end) in [(self, link.as_str(), 1), (&host, "eth0", 2)] {
            network.ip(&format!("addr add {v4}{end}/24 dev {link}"))?;
            network.ip(&format!("addr add {v6}{end}/64 dev {link} nodad"))?;
            network.ip(&format!("link set {link} up"))?;
        }
        for address in addresses {
            let by = if address.is_ipv4() { &v4 } else { &v6 };
            host.ip(&format!("addr add {address} dev lo"))?;
            self.ip(&format!("route add {address} via {by}2"))?;
        }
        // What it sends of itself comes from the first of its addresses, if it has one of that family.
        for (family, by) in [("-4", &v4), ("-6", &v6)] {
            let from = addresses.iter().find(|address| address.is_ipv6() == (family == "-6"));
            let from = from.map_or(String::new(), |address| format!(" src {address}"));
            host.ip(&format!("{family} route add default via {by}1{from}"))?;
        }
        Ok(host)
    }

    /// A command that runs a program in it.
    // By nsenter: `ip netns exec` mounts /sys anew, without cgroups, and kubelet ends when it finds none.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg(program);
        command
    }

    /// Switches a setting of the kernel on.
    pub(crate) fn set(&self, setting: &str) -> Result<()> {
        let write = format!("echo 1 >/proc/sys/{setting}");
        run(self.command("sh").args(["-c", &write]))
    }

    fn ip(&self, arguments: &str) -> Result<()> {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments.split(' ')))
    }

    /// Makes a namespace that goes with the cluster's folder.
    fn add(directory: &Directory, name: &str) -> Result<Self> {
        let name = directory.claim_network(name)?;
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let network = Self { name };
        network.ip("link set lo up")?;
        Ok(network)
    }
}
