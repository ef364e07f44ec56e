//! A controller being wired, then at work: what wakes it, what it owns, how many turns at once.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use catalyst_plan::{Invalid, Key, Live, Plan, Resource, names};
use tokio::task::JoinSet;

use super::cache::Cache;
use super::cluster::Cluster;
use super::error::Error;
use super::kernel::Kernel;
use super::primary::Primary;
use super::queue::Queue;
use super::reconcile::{Reconcile, Worker};
use super::store::{Change, Child, Held, News, Place, Store};

/// How many objects one controller works on at once.
const CONCURRENCY: usize = 16;

/// A controller being wired: what wakes it, and what it owns.
pub struct Wiring<'k, R: Reconcile> {
    pub(super) kernel: &'k mut Kernel,
    pub(super) reconcile: R,
    pub(super) primaries: Arc<Store<R::Kind>>,
    pub(super) queue: Arc<Queue>,
    pub(super) failures: Arc<Mutex<HashMap<String, u32>>>,
    pub(super) owned: Vec<Resource>,
}

impl<R: Reconcile> Wiring<'_, R> {
    /// Wakes up for the primaries that `map` names when an object of another kind changes.
    #[must_use]
    pub fn on<K: Primary>(
        self,
        map: impl Fn(&K, &Store<R::Kind>) -> Vec<Place> + Send + Sync + 'static,
    ) -> Self {
        let store = Arc::clone(self.kernel.cache::<K>().store());
        self.listen(&store, move |_, object, primaries| map(object, primaries));
        self
    }

    /// As [`Wiring::on`], but a change of status alone wakes nobody: for those who do not read it.
    #[must_use]
    pub fn on_spec<K: Primary>(
        self,
        map: impl Fn(&K, &Store<R::Kind>) -> Vec<Place> + Send + Sync + 'static,
    ) -> Self {
        let store = Arc::clone(self.kernel.cache::<K>().store());
        let (primaries, queue) = (Arc::clone(&self.primaries), Arc::clone(&self.queue));
        store.listen(move |news| {
            if !is_status_alone(news) {
                wake(news, &primaries, &queue, |_, object| map(object, &primaries));
            }
        });
        self
    }

    /// As [`Wiring::on`], but only where one field of the other object changed.
    #[must_use]
    pub fn on_field<K: Primary, F: PartialEq>(
        self,
        field: impl Fn(&K) -> F + Send + Sync + 'static,
        map: impl Fn(&K, &Store<R::Kind>) -> Vec<Place> + Send + Sync + 'static,
    ) -> Self {
        let store = Arc::clone(self.kernel.cache::<K>().store());
        let (primaries, queue) = (Arc::clone(&self.primaries), Arc::clone(&self.queue));
        store.listen(move |news| {
            let same = matches!(news, News::Changed(Change { old: Some(old), new: Some(new), .. })
                if field(old) == field(new));
            if !same {
                wake(news, &primaries, &queue, |_, object| map(object, &primaries));
            }
        });
        self
    }

    /// As [`Wiring::on`], for a cache that does not hold all of its kind.
    #[must_use]
    pub fn on_cached<K: Primary>(
        self,
        cache: &Cache<K>,
        map: impl Fn(&K, &Store<R::Kind>) -> Vec<Place> + Send + Sync + 'static,
    ) -> Self {
        self.listen(cache.store(), move |_, object, primaries| map(object, primaries));
        self
    }

    /// As [`Wiring::on`], for a kind of which only [`Live`] is kept.
    #[must_use]
    pub fn on_child<C>(
        self,
        map: impl Fn(&Place, &Live, &Store<R::Kind>) -> Vec<Place> + Send + Sync + 'static,
    ) -> Self
    where
        C: kube::Resource<DynamicType = ()>,
    {
        let store = self.kernel.child_store(&Resource::of::<C>());
        self.listen(&store, move |place, child: &Child, primaries| map(place, &child.0, primaries));
        self
    }

    /// Owns a kind: wakes up when a child changes, finds its primary by UID, and prunes.
    #[must_use]
    pub fn owns<C: kube::Resource<DynamicType = ()>>(self) -> Self {
        self.kernel.children::<C>();
        self.owned_by_now::<C>()
    }

    /// As [`Wiring::owns`], for a kind that is made in one namespace only.
    #[must_use]
    pub fn owns_in<C: kube::Resource<DynamicType = ()>>(self, namespace: &str) -> Self {
        self.kernel.children_in::<C>(namespace);
        self.owned_by_now::<C>()
    }

    fn owned_by_now<C: kube::Resource<DynamicType = ()>>(mut self) -> Self {
        self.owned.push(Resource::of::<C>());
        self.on_child::<C>(|_, live, primaries| {
            let owners = live
                .owners
                .iter()
                .map(|owner| owner.uid.as_str())
                .chain(live.label(names::OWNER_UID));
            owners.filter_map(|uid| primaries.find(uid)).collect()
        })
    }

    fn listen<T: Held>(
        &self,
        store: &Arc<Store<T>>,
        map: impl Fn(&Place, &T, &Store<R::Kind>) -> Vec<Place> + Send + Sync + 'static,
    ) {
        let (primaries, queue) = (Arc::clone(&self.primaries), Arc::clone(&self.queue));
        store.listen(move |news| {
            wake(news, &primaries, &queue, |place, object| map(place, object, &primaries));
        });
    }

    /// Ends the wiring: the controller runs when the kernel does.
    pub fn start(self) {
        let worker = Arc::new(Worker {
            reconcile: self.reconcile,
            primaries: self.primaries,
            owned: self.owned,
            shared: Arc::clone(&self.kernel.shared),
            failures: self.failures,
        });
        self.kernel.planners.push(Arc::clone(&worker) as Arc<dyn Planner>);
        if let Some(cluster) = &self.kernel.shared.cluster {
            self.kernel.tasks.push(Box::pin(work(worker, self.queue, Arc::clone(cluster))));
        }
    }
}

