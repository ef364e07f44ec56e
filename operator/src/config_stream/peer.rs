//! One connection: who is at the other end, what it knows, and which of its streams counts.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use catalyst_identity::SpiffeId;
use catalyst_plan::stream::{Body, Kind};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Longer than a server that starts takes from a list to its stream, and less than from one list to the next.
const AGAIN: Duration = Duration::from_secs(45);

/// What somebody was last told of a kind.
pub(super) type Known = std::collections::BTreeMap<String, Arc<Body>>;

/// One connection.
pub(super) struct Peer {
    /// Who it is, by its certificate.
    pub(super) id: SpiffeId,
    /// Where it is.
    pub(super) address: SocketAddr,
    /// Cancelled when we leave: its streams end, so that it goes elsewhere.
    pub(super) leaving: CancellationToken,
    kinds: [Mutex<OfKind>; Kind::ALL.len()],
    calls: watch::Sender<usize>,
}

#[derive(Default)]
struct OfKind {
    known: Option<Known>,
    /// When the newest stream was opened.
    opened: Option<Instant>,
    /// When it was listed first.
    listed: Option<Instant>,
    /// Cancelled when a newer stream comes.
    newest: CancellationToken,
}

impl Peer {
    pub(super) fn new(id: SpiffeId, address: SocketAddr, leaving: CancellationToken) -> Self {
        let kinds = std::array::from_fn(|_| Mutex::default());
        Self { id, address, leaving, kinds, calls: watch::Sender::default() }
    }

    /// Counts a call while what is given back is held.
    pub(super) fn call(self: &Arc<Self>) -> Call {
        self.calls.send_modify(|calls| *calls += 1);
        Call(Arc::clone(self))
    }

    /// Ends once there was no call for so long.
    pub(super) async fn idle(&self, limit: Duration) {
        let mut calls = self.calls.subscribe();
        loop {
            // The sender lives in `self`.
            let _ = calls.wait_for(|calls| *calls == 0).await;
            tokio::select! {
                () = tokio::time::sleep(limit) => return,
                _ = calls.changed() => {}
            }
        }
    }

    /// Takes note of a new stream, which replaces the one before: a server that can't read an event leaves that open. Gives
    /// what is cancelled when it is replaced itself, and when the one before was opened.
    pub(super) fn open(&self, kind: Kind) -> (CancellationToken, Option<Instant>) {
        let mut of_kind = self.of(kind);
        std::mem::take(&mut of_kind.newest).cancel();
        let before = of_kind.opened.replace(Instant::now());
        (of_kind.newest.clone(), before)
    }

    /// Takes note of what it was told.
    pub(super) fn told(&self, kind: Kind, known: &Known) {
        self.of(kind).known = Some(known.clone());
    }

    /// Takes note of a list. Whether this is a server that has given up its streams: it lists a kind again, as it does every
    /// minute, and has never opened the stream of it. It does so after 14 minutes without us, and only a restart mends it.
    pub(super) fn listed(&self, kind: Kind) -> bool {
        let mut of_kind = self.of(kind);
        let first = *of_kind.listed.get_or_insert_with(Instant::now);
        of_kind.opened.is_none() && first.elapsed() > AGAIN
    }

    /// What it was told last, if anything.
    pub(super) fn known(&self, kind: Kind) -> Option<Known> {
        self.of(kind).known.clone()
    }

    fn of(&self, kind: Kind) -> MutexGuard<'_, OfKind> {
        self.kinds[kind as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that goes on.
pub(super) struct Call(Arc<Peer>);

impl Call {
    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.0
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.send_modify(|calls| *calls -= 1);
    }
}
