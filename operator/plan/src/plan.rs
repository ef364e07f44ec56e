//! The vocabulary of planning: what should exist, what stands, and what is wrong with whom.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Serialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::names;

/// A kind as the API server serves it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// The version within the group.
    pub version: Cow<'static, str>,
    /// The kind, such as `NetworkPolicy`.
    pub kind: Cow<'static, str>,
    /// The path segment, such as `networkpolicies`.
    pub plural: Cow<'static, str>,
}

impl Resource {
    /// The resource of a typed kind.
    pub fn of<K: kube::Resource<DynamicType = ()>>() -> Self {
        Self {
            group: K::group(&()),
            version: K::version(&()),
            kind: K::kind(&()),
            plural: K::plural(&()),
        }
    }

    /// `group/version`, or the version alone for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// Which object: a kind and a place.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// The kind.
    pub resource: Resource,
    /// The namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of an object of kind `K`.
    pub fn of<K: kube::Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str) -> Self {
        Self {
            resource: Resource::of::<K>(),
            namespace: namespace.map(Into::into),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    /// `NetworkPolicy prj-shop/default-deny`, as messages name an object.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.resource.kind, self.name),
            None => write!(f, "{} {}", self.resource.kind, self.name),
        }
    }
}

/// What is known of an object that stands, as far as plans and applies need it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// Its UID.
    pub uid: String,
    /// Its resource version, a number since Kubernetes promises so (KEP-5504); 0 where it is none.
    pub resource_version: u64,
    /// Its labels, held once for all objects that have the same.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Its owners, held once for all objects that have the same.
    pub owners: Arc<Vec<OwnerReference>>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// A hash of each top-level field but `metadata` and `status`.
    pub content: Content,
    /// For what runs pods: how far they are.
    pub rollout: Option<Rollout>,
}

/// How far the pods of a `Deployment` or `StatefulSet` are, as its controller last said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rollout {
    /// Whether that controller has seen what stands.
    pub observed: bool,
    /// How many pods are asked for.
    pub wanted: i32,
    /// How many run what is asked for now.
    pub updated: i32,
    /// How many are ready, older ones among them.
    pub ready: i32,
    /// How many there are, older ones among them.
    pub present: i32,
}

impl Rollout {
    /// Whether as many pods as asked for run what is asked for, all of them ready, and no older one is left.
    pub fn is_done(&self) -> bool {
        self.observed
            && [self.updated, self.ready, self.present].iter().all(|count| *count == self.wanted)
    }
}

/// A hash of each of some fields. There is one for every object that is watched, so names are hashes too.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Content(Box<[(u64, u64)]>);

impl Content {
    /// The hash of a field; `None` if there is no such field.
    pub fn get(&self, field: &str) -> Option<u64> {
        let name = Self::name(field);
        self.0.iter().find(|(known, _)| *known == name).map(|(_, hash)| *hash)
    }

    fn name(field: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        field.hash(&mut hasher);
        hasher.finish()
    }
}

impl<S: AsRef<str>> FromIterator<(S, u64)> for Content {
    fn from_iter<I: IntoIterator<Item = (S, u64)>>(fields: I) -> Self {
        Self(fields.into_iter().map(|(field, hash)| (Self::name(field.as_ref()), hash)).collect())
    }
}

impl Live {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// Whether this object says it belongs to the owner: by label or by an ownerReference.
    pub fn belongs_to(&self, owner_uid: &str) -> bool {
        self.label(names::OWNER_UID) == Some(owner_uid)
            || self.owners.iter().any(|owner| owner.uid == owner_uid)
    }

    /// Whether Catalyst made it.
    pub fn is_managed(&self) -> bool {
        self.label(names::MANAGED_BY) == Some(names::CATALYST)
    }
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Tenure {
    /// Ours alone: applied with force, additions of others below its content are taken out, and it is pruned.
    #[default]
    Ours,
    /// Somebody else's, to which we add fields without force. Never created, never pruned.
    Shared,
}

/// A secret value. It has no readable `Debug` and is wiped when dropped.
#[derive(Clone, Eq, PartialEq)]
pub struct SecretBytes(pub Zeroizing<Vec<u8>>);

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// One value of a Secret. A plan is pure, so it can't draw random values and need not know any.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Datum {
    /// A value that is no secret, such as a URL.
    Text(String),
    /// Drawn by the kernel when the Secret is created, `bytes` random bytes as unpadded base64url
    /// after `prefix`; a later apply repeats the value that stands.
    Generated {
        /// What the value begins with.
        prefix: String,
        /// How many random bytes.
        bytes: usize,
    },
    /// The value under `key` of another Secret of the same namespace, read and written by the kernel.
    CopyOf {
        /// The other Secret's name.
        secret: String,
        /// The key in its data.
        key: String,
    },
    /// A value that the plan was given.
    Given(SecretBytes),
}

/// A manifest that should exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Which object.
    pub key: Key,
    /// The whole manifest in canonical form: defaults written out, no empty list or map.
    pub manifest: Value,
    /// Whose it is.
    pub tenure: Tenure,
    /// For a Secret: its data, which the manifest leaves out.
    pub data: BTreeMap<String, Datum>,
}

