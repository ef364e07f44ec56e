//! The figures of this process, in the Prometheus text format. Object names are never labels.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds of a reconcile: one no-op to the 60 s at which it is given up.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 20.0, 60.0];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Turn {
    controller: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Write {
    kind: String,
    verb: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Kind {
    kind: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Readiness {
    kind: String,
    ready: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Note {
    kind: String,
    condition: &'static str,
    status: &'static str,
}

/// All figures. Cheap to copy; all copies count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    reconciles: Family<Turn, Counter>,
    seconds: Family<Turn, Histogram>,
    writes: Family<Write, Counter>,
    events_dropped: Counter,
    restarts: Family<Kind, Counter>,
    undecodable: Family<Kind, Counter>,
    silence: Family<Kind, Gauge<f64, AtomicU64>>,
    objects: Family<Readiness, Gauge>,
    conditions: Family<Note, Gauge>,
    lease: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("catalyst");
        let mut metrics = Self {
            registry: Arc::default(),
            reconciles: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            writes: Family::default(),
            events_dropped: Counter::default(),
            restarts: Family::default(),
            undecodable: Family::default(),
            silence: Family::default(),
            objects: Family::default(),
            conditions: Family::default(),
            lease: Gauge::default(),
        };
        registry.register(
            "reconciles",
            "Reconciles by controller and outcome",
            metrics.reconciles.clone(),
        );
        registry.register("reconcile_seconds", "Seconds of a reconcile", metrics.seconds.clone());
        registry.register(
            "writes",
            "Writes to the API server by kind and verb",
            metrics.writes.clone(),
        );
        registry.register(
            "events_dropped",
            "Events that were not written because too many waited",
            metrics.events_dropped.clone(),
        );
        registry.register(
            "watch_restarts",
            "Watches begun anew, by kind",
            metrics.restarts.clone(),
        );
        registry.register(
            "undecodable_objects",
            "Objects seen that could not be read, by kind",
            metrics.undecodable.clone(),
        );
        registry.register(
            "seconds_since_last_event",
            "Seconds since the last event of a watch, by kind",
            metrics.silence.clone(),
        );
        registry.register("objects", "Objects by kind and readiness", metrics.objects.clone());
        registry.register(
            "conditions",
            "Objects by a condition beside Ready, and its status",
            metrics.conditions.clone(),
        );
        registry.register(
            "lease_held",
            "Whether this process holds the lease: 1 or 0",
            metrics.lease.clone(),
        );
        metrics.registry = Arc::new(Mutex::new(registry));
        metrics
    }
}

impl Metrics {
    /// Counts a reconcile. `outcome` is `ok`, `unchanged`, `invalid`, `waiting` or an error's reason.
    pub fn turned(&self, controller: &'static str, outcome: &'static str, took: Duration) {
        let turn = Turn { controller, outcome };
        self.reconciles.get_or_create(&turn).inc();
        self.seconds.get_or_create(&turn).observe(took.as_secs_f64());
    }

    /// Counts a write.
    pub fn wrote(&self, kind: &str, verb: &'static str) {
        self.writes.get_or_create(&Write { kind: kind.to_string(), verb }).inc();
    }

    /// Counts an event that is not written because too many wait.
    pub fn dropped_event(&self) {
        self.events_dropped.inc();
    }

    /// Counts a watch that began anew.
    pub fn restarted(&self, kind: &str) {
        self.restarts.get_or_create(&Kind { kind: kind.into() }).inc();
    }

    /// Counts an object that could not be read.
    pub fn undecodable(&self, kind: &str) {
        self.undecodable.get_or_create(&Kind { kind: kind.into() }).inc();
    }

    /// Sets how long a watch has been silent.
    pub fn silent(&self, kind: &str, silence: Duration) {
        self.silence.get_or_create(&Kind { kind: kind.into() }).set(silence.as_secs_f64());
    }

    /// Sets how many objects of a kind are ready (`True`, `False`, `Unknown`).
    pub fn counted(&self, kind: &str, ready: &'static str, count: usize) {
        let readiness = Readiness { kind: kind.into(), ready };
        self.objects.get_or_create(&readiness).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Sets of how many objects of a kind a condition that Ready does not ask for has a status.
    pub fn noted(&self, kind: &str, condition: &'static str, status: &'static str, count: usize) {
        let note = Note { kind: kind.into(), condition, status };
        self.conditions.get_or_create(&note).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Sets whether the lease is held.
    pub fn lease(&self, held: bool) {
        self.lease.set(held.into());
    }

    /// Shows figures that are not the kernel's.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// All figures as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = encode(&mut text, &registry) {
            // Only a formatter that fails leads here, and a String never does.
            let _ = writeln!(text, "# {error}");
        }
        text
    }
}
