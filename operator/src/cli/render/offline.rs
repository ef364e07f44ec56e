//! Turns the agent's own controllers without a cluster: every plan counts as done, until nothing changes any more.

use std::collections::{BTreeMap, HashMap};

use catalyst_crds::{AppIdentity, EgressPolicy, Project, Region, SecretRef};
use catalyst_plan::readiness::{Spoken, Verdict, fold};
use catalyst_plan::{Key, Object, Plan, Resource};
use futures::FutureExt;
use jiff::Timestamp;
use serde_json::Value;

use super::facts::Facts;
use super::manifests::Manifests;
use super::standing;
use crate::kernel::{Kernel, Place, Planner, Primary};

/// After how many rounds something is wrong with us: each makes at least one object ready that others wait for.
const ROUNDS: usize = 16;

/// In which order objects are spoken of.
const KINDS: [&str; 5] = ["Region", "Project", "AppIdentity", "EgressPolicy", "SecretRef"];

/// What the controllers would do.
pub(super) struct Outcome {
    /// What they would apply, in the order in which they would on a cluster that has nothing yet.
    pub(super) planned: Vec<Planned>,
    /// What they would say of each of our objects.
    pub(super) judged: Vec<Judged>,
}

/// One object that would be applied.
#[derive(Clone, PartialEq)]
pub(super) struct Planned {
    /// The concern that plans it.
    pub(super) concern: &'static str,
    /// The object.
    pub(super) object: Object,
}

/// The status that one of our objects would have.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Which object.
    pub key: Key,
    /// Its whole status.
    pub status: Value,
}

/// Plans everything until nothing changes any more.
///
/// # Errors
/// When it does not come to rest, or a controller reads what is not held here: both are our faults.
pub(super) fn play(manifests: Manifests, facts: &Facts) -> Result<Outcome, String> {
    let mut stage = Stage {
        kernel: standing::kernel(manifests, facts),
        ranks: HashMap::new(),
        objects: BTreeMap::new(),
        statuses: BTreeMap::new(),
    };
    for _ in 0..ROUNDS {
        if !stage.round()? {
            return Ok(stage.outcome());
        }
    }
    Err("the controllers do not come to rest on this input, which is a fault of Catalyst".into())
}

struct Stage {
    kernel: Kernel,
    /// What was ever planned, and the how-manieth it was.
    ranks: HashMap<Key, usize>,
    objects: BTreeMap<Key, Planned>,
    statuses: BTreeMap<Key, Value>,
}

type Verdicts = BTreeMap<Key, BTreeMap<&'static str, Verdict>>;

impl Stage {
    /// One turn of every controller for every object. Returns whether anything came out otherwise than before.
    fn round(&mut self) -> Result<bool, String> {
        let mut objects = BTreeMap::new();
        let mut verdicts = Verdicts::new();
        for planner in self.kernel.planners().to_vec() {
            for place in planner.primaries() {
                self.turn(planner.as_ref(), &place, &mut objects, &mut verdicts)?;
            }
        }
        let gone =
            self.objects.values().filter(|planned| !objects.contains_key(&planned.object.key));
        gone.for_each(|planned| standing::fall(&self.kernel, &planned.object));
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
        place: &Place,
        objects: &mut BTreeMap<Key, Planned>,
        verdicts: &mut Verdicts,
    ) -> Result<(), String> {
        let key = Key {
            resource: planner.kind(),
            namespace: place.namespace().map(Into::into),
            name: place.name.clone(),
        };
        let concern = planner.concern();
        // Everything is held here, so there is nothing to wait for.
        let Some(outcome) = planner.plan(place.clone()).now_or_never() else {
            return Err(format!(
                "the controller {concern} waits for a kind that is not held offline"
            ));
        };
        let Some(outcome) = outcome else { return Ok(()) };
        let condition = planner.condition();
        let mut speak =
            |key: Key, verdict| drop(verdicts.entry(key).or_default().insert(condition, verdict));
        let plan = match outcome.map_err(|error| format!("{concern} of {key}: {error}"))? {
            Ok(plan) => plan,
            Err(invalid) => {
                speak(key, Verdict { generation: 1, problem: Some(invalid), ..Verdict::default() });
                return Ok(());
            }
        };
        let Plan {
            objects: wanted, findings, problem, warnings, status, suspended, silent, ..
        } = plan;
        let mut taken = None;
        for object in wanted {
            if objects.contains_key(&object.key) {
                taken = taken.or_else(|| planner.taken(place, &object.key));
                continue;
            }
            standing::stand(&self.kernel, &object);
            let rank = self.ranks.len();
            self.ranks.entry(object.key.clone()).or_insert(rank);
            objects.insert(object.key.clone(), Planned { concern, object });
        }
        let problem = taken.or(problem);
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

    /// Gives every object of a kind the status that its verdicts come to.
    fn fold<K: Primary>(
        &mut self,
        verdicts: &Verdicts,
        statuses: &mut BTreeMap<Key, Value>,
    ) -> Result<(), String> {
        let resource = Resource::of::<K>();
        let store = self.kernel.cache::<K>().store().clone();
        let silent = BTreeMap::new();
        for (place, object) in store.all() {
            let key = Key {
                resource: resource.clone(),
                namespace: place.namespace().map(Into::into),
                name: place.name.clone(),
            };
            let mut whole =
                serde_json::to_value(object.as_ref()).map_err(|error| format!("{key}: {error}"))?;
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
                let object = serde_json::from_value(whole)
                    .map_err(|error| format!("the status of {key}: {error}"))?;
                store.put(&place, object);
            }
            statuses.insert(key, status);
        }
        Ok(())
    }

    fn outcome(self) -> Outcome {
        let Self { ranks, objects, statuses, .. } = self;
        let mut planned: Vec<Planned> = objects.into_values().collect();
        planned.sort_by_key(|planned| ranks.get(&planned.object.key).copied());
        let mut judged: Vec<Judged> =
            statuses.into_iter().map(|(key, status)| Judged { key, status }).collect();
        let rank =
            |judged: &Judged| KINDS.iter().position(|kind| judged.key.resource.kind == *kind);
        judged.sort_by_cached_key(rank);
        Outcome { planned, judged }
    }
}
