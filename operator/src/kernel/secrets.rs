//! Secrets that we make: never watched, looked at when their owner changes and by an even sweep.
//!
//! A plan names their values without knowing them. They are drawn or copied here, and nothing of them is kept
//! but the version of the Secret that holds them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use catalyst_plan::{Datum, Key, Live, Object, Resource, SecretBytes, mutant, names};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::apply::{Applicant, Applied, Children, carries, is_ours, lost, place};
use super::cluster::{Cluster, Mode};
use super::error::Error;
use super::store::{Child, Place};
use super::watch::{content, hash, live};

type Values = BTreeMap<String, Zeroizing<String>>;

/// What was looked at since this process began.
#[derive(Default)]
pub(super) struct Looked(Mutex<Looks>);

#[derive(Default)]
struct Looks {
    /// The first look at each namespace, which all its owners wait for.
    namespaces: HashMap<String, Arc<OnceCell<()>>>,
    /// Each owner as it was when its Secrets were last looked at, by UID.
    owners: HashMap<String, u64>,
}

impl Looked {
    /// Forgets an owner that is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().owners.remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, Looks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Secrets that one turn has read or written, so that it asks for none twice. Dropped with the turn.
pub(super) type Fetched = HashMap<Key, DynamicObject>;

/// The kind.
pub(super) fn resource() -> Resource {
    Resource::of::<Secret>()
}

/// Looks through the Secrets of ours in a namespace where an owner has some: once per process, so that nothing of before is
/// overlooked, and whenever the owner changed in more than its status.
pub(super) async fn look(
    cluster: &Cluster,
    children: &Children,
    looked: &Looked,
    owner: &ObjectMeta,
    namespace: &str,
) -> Result<(), Error> {
    let Some(uid) = &owner.uid else { return Ok(()) };
    let now = hash(&json!([owner.generation, owner.labels, owner.annotations]));
    let (first, changed) = {
        let mut looks = looked.lock();
        let first = Arc::clone(looks.namespaces.entry(namespace.into()).or_default());
        (first, looks.owners.get(uid).is_some_and(|then| *then != now))
    };
    if changed {
        refresh(cluster, children, namespace).await?;
    } else {
        first.get_or_try_init(|| refresh(cluster, children, namespace)).await?;
    }
    looked.lock().owners.insert(uid.clone(), now);
    Ok(())
}

/// Lists the Secrets of ours in a namespace. What changed since the last look is told to the store's listeners,
/// and so to the controllers that own it.
pub(super) async fn refresh(
    cluster: &Cluster,
    children: &Children,
    namespace: &str,
) -> Result<(), Error> {
    let store = children.store(&resource());
    let before = store.within(namespace);
    let mut listed = HashSet::new();
    for object in cluster.list_ours(&resource(), namespace).await? {
        let at = Place::new(Some(namespace), object.metadata.name.as_deref().unwrap_or_default());
        store.put(&at, Child(seen(&object)));
        listed.insert(at);
    }
    for (place, known) in before.iter().filter(|(place, _)| !listed.contains(place)) {
        store.forget(place, &known.0.uid);
    }
    Ok(())
}

/// Makes one Secret stand as planned.
///
/// # Errors
/// As [`super::apply::apply`], and [`Error::Absent`] if a value is to be copied from a Secret that is not there.
pub(super) async fn apply(
    cluster: &Cluster,
    children: &Children,
    object: &Object,
    by: &Applicant<'_>,
    fetched: &mut Fetched,
) -> Result<Applied, Error> {
    let intent = intent(children, object);
    let known = children.get(&object.key);
    if let Some(known) = &known
        && is_labelled(&known.0, by.uid)
        && (matches(children, object, by.uid, &known.0)
            || carries(&object.manifest, &known.0)
                && children.is_settled(&object.key, intent, known.0.resource_version))
    {
        return Ok(Applied::Unchanged);
    }
    // The namespace was looked at before. What is not known there is most likely not there.
    let mut found = if known.is_some() { cluster.get(&object.key).await? } else { None };
    let stands = loop {
        if let Some(found) = &found {
            if let Some(error) = why_not(object, found, by) {
                return Err(error);
            }
        } else {
            children.store(&resource()).forget(&place(&object.key), "");
        }
        let values = resolve(cluster, object, found.as_ref(), by.uid, fetched).await?;
        if let Some(stands) = &found
            && carries(&object.manifest, &live(stands))
            && same(object, &values, stands)
        {
            learn(children, &object.key, stands, intent);
            return Ok(Applied::Unchanged);
        }
        if let Some(stands) = write(cluster, object, &values, found.is_some(), by).await? {
            break stands;
        }
        // Something stands there after all. What was made since the look is somebody else's, unless its labels say so.
        found = Some(
            cluster
                .get(&object.key)
                .await?
                .ok_or_else(|| Error::Terminating(object.key.clone()))?,
        );
    };
    tracing::info!(controller = by.concern, object = %object.key, "{}", if found.is_some() { "mended" } else { "made" });
    learn(children, &object.key, &stands, intent);
    fetched.insert(object.key.clone(), stands);
    Ok(Applied::Written)
}

/// Why what stands may not be written to, if so: it is not ours, or it is going.
fn why_not(object: &Object, found: &DynamicObject, by: &Applicant<'_>) -> Option<Error> {
    let seen = live(found);
    if seen.deleting {
        return Some(Error::Terminating(object.key.clone()));
    }
    // Where a value that stands is kept, labels alone count, since admission keeps them: an ownerReference or a
    // field manager anyone can write, and what somebody else chose must never become a token.
    let keeps = object.data.values().any(|datum| matches!(datum, Datum::Generated { .. }));
    let ours =
        is_labelled(&seen, by.uid) || !keeps && (is_ours(&seen, by) || lost(found, &seen, by));
    (!ours).then(|| Error::NameTaken(object.key.clone()))
}

/// Writes the Secret, and takes out what others added. `None`: one was to be made, and something stands there.
async fn write(
    cluster: &Cluster,
    object: &Object,
    values: &Values,
    stands: bool,
    by: &Applicant<'_>,
) -> Result<Option<DynamicObject>, Error> {
    let manager = names::field_manager(by.concern);
    let mode = if stands { Mode::Force } else { Mode::CreateOnly };
    let manifest = whole(object, values);
    if mutant("log-values") {
        tracing::info!(%manifest, "sent");
    }
    let Some(stands) = cluster.apply(&object.key, &manager, &manifest, mode).await? else {
        return Ok(None);
    };
    if same(object, values, &stands) {
        return Ok(Some(stands));
    }
    let mut target = stands.data.clone();
    target["data"] = manifest["data"].clone();
    let version = stands.metadata.resource_version.clone().unwrap_or_default();
    let patch = json_patch::diff(&stands.data, &target);
    cluster.patch(&object.key, &manager, &version, patch).await.map(Some)
}

fn learn(children: &Children, key: &Key, object: &DynamicObject, intent: u64) {
    let seen = seen(object);
    children.settle(key, intent, seen.resource_version);
    children.store(&resource()).put(&place(key), Child(seen));
}

/// What is kept of a Secret: as of every child, with a keyed hash for each value.
fn seen(object: &DynamicObject) -> Live {
    let mut fields = content(&object.data);
    let values = object.data["data"].as_object().into_iter().flatten();
    fields.insert("data".into(), names_of(values.clone().map(|(name, _)| name)));
    fields.extend(values.map(|(name, value)| {
        (format!("{VALUE}{name}"), keyed(value.as_str().unwrap_or_default().as_bytes()))
    }));
    Live { content: fields.into_iter().collect(), ..live(object) }
}

/// A hash of which values there are.
fn names_of<'a>(names: impl Iterator<Item = &'a String>) -> u64 {
    hash(&names.cloned().collect())
}

