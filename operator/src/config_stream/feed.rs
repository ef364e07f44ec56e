//! Brings what the caches hold into the state, in the order in which it came.

use std::collections::BTreeSet;
use std::sync::Arc;

use catalyst_crds::{AppIdentity, Project, Region, SecretRef};
use catalyst_plan::stream::Kind;
use catalyst_plan::{names, region};
use k8s_openapi::api::core::v1::Secret;
use kube::Resource;
use tokio::sync::{mpsc, watch};

use super::objects::{
    Component, Configuration, HttpEndpoint, McpServer, Named, Object, Resiliency, Subscription,
    WorkflowAccessPolicy,
};
use super::secrets::Secrets;
use super::state::State;
use crate::kernel::{Held, Kernel, News, Place, Store};

/// The caches of a process, and what they tell.
pub(super) struct Feed {
    regions: Arc<Store<Region>>,
    projects: Arc<Store<Project>>,
    pub(super) apps: Arc<Store<AppIdentity>>,
    kinds: Vec<Box<dyn Source>>,
    pub(super) secrets: Arc<Secrets>,
    news: mpsc::UnboundedReceiver<Item>,
    /// Whose first list has not come.
    awaited: BTreeSet<Of>,
}

/// Whose news.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Of {
    Region,
    Project,
    App,
    Reference,
    Secret,
    Kind(Kind),
}

/// Whom a Region that runs Dapr trusts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Trust {
    /// The trust domain.
    pub(super) domain: String,
    /// Its anchors, PEM; empty until they are made.
    pub(super) anchors: String,
}

impl Trust {
    fn of(region: &Region) -> Option<Self> {
        region.spec.dapr.as_ref()?;
        let status = region.status.as_ref();
        let anchors = status.and_then(|status| status.trust_anchors.clone()).unwrap_or_default();
        Some(Self { domain: region.spec.trust.domain.clone(), anchors })
    }
}

/// What changed: one place, or anything.
type Item = (Of, Option<Place>);

impl Feed {
    pub(super) fn wire(kernel: &mut Kernel) -> Self {
        let (tell, news) = mpsc::unbounded_channel();
        let regions = heard(kernel.cache().store(), Of::Region, &tell);
        let projects = heard(kernel.cache().store(), Of::Project, &tell);
        let apps = heard(kernel.cache().store(), Of::App, &tell);
        let references = heard(kernel.cache::<SecretRef>().store(), Of::Reference, &tell);
        let remote = kernel.cache_in::<Secret>(names::SECRETS_NAMESPACE);
        let remote = heard(remote.store(), Of::Secret, &tell);
        let kinds = vec![
            source::<Configuration>(kernel, &tell),
            source::<Resiliency>(kernel, &tell),
            source::<Component>(kernel, &tell),
            source::<HttpEndpoint>(kernel, &tell),
            source::<Subscription>(kernel, &tell),
            source::<WorkflowAccessPolicy>(kernel, &tell),
            source::<McpServer>(kernel, &tell),
        ];
        let awaited = [Of::Region, Of::Project, Of::App, Of::Reference, Of::Secret].into_iter();
        let awaited = awaited.chain(Kind::ALL.into_iter().map(Of::Kind)).collect();
        let secrets = Arc::new(Secrets::new(references, remote));
        Self { regions, projects, apps, kinds, secrets, news, awaited }
    }

    /// Feeds for ever. `trust` is that of the Region, while it runs Dapr; `full` becomes true once every list was taken in.
    pub(super) async fn run(
        mut self,
        state: &State,
        trust: &watch::Sender<Option<Trust>>,
        full: &watch::Sender<bool>,
    ) {
        while let Some((of, place)) = self.news.recv().await {
            if let Some(place) = &place {
                self.changed(of, place, state);
            } else {
                self.listed(of, state);
                if self.awaited.remove(&of) && self.awaited.is_empty() {
                    full.send_replace(true);
                }
            }
            if of == Of::Region {
                let now =
                    region::the_one(&self.regions.objects()).and_then(|region| Trust::of(&region));
                trust.send_if_modified(|held| {
                    let news = *held != now;
                    *held = now;
                    news
                });
            }
        }
    }

