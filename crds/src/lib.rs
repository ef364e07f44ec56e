//! The API types of Catalyst: five kinds, one file each, and nothing that acts on them.

pub mod app_identity;
pub mod condition;
pub mod dapr;
mod definition;
pub mod egress_policy;
pub mod network;
pub mod project;
pub mod region;
pub mod schema;
pub mod secret_ref;

pub use app_identity::{AppIdentity, AppIdentitySpec, AppIdentityStatus};
pub use condition::Condition;
pub use definition::{MANIFESTS, definitions};
pub use egress_policy::{EgressPolicy, EgressPolicySpec, EgressPolicyStatus};
pub use project::{Project, ProjectSpec, ProjectStatus};
pub use region::{Region, RegionSpec, RegionStatus};
pub use secret_ref::{SecretRef, SecretRefSpec, SecretRefStatus};

/// The API group; labels, annotations and field managers derive from it.
pub const GROUP: &str = "cra.diagrid.io";

/// The one served version.
pub const VERSION: &str = "v1beta1";
