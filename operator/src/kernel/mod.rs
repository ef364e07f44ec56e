//! The kernel: the only Kubernetes I/O of this program, and nothing in it that knows a concern.
//!
//! watch -> observe -> plan -> apply -> condition. A controller brings `observe` and a pure `plan`; the rest is here, once.

mod apply;
mod cluster;
mod error;
mod gate;
mod lease;
mod metrics;
mod queue;
mod reconcile;
mod secrets;
mod status;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod watch;
mod wiring;

pub use cluster::Cluster;
pub use error::Error;
pub use gate::Gate;
pub use lease::{Lease, hold};
pub use metrics::Metrics;
pub use reconcile::{Primary, Reconcile};
pub use store::{Child, Place, State, Store};
pub use wiring::{Cache, Kernel, Planner, Secrets, View};
