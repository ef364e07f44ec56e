//! One turn of a controller: observe, plan, apply in order, prune, say what came of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catalyst_plan::readiness::Verdict;
use catalyst_plan::{Invalid, Keep, Key, Plan, Resource, Tenure, mutant, names};
use kube::Resource as _;
use serde_json::json;
use tokio::time::Instant;

use super::apply::{self, Applicant, Applied};
use super::cluster::Mode;
use super::error::Error;
use super::primary::Primary;
use super::secrets;
use super::shared::Shared;
use super::store::{Place, Store};

/// How long one turn may take.
const TURN: Duration = Duration::from_mins(1);

/// The wait after a first failure; it doubles with each one more of the same object, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

/// How soon an object that is well is looked at again, without a call if nothing changed; up to a fifth later.
const NEXT: Duration = Duration::from_mins(10);

/// How soon a primary that waits for its children to go is looked at again.
const LEAVING: Duration = Duration::from_secs(1);

/// What a controller brings: how to gather its world, and what follows from it.
pub trait Reconcile: Send + Sync + 'static {
    /// The kind that it is for.
    type Kind: Primary;
    /// What its plan reads beside the primary.
    type World: Send + Sync;
    /// Its name: field manager, metric label and the label on what it makes.
    const CONCERN: &'static str;
    /// The condition that it speaks for on its primary.
    const CONDITION: &'static str;
    /// Whether its plans say if the primary must carry the finalizer.
    const FENCES: bool = false;

    /// Gathers the world, from caches.
    fn observe(
        &self,
        primary: &Self::Kind,
    ) -> impl Future<Output = Result<Self::World, Error>> + Send;

    /// What to say where something that is not this primary's has the name of one of its children.
    fn taken(_: &Self::Kind, child: &Key) -> Invalid {
        Error::NameTaken(child.clone()).verdict()
    }

    /// What should exist. Pure.
    ///
    /// # Errors
    /// When the primary can't be planned: then nothing is applied and nothing pruned.
    fn plan(primary: &Self::Kind, world: &Self::World) -> Result<Plan, Invalid>;
}

/// A controller at work.
pub(super) struct Worker<R: Reconcile> {
    pub(super) reconcile: R,
    pub(super) primaries: Arc<Store<R::Kind>>,
    /// The kinds of its children.
    pub(super) owned: Vec<Resource>,
    pub(super) shared: Arc<Shared>,
    pub(super) failures: Arc<Mutex<HashMap<String, u32>>>,
}

impl<R: Reconcile> Worker<R> {
    /// One turn; returns when the next one is due, if so.
    pub(super) async fn turn(&self, place: &Place) -> Option<Duration> {
        let began = Instant::now();
        let primary = self.primaries.get(place)?;
        let uid = primary.meta().uid.clone().unwrap_or_default();
        let (outcome, wait) =
            match tokio::time::timeout(TURN, self.reconcile(place, &primary, &uid)).await {
                Ok(Ok(outcome)) => {
                    self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
                    let leaving = primary.meta().deletion_timestamp.is_some();
                    (outcome, if leaving { LEAVING } else { NEXT + spread(&uid) })
                }
                Ok(Err(error)) => (error.reason(), self.failed(place, &primary, &uid, &error)),
                Err(_) => {
                    let error = Error::Timeout(TURN.as_secs());
                    (error.reason(), self.failed(place, &primary, &uid, &error))
                }
            };
        if let Some(cluster) = &self.shared.cluster {
            cluster.metrics().turned(R::CONCERN, outcome, began.elapsed());
        }
        Some(wait)
    }

