//! The kernel: the only Kubernetes I/O of this program, and nothing in it that knows a concern.
//!
//! watch -> observe -> plan -> apply -> condition. A controller brings `observe` and a pure `plan`; the rest is here, once.

mod apply;
mod cache;
mod cluster;
mod controller;
mod error;
mod events;
mod gate;
mod intern;
#[allow(clippy::module_inception, reason = "the kernel's own file in the kernel's room")]
mod kernel;
mod lease;
mod metrics;
mod primary;
mod queue;
mod reconcile;
mod secrets;
mod shared;
mod status;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod view;
mod watch;

pub use cache::{Cache, Secrets};
pub use cluster::Cluster;
pub use controller::Planner;
pub use error::Error;
pub use gate::Gate;
pub use kernel::Kernel;
pub use lease::{Lease, hold};
pub use metrics::Metrics;
pub use primary::Primary;
pub use reconcile::Reconcile;
pub use store::{Child, Held, News, Place, State, Store};
pub use view::View;