/// What precedes the name of a value in what is kept of a Secret.
const VALUE: &str = "data.";

/// Whether what is known of a Secret is what is planned, as far as hashes can tell.
fn matches(children: &Children, object: &Object, uid: &str, known: &Live) -> bool {
    let holds = |name: &String, datum: &Datum| {
        let Some(stands) = known.content.get(&format!("{VALUE}{name}")) else { return false };
        let is = |value: &[u8]| stands == keyed(STANDARD.encode(value).as_bytes());
        match datum {
            Datum::Text(text) => is(text.as_bytes()),
            Datum::Given(value) => is(&value.0),
            // An empty token would let everybody in.
            Datum::Generated { .. } => stands != keyed(b""),
            Datum::CopyOf { secret, key } => {
                let source = children.get(&beside(object, secret));
                source.is_some_and(|source| {
                    is_labelled(&source.0, uid)
                        && source.0.content.get(&format!("{VALUE}{key}")) == Some(stands)
                })
            }
        }
    };
    let owners = &object.manifest["metadata"]["ownerReferences"];
    let fixed = ["type", "immutable"].iter().all(|field| {
        let wanted = &object.manifest[field];
        wanted.is_null() || known.content.get(field) == Some(hash(wanted))
    });
    !known.deleting
        && carries(&object.manifest, known)
        && (owners.is_null() || *owners == json!(*known.owners))
        && fixed
        && known.content.get("data") == Some(names_of(object.data.keys()))
        && object.data.iter().all(|(name, datum)| holds(name, datum))
}

/// How long a failed attempt to draw a key waits.
const AGAIN: Duration = Duration::from_secs(5);

/// Makes a Secret with 32 random bytes under `key`, unless one stands; then does nothing for ever.
pub(super) async fn draw_once(
    cluster: Arc<Cluster>,
    namespace: String,
    name: String,
    concern: &'static str,
) {
    let key = Key { resource: resource(), namespace: Some(namespace), name };
    loop {
        cluster.gate().opened().await;
        match drawn(&cluster, &key, concern).await {
            Ok(()) => break,
            Err(error) => {
                tracing::warn!(object = %key, error = %error, "key can't be drawn");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    std::future::pending::<()>().await;
}

async fn drawn(cluster: &Cluster, key: &Key, concern: &'static str) -> Result<(), Error> {
    if cluster.get(key).await?.is_some() {
        return Ok(());
    }
    let manifest = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "labels": {(names::MANAGED_BY): names::CATALYST},
        },
        "type": "Opaque",
        "immutable": true,
        "data": {"key": *draw("", 32).ok_or(Error::Entropy)?},
    });
    let manager = names::field_manager(concern);
    cluster.apply(key, &manager, &manifest, Mode::CreateOnly).await.map(drop)
}

