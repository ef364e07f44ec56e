//! Holds the Lease, or waits for it. The decision is `catalyst_plan::lease`; here are the calls and the clock.

use std::sync::Arc;

use catalyst_plan::lease::{DEADLINE, DURATION, Move, RENEWAL, Seen, next};
use catalyst_plan::{Key, mutant, names};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::error::Error;

/// How soon a failed call is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Which Lease, and who wants it.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Its namespace: the release's.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who we are: the pod's name, so that a restarted container has its lease back at once.
    pub identity: String,
}

impl Lease {
    fn key(&self) -> Key {
        Key::of::<LeaseObject>(Some(&self.namespace), &self.name)
    }

    /// What is written: guarded by the version that the decision was made on.
    fn manifest(&self, holder: Option<&str>, transitions: i64, version: &str) -> Value {
        let key = self.key();
        let mut manifest = json!({
            "apiVersion": key.resource.api_version(),
            "kind": key.resource.kind,
            "metadata": {"name": self.name, "namespace": self.namespace, "resourceVersion": version},
            "spec": {
                "leaseDurationSeconds": DURATION.as_secs(),
                "leaseTransitions": transitions,
                "renewTime": format!("{:.6}", Timestamp::now()),
            }
        });
        if let Some(holder) = holder {
            manifest["spec"]["holderIdentity"] = json!(holder);
        }
        manifest
    }
}

/// Keeps the gate open while the lease is held, until `stop`; then lets go of it, so that another one need not wait.
///
/// # Errors
/// When another process holds the lease that this one held.
pub async fn hold(
    cluster: Arc<Cluster>,
    lease: Lease,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut term = Term { cluster, lease, held: false, last: None };
    let ended = stop.run_until_cancelled(term.serve()).await;
    term.cluster.gate().close();
    term.cluster.metrics().lease(false);
    match ended {
        Some(ended) => ended,
        None => term.release().await,
    }
}

struct Term {
    cluster: Arc<Cluster>,
    lease: Lease,
    held: bool,
    /// The lease as last seen, and since when it has not changed.
    last: Option<(LeaseObject, Instant)>,
}

impl Term {
    async fn serve(&mut self) -> Result<(), Error> {
        loop {
            let wait = match self.turn().await {
                Ok(wait) => wait,
                Err(Error::NotHolder) => return Err(Error::NotHolder),
                Err(error) => {
                    tracing::warn!(error = %error, "lease can't be kept, nothing is written until it can");
                    RETRY
                }
            };
            if self.held {
                tokio::time::sleep(wait).await;
            } else {
                self.wait_for_change(wait).await;
            }
        }
    }

    async fn turn(&mut self) -> Result<Duration, Error> {
        let began = Instant::now();
        let found = self.cluster.get(&self.lease.key()).await?;
        let found: Option<LeaseObject> = found.and_then(|object| object.try_parse().ok());
        let changed = self.last.as_ref().map(|(last, _)| last) != found.as_ref();
        if changed {
            self.last = found.map(|found| (found, began));
        }
        let seen = self.last.as_ref().map(|(lease, since)| seen(lease, since.elapsed()));
        match next(seen.as_ref(), &self.lease.identity, self.held) {
            Move::End => {
                tracing::error!(
                    holder = seen.map(|seen| seen.holder),
                    "another process holds the lease"
                );
                Err(Error::NotHolder)
            }
            Move::Wait(left) => Ok(left),
            Move::Take | Move::Renew => {
                let taken = self.write(Some(&self.lease.identity.clone())).await;
                if matches!(&taken, Err(error) if error.code() == 409) {
                    return Ok(RETRY);
                }
                self.last = Some((taken?, Instant::now()));
                // Counted from before the call: the server may have stored it at once and answered late.
                self.cluster.gate().open_until(began + DEADLINE);
                if !self.held {
                    tracing::info!(
                        lease = self.lease.name,
                        identity = self.lease.identity,
                        "lease taken"
                    );
                    self.cluster.metrics().lease(true);
                }
                self.held = true;
                Ok(RENEWAL)
            }
        }
    }

    /// A guarded write that does not pass the gate: it is what opens it.
    async fn write(&self, holder: Option<&str>) -> Result<LeaseObject, Error> {
        let spec = self.last.as_ref().and_then(|(lease, _)| lease.spec.clone()).unwrap_or_default();
        let same = spec.holder_identity.as_deref() == holder;
        let transitions = i64::from(spec.lease_transitions.unwrap_or_default())
            + i64::from(!same && holder.is_some());
        let version =
            self.last.as_ref().and_then(|(lease, _)| lease.metadata.resource_version.clone());
        let manifest = self.lease.manifest(holder, transitions, version.as_deref().unwrap_or("1"));
        let object = self
            .cluster
            .apply_ungated(&self.lease.key(), &names::field_manager("lease"), &manifest)
            .await?;
        object.try_parse().map_err(|_| Error::Absent(self.lease.key()))
    }

    async fn release(&mut self) -> Result<(), Error> {
        if self.held && !mutant("keep-the-lease") {
            tracing::info!(lease = self.lease.name, "lease released");
            self.write(None).await?;
        }
        Ok(())
    }

    /// Waits until the lease changes, or for so long.
    async fn wait_for_change(&self, wait: Duration) {
        let api: Api<LeaseObject> = Api::namespaced(self.cluster.client(), &self.lease.namespace);
        let config =
            watcher::Config::default().fields(&format!("metadata.name={}", self.lease.name));
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        let last =
            self.last.as_ref().and_then(|(lease, _)| lease.metadata.resource_version.clone());
        let changed = async {
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::InitApply(lease) | watcher::Event::Apply(lease))
                        if lease.metadata.resource_version == last => {}
                    Ok(
                        watcher::Event::InitApply(_)
                        | watcher::Event::Apply(_)
                        | watcher::Event::Delete(_),
                    ) => return,
                    Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => {}
                }
            }
        };
        let _ = tokio::time::timeout(wait, changed).await;
    }
}

fn seen(lease: &LeaseObject, unchanged: Duration) -> Seen {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Seen {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: seconds.map_or(DURATION, Duration::from_secs),
        unchanged,
    }
}
