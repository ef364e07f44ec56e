//! The product as users meet it: a real control plane, the operator's two processes beside it, and somebody who applies
//! files, breaks things and looks at what comes of it.
//!
//! A file of `tests/` has one installation, as a Region is a singleton, in a `static` [`Stage`]. A test whose objects
//! have names of their own shares it; one that stops the operator, or counts what it writes, has it alone:
//!
//! ```no_run
//! static STAGE: catalyst_e2e::Stage = catalyst_e2e::Stage::new();
//!
//! // #[test]
//! fn a_project_is_ready() {
//!     let stage = STAGE.shared();
//!     stage.apply("{apiVersion: cra.diagrid.io/v1beta1, kind: Project, metadata: {name: shop}}");
//!     stage.ready("Project", None, "shop");
//! }
//! ```

#![allow(
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "only tests call this, and a test ends by panicking with what it saw"
)]

mod audit;
mod beneath;
mod binary;
mod cluster;
mod dapr;
mod documented;
mod examples;
mod helm;
mod installation;
pub mod matrix;
mod normal;
mod pods;
mod process;
pub mod rights;
mod server;
mod stage;
mod status;
pub mod stream;
mod team;
mod wait;

pub use audit::{Mark, Request, requests};
pub use beneath::Beneath;
pub use binary::{catalyst, catalyst_render, image};
pub use cluster::{Cluster, FOREIGN, PatchParams, Refused, documents};
pub use dapr::{Answer, App, Load};
pub use examples::{REGION_SECRETS, declared, examples, region_secrets, settle};
pub use helm::Helm;
pub use installation::{AGENT, Installation, SECRETS, STREAM, repository};
pub use normal::{essence, normal, state};
pub use process::Operator;
pub use server::{serves_admission_policies, serves_cel};
pub use stage::Stage;
pub use status::{condition, is_ready, says};
pub use wait::until;
