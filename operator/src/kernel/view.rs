//! What a process shows of itself while it runs: for probes and metrics.

use std::sync::{Arc, Mutex, PoisonError};

use super::metrics::Metrics;
use super::store::{Held, State, Store};
use super::watch::Pulse;

/// Which watches there are and how they do, and the figures that are read, not counted. Cheap to copy.
#[derive(Clone, Default)]
pub struct View {
    watches: Arc<Mutex<Vec<Watched>>>,
    counts: Arc<Mutex<Vec<Count>>>,
}

struct Watched {
    kind: String,
    pulse: Pulse,
    state: Box<dyn Fn() -> State + Send + Sync>,
}

type Count = Box<dyn Fn(&Metrics) + Send + Sync>;

impl View {
    /// The kinds whose first list is not complete.
    pub fn waiting(&self) -> Vec<String> {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches
            .iter()
            .filter(|watch| (watch.state)() == State::Waiting)
            .map(|watch| watch.kind.clone())
            .collect()
    }

    /// Brings the figures up to date that are read, not counted.
    pub fn measure(&self, metrics: &Metrics) {
        for watch in self.watches.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            metrics.silent(&watch.kind, watch.pulse.silence());
        }
        for count in self.counts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            count(metrics);
        }
    }

    /// Shows a watch from now on.
    pub(super) fn watching<T: Held>(&self, kind: &str, store: &Arc<Store<T>>) -> Pulse {
        let pulse = Pulse::default();
        let store = Arc::clone(store);
        let watch = Watched {
            kind: kind.into(),
            pulse: pulse.clone(),
            state: Box::new(move || store.state()),
        };
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).push(watch);
        pulse
    }

    /// Counts with `count` whenever the figures are read.
    pub(super) fn counting(&self, count: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(count));
    }
}
