//! Starts a real Kubernetes control plane on loopback, for tests and the demo, and leaves nothing behind.
//!
//! No container engine, no image registry, no root: etcd, kube-apiserver, kube-controller-manager and kubectl are one
//! binary that is built from a pinned Go module (`tests/peers/kubernetes`) into the user's cache, once.
//!
//! It is a real one in its slowness too: a namespace takes at least 5 s to go, a constant of its controller. Tests
//! that need a clean slate start another control plane, in 4 s.
//!
//! ```no_run
//! use catalyst_testbed::{ControlPlane, Options};
//!
//! # fn main() -> Result<(), catalyst_testbed::Error> {
//! let cluster = ControlPlane::start(&Options::default())?;
//! cluster.kubectl(&["create", "namespace", "prj-shop"])?.success()?;
//! # Ok(())
//! # }
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!("the testbed reads /proc and so needs Linux");

mod cache;
mod control_plane;
mod directory;
mod error;
mod flags;
mod keys;
mod kubectl;
mod options;
mod parts;
mod peers;
mod ports;
mod process;
mod progress;
mod ready;

pub use control_plane::{ControlPlane, stop_kept};
pub use error::{Error, Result};
pub use kubectl::Output;
pub use options::{Controllers, Options};
pub use peers::{Kubernetes, dapr_crds, kstatus};
pub use process::Process;