/// Whether a Secret says by our labels that it is this owner's.
fn is_labelled(seen: &Live, uid: &str) -> bool {
    seen.is_managed() && seen.label(names::OWNER_UID) == Some(uid)
}

/// A hash of what is wanted, without any value: the plan, and the versions of the Secrets that are copied from.
fn intent(children: &Children, object: &Object) -> u64 {
    let data: Vec<Value> = object
        .data
        .iter()
        .map(|(name, datum)| match datum {
            Datum::Text(text) => json!([name, text]),
            Datum::Generated { prefix, bytes } => json!([name, prefix, bytes]),
            Datum::CopyOf { secret, key } => {
                let source = children.get(&beside(object, secret));
                json!([name, secret, key, source.map(|source| source.0.resource_version)])
            }
            // A keyed hash of this process alone: it leaves no trace of the value.
            Datum::Given(value) => json!([name, keyed(&value.0)]),
        })
        .collect();
    hash(&json!([object.manifest, data]))
}

fn keyed(value: &[u8]) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    static KEY: std::sync::OnceLock<RandomState> = std::sync::OnceLock::new();
    KEY.get_or_init(RandomState::new).hash_one(value)
}

fn beside(object: &Object, name: &str) -> Key {
    Key { resource: resource(), namespace: object.key.namespace.clone(), name: name.into() }
}

/// The values, as base64.
async fn resolve(
    cluster: &Cluster,
    object: &Object,
    found: Option<&DynamicObject>,
    uid: &str,
    fetched: &mut Fetched,
) -> Result<Values, Error> {
    let mut values = Values::new();
    for (name, datum) in &object.data {
        let value = match datum {
            Datum::Text(text) => Zeroizing::new(STANDARD.encode(text)),
            Datum::Given(value) => Zeroizing::new(STANDARD.encode(&*value.0)),
            Datum::Generated { prefix, bytes } => {
                let kept = found.and_then(|found| stands(found, name));
                match kept.filter(|value| !value.is_empty()) {
                    Some(value) => value,
                    None => draw(prefix, *bytes).ok_or(Error::Entropy)?,
                }
            }
            Datum::CopyOf { secret, key } => {
                let source = beside(object, secret);
                if !fetched.contains_key(&source) {
                    let from = cluster.get(&source).await?.ok_or(Error::Absent(source.clone()))?;
                    fetched.insert(source.clone(), from);
                }
                let from = &fetched[&source];
                if !is_labelled(&live(from), uid) {
                    return Err(Error::NameTaken(source));
                }
                stands(from, key).ok_or(Error::Absent(source))?
            }
        };
        values.insert(name.clone(), value);
    }
    Ok(values)
}

/// `None` if the operating system gives no random bytes.
fn draw(prefix: &str, bytes: usize) -> Option<Zeroizing<String>> {
    let mut drawn = Zeroizing::new(vec![0_u8; bytes]);
    rand::fill(&mut drawn).ok()?;
    let text = Zeroizing::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(&*drawn)));
    Some(Zeroizing::new(STANDARD.encode(&*text)))
}

/// The values of a Secret.
pub(super) fn values(object: &DynamicObject) -> BTreeMap<String, SecretBytes> {
    let values = object.data["data"].as_object().into_iter().flatten();
    let decoded = values.filter_map(|(name, value)| {
        let bytes = STANDARD.decode(value.as_str()?).ok()?;
        Some((name.clone(), SecretBytes(bytes.into())))
    });
    decoded.collect()
}

fn stands(object: &DynamicObject, key: &str) -> Option<Zeroizing<String>> {
    object.data["data"][key].as_str().map(|value| Zeroizing::new(value.to_string()))
}

fn same(object: &Object, values: &Values, found: &DynamicObject) -> bool {
    let there = found.data["data"].as_object();
    let equal = there.map_or(0, serde_json::Map::len) == values.len()
        && values
            .iter()
            .all(|(name, value)| found.data["data"][name].as_str() == Some(value.as_str()));
    let owners = &object.manifest["metadata"]["ownerReferences"];
    let owned = owners.is_null() || *owners == json!(found.metadata.owner_references);
    equal
        && owned
        && ["type", "immutable"].iter().all(|field| {
            object.manifest[field].is_null() || object.manifest[field] == found.data[field]
        })
}

fn whole(object: &Object, values: &Values) -> Value {
    let mut manifest = object.manifest.clone();
    for (name, value) in values {
        manifest["data"][name] = json!(**value);
    }
    manifest
}
