//! Puts caches, controllers and status writers together, and runs them as one.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use catalyst_plan::{Invalid, Live, Plan, Resource, names};
use kube::Client;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::watcher;
use tokio::task::JoinSet;

use super::apply::Children;
use super::cluster::{Cluster, ours};
use super::error::Error;
use super::queue::Queue;
use super::reconcile::{Primary, Reconcile, Worker};
use super::secrets::{self, Looked};
use super::status::{Hub, Statuses};
use super::store::{Child, Held, News, Place, State, Store};
use super::sweep::sweep;
use super::watch::{Pulse, follow, follow_children};

/// How many objects one controller works on at once.
const CONCURRENCY: usize = 16;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What all controllers of a process share.
#[derive(Default)]
pub(super) struct Shared {
    /// The cluster; `None` where plans are only shown.
    pub cluster: Option<Arc<Cluster>>,
    /// What is known of children.
    pub children: Children,
    /// Where Secrets were looked for.
    pub looked: Looked,
    /// Who folds verdicts.
    pub statuses: Statuses,
}

/// What is known of one kind, for controllers to read.
pub struct Cache<T>(Arc<Store<T>>);

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Held> Cache<T> {
    /// One object.
    pub async fn get(&self, namespace: Option<&str>, name: &str) -> Option<Arc<T>> {
        self.0.settled().await;
        self.0.get(&Place::new(namespace, name))
    }

    /// All objects in a namespace, in the order of names.
    pub async fn within(&self, namespace: &str) -> Vec<Arc<T>> {
        self.0.settled().await;
        self.0.within(namespace).into_iter().map(|(_, object)| object).collect()
    }

    /// All objects and their places, in the order of namespaces and names.
    pub async fn all(&self) -> Vec<Arc<T>> {
        self.0.settled().await;
        self.0.all().into_iter().map(|(_, object)| object).collect()
    }

    /// How many there are.
    pub async fn count(&self) -> usize {
        self.0.settled().await;
        self.0.len()
    }

    /// Whether the server does not know the kind.
    pub async fn is_missing(&self) -> bool {
        self.0.settled().await;
        self.0.state() == State::Missing
    }

    /// What is known now, without waiting: for triggers.
    pub fn store(&self) -> &Arc<Store<T>> {
        &self.0
    }
}

impl Cache<Child> {
    /// What is known of one child.
    pub async fn live(&self, namespace: Option<&str>, name: &str) -> Option<Live> {
        self.get(namespace, name).await.map(|child| child.0.clone())
    }

    /// What stands in a namespace, by name.
    pub async fn standing(&self, namespace: &str) -> Vec<(String, Live)> {
        self.0.settled().await;
        self.0
            .within(namespace)
            .into_iter()
            .map(|(place, child)| (place.name, child.0.clone()))
            .collect()
    }
}

/// The Secrets of ours, which are never watched: asked for when it matters.
#[derive(Clone)]
pub struct Secrets(Arc<Shared>);

impl Secrets {
    /// The names of those that stand in a namespace now, by a list.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn standing(&self, namespace: &str) -> Result<Vec<String>, Error> {
        if let Some(cluster) = &self.0.cluster {
            secrets::refresh(cluster, &self.0.children, namespace).await?;
        }
        let standing = self.0.children.store(&secrets::resource()).within(namespace);
        Ok(standing.into_iter().map(|(place, _)| place.name).collect())
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

    fn plan(&self, place: Place) -> Pin<Box<dyn Future<Output = Option<Planned>> + Send + '_>> {
        Box::pin(async move {
            let primary = self.primaries.get(&place)?;
            Some(self.reconcile.observe(&primary).await.map(|world| R::plan(&primary, &world)))
        })
    }
}

/// A process in the making: caches are filled and controllers run once [`Kernel::run`] is awaited.
pub struct Kernel {
    shared: Arc<Shared>,
    caches: HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>,
    watched: HashSet<Resource>,
    tasks: Vec<Task>,
    planners: Vec<Arc<dyn Planner>>,
    view: View,
}

/// What a process shows of itself while it runs. Cheap to copy.
#[derive(Clone, Default)]
pub struct View {
    watches: Arc<Mutex<Vec<Watched>>>,
    counts: Arc<Mutex<Vec<Count>>>,
}

struct Watched {
    kind: String,
    pulse: Pulse,
    state: Box<dyn Fn() -> State + Send + Sync>,
}

