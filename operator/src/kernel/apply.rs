//! Makes what stands equal to what a plan names: one call where they differ, none where they don't.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use catalyst_plan::{Key, Live, Object, Resource, Tenure, mutant, names};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::cluster::{Cluster, Mode};
use super::error::Error;
use super::store::{Change, Child, News, Place, Store};
use super::watch::{RESTARTED, TEMPLATE_ANNOTATIONS, content, hash, live};

/// For whom a plan is applied.
pub(super) struct Applicant<'a> {
    /// The concern, which is also the field manager.
    pub concern: &'static str,
    /// The primary's UID.
    pub uid: &'a str,
    /// The primary's kind.
    pub(super) kind: &'a str,
    /// Whether no primary of this UID exists any more.
    pub is_gone: &'a (dyn Fn(&str) -> bool + Send + Sync),
}

/// What an apply came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Applied {
    /// Nothing had to be done, and no call was made.
    Unchanged,
    /// It was made or mended.
    Written,
}

/// The children of this process, by kind, and what an apply of theirs came to.
#[derive(Default)]
pub(super) struct Children {
    stores: Mutex<HashMap<Resource, Arc<Store<Child>>>>,
    settled: Arc<Mutex<Settled>>,
}

/// For each object that does not stand as it was sent (hash of the intent, hash of what then stood): a server or a
/// webhook that writes more than we sent is asked once, not for ever.
type Settled = HashMap<Key, (u64, u64)>;

impl Children {
    /// The store of a kind.
    pub(super) fn store(&self, resource: &Resource) -> Arc<Store<Child>> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || {
            let store = Arc::new(Store::<Child>::default());
            let (settled, resource) = (Arc::clone(&self.settled), resource.clone());
            store.listen(move |news| {
                if let News::Changed(Change { place, new: None, .. }) = news {
                    settled
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&place.key(&resource));
                }
            });
            store
        };
        Arc::clone(stores.entry(resource.clone()).or_insert_with(made))
    }

    /// What is known of an object.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Child>> {
        self.store(&key.resource).get(&place(key))
    }

    /// Takes in what the server answered, before its watch event comes.
    pub(super) fn learn(&self, key: &Key, object: &DynamicObject) -> Live {
        let seen = live(object);
        self.store(&key.resource).put(&place(key), Child(seen.clone()));
        seen
    }

    /// Notes that what stands now is what this intent comes to on this server.
    pub(super) fn settle(&self, key: &Key, intent: u64, stands: u64) {
        self.settled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone(), (intent, stands));
    }

    /// Whether this intent came to what stands now.
    pub(super) fn is_settled(&self, key: &Key, intent: u64, stands: u64) -> bool {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).get(key)
            == Some(&(intent, stands))
    }
}

/// Makes one object stand as planned.
///
/// # Errors
/// [`Error::NameTaken`] if something stands there that is not ours; whatever the API server says else.
pub(super) async fn apply(
    cluster: &Cluster,
    children: &Children,
    object: &Object,
    by: &Applicant<'_>,
) -> Result<Applied, Error> {
    let manager = names::field_manager(by.concern);
    let known = children.get(&object.key);
    if object.tenure == Tenure::Shared {
        return share(cluster, children, object, known.as_deref(), &manager).await;
    }
    let Some(known) = known else {
        if let Some(made) =
            cluster.apply(&object.key, &manager, &object.manifest, Mode::CreateOnly).await?
        {
            tracing::info!(controller = by.concern, object = %object.key, "made");
            settle(children, object, &children.learn(&object.key, &made));
            return Ok(Applied::Written);
        }
        return recover(cluster, children, object, by, &manager).await;
    };
    if known.0.deleting {
        return Err(Error::Terminating(object.key.clone()));
    }
    if !is_ours(&known.0, by) {
        return recover(cluster, children, object, by, &manager).await;
    }
    if matches(children, object, &known.0) {
        return Ok(Applied::Unchanged);
    }
    enforce(cluster, children, object, &manager).await
}

/// Something of that name stands and was not known, or does not look like ours: looks once, then decides.
async fn recover(
    cluster: &Cluster,
    children: &Children,
    object: &Object,
    by: &Applicant<'_>,
    manager: &str,
) -> Result<Applied, Error> {
    let Some(found) = cluster.get(&object.key).await? else {
        // Gone between two calls: the next turn makes it.
        return Err(Error::Terminating(object.key.clone()));
    };
    let seen = live(&found);
    let orphan = seen
        .owners
        .iter()
        .any(|owner| owner.kind == by.kind && owner.uid != by.uid && (by.is_gone)(&owner.uid));
    if seen.deleting || orphan {
        // Garbage collection takes it, and the next turn makes ours.
        return Err(Error::Terminating(object.key.clone()));
    }
    if !is_ours(&seen, by) && !lost(&found, &seen, by) {
        return Err(Error::NameTaken(object.key.clone()));
    }
    children.learn(&object.key, &found);
    if matches(children, object, &seen) {
        return Ok(Applied::Unchanged);
    }
    enforce(cluster, children, object, manager).await
}

