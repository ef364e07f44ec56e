//! The process: caches, identity, the server once both are there, and the pages that probes and Prometheus read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::get;
use catalyst_identity::{Anchors, Identity, Sentry, SpiffeId, Workload};
use catalyst_plan::stream::Rules;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::api::{Api, Patience};
use super::feed::{Feed, Trust};
use super::metrics::Metrics;
use super::say::say;
use super::secrets::Secrets;
use super::serve::serve;
use super::state::State;
use crate::agent;
use crate::kernel::{self, Cluster, Gate, Kernel, View};

/// Who we are to Dapr servers, which take no other.
const OPERATOR: &str = "dapr-operator";
const SENTRY: &str = "dapr-sentry";

/// Longer than any process lives.
const FOR_EVER: Duration = Duration::from_hours(10 * 365 * 24);

/// How the stream runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace of the Dapr control plane, ours.
    pub namespace: String,
    /// Where Dapr servers are served.
    pub listen: SocketAddr,
    /// Where probes and metrics are served.
    pub pages: SocketAddr,
    /// Host and port of Sentry.
    pub sentry: String,
    /// The file with our ServiceAccount token.
    pub token: PathBuf,
    /// Component types that no server gets.
    pub refused: Vec<String>,
}

/// Runs until SIGTERM or SIGINT, and then until every server has gone to another replica.
///
/// # Errors
/// When there is no cluster to talk to, or a port is taken.
pub async fn run(options: Options) -> Result<()> {
    let figures = kernel::Metrics::default();
    let metrics = Metrics::default();
    figures.register(|registry| metrics.register(registry));
    // Each replica says what it knows, so there is no lease.
    let gate = Gate::default();
    gate.open_until(Instant::now() + FOR_EVER);
    let cluster = Arc::new(Cluster::new(agent::client().await?, gate, figures.clone()));
    let mut kernel = Kernel::new(Some(Arc::clone(&cluster)));
    let feed = Feed::wire(&mut kernel);
    let (secrets, apps) = (Arc::clone(&feed.secrets), Arc::clone(&feed.apps));
    let rules = Rules { refused: options.refused.clone() };
    let state = Arc::new(State::new(rules, Arc::clone(&secrets) as _));

    let (trust, trusted) = watch::channel(None);
    let (full, is_full) = watch::channel(false);
    let (identity, held) = watch::channel(None);
    let (serving, is_serving) = watch::channel(false);
    let stop = CancellationToken::new();
    let pages = TcpListener::bind(options.pages)
        .await
        .with_context(|| format!("can't listen on {}", options.pages))?;
    let shown = Shown {
        view: kernel.view(),
        full: is_full.clone(),
        trusted: trusted.clone(),
        identity: held.clone(),
        figures,
        metrics: metrics.clone(),
        state: Arc::clone(&state),
        serving: is_serving,
    };
    tracing::info!(listen = %options.listen, "config stream started");

    let served = async {
        // A server waits 30 s for a port, and 5 s for an answer.
        full_and_somebody(is_full.clone(), held.clone(), &secrets).await;
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("can't listen on {}", options.listen))?;
        tracing::info!(listen = %options.listen, "config stream serves");
        serving.send_replace(true);
        let api = Api::new(Arc::clone(&state), metrics.clone(), Patience::default());
        serve(listener, held.clone(), api, stop.clone()).await;
        Ok(())
    };
    let said = async {
        // What is not known yet is not missing.
        full_and_somebody(is_full.clone(), held.clone(), &secrets).await;
        say(&state, &apps, &cluster).await;
    };
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::pin!(served);
    tokio::select! {
        ended = &mut served => ended,
        () = kernel.run() => bail!("a part of the config stream ended"),
        () = feed.run(&state, &trust, &full) => bail!("a part of the config stream ended"),
        () = secrets.read(&cluster, &state) => bail!("a part of the config stream ended"),
        () = said => bail!("a part of the config stream ended"),
        ended = be_somebody(&options, trusted.clone(), &identity) => ended,
        ended = axum::serve(pages, router(shown)) => ended.context("probes can't be served"),
        () = async { tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} } } => {
            stop.cancel();
            served.await
        }
    }
}

/// Waits until every list was taken in, every secret that is named was sought, and we are somebody.
async fn full_and_somebody(
    mut full: watch::Receiver<bool>,
    mut held: watch::Receiver<Option<Identity>>,
    secrets: &Secrets,
) {
    // The senders live as long as the process.
    let _ = full.wait_for(|full| *full).await;
    let _ = held.wait_for(Option::is_some).await;
    secrets.settled().await;
}

/// Is `dapr-operator` of the Region's trust domain, whichever that is, while the Region runs Dapr.
async fn be_somebody(
    options: &Options,
    mut trusted: watch::Receiver<Option<Trust>>,
    identity: &watch::Sender<Option<Identity>>,
) -> Result<()> {
    loop {
        let trust = trusted.borrow_and_update().clone();
        let workload = trust.as_ref().map(|trust| workload(options, trust)).transpose();
        let workload = workload.unwrap_or_else(|error| {
            tracing::warn!(error = format!("{error:#}"), "there is nobody to be");
            None
        });
        if workload.as_ref().map(|workload| &workload.id)
            != identity.borrow().as_ref().map(|held| &held.id)
        {
            identity.send_replace(None);
        }
        let keep = async {
            match &workload {
                Some(workload) => workload.keep(identity).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = keep => {}
            changed = trusted.changed() => changed?,
        }
    }
}

fn workload(options: &Options, trust: &Trust) -> Result<Workload> {
    let member = |name| SpiffeId::new(&trust.domain, &options.namespace, name);
    Ok(Workload {
        id: member(OPERATOR)?,
        sentry: Sentry { address: options.sentry.clone(), id: member(SENTRY)? },
        token: options.token.clone(),
        anchors: Anchors::from_pem(&trust.domain, trust.anchors.as_bytes())?,
    })
}

#[derive(Clone)]
struct Shown {
    view: View,
    full: watch::Receiver<bool>,
    trusted: watch::Receiver<Option<Trust>>,
    identity: watch::Receiver<Option<Identity>>,
    figures: kernel::Metrics,
    metrics: Metrics,
    state: Arc<State>,
    serving: watch::Receiver<bool>,
}

fn router(shown: Shown) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .with_state(shown)
}

/// Ready to serve; or without anybody to serve, where the Region runs no Dapr.
async fn ready(Shared(shown): Shared<Shown>) -> (StatusCode, String) {
    let waiting = shown.view.waiting();
    let trust = shown.trusted.borrow();
    let awaited = if !waiting.is_empty() {
        format!("the first list of {}", waiting.join(", "))
    } else if !*shown.full.borrow() {
        "the lists to be taken in".into()
    } else if trust.is_none() {
        return (StatusCode::OK, "ok: the Region runs no Dapr\n".into());
    } else if trust.as_ref().is_some_and(|trust| trust.anchors.is_empty()) {
        "the trust anchors in the status of the Region".into()
    } else if shown.identity.borrow().is_none() {
        "a certificate from Sentry".into()
    } else if !*shown.serving.borrow() {
        "the secrets that components name".into()
    } else {
        return (StatusCode::OK, "ok\n".into());
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {awaited}\n"))
}

async fn figures(Shared(shown): Shared<Shown>) -> String {
    shown.view.measure(&shown.figures);
    shown.metrics.measure(&shown.state);
    shown.figures.text()
}
