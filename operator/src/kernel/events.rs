//! Tells people by events when what Ready, or a note, says is news. Events come after everything else: one at a time, and when too
//! many wait, new ones are dropped and counted.

use std::sync::Arc;

use catalyst_crds::Condition;
use catalyst_plan::{names, readiness};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::cluster::Cluster;
use super::error::code;
use super::metrics::Metrics;

/// How many events may wait, each of about a kilobyte: as many as there are objects in a large region.
const WAITING: usize = 5000;

/// The longest note, in characters. <https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.36/#event-v1-events-k8s-io>
const NOTE: usize = 1000;

/// How many events are remembered, whole, so that one that comes again is counted with the first.
const REMEMBERED: usize = 500;

type Told = (Event, ObjectReference);

/// The events of one process.
pub(super) struct Events {
    line: Sender<Told>,
    waiting: Mutex<Receiver<Told>>,
}

impl Default for Events {
    fn default() -> Self {
        let (line, waiting) = channel(WAITING);
        Self { line, waiting: Mutex::new(waiting) }
    }
}

impl Events {
    /// Puts an event in line if Ready has another reason or message than before, and one for each note that turned.
    pub(super) fn tell(
        &self,
        metrics: &Metrics,
        of: ObjectReference,
        before: &Value,
        after: &Value,
    ) {
        for (note, _) in readiness::notes(of.kind.as_deref().unwrap_or_default()) {
            self.tell_note(metrics, of.clone(), note, before, after);
        }
        let Some(ready) = readiness::standing(after, "Ready") else { return };
        let old = readiness::standing(before, "Ready");
        if old.is_some_and(|old| old.reason == ready.reason && old.message == ready.message) {
            return;
        }
        let stalled = readiness::standing(after, "Stalled").is_some();
        // What only waits is no warning yet.
        self.put(metrics, of, stalled, ready);
    }

    /// Of a note it is news that it is false, and that it is true again. What is unknown may soon be known.
    fn tell_note(
        &self,
        metrics: &Metrics,
        of: ObjectReference,
        note: &str,
        before: &Value,
        after: &Value,
    ) {
        let Some(now) = readiness::standing(after, note) else { return };
        let old = readiness::standing(before, note);
        if now.status != "Unknown" && old.is_none_or(|old| old.status != now.status) {
            self.put(metrics, of, now.status == "False", now);
        }
    }

    fn put(&self, metrics: &Metrics, of: ObjectReference, warning: bool, says: Condition) {
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: says.reason,
            note: Some(says.message.chars().take(NOTE).collect()),
            action: "Reconcile".into(),
            secondary: None,
        };
        if self.line.try_send((event, of)).is_err() {
            metrics.dropped_event();
        }
    }

    /// Writes events for ever.
    pub(super) async fn run(&self, cluster: Arc<Cluster>) {
        let reporter = Reporter { controller: names::CATALYST.into(), instance: None };
        let anew = || Recorder::new(cluster.client(), reporter.clone());
        let (mut recorder, mut remembered) = (anew(), 0);
        let mut waiting = self.waiting.lock().await;
        while let Some((event, of)) = waiting.recv().await {
            cluster.gate().opened().await;
            if remembered == REMEMBERED {
                (recorder, remembered) = (anew(), 0);
            }
            remembered += 1;
            match recorder.publish(&event, &of).await {
                Ok(()) => cluster.metrics().wrote("Event", "create"),
                Err(error) => {
                    tracing::debug!(code = code(&error), error = %error, "event can't be written");
                }
            }
        }
    }
}