/// Applies with force, then takes out what others added below the content.
async fn enforce(
    cluster: &Cluster,
    children: &Children,
    object: &Object,
    manager: &str,
) -> Result<Applied, Error> {
    let Some(mut stands) =
        cluster.apply(&object.key, manager, &object.manifest, Mode::Force).await?
    else {
        return Err(Error::Terminating(object.key.clone()));
    };
    // Server-side apply leaves what others added: `egress: [{}]` in a policy that denies everything, say.
    if let Some(patch) = additions(&object.manifest, &stands.data)
        && !mutant("leave-additions")
    {
        let version = stands.metadata.resource_version.clone().unwrap_or_default();
        stands = cluster.patch(&object.key, manager, &version, patch).await?;
    }
    tracing::info!(controller = manager, object = %object.key, "mended");
    settle(children, object, &children.learn(&object.key, &stands));
    Ok(Applied::Written)
}

/// Adds our fields to an object that is somebody else's, without force.
async fn share(
    cluster: &Cluster,
    children: &Children,
    object: &Object,
    known: Option<&Child>,
    manager: &str,
) -> Result<Applied, Error> {
    let Some(known) = known else { return Err(Error::Terminating(object.key.clone())) };
    if known.0.deleting {
        return Err(Error::Terminating(object.key.clone()));
    }
    // A farewell no longer names our labels, and so takes them away.
    let leftover = known.0.labels.contains_key(names::OWNER_UID)
        && object.manifest["metadata"]["labels"][names::OWNER_UID].is_null();
    if carries(&object.manifest, &known.0) && !leftover {
        return Ok(Applied::Unchanged);
    }
    if let Some(stands) =
        cluster.apply(&object.key, manager, &object.manifest, Mode::Polite).await?
    {
        tracing::info!(controller = manager, object = %object.key, "labelled");
        children.learn(&object.key, &stands);
    }
    Ok(Applied::Written)
}

/// Ours by label or ownerReference; or Catalyst's of an owner that is gone, without an owner that would collect it.
pub(super) fn is_ours(stands: &Live, by: &Applicant<'_>) -> bool {
    let left_behind = || {
        stands.is_managed()
            && stands.owners.is_empty()
            && stands.label(names::CONTROLLER) == Some(by.concern)
            && stands.label(names::OWNER_UID).is_some_and(|uid| (by.is_gone)(uid))
    };
    stands.belongs_to(by.uid) || left_behind()
}

/// Whether our manager has applied it and it no longer names anyone: one whose labels were taken away is still
/// known as ours, and a sibling's is not.
pub(super) fn lost(object: &DynamicObject, seen: &Live, by: &Applicant<'_>) -> bool {
    let manager = names::field_manager(by.concern);
    let entries = object.metadata.managed_fields.as_deref().unwrap_or_default();
    let applied = entries.iter().any(|entry| {
        entry.manager.as_ref() == Some(&manager) && entry.operation.as_deref() == Some("Apply")
    });
    let mut others =
        seen.owners.iter().map(|owner| owner.uid.as_str()).chain(seen.label(names::OWNER_UID));
    applied && others.all(|uid| (by.is_gone)(uid))
}

/// Whether what stands is what is planned: our labels and owners, and the very content.
fn matches(children: &Children, object: &Object, stands: &Live) -> bool {
    if !carries(&object.manifest, stands) {
        return false;
    }
    let intent = content(&object.manifest);
    is_same(object, &intent, stands)
        || mutant("leave-edits")
        || children.is_settled(&object.key, hash(&json!(intent)), standing(stands))
}

fn is_same(object: &Object, intent: &BTreeMap<String, u64>, stands: &Live) -> bool {
    owners(&object.manifest) == json!(*stands.owners)
        && intent.iter().all(|(field, hash)| stands.content.get(field) == Some(*hash))
}

/// Notes what an intent came to, where that is not the very same.
fn settle(children: &Children, object: &Object, stands: &Live) {
    let intent = content(&object.manifest);
    if !is_same(object, &intent, stands) {
        children.settle(&object.key, hash(&json!(intent)), standing(stands));
    }
}

fn standing(stands: &Live) -> u64 {
    hash(&json!([stands.content, *stands.owners]))
}

/// Whether the labels of a manifest are there, whatever other ones are.
pub(super) fn carries(manifest: &Value, stands: &Live) -> bool {
    let mut wanted = manifest["metadata"]["labels"].as_object().into_iter().flatten();
    wanted.all(|(name, value)| stands.label(name) == value.as_str())
}

fn owners(manifest: &Value) -> Value {
    match &manifest["metadata"]["ownerReferences"] {
        Value::Null => json!([]),
        owners => owners.clone(),
    }
}

/// What must be taken out of, or put back into, the content that stands; `None` if nothing.
fn additions(intent: &Value, stands: &Value) -> Option<json_patch::Patch> {
    let mut target = stands.clone();
    for (field, value) in intent.as_object().into_iter().flatten() {
        if content(&json!({ field: value })).is_empty() {
            continue;
        }
        target[field] = value.clone();
    }
    let restarted = stands.pointer(TEMPLATE_ANNOTATIONS).map(|there| &there[RESTARTED]);
    if let Some(restarted) = restarted.filter(|restarted| restarted.is_string())
        && let Some(annotations) = target.pointer_mut(TEMPLATE_ANNOTATIONS)
    {
        annotations[RESTARTED] = restarted.clone();
    }
    let patch = json_patch::diff(stands, &target);
    (!patch.0.is_empty()).then_some(patch)
}

/// The place of a key.
pub(super) fn place(key: &Key) -> Place {
    Place::new(key.namespace.as_deref(), &key.name)
}