type Count = Box<dyn Fn(&super::metrics::Metrics) + Send + Sync>;

impl View {
    /// The kinds whose first list is not complete.
    pub fn waiting(&self) -> Vec<String> {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches
            .iter()
            .filter(|watch| (watch.state)() == State::Waiting)
            .map(|watch| watch.kind.clone())
            .collect()
    }

    /// Brings the figures up to date that are read, not counted.
    pub fn measure(&self, metrics: &super::metrics::Metrics) {
        for watch in self.watches.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            metrics.silent(&watch.kind, watch.pulse.silence());
        }
        for count in self.counts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            count(metrics);
        }
    }
}

impl Kernel {
    /// A kernel on a cluster; without one it can only plan.
    pub fn new(cluster: Option<Arc<Cluster>>) -> Self {
        Self {
            shared: Arc::new(Shared { cluster, ..Shared::default() }),
            caches: HashMap::new(),
            watched: HashSet::new(),
            tasks: Vec::new(),
            planners: Vec::new(),
            view: View::default(),
        }
    }

    /// What the process shows of itself.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// The cache of a typed kind; the first call begins its watch.
    pub fn cache<K: Primary>(&mut self) -> Cache<K> {
        self.typed(None, watcher::Config::default(), Api::all)
    }

    /// The cache of a typed kind in one namespace.
    pub fn cache_in<K>(&mut self, namespace: &str) -> Cache<K>
    where
        K: Primary + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        self.typed(Some(namespace), watcher::Config::default(), |client| {
            Api::namespaced(client, namespace)
        })
    }

    /// The cache of one object, for a kind of which we may see no more.
    pub fn cache_one<K>(&mut self, namespace: &str, name: &str) -> Cache<K>
    where
        K: Primary + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        self.typed(Some(namespace), only, |client| Api::namespaced(client, namespace))
    }

    fn typed<K: Primary>(
        &mut self,
        namespace: Option<&str>,
        config: watcher::Config,
        api: impl FnOnce(Client) -> Api<DeserializeGuard<K>>,
    ) -> Cache<K> {
        let id = (TypeId::of::<K>(), namespace.unwrap_or_default().to_string());
        if let Some(store) =
            self.caches.get(&id).and_then(|store| Arc::clone(store).downcast::<Store<K>>().ok())
        {
            return Cache(store);
        }
        let store = Arc::new(Store::<K>::default());
        self.caches.insert(id, Arc::clone(&store) as Arc<dyn Any + Send + Sync>);
        if let Some(cluster) = &self.shared.cluster {
            let pulse = self.watching(&K::kind(&()), &store);
            let (api, metrics) = (api(cluster.client()), cluster.metrics().clone());
            self.tasks.push(Box::pin(follow(api, config, Arc::clone(&store), pulse, metrics)));
        }
        Cache(store)
    }

    /// The cache of what Catalyst made of a kind; the first call begins its watch. Secrets are never watched.
    pub fn children<C: kube::Resource<DynamicType = ()>>(&mut self) -> Cache<Child> {
        self.untyped::<C>(true)
    }

    /// The Secrets that Catalyst made.
    pub fn secrets(&self) -> Secrets {
        Secrets(Arc::clone(&self.shared))
    }

    /// The cache of everything of a kind, of which only [`Live`] is kept.
    pub fn everything<C: kube::Resource<DynamicType = ()>>(&mut self) -> Cache<Child> {
        self.untyped::<C>(false)
    }

    fn untyped<C: kube::Resource<DynamicType = ()>>(&mut self, only_ours: bool) -> Cache<Child> {
        let resource = Resource::of::<C>();
        let store = self.shared.children.store(&resource);
        if resource == secrets::resource() {
            // Looked at, never watched: what is known is all there is to wait for.
            store.settle();
        } else if self.watched.insert(resource.clone())
            && let Some(cluster) = &self.shared.cluster
        {
            let config = watcher::Config {
                label_selector: only_ours.then(|| ours().label_selector).flatten(),
                ..Default::default()
            };
            let pulse = self.watching(&resource.kind, &store);
            self.tasks.push(Box::pin(follow_children(
                cluster.api(&resource, None),
                resource.kind.to_string(),
                config,
                Arc::clone(&store),
                pulse,
                cluster.metrics().clone(),
            )));
        }
        Cache(store)
    }

    fn watching<T: Held>(&self, kind: &str, store: &Arc<Store<T>>) -> Pulse {
        let pulse = Pulse::default();
        let state = Arc::clone(store);
        self.view.watches.lock().unwrap_or_else(PoisonError::into_inner).push(Watched {
            kind: kind.into(),
            pulse: pulse.clone(),
            state: Box::new(move || state.state()),
        });
        pulse
    }

    /// Folds the verdicts on a kind in this process and writes its status.
    pub fn folds<K: Primary>(&mut self) {
        let hub = Hub::new(self.cache::<K>().store());
        let kind = K::kind(&()).to_string();
        self.shared.statuses.add(&kind, Arc::clone(&hub) as Arc<dyn super::status::Listens>);
        let Some(cluster) = &self.shared.cluster else { return };
        let counted = Arc::clone(&hub);
        self.view.counts.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(
            move |metrics| {
                for (ready, count) in counted.count() {
                    metrics.counted(&kind, ready, count);
                }
            },
        ));
        let reporter = Reporter { controller: names::CATALYST.into(), instance: None };
        let recorder = Recorder::new(cluster.client(), reporter);
        self.tasks.push(Box::pin(hub.run(Arc::clone(cluster), recorder)));
    }

    /// Sees to it that a Secret with one random value under `key` stands, made once and never changed.
    pub fn draw_once(&mut self, namespace: &str, name: &str, concern: &'static str) {
        if let Some(cluster) = &self.shared.cluster {
            self.tasks.push(Box::pin(secrets::draw_once(
                Arc::clone(cluster),
                namespace.into(),
                name.into(),
                concern,
            )));
        }
    }

    /// Begins to wire a controller.
    pub fn controller<R: Reconcile>(&mut self, reconcile: R) -> Wiring<'_, R> {
        let primaries = Arc::clone(self.cache::<R::Kind>().store());
        let queue = Arc::new(Queue::default());
        let failures = Arc::<Mutex<HashMap<String, u32>>>::default();
        let (all, line, cleared) =
            (Arc::clone(&primaries), Arc::clone(&queue), Arc::clone(&failures));
        primaries.listen(move |news| match news {
            News::Changed(change) => {
                if let (Some(old), None) = (change.old, change.new) {
                    cleared
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(Held::uid(&**old));
                }
                line.add(change.place.clone());
            }
            News::Listed => {
                cleared.lock().unwrap_or_else(PoisonError::into_inner).clear();
                all.all().into_iter().for_each(|(place, _)| line.add(place));
            }
        });
        Wiring {
            kernel: self,
            reconcile,
            primaries,
            queue,
            failures,
            owned: Vec::new(),
            phantom: PhantomData,
        }
    }

    /// The controllers, as `render` sees them.
    pub fn planners(&self) -> &[Arc<dyn Planner>] {
        &self.planners
    }

    /// What is known of children, for `render` to fill.
    pub fn child_store(&self, resource: &Resource) -> Arc<Store<Child>> {
        self.shared.children.store(resource)
    }

    /// Runs everything; returns only if a part of it ends, which none should.
    pub async fn run(self) {
        let mut tasks = JoinSet::new();
        for task in self.tasks {
            tasks.spawn(task);
        }
        tasks.spawn(sweep(Arc::clone(&self.shared)));
        if let Some(Err(error)) = tasks.join_next().await {
            tracing::error!(error = %error, "a part of the agent ended");
        }
    }
}

/// A controller being wired: what wakes it, and what it owns.
pub struct Wiring<'k, R: Reconcile> {
    kernel: &'k mut Kernel,
    reconcile: R,
    primaries: Arc<Store<R::Kind>>,
    queue: Arc<Queue>,
    failures: Arc<Mutex<HashMap<String, u32>>>,
    owned: Vec<Resource>,
    phantom: PhantomData<R>,
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
    pub fn owns<C: kube::Resource<DynamicType = ()>>(mut self) -> Self {
        self.kernel.children::<C>();
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
        store.listen(move |news| match news {
            News::Changed(change) => {
                for object in [change.old, change.new].into_iter().flatten() {
                    for place in map(change.place, object, &primaries) {
                        queue.add(place);
                    }
                }
            }
            News::Listed => primaries.all().into_iter().for_each(|(place, _)| queue.add(place)),
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

async fn work<R: Reconcile>(worker: Arc<Worker<R>>, queue: Arc<Queue>, cluster: Arc<Cluster>) {
    worker.primaries.settled().await;
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
