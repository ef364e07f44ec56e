//! Turns the agent's own controllers without a cluster: every plan counts as done, until nothing changes any more.

use std::collections::{BTreeMap, HashMap};

use catalyst_crds::{AppIdentity, EgressPolicy, Project, Region, SecretRef};
use catalyst_plan::readiness::{Spoken, Verdict, fold};
use catalyst_plan::{Key, Object, Plan, Resource, Tenure};
use futures::FutureExt;
use jiff::Timestamp;
use serde_json::Value;

use super::facts::Facts;
use super::manifests::Manifests;
use super::standing;
use crate::cli::show;
use crate::kernel::{Kernel, Place, Planner, Primary};

/// After how many rounds something is wrong with us: each makes at least one object ready that others wait for.
const ROUNDS: usize = 16;

/// In which order objects are spoken of.
const KINDS: [&str; 5] = ["Region", "Project", "AppIdentity", "EgressPolicy", "SecretRef"];

/// How many bytes everything that is planned may take, as [`Budget`] counts them: some 500 projects with 3,000 apps, each
/// with a policy and a secret. What `render` takes in all is bounded by this and by what it reads.
const MOST: usize = 96 * 1024 * 1024;

/// What an object takes beside the text of its manifest: its key, its labels, and that it stands.
const BESIDE: usize = 3 * 1024;

/// How often a message is held: by a verdict, its condition and those that repeat it, in the status and the object.
const TOLD: usize = 6;

/// What the controllers would do.
pub(super) struct Outcome {
    /// What they would apply, in the order in which they would on a cluster that has nothing yet.
    pub(super) planned: Vec<Planned>,
    statuses: Vec<(Key, String)>,
}

impl Outcome {
    /// What they would say of each of our objects.
    pub(super) fn judged(&self) -> impl Iterator<Item = Judged> {
        self.statuses.iter().map(|(key, status)| Judged { key: key.clone(), status: value(status) })
    }
}

/// One object that would be applied. As text it takes a tenth of what it takes as a tree.
#[derive(PartialEq)]
pub(super) struct Planned {
    /// The concern that plans it.
    pub(super) concern: &'static str,
    /// Which object.
    pub(super) key: Key,
    tenure: Tenure,
    manifest: String,
}

impl Planned {
    fn new(concern: &'static str, object: &Object) -> Self {
        let manifest = show::manifest(object).to_string();
        Self { concern, key: object.key.clone(), tenure: object.tenure, manifest }
    }

    /// The manifest as it is shown.
    pub(super) fn manifest(&self) -> Value {
        value(&self.manifest)
    }

    /// The object, with its manifest as it is shown.
    pub(super) fn object(&self) -> Object {
        Object {
            key: self.key.clone(),
            manifest: self.manifest(),
            tenure: self.tenure,
            data: BTreeMap::new(),
        }
    }
}

/// What was written by [`Value::to_string`].
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// What is left of [`MOST`].
struct Budget(usize);

impl Budget {
    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.0.checked_sub(bytes);
        self.0 = left.ok_or("these files come to more than is planned at once, about 25000 objects: render fewer of them")?;
        Ok(())
    }
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
/// When it comes to more than [`MOST`]. When it does not come to rest, or a controller reads what is not held here: both
/// are our faults.
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
    /// As text.
    statuses: BTreeMap<Key, String>,
}

type Verdicts = BTreeMap<Key, BTreeMap<&'static str, Verdict>>;

/// What came of one round so far.
struct Round {
    /// What the round before planned and this one did not yet.
    before: BTreeMap<Key, Planned>,
    objects: BTreeMap<Key, Planned>,
    verdicts: Verdicts,
    budget: Budget,
    /// Whether an object came out otherwise than before.
    changed: bool,
}

impl Round {
    fn plan(&mut self, planned: Planned) -> Result<(), String> {
        self.budget.spend(planned.manifest.len() + BESIDE)?;
        self.changed |= self.before.remove(&planned.key).as_ref() != Some(&planned);
        self.objects.insert(planned.key.clone(), planned);
        Ok(())
    }

    fn speak(&mut self, of: Key, condition: &'static str, verdict: Verdict) -> Result<(), String> {
        let problem = verdict.problem.as_ref().map_or(0, |problem| problem.message.len());
        let warnings: usize = verdict.warnings.iter().map(String::len).sum();
        self.budget.spend(TOLD * (problem + warnings))?;
        self.verdicts.entry(of).or_default().insert(condition, verdict);
        Ok(())
    }
}

