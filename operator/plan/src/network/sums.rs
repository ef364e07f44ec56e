//! What rules mean once they are read, and how they add up.

use std::collections::{BTreeMap, BTreeSet};

use catalyst_crds::network::PortRange;
use ipnet::IpNet;

use crate::cidr;

/// How many networks one list of rules may come to, so that the NetworkPolicy that carries it stays
/// well below what the API server stores.
pub(super) const MAX_NETWORKS: usize = 8192;

/// An entry of `allowed` that can count. Values keep their place in the list for messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Allow {
    pub(super) cidrs: Vec<(usize, IpNet)>,
    pub(super) namespaces: Vec<(usize, String)>,
    pub(super) pod_labels: BTreeMap<String, String>,
    pub(super) ports: Vec<PortRange>,
}

/// What lists of `blocked` take out of the base.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    /// Aggregated networks.
    pub(super) nets: Vec<IpNet>,
    /// Whether all of the base is taken out: by `default: None`, or since an entry can't be read.
    pub(super) closed: bool,
}

impl Blocks {
    /// Adds blocks to these. More than [`MAX_NETWORKS`] close the base; then it answers false.
    pub(super) fn add(&mut self, other: &Self) -> bool {
        let nets = self.nets.iter().chain(&other.nets).copied();
        self.nets = cidr::aggregate(nets);
        let fits = self.nets.len() <= MAX_NETWORKS;
        self.closed |= other.closed || !fits;
        fits
    }

    /// Both.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            nets: cidr::aggregate(self.nets.iter().chain(&other.nets).copied()),
            closed: self.closed || other.closed,
        }
    }
}

/// What a platform team lets its teams open.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    pub(super) cidrs: Vec<IpNet>,
    pub(super) namespaces: BTreeSet<String>,
}
