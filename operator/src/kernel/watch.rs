//! Follows one kind: list, then watch, for ever. What comes in is trimmed, stored, and only then told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catalyst_plan::{Live, Rollout, mutant};
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
        rollout: rollout(object),
    }
}

/// How far the pods of a workload are; `None` for what has no pod template.
fn rollout(object: &DynamicObject) -> Option<Rollout> {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    if !spec["template"].is_object() {
        return None;
    }
    let count = |of: &Value| of.as_i64().and_then(|count| i32::try_from(count).ok());
    let seen = status["observedGeneration"].as_i64();
    Some(Rollout {
        observed: seen.is_some() && seen >= object.metadata.generation,
        wanted: count(&spec["replicas"]).unwrap_or(1),
        updated: count(&status["updatedReplicas"]).unwrap_or_default(),
        ready: count(&status["readyReplicas"]).unwrap_or_default(),
        present: count(&status["replicas"]).unwrap_or_default(),
    })
}

/// A hash of each top-level field of a manifest but those that are not content.
pub(super) fn content(manifest: &Value) -> BTreeMap<String, u64> {
    let fields = manifest.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
        .map(|(name, value)| (name.clone(), if name == "spec" { spec(value) } else { hash(value) }))
        .collect()
}

/// What `kubectl rollout restart` writes into a pod template: a wish of people, which is no drift.
pub(super) const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";
/// Where it writes that, within a manifest.
pub(super) const TEMPLATE_ANNOTATIONS: &str = "/spec/template/metadata/annotations";

/// A hash of a spec, but for what the API server allots to a Service, its addresses and their families, and for
/// [`RESTARTED`].
fn spec(value: &Value) -> u64 {
    const ALLOTTED: [&str; 4] = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];
    if let Some(fields) = value.as_object().filter(|fields| fields.contains_key("sessionAffinity"))
    {
        let mut fields = fields.clone();
        fields.retain(|name, _| !ALLOTTED.contains(&name.as_str()));
        return hash(&Value::Object(fields));
    }
    let annotations = TEMPLATE_ANNOTATIONS.trim_start_matches("/spec");
    let restarted = value.pointer(annotations).is_some_and(|there| there[RESTARTED].is_string());
    if !restarted {
        return hash(value);
    }
    let mut value = value.clone();
    if let Some(annotations) = value.pointer_mut(annotations).and_then(Value::as_object_mut) {
        annotations.remove(RESTARTED);
    }
    hash(&value)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_restart_that_somebody_asked_for_is_no_change() {
        let plain =
            json!({"spec": {"template": {"metadata": {"annotations": {"a": "b", "z": "y"}}}}});
        let mut asked = plain.clone();
        asked["spec"]["template"]["metadata"]["annotations"][RESTARTED] = json!("now");
        assert_eq!(content(&plain), content(&asked));
        asked["spec"]["template"]["metadata"]["annotations"]["a"] = json!("other");
        assert_ne!(content(&plain), content(&asked));
    }

    #[test]
    fn the_addresses_of_a_service_are_no_change() {
        let plain = json!({"spec": {"sessionAffinity": "None", "selector": {"a": "b"}}});
        let mut allotted = plain.clone();
        allotted["spec"]["clusterIP"] = json!("10.96.0.7");
        assert_eq!(content(&plain), content(&allotted));
        allotted["spec"]["selector"]["a"] = json!("c");
        assert_ne!(content(&plain), content(&allotted));
    }
}
