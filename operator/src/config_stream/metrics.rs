//! The figures of the stream. Names of apps and objects are never labels.

use std::sync::atomic::AtomicI64;

use catalyst_plan::stream::{Change, Kind, REASONS};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::state::State;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Of {
    kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Told {
    kind: &'static str,
    change: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Because {
    reason: &'static str,
}

/// All figures. Cheap to copy; all copies count together.
#[derive(Clone, Default)]
pub struct Metrics {
    connections: Gauge,
    streams: Family<Of, Gauge>,
    lists: Family<Of, Counter>,
    events: Family<Told, Counter>,
    refused: Family<Because, Counter>,
    withheld: Family<Because, Gauge>,
    lost: Counter,
}

impl Metrics {
    /// Shows them.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("stream");
        registry.register("connections", "Connections of Dapr servers", self.connections.clone());
        registry.register("open", "Open streams by kind", self.streams.clone());
        registry.register("lists", "Lists answered by kind", self.lists.clone());
        registry.register("events", "Events sent by kind and change", self.events.clone());
        registry.register(
            "refused",
            "Connections and calls refused by reason",
            self.refused.clone(),
        );
        registry.register(
            "withheld",
            "Objects that apps do not get by reason, counted for each app",
            self.withheld.clone(),
        );
        registry.register(
            "lost",
            "Lists of servers that have given up their streams for good",
            self.lost.clone(),
        );
    }

    pub(super) fn connected(&self) -> Counted {
        Counted::new(&self.connections)
    }

    pub(super) fn streaming(&self, kind: Kind) -> Counted {
        Counted::new(&self.streams.get_or_create(&Of { kind: kind.name() }))
    }

    pub(super) fn listed(&self, kind: Kind) {
        self.lists.get_or_create(&Of { kind: kind.name() }).inc();
    }

    pub(super) fn told(&self, kind: Kind, change: Change) {
        let change = match change {
            Change::Created => "created",
            Change::Updated => "updated",
            Change::Deleted => "deleted",
        };
        self.events.get_or_create(&Told { kind: kind.name(), change }).inc();
    }

    pub(super) fn lost(&self) {
        self.lost.inc();
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Because { reason }).inc();
    }

    /// Brings the figures up to date that are read, not counted.
    pub(super) fn measure(&self, state: &State) {
        let withheld = state.withheld();
        for reason in REASONS {
            let count = withheld.iter().filter(|withheld| withheld.reason == reason).count();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.withheld.get_or_create(&Because { reason }).set(count);
        }
    }
}

/// One of a gauge, while it is held.
pub(super) struct Counted(Gauge<i64, AtomicI64>);

impl Counted {
    fn new(gauge: &Gauge<i64, AtomicI64>) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
