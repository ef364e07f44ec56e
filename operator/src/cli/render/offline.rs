//! Plays the cluster for the controllers: holds what the files say, takes every plan as done, until nothing changes.
//!
//! The controllers are those of the agent. Only what stands on the other side is played.

use std::collections::BTreeMap;

use catalyst_crds::dapr::Configuration;
use catalyst_crds::{AppIdentity, EgressPolicy, Project, Region, SecretRef};
use catalyst_plan::readiness::{Spoken, Verdict, fold};
use catalyst_plan::{Key, Live, Object, Plan, Resource, Tenure, names};
use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;
use serde_json::Value;
use uuid::Uuid;

use super::facts::Facts;
use super::manifests::Manifests;
use crate::controllers::{self, Settings};
use crate::kernel::{Child, Kernel, Place, Planner, Primary};

/// After how many rounds something is wrong with us: each makes at least one object ready that others wait for.
const ROUNDS: usize = 16;

/// In which order objects are spoken of.
const KINDS: [&str; 5] = ["Region", "Project", "AppIdentity", "EgressPolicy", "SecretRef"];

/// What the controllers would do.
pub struct Outcome {
    /// What they would apply, in the order in which they would on a cluster that has nothing yet.
    pub planned: Vec<Planned>,
    /// What they would say of each of our objects.
    pub judged: Vec<Judged>,
}

/// One object that would be applied.
#[derive(Clone, PartialEq)]
pub struct Planned {
    /// The concern that plans it.
    pub concern: &'static str,
    /// The object.
    pub object: Object,
}

/// The status that one of our objects would have.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Which object.
    pub key: Key,
    /// Its whole status.
    pub status: Value,
}

/// The UID that stands in for the one that a server would draw: always the same for one object.
pub fn uid(kind: &str, namespace: Option<&str>, name: &str) -> String {
    let ours = Uuid::new_v5(&Uuid::NAMESPACE_DNS, catalyst_crds::GROUP.as_bytes());
    Uuid::new_v5(&ours, format!("{kind}/{}/{name}", namespace.unwrap_or_default()).as_bytes()).to_string()
}

/// Plans everything until nothing changes any more.
///
/// # Errors
/// When it does not come to rest, or a controller reads what is not held here: both are our faults.
pub(super) fn play(manifests: Manifests, facts: &Facts) -> Result<Outcome, String> {
    let mut kernel = Kernel::new(None);
    let concerns = controllers::ALL.iter().map(ToString::to_string).collect();
    controllers::wire(&mut kernel, &concerns, &Settings { release: facts.release_namespace.clone() });
    let mut stage = Stage { kernel, order: Vec::new(), objects: BTreeMap::new(), statuses: BTreeMap::new() };
    stage.fill(manifests, facts);
    for _ in 0..ROUNDS {
        if !stage.round()? {
            return Ok(stage.outcome());
        }
    }
    Err("the controllers do not come to rest on this input, which is a fault of Catalyst".into())
}

struct Stage {
    kernel: Kernel,
    /// What was ever planned, in the order in which it first was.
    order: Vec<Key>,
    objects: BTreeMap<Key, Planned>,
    statuses: BTreeMap<Key, Value>,
}

type Verdicts = BTreeMap<Key, BTreeMap<&'static str, Verdict>>;

impl Stage {
    fn fill(&mut self, manifests: Manifests, facts: &Facts) {
        let children = [
            Resource::of::<Namespace>(),
            Resource::of::<RoleBinding>(),
            Resource::of::<ResourceQuota>(),
            Resource::of::<NetworkPolicy>(),
            Resource::of::<ServiceAccount>(),
            Resource::of::<Secret>(),
            Resource::of::<Configuration>(),
        ];
        for resource in children {
            self.kernel.child_store(&resource).replace(Vec::new());
        }
        if !facts.dapr {
            self.kernel.child_store(&Resource::of::<Configuration>()).missing();
        }
        let namespaces = self.kernel.child_store(&Resource::of::<Namespace>());
        let given = facts.namespaces.iter().map(|standing| (standing.name.clone(), standing.labels.clone()));
        let written = manifests.namespaces.iter().map(|namespace| (namespace.name_any(), namespace.labels().clone()));
        for (name, labels) in given.chain(written) {
            let uid = uid("Namespace", None, &name);
            namespaces.put(&Place::new(None, &name), Child(Live { uid, labels, ..Live::default() }));
        }
        let secrets = self.kernel.cache_in::<Secret>(names::SECRETS_NAMESPACE);
        secrets.store().replace(manifests.secrets.into_iter().map(|secret| (place(&secret), secret)).collect());
        self.hold(manifests.regions);
        self.hold(manifests.projects);
        self.hold(manifests.apps);
        self.hold(manifests.policies);
        self.hold(manifests.references);
    }

    fn hold<K: Primary>(&mut self, objects: Vec<K>) {
        let placed = objects.into_iter().map(|object| (place(&object), object)).collect();
        self.kernel.cache::<K>().store().replace(placed);
    }

