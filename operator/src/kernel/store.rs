//! What is known of one kind: filled by one writer, read by every controller, changed before anyone is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use catalyst_plan::{Key, Live, Resource, names};
use tokio::sync::watch;

/// Where an object lies: its namespace, empty for cluster-scoped kinds, and its name.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The namespace, or empty.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl Place {
    /// A place in a namespace; `None` for cluster-scoped kinds.
    pub fn new(namespace: Option<&str>, name: &str) -> Self {
        Self { namespace: namespace.unwrap_or_default().into(), name: name.into() }
    }

    /// The key of the object of a kind at this place.
    pub fn key(&self, resource: &Resource) -> Key {
        Key {
            resource: resource.clone(),
            namespace: self.namespace().map(Into::into),
            name: self.name.to_string(),
        }
    }

    /// The namespace; `None` for cluster-scoped kinds.
    pub fn namespace(&self) -> Option<&str> {
        (!self.namespace.is_empty()).then_some(&*self.namespace)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace() {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A trimmed object of a kind of which the kernel keeps only [`Live`].
#[derive(Debug)]
pub struct Child(pub Live);

/// A resource version as a number; 0 where it is none.
pub(super) fn number(version: Option<&str>) -> u64 {
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// What changed at one place: what was known before, and what is known now.
pub struct Change<'a, T> {
    /// Where.
    pub place: &'a Place,
    /// Before; `None` for a new object.
    pub old: Option<&'a Arc<T>>,
    /// Now; `None` for one that is gone.
    pub new: Option<&'a Arc<T>>,
}

/// What a store tells those who listen, always after it holds the news.
pub enum News<'a, T> {
    /// One object changed.
    Changed(Change<'a, T>),
    /// A list is complete: anything may have changed.
    Listed,
}

type Listener<T> = Box<dyn Fn(&News<'_, T>) + Send + Sync>;

/// Everything that is known of one kind.
pub struct Store<T> {
    objects: RwLock<Objects<T>>,
    listeners: RwLock<Vec<Listener<T>>>,
    state: watch::Sender<State>,
}

/// How far a store is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// The first list is not complete.
    Waiting,
    /// It holds what the server has.
    Ready,
    /// The server does not know the kind; the store is empty.
    Missing,
}

struct Objects<T> {
    namespaces: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<T>>>,
    uids: HashMap<String, Place>,
    /// Where the children of an owner lie.
    owners: HashMap<String, BTreeSet<Place>>,
    /// Where something lies that can't be read.
    unreadable: BTreeSet<Place>,
}

impl<T> Objects<T> {
    fn clear(&mut self) {
        self.namespaces.clear();
        self.uids.clear();
        self.owners.clear();
        self.unreadable.clear();
    }
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self {
            objects: RwLock::new(Objects {
                namespaces: BTreeMap::new(),
                uids: HashMap::new(),
                owners: HashMap::new(),
                unreadable: BTreeSet::new(),
            }),
            listeners: RwLock::default(),
            state: watch::Sender::new(State::Waiting),
        }
    }
}

impl<T: Held> Store<T> {
    /// Calls `listener` after every change. It must be quick: it runs in the writer's turn.
    pub fn listen(&self, listener: impl Fn(&News<'_, T>) + Send + Sync + 'static) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    /// Takes in one object, unless something newer is known of the same one.
    pub fn put(&self, place: &Place, object: T) {
        let new = Arc::new(object);
        let old = {
            let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
            let known = objects.get(place);
            if known.is_some_and(|known| {
                known.uid() == new.uid() && known.version() >= new.version() && new.version() > 0
            }) {
                return;
            }
            objects.unreadable.remove(place);
            objects.insert(place, Arc::clone(&new))
        };
        self.tell(&News::Changed(Change { place, old: old.as_ref(), new: Some(&new) }));
    }

    /// Forgets one object, unless another one stands in its place. `uid` empty forgets whatever stands there.
    pub fn forget(&self, place: &Place, uid: &str) {
        let old = {
            let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
            objects.unreadable.remove(place);
            match objects.get(place) {
                Some(known) if uid.is_empty() || known.uid() == uid => objects.remove(place),
                _ => None,
            }
        };
        if old.is_some() {
            self.tell(&News::Changed(Change { place, old: old.as_ref(), new: None }));
        }
    }

    /// Takes in a complete list, all of which can be read.
    pub fn replace(&self, list: Vec<(Place, T)>) {
        self.take_in(list, BTreeSet::new());
    }

    /// Takes in a complete list: what is not in it is forgotten. Where our own write is newer than the list, it stays, and so does what was
    /// known of what can't be read any more.
    pub fn take_in(&self, list: Vec<(Place, T)>, unreadable: BTreeSet<Place>) {
        {
            let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
            let listed = list.into_iter().map(|(place, object)| {
                let known = objects.get(&place);
                let newer = known.filter(|known| {
                    known.uid() == object.uid() && known.version() > object.version()
                });
                let object = newer.cloned().unwrap_or_else(|| Arc::new(object));
                (place, object)
            });
            let mut listed: Vec<_> = listed.collect();
            for place in &unreadable {
                listed.extend(objects.get(place).map(|known| (place.clone(), Arc::clone(known))));
            }
            objects.clear();
            objects.unreadable = unreadable;
            for (place, object) in listed {
                objects.insert(&place, object);
            }
        }
        self.state.send_replace(State::Ready);
        self.tell(&News::Listed);
    }

    /// Notes that what lies at a place can't be read. What was known of it stays.
    pub fn mark_unreadable(&self, place: &Place) {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let news = objects.unreadable.insert(place.clone());
        drop(objects);
        if news {
            self.tell(&News::Listed);
        }
    }

    /// Notes that no list will come: what is put in is all that can be known.
    pub fn settle(&self) {
        self.state.send_replace(State::Ready);
    }

    /// Notes that the server does not know the kind. A store that still holds objects does not believe it:
    /// a server that is starting says so too, and a kind that goes takes its objects with it first.
    pub fn missing(&self) {
        if self.is_empty() && self.state.send_replace(State::Missing) != State::Missing {
            self.tell(&News::Listed);
        }
    }

    fn tell(&self, news: &News<'_, T>) {
        for listener in self.listeners.read().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(news);
        }
    }
}

impl<T> Store<T> {
    /// How far the store is.
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Waits until the first list is complete, or the kind is known to be missing.
    pub async fn settled(&self) {
        let mut state = self.state.subscribe();
        // An error means that the sender is gone; it lives in this very store.
        let _ = state.wait_for(|state| *state != State::Waiting).await;
    }

    /// The object at a place.
    pub fn get(&self, place: &Place) -> Option<Arc<T>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).get(place).cloned()
    }

    /// The names of what lies in a namespace and can't be read.
    pub fn unreadable(&self, namespace: &str) -> Vec<String> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let there = objects.unreadable.iter().filter(|place| *place.namespace == *namespace);
        there.map(|place| place.name.to_string()).collect()
    }

    /// The place of a UID.
    pub fn find(&self, uid: &str) -> Option<Place> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).uids.get(uid).cloned()
    }

    /// Everything, in the order of namespace and name.
    pub fn all(&self) -> Vec<(Place, Arc<T>)> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects
            .namespaces
            .iter()
            .flat_map(|(namespace, names)| {
                names.iter().map(|(name, object)| {
                    (Place { namespace: namespace.clone(), name: name.clone() }, Arc::clone(object))
                })
            })
            .collect()
    }

    /// Every object, in the order of namespace and name.
    pub fn objects(&self) -> Vec<Arc<T>> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.namespaces.values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// The namespaces that hold something, in order.
    pub fn namespaces(&self) -> Vec<String> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.namespaces.keys().map(ToString::to_string).collect()
    }

    /// What lies in a namespace, in the order of names.
    pub fn within(&self, namespace: &str) -> Vec<(Place, Arc<T>)> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let Some(names) = objects.namespaces.get(namespace) else { return Vec::new() };
        names
            .iter()
            .map(|(name, object)| {
                (Place { namespace: namespace.into(), name: name.clone() }, Arc::clone(object))
            })
            .collect()
    }

    /// What names this owner by label.
    pub fn owned_by(&self, uid: &str) -> Vec<(Place, Arc<T>)> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let places = objects.owners.get(uid).into_iter().flatten();
        places.filter_map(|place| Some((place.clone(), Arc::clone(objects.get(place)?)))).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).uids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a store can hold: typed objects, or [`Child`].
