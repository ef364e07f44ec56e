//! Decides which manifests should exist, and why. Pure: no cluster, no clock, no randomness, no environment.
//!
//! Every concern is one file with one `plan` function: `(&Kind, &World) -> Result<Plan, Invalid>`.

pub mod cidr;
pub mod dapr;
pub mod egress;
pub mod enforcement;
pub mod flows;
pub mod home;
pub mod identity;
pub mod lease;
mod mutant;
pub mod names;
pub mod namespace;
pub mod network;
mod plan;
pub mod project;
pub mod readiness;
pub mod region;
pub mod secret;
pub mod server;
pub mod stream;
pub mod trust;
mod workload;

pub use mutant::mutant;
pub use plan::{
    Content, Datum, Finding, Invalid, Keep, Key, Live, Object, Owner, Plan, Resource, Rollout,
    SecretBytes, Tenure,
};
