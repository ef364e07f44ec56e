//! Whether this process may write: until when it is sure to hold the lease, by the monotonic clock.

use std::sync::Arc;

use catalyst_plan::mutant;
use tokio::sync::watch;
use tokio::time::Instant;

/// Open while the lease is surely held. Cheap to copy; all copies are one gate.
#[derive(Clone)]
pub struct Gate {
    until: Arc<watch::Sender<Option<Instant>>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { until: Arc::new(watch::Sender::new(None)) }
    }
}

impl Gate {
    /// Whether a request may be sent now.
    pub fn is_open(&self) -> bool {
        self.until.borrow().is_some_and(|until| Instant::now() < until || mutant("write-late"))
    }

    /// Opens the gate, or keeps it open, until then.
    pub fn open_until(&self, until: Instant) {
        self.until.send_replace(Some(until));
    }

    /// Closes the gate at once.
    pub fn close(&self) {
        self.until.send_replace(None);
    }

    /// Waits until the gate is open.
    pub async fn opened(&self) {
        let mut until = self.until.subscribe();
        while !self.is_open() {
            // The sender lives in `self`, so this ends only by a change.
            let _ = until.changed().await;
        }
    }
}