    fn changed(&self, of: Of, place: &Place, state: &State) {
        let (namespace, name) = (&*place.namespace, &*place.name);
        match of {
            Of::Region => {}
            Of::Project => {
                let alive = self.projects.get(place).is_some_and(|project| stays(&*project));
                state.set_project(&names::namespace_of(name), alive);
            }
            Of::App => {
                let alive = self.apps.get(place).is_some_and(|app| stays(&*app));
                state.set_app(namespace, name, alive);
                // It may be of another generation, which what was said is not.
                state.to_say(namespace, [name.to_string()]);
            }
            Of::Reference => state.secret_changed(namespace, name),
            Of::Secret => {
                let Some((namespace, names)) = self.secrets.meaning(name) else { return };
                for name in names {
                    state.secret_changed(&namespace, &name);
                }
            }
            Of::Kind(kind) => self.kinds[kind as usize].bring(place, state),
        }
    }

    /// Takes in a whole list: all that is in it, and what was there and is not any more.
    fn listed(&self, of: Of, state: &State) {
        match of {
            Of::Region => {}
            Of::Reference | Of::Secret => state.secrets_changed(),
            Of::Project => {
                let gone = state.projects().into_iter();
                let gone = gone
                    .filter_map(|namespace| Some(Place::new(None, names::project_of(&namespace)?)));
                self.bring(of, gone, &self.projects, state);
            }
            Of::App => {
                let gone = state.apps().into_iter();
                let gone = gone.map(|(namespace, name)| Place::new(Some(&namespace), &name));
                self.bring(of, gone, &self.apps, state);
            }
            Of::Kind(kind) => {
                let there = state.places(kind).into_iter();
                let there = there.map(|(namespace, name)| Place::new(Some(&namespace), &name));
                let listed = self.kinds[kind as usize].places().into_iter();
                for place in there.chain(listed).collect::<BTreeSet<_>>() {
                    self.changed(of, &place, state);
                }
            }
        }
    }

    fn bring<T: Held>(
        &self,
        of: Of,
        known: impl Iterator<Item = Place>,
        store: &Store<T>,
        state: &State,
    ) {
        let listed = store.all().into_iter().map(|(place, _)| place);
        for place in known.chain(listed).collect::<BTreeSet<_>>() {
            self.changed(of, &place, state);
        }
    }
}

fn stays<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_none()
}

/// A store that tells what changes in it.
fn heard<T: Held>(
    store: &Arc<Store<T>>,
    of: Of,
    tell: &mpsc::UnboundedSender<Item>,
) -> Arc<Store<T>> {
    let tell = tell.clone();
    store.listen(move |news| {
        let place = match news {
            News::Changed(change) => Some(change.place.clone()),
            News::Listed => None,
        };
        // Nobody listens any more only when the process ends.
        let _ = tell.send((of, place));
    });
    Arc::clone(store)
}

/// The objects of one of Dapr's kinds.
trait Source: Send {
    fn places(&self) -> Vec<Place>;
    fn bring(&self, place: &Place, state: &State);
}

fn source<N: Named>(kernel: &mut Kernel, tell: &mpsc::UnboundedSender<Item>) -> Box<dyn Source> {
    Box::new(heard(kernel.cache::<Object<N>>().store(), Of::Kind(N::KIND), tell))
}

impl<N: Named> Source for Arc<Store<Object<N>>> {
    fn places(&self) -> Vec<Place> {
        self.all().into_iter().map(|(place, _)| place).collect()
    }

    fn bring(&self, place: &Place, state: &State) {
        let object = self.get(place).map(|object| Arc::clone(&object.value));
        state.put(N::KIND, &place.namespace, &place.name, object);
    }
}
