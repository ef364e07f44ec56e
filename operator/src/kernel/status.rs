//! The one writer of status: gathers what controllers say of an object, folds it, writes it when it differs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catalyst_plan::readiness::{self, Spoken, Verdict};
use catalyst_plan::{Resource, mutant, names};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::events::Events;
use super::primary::Primary;
use super::queue::Queue;
use super::store::{News, Place, Store};

/// How long the first verdict waits for the others, so that one write says all.
const COALESCE: Duration = Duration::from_millis(10);

/// The shortest time between two writes of one status, so that a count that runs up is not written at each step.
const PACE: Duration = Duration::from_millis(300);

/// How long a new object may wait for others without a word: most often it is well a moment later, and one write then
/// says all.
const CALM: Duration = Duration::from_secs(2);

/// How long a controller may be silent before the object shows as Reconciling.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a failed write waits.
const RETRY: Duration = Duration::from_secs(1);

/// How many statuses are written at once.
const WRITERS: usize = 8;

/// Who listens to verdicts on one kind.
pub(super) trait Listens: Send + Sync {
    /// A controller begins to look at an object: from now on the others are expected to speak.
    fn turn(&self, place: &Place, uid: &str, generation: i64);
    /// A controller's verdict on an object, under the condition it speaks for. With a UID it counts for that object
    /// alone, not for a successor of its name.
    fn speak(&self, place: &Place, of: Option<&str>, condition: &'static str, verdict: Verdict);
}

/// The listeners of this process, by kind. A verdict on a kind that another process folds is dropped.
#[derive(Default)]
pub(super) struct Statuses(Mutex<HashMap<String, Arc<dyn Listens>>>);

impl Statuses {
    /// Who folds a kind here.
    pub(super) fn of(&self, kind: &str) -> Option<Arc<dyn Listens>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(kind).cloned()
    }

    /// Folds a kind here.
    pub(super) fn add(&self, kind: &str, listener: Arc<dyn Listens>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(kind.into(), listener);
    }
}

struct Said {
    generation: i64,
    since: Instant,
    written: Option<Instant>,
    verdicts: BTreeMap<&'static str, Verdict>,
}

impl Said {
    fn new(generation: i64) -> Self {
        Self { generation, since: Instant::now(), written: None, verdicts: BTreeMap::new() }
    }
}

/// Folds one kind.
pub(super) struct Hub<K: Primary> {
    store: Arc<Store<K>>,
    queue: Queue,
    events: Arc<Events>,
    /// By UID, so that a successor of the same name starts afresh.
    said: Mutex<HashMap<String, Said>>,
}

impl<K: Primary> Hub<K> {
    /// A hub for the objects of a store.
    pub(super) fn new(store: &Arc<Store<K>>, events: &Arc<Events>) -> Arc<Self> {
        let hub = Arc::new(Self {
            store: Arc::clone(store),
            queue: Queue::default(),
            events: Arc::clone(events),
            said: Mutex::default(),
        });
        let weak = Arc::downgrade(&hub);
        store.listen(move |news| {
            let (News::Changed(change), Some(hub)) = (news, weak.upgrade()) else { return };
            // Another process may have said something of it.
            if change.new.is_some() && !readiness::others(&K::kind(&())).is_empty() {
                hub.queue.add_after(change.place.clone(), COALESCE);
            }
            if let (Some(old), None) = (change.old, change.new) {
                let uid = old.meta().uid.clone().unwrap_or_default();
                hub.said.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
            }
        });
        hub
    }

    /// Writes statuses for ever.
    pub(super) async fn run(self: Arc<Self>, cluster: Arc<Cluster>) {
        let mut writing = FuturesUnordered::new();
        let (hub, cluster) = (&self, &cluster);
        loop {
            cluster.gate().opened().await;
            tokio::select! {
                place = self.queue.next(), if writing.len() < WRITERS => {
                    writing.push(async move {
                        if let Some(wait) = hub.write(cluster, &place).await {
                            hub.queue.add_after(place.clone(), wait);
                        }
                        hub.queue.done(&place);
                    });
                }
                Some(()) = writing.next() => {}
            }
        }
    }

