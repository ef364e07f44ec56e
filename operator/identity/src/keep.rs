//! Keeps a certificate fresh, and how connections are accepted with it. What runs already goes on; each new connection
//! gets the newest.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::anchors::Anchors;
use crate::error::{Error, chain};
use crate::id::SpiffeId;
use crate::sentry::Sentry;
use crate::svid::Svid;
use crate::tls::acceptor;

/// The wait after a failure, and the shortest before a renewal.
const RETRY: Duration = Duration::from_secs(2);

/// How often the clock is read while nothing is due: a machine that slept does not know it.
const LOOK: Duration = Duration::from_mins(1);

/// What a process needs to be somebody.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Who it is to be.
    pub id: SpiffeId,
    /// Who signs.
    pub sentry: Sentry,
    /// The file with its ServiceAccount token, which kubelet renews.
    pub token: PathBuf,
    /// Whom it trusts.
    pub anchors: Anchors,
}

/// Who a process is now.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its id.
    pub id: SpiffeId,
    /// How it accepts connections.
    pub acceptor: Arc<ServerConfig>,
    /// Until when that holds.
    pub not_after: SystemTime,
}

impl Workload {
    /// Keeps `identity` current for ever: renewed after half of its life, since Sentry may be away for the other half. One
    /// that could not be renewed in time becomes `None`.
    pub async fn keep(&self, identity: &watch::Sender<Option<Identity>>) {
        loop {
            let wait = match self.renew().await {
                Ok((svid, acceptor)) => {
                    let (id, not_after) = (svid.id().clone(), svid.not_after());
                    let left = not_after.duration_since(SystemTime::now()).unwrap_or_default();
                    tracing::info!(id = %id, seconds = left.as_secs(), "identity is renewed");
                    identity.send_replace(Some(Identity { id, acceptor, not_after }));
                    left / 2
                }
                Err(error) => {
                    tracing::warn!(id = %self.id, error = chain(&error), "identity can't be renewed");
                    identity.send_if_modified(|held| {
                        let expired =
                            held.as_ref().is_some_and(|held| held.not_after <= SystemTime::now());
                        if expired {
                            tracing::warn!(id = %self.id, "identity is expired");
                            *held = None;
                        }
                        expired
                    });
                    RETRY
                }
            };
            pause(wait.max(RETRY)).await;
        }
    }

    async fn renew(&self) -> Result<(Svid, Arc<ServerConfig>), Error> {
        let token = tokio::fs::read(&self.token).await;
        let token = token.map_err(|source| Error::File { path: self.token.clone(), source })?;
        let token = Zeroizing::new(token);
        let token = std::str::from_utf8(&token).unwrap_or_default().trim();
        let svid = self.sentry.sign(&self.id, token, &self.anchors).await?;
        let acceptor = acceptor(&svid, &self.anchors)?;
        Ok((svid, acceptor))
    }
}

/// Waits so long by the clock on the wall, which certificates go by.
async fn pause(wait: Duration) {
    let due = SystemTime::now() + wait;
    while let Ok(left) = due.duration_since(SystemTime::now()) {
        if left.is_zero() {
            return;
        }
        sleep(left.min(LOOK)).await;
    }
}
