//! The configuration stream: serves Dapr's Operator API to Dapr servers as `dapr-operator`, with secrets in place.
//!
//! watches  Region, Project, AppIdentity, SecretRef, Dapr's kinds, Secret in the region's secret namespace; reads the
//!          Secrets of projects that objects name
//! writes   condition `ComponentsReady` on AppIdentity, where something is withheld
//!
//! A caller is who its certificate says, whatever it asks for: it gets what its own app sees, while Project and
//! AppIdentity are alive. There is one state: lists are read from it, and streams tell how it changes.

mod api;
mod codec;
mod feed;
mod metrics;
mod objects;
mod peer;
pub mod proto;
mod run;
mod say;
mod secrets;
mod serve;
mod state;

pub use self::api::{Api, Patience};
pub use self::metrics::Metrics;
pub use self::run::{Options, run};
pub use self::serve::serve;
pub use self::state::{Lookup, State};