/// Whom a plan is for: what its objects carry as labels.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The concern that plans, such as `network`.
    pub concern: &'static str,
    /// The project; empty for what belongs to the whole region.
    pub project: String,
    /// The UID of the primary.
    pub uid: String,
    /// What children are owned by; `None` where only the labels count.
    pub reference: Option<OwnerReference>,
}

impl Owner {
    /// The labels that every child carries.
    pub fn labels(&self) -> BTreeMap<String, String> {
        [
            (names::MANAGED_BY, names::CATALYST),
            (names::PROJECT, self.project.as_str()),
            (names::CONTROLLER, self.concern),
            (names::OWNER_UID, self.uid.as_str()),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
    }

    /// A manifest of ours: `child` with our labels added and our ownerReference, if there is one.
    pub fn owns<K>(&self, child: &K) -> Object
    where
        K: kube::Resource<DynamicType = ()> + Serialize,
    {
        self.marked(Object::new(child))
    }

    /// The same for a manifest that is written as such, with `metadata.name` and `metadata.namespace`: what the types
    /// of a kind would leave out stays in.
    pub fn keeps<K: kube::Resource<DynamicType = ()>>(&self, mut manifest: Value) -> Object {
        let at = |field: &str| manifest["metadata"][field].as_str();
        let key = Key::of::<K>(at("namespace"), at("name").unwrap_or_default());
        manifest["apiVersion"] = json!(key.resource.api_version());
        manifest["kind"] = json!(key.resource.kind);
        self.marked(Object { key, manifest, tenure: Tenure::Ours, data: BTreeMap::new() })
    }

    fn marked(&self, mut object: Object) -> Object {
        let metadata = &mut object.manifest["metadata"];
        for (name, value) in self.labels() {
            metadata["labels"][name] = json!(value);
        }
        if let Some(reference) = &self.reference {
            metadata["ownerReferences"] = json!([reference]);
        }
        object
    }
}

impl Object {
    /// A manifest without labels or owner; [`Owner::owns`] adds both.
    pub fn new<K>(child: &K) -> Self
    where
        K: kube::Resource<DynamicType = ()> + Serialize,
    {
        let meta = child.meta();
        let key = Key::of::<K>(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default());
        let mut manifest = serde_json::to_value(child).unwrap_or_default();
        manifest["apiVersion"] = json!(key.resource.api_version());
        manifest["kind"] = json!(key.resource.kind);
        Self { key, manifest, tenure: Tenure::Ours, data: BTreeMap::new() }
    }
}

/// What prune leaves alone beside the planned objects.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Keep {
    /// These, if they stand.
    These(Vec<Key>),
    /// Whatever stands.
    All,
}

impl Default for Keep {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

/// What should exist for one primary, by one concern.
#[allow(clippy::struct_excessive_bools, reason = "each is a word of its own to the kernel")]
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What should exist, in apply order.
    pub objects: Vec<Object>,
    /// What stands and is left alone. Everything else that the concern owns is pruned.
    pub keep: Keep,
    /// One for every other object that the plan took in, also where nothing is wrong with it.
    pub findings: Vec<Finding>,
    /// What is wrong with the primary although the plan stands, such as one bad entry in a list.
    pub problem: Option<Invalid>,
    /// What is probably not meant; said in the condition's message.
    pub warnings: Vec<String>,
    /// Fields of the primary's status, beside the conditions.
    pub status: Map<String, Value>,
    /// Whether the primary must carry [`names::FENCE`] while this plan stands.
    pub fence: bool,
    /// Whether the primary's owner suspended it.
    pub suspended: bool,
    /// Whether another concern's finding speaks for the primary, so that this plan gives no verdict.
    pub silent: bool,
    /// Whether the concern was not asked for: it shows no condition, and Ready does not wait for one.
    pub unasked: bool,
}

impl Plan {
    /// The plan for a suspended primary: nothing is made, nothing is removed.
    pub fn suspended() -> Self {
        Self { keep: Keep::All, suspended: true, ..Self::default() }
    }

    /// The plan for a primary that does not ask for what the concern makes: what it made before goes.
    pub fn unasked() -> Self {
        Self { unasked: true, ..Self::default() }
    }
}

/// What a plan says of another object that it took in.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which object.
    pub object: Key,
    /// The planned objects that carry it: it stands when they do.
    pub objects: Vec<Key>,
    /// Its `metadata.generation` as planned from.
    pub generation: i64,
    /// What is wrong with it, if anything.
    pub problem: Option<Invalid>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
    /// Fields of its status.
    pub status: Map<String, Value>,
}

/// Why an object can't be planned, or an entry of it can't count: the user's to mend, or to wait for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invalid {
    /// One CamelCase word, such as `UnknownRegion`.
    pub reason: &'static str,
    /// A sentence that names the field, the value and the mend.
    pub message: String,
    /// Whether time or another object may mend it: shown as Reconciling, not as Stalled.
    pub waits: bool,
}

impl Invalid {
    /// A spec that can't work until its owner changes it.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), waits: false }
    }

    /// Something that is not there yet.
    pub fn waits(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), waits: true }
    }
}
