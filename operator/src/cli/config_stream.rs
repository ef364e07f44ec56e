//! `catalyst config-stream`: what Dapr servers get their configuration from.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{block_on, log};
use crate::config_stream::{Options, run};

/// Serve Dapr servers their configuration, with secrets in place. This is what a Deployment does.
#[derive(Args, Debug)]
pub(super) struct ConfigStream {
    /// The namespace of the Dapr control plane, and of this pod.
    #[arg(long, env = "POD_NAMESPACE", default_value = catalyst_plan::names::DAPR_NAMESPACE)]
    namespace: String,
    /// Where Dapr servers are served: gRPC, mutual TLS.
    #[arg(long, default_value = "0.0.0.0:6500")]
    listen: SocketAddr,
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pages: SocketAddr,
    /// Host and port of Dapr's Sentry, which says who we are.
    #[arg(long, default_value = "dapr-sentry.catalyst-dapr.svc:443")]
    sentry: String,
    /// The ServiceAccount token for Sentry.
    #[arg(long, default_value = "/var/run/secrets/dapr.io/sentrytoken/token")]
    token: PathBuf,
    /// Component types that no server gets; one that ends with * means all that begin so.
    #[arg(long, value_delimiter = ',', default_value = "secretstores.local.*")]
    refuse_types: Vec<String>,
}

impl ConfigStream {
    pub(super) fn run(self) -> ExitCode {
        log();
        let options = Options {
            namespace: self.namespace,
            listen: self.listen,
            pages: self.pages,
            sentry: self.sentry,
            token: self.token,
            refused: self.refuse_types,
        };
        match block_on(run(options)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "config stream ends");
                ExitCode::FAILURE
            }
        }
    }
}
