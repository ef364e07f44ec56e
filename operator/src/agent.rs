//! Runs controllers until told to stop: the lease, the caches, and the pages that probes and Prometheus read.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::extract::State;
use axum::http::header::USER_AGENT;
use axum::http::{HeaderValue, StatusCode};
use axum::routing::get;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::controllers::{self, Settings};
use crate::kernel::{Cluster, Gate, Kernel, Lease, Metrics, View, hold};

/// How the agent runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The concerns whose controllers run.
    pub controllers: BTreeSet<String>,
    /// The namespace of the release, where the Lease lies.
    pub namespace: String,
    /// The Lease's name.
    pub lease: String,
    /// Who we are: the pod's name.
    pub identity: String,
    /// Where probes and metrics are served.
    pub listen: SocketAddr,
}

/// Longest wait for a connection, and for any answer but a watch's, which is ended by the server after 290 s.
const CONNECT: Duration = Duration::from_secs(5);
const READ: Duration = Duration::from_secs(320);

/// Who asks, as the API server's audit log and its metrics name it.
const AGENT: &str = concat!("catalyst/", env!("CARGO_PKG_VERSION"));

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When there is no cluster to talk to, the port is taken, or another process took the lease over.
pub async fn run(options: Options) -> Result<()> {
    let client = client().await?;
    let metrics = Metrics::default();
    let cluster = Arc::new(Cluster::new(client, Gate::default(), metrics.clone()));
    let mut kernel = Kernel::new(Some(Arc::clone(&cluster)));
    controllers::wire(
        &mut kernel,
        &options.controllers,
        &Settings { release: options.namespace.clone() },
    );
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("can't listen on {}", options.listen))?;
    let pages = pages(kernel.view(), metrics);
    let stop = CancellationToken::new();
    let lease =
        Lease { namespace: options.namespace, name: options.lease, identity: options.identity };
    tracing::info!(controllers = ?options.controllers, listen = %options.listen, "agent started");

    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let holding = hold(cluster, lease, stop.clone());
    tokio::pin!(holding);
    tokio::select! {
        ended = &mut holding => ended.context("the lease is lost"),
        () = kernel.run() => bail!("a part of the agent ended"),
        ended = axum::serve(listener, pages) => ended.context("probes can't be served"),
        _ = term.recv() => finish(&stop, holding).await,
        _ = interrupt.recv() => finish(&stop, holding).await,
    }
}

/// A client of the cluster that a kubeconfig or a pod's account names.
pub(crate) async fn client() -> Result<Client> {
    let mut config =
        Config::infer().await.context("no cluster: set KUBECONFIG, or run in a pod")?;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(READ);
    // Ours obeys Retry-After and gives up after seconds; the client's own may hang for minutes.
    config.default_retry = false;
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    Client::try_from(config).context("the kubeconfig can't be used")
}

/// Lets go of the lease. The controllers have stopped: they ran in the branch that was left.
async fn finish(
    stop: &CancellationToken,
    holding: impl Future<Output = Result<(), crate::kernel::Error>>,
) -> Result<()> {
    stop.cancel();
    if let Err(error) = holding.await {
        tracing::warn!(error = %error, "lease could not be released, it runs out by itself");
    }
    tracing::info!("agent stopped");
    Ok(())
}

#[derive(Clone)]
struct Shown {
    view: View,
    metrics: Metrics,
}

fn pages(view: View, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .with_state(Shown { view, metrics })
}

async fn ready(State(shown): State<Shown>) -> (StatusCode, String) {
    let waiting = shown.view.waiting();
    if waiting.is_empty() {
        return (StatusCode::OK, "ok\n".into());
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("waiting for the first list of {}\n", waiting.join(", ")),
    )
}

async fn figures(State(shown): State<Shown>) -> String {
    shown.view.measure(&shown.metrics);
    shown.metrics.text()
}