    async fn reconcile(
        &self,
        place: &Place,
        primary: &R::Kind,
        uid: &str,
    ) -> Result<&'static str, Error> {
        let meta = primary.meta();
        let deleting = meta.deletion_timestamp.is_some();
        let fenced = meta.finalizers.iter().flatten().any(|finalizer| finalizer == names::FENCE);
        if deleting && !fenced {
            // Garbage collection takes what is ours, unless something else keeps the primary: what its plan says has
            // to go then goes all the same. Nothing is made again.
            if meta.namespace.is_some()
                && let Ok(plan) = R::plan(primary, &self.reconcile.observe(primary).await?)
                && plan.objects.is_empty()
            {
                self.prune(uid, &plan).await?;
            }
            return Ok("deleting");
        }
        let generation = meta.generation.unwrap_or_default();
        if let Some(status) = self.status(&<R::Kind as kube::Resource>::kind(&())) {
            status.turn(place, uid, generation);
        }
        let world = self.reconcile.observe(primary).await?;
        let plan = match R::plan(primary, &world) {
            Ok(plan) => plan,
            Err(invalid) => {
                let outcome = if invalid.waits { "waiting" } else { "invalid" };
                self.speak(
                    place,
                    uid,
                    Verdict { generation, problem: Some(invalid), ..Verdict::default() },
                );
                return Ok(outcome);
            }
        };
        let done = self.execute(place, primary, uid, &plan, (deleting, fenced)).await;
        for finding in &plan.findings {
            if let Some(status) = self.status(&finding.object.resource.kind) {
                let failure = match &done {
                    Err(error) => Some(error),
                    Ok(done) => done.refused_of(&finding.objects),
                };
                let failure = failure.map(|error| Self::verdict(primary, error));
                let verdict = Verdict {
                    generation: finding.generation,
                    problem: finding.problem.clone().or(failure),
                    warnings: finding.warnings.clone(),
                    suspended: false,
                    unasked: false,
                    status: finding.status.clone(),
                };
                status.speak(&apply::place(&finding.object), None, R::CONDITION, verdict);
            }
        }
        let done = done?;
        if let Some((_, error)) = done.refused.into_iter().next()
            && !mutant("ready-though-refused")
        {
            return Err(error);
        }
        let outcome = if done.came == Applied::Written { "ok" } else { "unchanged" };
        if !plan.silent {
            let verdict = Verdict {
                generation,
                problem: plan.problem,
                warnings: plan.warnings,
                suspended: plan.suspended,
                unasked: plan.unasked,
                status: plan.status,
            };
            self.speak(place, uid, verdict);
        }
        Ok(outcome)
    }

    /// Applies all it can, so that one refused object leaves no hole where another one would have closed it.
    async fn execute(
        &self,
        place: &Place,
        primary: &R::Kind,
        uid: &str,
        plan: &Plan,
        (deleting, fenced): (bool, bool),
    ) -> Result<Done, Error> {
        let mut done = Done { came: Applied::Unchanged, refused: Vec::new() };
        let Some(cluster) = &self.shared.cluster else { return Ok(done) };
        if R::FENCES && plan.fence && !fenced && !deleting {
            self.set_finalizer(place, uid, true).await?;
        }
        let kind = <R::Kind as kube::Resource>::kind(&());
        let gone = |uid: &str| self.primaries.find(uid).is_none();
        let by = Applicant { concern: R::CONCERN, uid, kind: &kind, is_gone: &gone };
        let secrets = secrets::resource();
        let mut fetched = secrets::Fetched::default();
        if self.owned.contains(&secrets) {
            let (children, looked) = (&self.shared.children, &self.shared.looked);
            let planned = plan.objects.iter().filter(|object| object.key.resource == secrets);
            let namespaces = planned.filter_map(|object| object.key.namespace.as_deref());
            let namespaces = namespaces.chain(primary.meta().namespace.as_deref());
            for namespace in namespaces.collect::<HashSet<_>>() {
                secrets::look(cluster, children, looked, primary.meta(), namespace).await?;
            }
        }
        // Once the primary is being deleted nothing is made again; what is not ours may still get our labels off.
        for object in
            plan.objects.iter().filter(|object| !deleting || object.tenure == Tenure::Shared)
        {
            let applied = if object.key.resource == secrets {
                secrets::apply(cluster, &self.shared.children, object, &by, &mut fetched).await
            } else {
                apply::apply(cluster, &self.shared.children, object, &by).await
            };
            match applied {
                Ok(Applied::Written) => done.came = Applied::Written,
                Ok(Applied::Unchanged) => {}
                Err(error) if error.is_fatal_to_plan() => {
                    // What is not found may be what was refused just before.
                    let refused = done.refused.into_iter().next().filter(|_| error.code() == 404);
                    return Err(refused.map_or(error, |(_, refused)| refused));
                }
                Err(error) => done.refused.push((object.key.clone(), error)),
            }
        }
        // Also where something was refused: who can have one object refused must not keep another one standing.
        if self.prune(uid, plan).await? {
            done.came = Applied::Written;
        }
        if R::FENCES && !plan.fence && fenced && done.refused.is_empty() {
            self.set_finalizer(place, uid, false).await?;
        }
        Ok(done)
    }

    /// Deletes what is ours and neither planned nor kept. Returns whether there was any.
    async fn prune(&self, uid: &str, plan: &Plan) -> Result<bool, Error> {
        let (Some(cluster), Keep::These(kept)) = (&self.shared.cluster, &plan.keep) else {
            return Ok(false);
        };
        let stays: HashSet<&Key> =
            plan.objects.iter().map(|object| &object.key).chain(kept).collect();
        let namespaces: HashSet<&str> =
            plan.objects.iter().filter_map(|object| object.key.namespace.as_deref()).collect();
        let mut pruned = false;
        for resource in &self.owned {
            let store = self.shared.children.store(resource);
            // What a predecessor of this name left behind is found by its place, since its owner is gone.
            let left = namespaces.iter().flat_map(|namespace| store.within(namespace)).filter(
                |(_, child)| {
                    let owner = child.0.label(names::OWNER_UID);
                    child.0.owners.is_empty()
                        && owner.is_some_and(|owner| self.primaries.find(owner).is_none())
                },
            );
            let ours = store.owned_by(uid).into_iter().chain(left);
            for (place, child) in
                ours.filter(|(_, child)| child.0.label(names::CONTROLLER) == Some(R::CONCERN))
            {
                let key = place.key(resource);
                if stays.contains(&key) || child.0.deleting || mutant("never-prune") {
                    continue;
                }
                cluster.delete(&key, &child.0.uid).await?;
                tracing::info!(controller = R::CONCERN, object = %key, "removed");
                store.forget(&place, &child.0.uid);
                pruned = true;
            }
        }
        Ok(pruned)
    }

    async fn set_finalizer(&self, place: &Place, uid: &str, on: bool) -> Result<(), Error> {
        let Some(cluster) = &self.shared.cluster else { return Ok(()) };
        let resource = Resource::of::<R::Kind>();
        let key = place.key(&resource);
        // The UID keeps this from making an object that was deleted meanwhile.
        let mut manifest = json!({
            "apiVersion": resource.api_version(),
            "kind": resource.kind,
            "metadata": {"name": &*place.name, "uid": uid},
        });
        if let Some(namespace) = place.namespace() {
            manifest["metadata"]["namespace"] = json!(namespace);
        }
        if on {
            manifest["metadata"]["finalizers"] = json!([names::FENCE]);
        }
        cluster
            .apply(&key, &names::field_manager(R::CONCERN), &manifest, Mode::Force)
            .await
            .map(drop)
    }

    fn failed(&self, place: &Place, primary: &R::Kind, uid: &str, error: &Error) -> Duration {
        if matches!(error, Error::NotHolder) {
            return Duration::ZERO;
        }
        let attempts = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let attempts = failures.entry(uid.into()).or_default();
            *attempts = attempts.saturating_add(1);
            *attempts
        };
        tracing::warn!(controller = R::CONCERN, object = %place, attempts, error = %error, "reconcile failed");
        let generation = primary.meta().generation.unwrap_or_default();
        self.speak(
            place,
            uid,
            Verdict {
                generation,
                problem: Some(Self::verdict(primary, error)),
                ..Verdict::default()
            },
        );
        if mutant("never-tire") {
            return FIRST;
        }
        FIRST.saturating_mul(2_u32.saturating_pow(attempts - 1)).min(LONGEST)
    }

    fn verdict(primary: &R::Kind, error: &Error) -> Invalid {
        match error {
            Error::NameTaken(child) => R::taken(primary, child),
            other => other.verdict(),
        }
    }

    fn speak(&self, place: &Place, uid: &str, verdict: Verdict) {
        if let Some(status) = self.status(&<R::Kind as kube::Resource>::kind(&())) {
            status.speak(place, Some(uid), R::CONDITION, verdict);
        }
    }

    fn status(&self, kind: &str) -> Option<Arc<dyn super::status::Listens>> {
        self.shared.statuses.of(kind)
    }
}

/// What came of a plan that could be tried whole.
struct Done {
    came: Applied,
    /// What was refused, and with which words.
    refused: Vec<(Key, Error)>,
}

impl Done {
    /// The first refusal of one of these.
    fn refused_of(&self, keys: &[Key]) -> Option<&Error> {
        self.refused.iter().find(|(key, _)| keys.contains(key)).map(|(_, error)| error)
    }
}

/// Spreads the next looks, the same for one UID each time.
fn spread(uid: &str) -> Duration {
    Duration::from_secs(super::watch::hash(&json!(uid)) % (NEXT.as_secs() / 5))
}
