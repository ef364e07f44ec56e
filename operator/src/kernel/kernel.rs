//! A process in the making: which caches it fills, which controllers it runs, whose status it writes.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use catalyst_plan::{Resource, names, readiness};
use kube::Client;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::watcher;
use tokio::task::JoinSet;

use super::cache::{Cache, Secrets};
use super::cluster::{Cluster, ours};
use super::controller::{Planner, Wiring};
use super::primary::Primary;
use super::queue::Queue;
use super::reconcile::Reconcile;
use super::secrets;
use super::shared::Shared;
use super::status::{Hub, Listens};
use super::store::{Child, Held, News, Store};
use super::sweep::sweep;
use super::view::View;
use super::watch::{follow, follow_children};

pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A process in the making: caches are filled and controllers run once [`Kernel::run`] is awaited.
pub struct Kernel {
    pub(super) shared: Arc<Shared>,
    caches: HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>,
    watched: HashSet<Resource>,
    pub(super) tasks: Vec<Task>,
    pub(super) planners: Vec<Arc<dyn Planner>>,
    view: View,
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

    /// The cache of what carries a label in one namespace.
    pub fn cache_labelled<K>(&mut self, namespace: &str, label: &str) -> Cache<K>
    where
        K: Primary + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let only = watcher::Config::default().labels(label);
        self.typed(Some(namespace), only, |client| Api::namespaced(client, namespace))
    }

    /// The cache of what is not Catalyst's of a typed kind.
    pub fn cache_of_others<K: Primary>(&mut self) -> Cache<K> {
        self.cache_everywhere(&format!("!{}", names::OWNER_UID))
    }

    /// The cache of what these labels select of a typed kind, in every namespace. A kind has one such cache.
    pub fn cache_everywhere<K: Primary>(&mut self, labels: &str) -> Cache<K> {
        self.typed(None, watcher::Config::default().labels(labels), Api::all)
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
            let pulse = self.view.watching(&K::kind(&()), &store);
            let (api, metrics) = (api(cluster.client()), cluster.metrics().clone());
            self.tasks.push(Box::pin(follow(api, config, Arc::clone(&store), pulse, metrics)));
        }
        Cache(store)
    }

    /// The cache of what Catalyst made of a kind; the first call begins its watch. Secrets are never watched.
    pub fn children<C: kube::Resource<DynamicType = ()>>(&mut self) -> Cache<Child> {
        self.untyped::<C>(true, None)
    }

    /// As [`Kernel::children`], for a kind that is made in one namespace only, and may be seen in no other.
    pub fn children_in<C: kube::Resource<DynamicType = ()>>(
        &mut self,
        namespace: &str,
    ) -> Cache<Child> {
        self.untyped::<C>(true, Some(namespace))
    }

    /// The Secrets that Catalyst made.
    pub fn secrets(&self) -> Secrets {
        Secrets(Arc::clone(&self.shared))
    }

    /// The cache of everything of a kind, of which only [`Live`](catalyst_plan::Live) is kept.
    pub fn everything<C: kube::Resource<DynamicType = ()>>(&mut self) -> Cache<Child> {
        self.untyped::<C>(false, None)
    }

    fn untyped<C: kube::Resource<DynamicType = ()>>(
        &mut self,
        only_ours: bool,
        namespace: Option<&str>,
    ) -> Cache<Child> {
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
            let pulse = self.view.watching(&resource.kind, &store);
            self.tasks.push(Box::pin(follow_children(
                cluster.api(&resource, namespace),
                resource.kind.to_string(),
                config,
                Arc::clone(&store),
                pulse,
                cluster.metrics().clone(),
            )));
        }
        Cache(store)
    }

    /// Folds the verdicts on a kind in this process and writes its status.
    pub fn folds<K: Primary>(&mut self) {
        let hub = Hub::new(self.cache::<K>().store(), &self.shared.events);
        let kind = K::kind(&()).to_string();
        self.shared.statuses.add(&kind, Arc::clone(&hub) as Arc<dyn Listens>);
        let Some(cluster) = &self.shared.cluster else { return };
        let counted = Arc::clone(&hub);
        self.view.counting(move |metrics| {
            for (ready, count) in counted.count("Ready") {
                metrics.counted(&kind, ready, count);
            }
            for (note, _) in readiness::notes(&kind) {
                for (status, count) in counted.count(note) {
                    metrics.noted(&kind, note, status, count);
                }
            }
        });
        self.tasks.push(Box::pin(hub.run(Arc::clone(cluster))));
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
        let (all, line, cleared, shared) = (
            Arc::clone(&primaries),
            Arc::clone(&queue),
            Arc::clone(&failures),
            Arc::clone(&self.shared),
        );
        primaries.listen(move |news| match news {
            News::Changed(change) => {
                if let (Some(old), None) = (change.old, change.new) {
                    let uid = Held::uid(&**old);
                    cleared.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
                    shared.looked.forget(uid);
                }
                line.add(change.place.clone());
            }
            News::Listed => {
                cleared.lock().unwrap_or_else(PoisonError::into_inner).clear();
                all.all().into_iter().for_each(|(place, _)| line.add(place));
            }
        });
        Wiring { kernel: self, reconcile, primaries, queue, failures, owned: Vec::new() }
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
        if let Some(cluster) = &self.shared.cluster {
            let (events, cluster) = (Arc::clone(&self.shared.events), Arc::clone(cluster));
            tasks.spawn(async move { events.run(cluster).await });
        }
        if let Some(Err(error)) = tasks.join_next().await {
            tracing::error!(error = %error, "a part of the agent ended");
        }
    }
}
