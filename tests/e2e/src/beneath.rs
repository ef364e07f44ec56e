//! The Kubernetes beneath an installation, in one of two sizes.

use std::ops::Deref;
use std::path::PathBuf;

use catalyst_testbed::{ControlPlane, Error, Node};

/// A control plane, with pods or without.
pub enum Beneath {
    /// Etcd, the API server and its controllers.
    ControlPlane(Box<ControlPlane>),
    /// The same with a node, whose pods run and are fenced.
    Node(Box<Node>),
}

impl Deref for Beneath {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        match self {
            Self::ControlPlane(control_plane) => control_plane,
            Self::Node(node) => node,
        }
    }
}

impl Beneath {
    /// The node, of an installation that has one.
    pub fn node(&self) -> &Node {
        match self {
            Self::ControlPlane(_) => panic!("there are no pods here: start it by with_pods()"),
            Self::Node(node) => node,
        }
    }

    /// Leaves everything running when this process ends. Returns the kubeconfig.
    ///
    /// # Errors
    ///
    /// When the folder can't be marked.
    pub fn keep(self) -> Result<PathBuf, Error> {
        match self {
            Self::ControlPlane(control_plane) => control_plane.keep(),
            Self::Node(node) => node.keep(),
        }
    }
}
