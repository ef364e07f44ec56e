//! Starts a real Kubernetes, for tests and the demo, and leaves nothing behind.
//!
//! No container engine, no image registry: all parts of Kubernetes are one binary that is built from a pinned Go module
//! (`tests/peers/kubernetes`) into the user's cache, once. It comes in two sizes: [`ControlPlane`] needs no more than
//! loopback and any user; [`Node`] has pods too, and takes root and some packages of Debian for it.
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
mod dapr;
mod directory;
mod error;
mod etcd;
mod flags;
mod image;
mod keys;
mod kubectl;
mod node;
mod options;
mod parts;
mod peers;
mod ports;
mod process;
mod progress;
mod ready;
mod site;

pub use control_plane::{ControlPlane, stop_kept};
pub use dapr::{dapr_crds, dapr_images};
pub use error::{Error, Result};
pub use image::Image;
pub use kubectl::Output;
pub use node::{Dialled, Host, Node, Stores, app, app_image, pod, python_sdk};
pub use options::{Controllers, Options};
pub use peers::{Kubernetes, helm, kstatus, service_monitor_crd};
pub use process::Process;