pub trait Held: Send + Sync + 'static {
    /// The UID.
    fn uid(&self) -> &str;
    /// The resource version as a number; 0 for one that no server has seen.
    fn version(&self) -> u64;
    /// The UID of the owner it names by label.
    fn owner(&self) -> Option<&str> {
        None
    }
}

impl<K: kube::Resource + Send + Sync + 'static> Held for K {
    fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    fn version(&self) -> u64 {
        number(self.meta().resource_version.as_deref())
    }
}

impl Held for Child {
    fn uid(&self) -> &str {
        &self.0.uid
    }

    fn version(&self) -> u64 {
        self.0.resource_version
    }

    fn owner(&self) -> Option<&str> {
        self.0.label(names::OWNER_UID)
    }
}

impl<T> Objects<T> {
    fn get(&self, place: &Place) -> Option<&Arc<T>> {
        self.namespaces.get(&place.namespace)?.get(&place.name)
    }
}

impl<T: Held> Objects<T> {
    fn insert(&mut self, place: &Place, object: Arc<T>) -> Option<Arc<T>> {
        let old = self.remove(place);
        // One text for the namespace, however many objects lie in it.
        let namespace = match self.namespaces.get_key_value(&place.namespace) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::clone(&place.namespace),
        };
        let place = Place { namespace, name: Arc::clone(&place.name) };
        self.uids.insert(object.uid().into(), place.clone());
        if let Some(owner) = object.owner() {
            self.owners.entry(owner.into()).or_default().insert(place.clone());
        }
        self.namespaces.entry(place.namespace).or_default().insert(place.name, object);
        old
    }

    fn remove(&mut self, place: &Place) -> Option<Arc<T>> {
        let names = self.namespaces.get_mut(&place.namespace)?;
        let old = names.remove(&place.name);
        if names.is_empty() {
            self.namespaces.remove(&place.namespace);
        }
        let old = old?;
        self.uids.remove(old.uid());
        if let Some(owner) = old.owner()
            && let Some(places) = self.owners.get_mut(owner)
        {
            places.remove(place);
            if places.is_empty() {
                self.owners.remove(owner);
            }
        }
        Some(old)
    }
}