impl Stage {
    /// One turn of every controller for every object. Returns whether anything came out otherwise than before.
    fn round(&mut self) -> Result<bool, String> {
        let mut round = Round {
            before: std::mem::take(&mut self.objects),
            objects: BTreeMap::new(),
            verdicts: Verdicts::new(),
            budget: Budget(MOST),
            changed: false,
        };
        for planner in self.kernel.planners().to_vec() {
            for place in planner.primaries() {
                self.turn(planner.as_ref(), &place, &mut round)?;
            }
        }
        let Round { before: gone, objects, verdicts, changed, .. } = round;
        for (key, planned) in &gone {
            standing::fall(&self.kernel, key, planned.tenure);
        }
        let mut statuses = BTreeMap::new();
        self.fold::<Region>(&verdicts, &mut statuses)?;
        self.fold::<Project>(&verdicts, &mut statuses)?;
        self.fold::<AppIdentity>(&verdicts, &mut statuses)?;
        self.fold::<EgressPolicy>(&verdicts, &mut statuses)?;
        self.fold::<SecretRef>(&verdicts, &mut statuses)?;
        let changed = changed || !gone.is_empty() || statuses != self.statuses;
        (self.objects, self.statuses) = (objects, statuses);
        Ok(changed)
    }

    fn turn(
        &mut self,
        planner: &dyn Planner,
        place: &Place,
        round: &mut Round,
    ) -> Result<(), String> {
        let key = Key {
            resource: planner.kind(),
            namespace: place.namespace().map(Into::into),
            name: place.name.to_string(),
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
        let plan = match outcome.map_err(|error| format!("{concern} of {key}: {error}"))? {
            Ok(plan) => plan,
            Err(invalid) => {
                let problem = Some(invalid);
                let verdict = Verdict { generation: 1, problem, ..Verdict::default() };
                return round.speak(key, condition, verdict);
            }
        };
        let Plan {
            objects: wanted,
            findings,
            problem,
            warnings,
            status,
            suspended,
            silent,
            unasked,
            ..
        } = plan;
        let mut taken = None;
        for object in wanted {
            if round.objects.contains_key(&object.key) {
                taken = taken.or_else(|| planner.taken(place, &object.key));
                continue;
            }
            standing::stand(&self.kernel, &object);
            let rank = self.ranks.len();
            self.ranks.entry(object.key.clone()).or_insert(rank);
            round.plan(Planned::new(concern, &object))?;
        }
        let problem = taken.or(problem);
        for finding in findings {
            let verdict = Verdict {
                generation: finding.generation,
                problem: finding.problem,
                warnings: finding.warnings,
                suspended: false,
                unasked: false,
                status: finding.status,
            };
            round.speak(finding.object, condition, verdict)?;
        }
        if !silent {
            let verdict = Verdict { generation: 1, problem, warnings, suspended, unasked, status };
            round.speak(key, condition, verdict)?;
        }
        Ok(())
    }

    /// Gives every object of a kind the status that its verdicts come to.
    fn fold<K: Primary>(
        &mut self,
        verdicts: &Verdicts,
        statuses: &mut BTreeMap<Key, String>,
    ) -> Result<(), String> {
        let resource = Resource::of::<K>();
        let store = self.kernel.cache::<K>().store().clone();
        let silent = BTreeMap::new();
        for (place, object) in store.all() {
            let key = Key {
                resource: resource.clone(),
                namespace: place.namespace().map(Into::into),
                name: place.name.to_string(),
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
            statuses.insert(key.clone(), status.to_string());
            if status != standing {
                whole["status"] = status;
                let object = serde_json::from_value(whole)
                    .map_err(|error| format!("the status of {key}: {error}"))?;
                store.put(&place, object);
            }
        }
        Ok(())
    }

    fn outcome(self) -> Outcome {
        let Self { ranks, objects, statuses, .. } = self;
        let mut planned: Vec<Planned> = objects.into_values().collect();
        planned.sort_by_key(|planned| ranks.get(&planned.key).copied());
        let mut statuses: Vec<_> = statuses.into_iter().collect();
        statuses.sort_by_key(|(key, _)| KINDS.iter().position(|kind| key.resource.kind == *kind));
        Outcome { planned, statuses }
    }
}