    /// One turn of every controller for every object. Returns whether anything came out otherwise than before.
    fn round(&mut self) -> Result<bool, String> {
        let mut objects = BTreeMap::new();
        let mut verdicts = Verdicts::new();
        for planner in self.kernel.planners().to_vec() {
            for place in planner.primaries() {
                self.turn(planner.as_ref(), place, &mut objects, &mut verdicts)?;
            }
        }
        for key in self.objects.keys().filter(|key| !objects.contains_key(*key)) {
            self.kernel.child_store(&key.resource).forget(&Place::new(key.namespace.as_deref(), &key.name), "");
        }
        let mut statuses = BTreeMap::new();
        self.fold::<Region>(&verdicts, &mut statuses)?;
        self.fold::<Project>(&verdicts, &mut statuses)?;
        self.fold::<AppIdentity>(&verdicts, &mut statuses)?;
        self.fold::<EgressPolicy>(&verdicts, &mut statuses)?;
        self.fold::<SecretRef>(&verdicts, &mut statuses)?;
        let changed = objects != self.objects || statuses != self.statuses;
        (self.objects, self.statuses) = (objects, statuses);
        Ok(changed)
    }

    fn turn(
        &mut self,
        planner: &dyn Planner,
        place: Place,
        objects: &mut BTreeMap<Key, Planned>,
        verdicts: &mut Verdicts,
    ) -> Result<(), String> {
        let key = Key { resource: planner.kind(), namespace: place.namespace().map(Into::into), name: place.name.clone() };
        let concern = planner.concern();
        // Everything is held here, so there is nothing to wait for.
        let Some(planned) = planner.plan(place).now_or_never() else {
            return Err(format!("the controller {concern} waits for a kind that is not held offline"));
        };
        let Some(planned) = planned else { return Ok(()) };
        let condition = planner.condition();
        let mut speak = |key: Key, verdict| drop(verdicts.entry(key).or_default().insert(condition, verdict));
        let plan = match planned.map_err(|error| format!("{concern} of {key}: {error}"))? {
            Ok(plan) => plan,
            Err(invalid) => {
                speak(key, Verdict { generation: 1, problem: Some(invalid), ..Verdict::default() });
                return Ok(());
            }
        };
        let Plan { objects: wanted, findings, problem, warnings, status, suspended, silent, .. } = plan;
        for object in wanted {
            self.stand(&object);
            if !self.order.contains(&object.key) {
                self.order.push(object.key.clone());
            }
            if let Some(other) = objects.insert(object.key.clone(), Planned { concern, object }) {
                return Err(format!("{} is planned twice, by {} and {concern}", other.object.key, other.concern));
            }
        }
        for finding in findings {
            let verdict = Verdict {
                generation: finding.generation,
                problem: finding.problem,
                warnings: finding.warnings,
                suspended: false,
                status: finding.status,
            };
            speak(finding.object, verdict);
        }
        if !silent {
            speak(key, Verdict { generation: 1, problem, warnings, suspended, status });
        }
        Ok(())
    }

    /// Takes an object as applied.
    fn stand(&self, object: &Object) {
        let store = self.kernel.child_store(&object.key.resource);
        let place = Place::new(object.key.namespace.as_deref(), &object.key.name);
        let metadata = &object.manifest["metadata"];
        let mut live = Live {
            uid: uid(&object.key.resource.kind, object.key.namespace.as_deref(), &object.key.name),
            labels: serde_json::from_value(metadata["labels"].clone()).unwrap_or_default(),
            owners: serde_json::from_value(metadata["ownerReferences"].clone()).unwrap_or_default(),
            ..Live::default()
        };
        if object.tenure == Tenure::Shared
            && let Some(standing) = store.get(&place)
        {
            let added = live.labels;
            live = standing.0.clone();
            live.labels.extend(added);
        }
        store.put(&place, Child(live));
    }

    /// Gives every object of a kind the status that its verdicts come to.
    fn fold<K: Primary>(&mut self, verdicts: &Verdicts, statuses: &mut BTreeMap<Key, Value>) -> Result<(), String> {
        let resource = Resource::of::<K>();
        let store = self.kernel.cache::<K>().store().clone();
        let silent = BTreeMap::new();
        for (place, object) in store.all() {
            let key = Key { resource: resource.clone(), namespace: place.namespace().map(Into::into), name: place.name.clone() };
            let mut whole = serde_json::to_value(object.as_ref()).map_err(|error| format!("{key}: {error}"))?;
            let standing = whole["status"].take();
            let spoken = Spoken {
                kind: &resource.kind,
                generation: 1,
                standing: &standing,
                verdicts: verdicts.get(&key).unwrap_or(&silent),
                impatient: true,
                now: Timestamp::UNIX_EPOCH,
            };
            let Some(status) = fold(&spoken) else { continue };
            if status != standing {
                whole["status"] = status.clone();
                let object = serde_json::from_value(whole).map_err(|error| format!("the status of {key}: {error}"))?;
                store.put(&place, object);
            }
            statuses.insert(key, status);
        }
        Ok(())
    }

    fn outcome(self) -> Outcome {
        let Self { order, mut objects, statuses, .. } = self;
        let planned = order.iter().filter_map(|key| objects.remove(key)).collect();
        let mut judged: Vec<Judged> = statuses.into_iter().map(|(key, status)| Judged { key, status }).collect();
        let rank = |judged: &Judged| KINDS.iter().position(|kind| judged.key.resource.kind == *kind);
        judged.sort_by_cached_key(rank);
        Outcome { planned, judged }
    }
}

fn place<K: kube::Resource>(object: &K) -> Place {
    let meta = object.meta();
    Place::new(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
}
