//! Where a cluster's parts run and how they are reached: on loopback, or in a network of their own.

use std::path::Path;
use std::process::Command;

use crate::node::network::{self, Network};

/// The ports of one control plane on 127.0.0.1, as its parts see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) etcd: u16,
    pub(crate) etcd_peer: u16,
    pub(crate) api_server: u16,
}

/// The place of one cluster.
pub(crate) struct Site {
    pub(crate) ports: Ports,
    /// Where everybody else reaches the API server on 127.0.0.1.
    pub(crate) entrance: u16,
    network: Option<Network>,
}

impl Site {
    /// Everything on this machine's loopback.
    pub(crate) fn loopback(ports: Ports) -> Self {
        Self { entrance: ports.api_server, ports, network: None }
    }

    /// A network of its own, where the ports are the usual ones, as nobody else listens there.
    pub(crate) fn within(network: Network, entrance: u16) -> Self {
        let ports = Ports { etcd: 2379, etcd_peer: 2380, api_server: network::API_SERVER };
        Self { ports, entrance, network: Some(network) }
    }

    pub(crate) fn has_pods(&self) -> bool {
        self.network.is_some()
    }

    /// A command that runs a program there.
    pub(crate) fn command(&self, program: &Path) -> Command {
        match &self.network {
            Some(network) => network.command(program),
            None => Command::new(program),
        }
    }

    /// The API server as parts dial it.
    pub(crate) fn inside(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.api_server)
    }

    /// The API server as everybody else dials it.
    pub(crate) fn outside(&self) -> String {
        format!("https://127.0.0.1:{}", self.entrance)
    }
}
