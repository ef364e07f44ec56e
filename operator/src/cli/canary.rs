//! `catalyst canary`: the two pods that prove whether NetworkPolicies are enforced.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{block_on, log};
use crate::canary;

/// Run a pod that proves whether NetworkPolicies are enforced. This is what two Deployments do.
#[derive(Args, Debug)]
pub(super) struct Canary {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Answer, and be ready until something comes that NetworkPolicies forbid.
    Target,
    /// Dial the target, and be ready while what NetworkPolicies let through is all that gets through.
    Prober {
        /// The name of the target's Service: a headless one, with an address for each family.
        #[arg(long, default_value = "catalyst-canary")]
        target: String,
    },
}

impl Canary {
    pub(super) fn run(self) -> ExitCode {
        log();
        let ended = match self.role {
            Role::Target => block_on(canary::target()),
            Role::Prober { target } => block_on(async move { canary::prober(&target).await }),
        };
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "canary ends");
                ExitCode::FAILURE
            }
        }
    }
}