    /// Folds and writes one status. Returns when to try again, if so.
    async fn write(&self, cluster: &Cluster, place: &Place) -> Option<Duration> {
        let primary = self.store.get(place)?;
        let meta = primary.meta();
        let fenced = meta.finalizers.iter().flatten().any(|finalizer| finalizer == names::FENCE);
        if meta.deletion_timestamp.is_some() && !fenced {
            return None;
        }
        let standing = serde_json::to_value(&*primary).ok()?["status"].take();
        let status = match self.fold(&primary, &standing) {
            Ok(status)
                if status == readiness::own(&K::kind(&()), standing.clone())
                    && !mutant("say-it-again") =>
            {
                return None;
            }
            Ok(status) => status,
            Err(wait) => return wait,
        };

        let resource = Resource::of::<K>();
        let key = place.key(&resource);
        let mut manifest = json!({
            "apiVersion": resource.api_version(),
            "kind": resource.kind,
            "metadata": {"name": &*place.name, "uid": meta.uid},
            "status": status,
        });
        if let Some(namespace) = place.namespace() {
            manifest["metadata"]["namespace"] = json!(namespace);
        }
        match cluster.apply_status(&key, &names::field_manager("status"), &manifest).await {
            Ok(answer) => {
                if let Ok(mut object) = answer.try_parse::<K>() {
                    // As a watch trims it: they would be most of what is held.
                    object.meta_mut().managed_fields = None;
                    self.store.put(place, object);
                }
                if let Some(said) = self
                    .said
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_mut(meta.uid.as_deref().unwrap_or_default())
                {
                    said.written = Some(Instant::now());
                }
                self.events.tell(cluster.metrics(), primary.object_ref(&()), &standing, &status);
                None
            }
            // Gone, or another object has its name by now: nothing to say of it.
            Err(error) if matches!(error.code(), 404 | 409) => None,
            Err(error) => {
                tracing::warn!(object = %key, error = %error, "status can't be written");
                Some(RETRY)
            }
        }
    }

    /// The status that should stand. The error: nothing is to be written yet, and when to look again, if so.
    fn fold(&self, primary: &K, standing: &Value) -> Result<Value, Option<Duration>> {
        let meta = primary.meta();
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = said.get(meta.uid.as_deref().unwrap_or_default()).ok_or(None)?;
        let waited = said.since.elapsed();
        let status = readiness::fold(&Spoken {
            kind: &K::kind(&()),
            generation: meta.generation.unwrap_or_default(),
            standing,
            verdicts: &said.verdicts,
            impatient: waited >= PATIENCE,
            now: Timestamp::now(),
        });
        let status = status.ok_or(Some(PATIENCE.saturating_sub(waited)))?;
        let waits = readiness::standing(&status, "Reconciling").is_some();
        let (least, passed) = match said.written {
            Some(written) => (PACE, written.elapsed()),
            None if waits => (CALM, waited),
            None => return Ok(status),
        };
        let wait = least.saturating_sub(passed);
        let same = || status == readiness::own(&K::kind(&()), standing.clone());
        if wait.is_zero() || same() { Ok(status) } else { Err(Some(wait)) }
    }

    /// Of how many objects a condition is true, false, unknown.
    pub(super) fn count(&self, condition: &str) -> [(&'static str, usize); 3] {
        let mut counts = [("True", 0), ("False", 0), ("Unknown", 0)];
        for object in self.store.objects() {
            let status = serde_json::to_value(&*object).unwrap_or_default();
            let found = readiness::standing(&status["status"], condition)
                .map_or("Unknown".into(), |condition| condition.status);
            for (status, count) in &mut counts {
                *count += usize::from(*status == found);
            }
        }
        counts
    }
}

impl<K: Primary> Listens for Hub<K> {
    fn turn(&self, place: &Place, uid: &str, generation: i64) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = said.entry(uid.into()).or_insert_with(|| Said::new(generation));
        if entry.verdicts.is_empty() || entry.generation != generation {
            if entry.generation != generation {
                entry.generation = generation;
                entry.since = Instant::now();
            }
            drop(said);
            self.queue.add_after(place.clone(), PATIENCE);
        }
    }

    fn speak(&self, place: &Place, of: Option<&str>, condition: &'static str, verdict: Verdict) {
        let Some(primary) = self.store.get(place) else { return };
        let Some(uid) = primary.meta().uid.clone() else { return };
        if of.is_some_and(|of| of != uid) {
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = said.entry(uid).or_insert_with(|| Said::new(verdict.generation));
        entry.verdicts.insert(condition, verdict);
        drop(said);
        self.queue.add_after(place.clone(), COALESCE);
    }
}