/// Puts in line what `map` names for an object as it was and as it is; after a list, every primary.
fn wake<T, K: Primary>(
    news: &News<'_, T>,
    primaries: &Store<K>,
    queue: &Queue,
    map: impl Fn(&Place, &T) -> Vec<Place>,
) {
    let places: Vec<Place> = match news {
        News::Changed(change) => {
            let both = [change.old, change.new].into_iter().flatten();
            both.flat_map(|object| map(change.place, object)).collect()
        }
        News::Listed => primaries.all().into_iter().map(|(place, _)| place).collect(),
    };
    for place in places {
        queue.add(place);
    }
}

/// Whether an object is the same in all but its status. The generation counts changes of the spec.
fn is_status_alone<K: Primary>(news: &News<'_, K>) -> bool {
    let News::Changed(change) = news else { return false };
    let (Some(old), Some(new)) = (change.old, change.new) else { return false };
    let (old, new) = (old.meta(), new.meta());
    old.uid == new.uid
        && old.generation == new.generation
        && old.deletion_timestamp == new.deletion_timestamp
        && old.labels == new.labels
}

async fn work<R: Reconcile>(worker: Arc<Worker<R>>, queue: Arc<Queue>, cluster: Arc<Cluster>) {
    worker.primaries.settled().await;
    // A child that is not known yet looks like one that is not there.
    for resource in &worker.owned {
        worker.shared.children.store(resource).settled().await;
    }
    let mut turns = JoinSet::new();
    loop {
        cluster.gate().opened().await;
        tokio::select! {
            place = queue.next(), if turns.len() < CONCURRENCY => {
                let (worker, queue) = (Arc::clone(&worker), Arc::clone(&queue));
                turns.spawn(async move {
                    if let Some(wait) = worker.turn(&place).await {
                        queue.add_after(place.clone(), wait);
                    }
                    queue.done(&place);
                });
            }
            Some(ended) = turns.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(controller = R::CONCERN, error = %error, "a turn ended by panic");
                    return;
                }
            }
        }
    }
}

/// Plans without a cluster: what `render` asks of a controller.
pub trait Planner: Send + Sync {
    /// The concern.
    fn concern(&self) -> &'static str;
    /// The kind that it is for.
    fn kind(&self) -> Resource;
    /// The condition that it speaks for.
    fn condition(&self) -> &'static str;
    /// Where its primaries lie.
    fn primaries(&self) -> Vec<Place>;
    /// What a primary hears where something else has the name of one of its children.
    fn taken(&self, place: &Place, child: &Key) -> Option<Invalid>;
    /// Observes and plans; `None` if there is no such primary.
    fn plan(&self, place: Place) -> Pin<Box<dyn Future<Output = Option<Planned>> + Send + '_>>;
}

/// What came of observe and plan.
pub(super) type Planned = Result<Result<Plan, Invalid>, Error>;

impl<R: Reconcile> Planner for Worker<R> {
    fn concern(&self) -> &'static str {
        R::CONCERN
    }

    fn kind(&self) -> Resource {
        Resource::of::<R::Kind>()
    }

    fn condition(&self) -> &'static str {
        R::CONDITION
    }

    fn primaries(&self) -> Vec<Place> {
        self.primaries.all().into_iter().map(|(place, _)| place).collect()
    }

    fn taken(&self, place: &Place, child: &Key) -> Option<Invalid> {
        self.primaries.get(place).map(|primary| R::taken(&primary, child))
    }

    fn plan(&self, place: Place) -> Pin<Box<dyn Future<Output = Option<Planned>> + Send + '_>> {
        Box::pin(async move {
            let primary = self.primaries.get(&place)?;
            Some(self.reconcile.observe(&primary).await.map(|world| R::plan(&primary, &world)))
        })
    }
}
