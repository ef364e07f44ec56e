//! Follows one kind: list, then watch, for ever. What comes in is trimmed, stored, and only then told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catalyst_plan::{Live, mutant};
use futures::StreamExt;
use kube::api::{Api, DynamicObject};
use kube::core::DeserializeGuard;
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::error::code;
use super::intern;
use super::metrics::Metrics;
use super::store::{Child, Held, Place, Store, number};

/// Waits between attempts of one watch: doubling from this, up to [`CAP`]. Every watch has its own,
/// since one backoff for several recovers as slowly as all of them together.
const FIRST: Duration = Duration::from_millis(250);
const CAP: Duration = Duration::from_secs(2);

/// When a watch last heard anything.
#[derive(Clone)]
pub(super) struct Pulse(Arc<Mutex<Instant>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Pulse {
    fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long it has been silent.
    pub(super) fn silence(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Follows a typed kind into its store. An object that can't be read never stops the others; what was known of it
/// stays, and its place is noted, since forgetting it could open what it closed.
pub(super) async fn follow<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    store: Arc<Store<K>>,
    pulse: Pulse,
    metrics: Metrics,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let kind = K::kind(&()).to_string();
    let stream = watcher(api, config);
    drive(stream, &kind, &store, &pulse, &metrics, |guarded: DeserializeGuard<K>| match guarded.0 {
        Ok(mut object) => {
            object.meta_mut().managed_fields = None;
            (Place::new(object.meta().namespace.as_deref(), &object.name_any()), Some(object))
        }
        Err(invalid) => {
            let name = invalid.metadata.name.as_deref().unwrap_or_default();
            let place = Place::new(invalid.metadata.namespace.as_deref(), name);
            metrics.undecodable(&kind);
            tracing::warn!(kind, object = %place, error = %invalid.error, "object can't be read");
            (place, None)
        }
    })
    .await;
}

/// Follows a kind of which only [`Live`] is kept.
pub(super) async fn follow_children(
    api: Api<DynamicObject>,
    kind: String,
    config: watcher::Config,
    store: Arc<Store<Child>>,
    pulse: Pulse,
    metrics: Metrics,
) {
    let stream = watcher(api, config);
    drive(stream, &kind, &store, &pulse, &metrics, |object: DynamicObject| {
        let place = Place::new(object.metadata.namespace.as_deref(), &object.name_any());
        (place, Some(Child(live(&object))))
    })
    .await;
}

/// Brings what a watch says into a store. `trim` gives `None` for what can't be read.
async fn drive<O, T: Held>(
    stream: impl futures::Stream<Item = watcher::Result<watcher::Event<O>>>,
    kind: &str,
    store: &Store<T>,
    pulse: &Pulse,
    metrics: &Metrics,
    trim: impl Fn(O) -> (Place, Option<T>),
) {
    let mut stream = std::pin::pin!(stream.backoff(Waits::default()));
    let (mut list, mut unreadable) = (Vec::new(), BTreeSet::new());
    while let Some(event) = stream.next().await {
        if event.is_ok() {
            pulse.beat();
        }
        match event {
            Ok(watcher::Event::Init) => {
                list.clear();
                unreadable.clear();
            }
            Ok(watcher::Event::InitApply(object)) => match trim(object) {
                (place, Some(object)) => list.push((place, object)),
                (place, None) => drop(unreadable.insert(place)),
            },
            Ok(watcher::Event::InitDone) => {
                store.take_in(std::mem::take(&mut list), std::mem::take(&mut unreadable));
            }
            Ok(watcher::Event::Apply(object)) => match trim(object) {
                (place, Some(object)) => store.put(&place, object),
                (place, None) => store.mark_unreadable(&place),
            },
            Ok(watcher::Event::Delete(object)) => match trim(object) {
                (place, Some(object)) => store.forget(&place, object.uid()),
                (place, None) => store.forget(&place, ""),
            },
            Err(watcher::Error::InitialListFailed(error)) if code(&error) == 404 => {
                pulse.beat();
                store.missing();
            }
            Err(_) if mutant("end-with-a-watch") => return,
            Err(error) => {
                metrics.restarted(kind);
                tracing::warn!(kind, error = %error, "watch failed, it begins anew");
            }
        }
    }
}

/// What is kept of a child: who it says it belongs to, and a hash of each part of its content.
pub(super) fn live(object: &DynamicObject) -> Live {
    let metadata = &object.metadata;
    Live {
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: number(metadata.resource_version.as_deref()),
        labels: intern::labels(metadata.labels.clone().unwrap_or_default()),
        owners: intern::owners(metadata.owner_references.clone().unwrap_or_default()),
        deleting: metadata.deletion_timestamp.is_some(),
        content: content(&object.data).into_iter().collect(),
    }
}

/// A hash of each top-level field of a manifest but those that are not content.
pub(super) fn content(manifest: &Value) -> BTreeMap<String, u64> {
    let fields = manifest.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
        .map(|(name, value)| (name.clone(), hash(value)))
        .collect()
}

/// A hash that is the same for equal values within this process.
pub(super) fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Maps of serde_json are ordered by key, so equal values have equal text.
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

#[derive(Default)]
struct Waits {
    attempts: u32,
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(self.attempts)).min(CAP);
        self.attempts = self.attempts.saturating_add(1);
        Some(wait)
    }
}

impl Backoff for Waits {
    fn reset(&mut self) {
        self.attempts = 0;
    }
}
