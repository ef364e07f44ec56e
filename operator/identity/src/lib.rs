//! Who a process of Catalyst is: its certificate from Dapr's Sentry, kept fresh, and TLS that knows who is at the other
//! end. Knows no Kubernetes.
//!
//! Sentry's certificates name nobody but by one SPIFFE id, so that and the anchors of its own trust domain are all that
//! counts: never a host name, never a common pool of anchors.

mod anchors;
mod error;
mod id;
mod keep;
mod sentry;
mod svid;
mod tls;

pub use anchors::Anchors;
pub use error::Error;
pub use id::{InvalidId, SpiffeId};
pub use keep::{Identity, Workload};
pub use sentry::{Sentry, proto};
pub use svid::Svid;
pub use tls::{acceptor, connector, id_of};
