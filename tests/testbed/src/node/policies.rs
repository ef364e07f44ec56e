//! How the packets of pods come before the NetworkPolicy enforcer: the first of each connection, in both families.

use crate::error::Result;
use crate::node::containers::BRIDGE;
use crate::node::network::Network;
use crate::node::tool::run;

/// The enforcer brings rules of its own, for which not every kernel has what they need (`NFT_QUEUE`); these do the
/// same.
///
/// Packets that are forwarded, and those of pods to the node itself: above all to the API server, which an `INPUT`
/// that is not judged would leave open to everybody. What the node sends, as probes do, is not judged.
fn rules() -> [String; 2] {
    let queue = "-m conntrack --ctstate NEW -j NFQUEUE --queue-num 100";
    [format!("FORWARD {queue}"), format!("INPUT -i {BRIDGE} {queue}")]
}

/// From here on nothing that is new passes, unless the enforcer says so.
pub(crate) fn begin(network: &Network) -> Result<()> {
    // Or packets from pod to pod, which stay on the bridge, pass by.
    network.set("net/bridge/bridge-nf-call-iptables")?;
    network.set("net/bridge/bridge-nf-call-ip6tables")?;
    each(network, "--append")
}

/// Everything passes again.
pub(crate) fn end(network: &Network) -> Result<()> {
    each(network, "--delete")
}

fn each(network: &Network, change: &str) -> Result<()> {
    for program in ["iptables", "ip6tables"] {
        for rule in rules() {
            let rule = rule.split(' ');
            run(network.command(program).args(["-w", "-t", "mangle", change]).args(rule))?;
        }
    }
    Ok(())
}
