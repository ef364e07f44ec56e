//! The one state: what every app of every project sees. Lists read it, streams wait for it to change.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use catalyst_plan::stream::{
    Content, Entry, Found, Kind, Rules, View, Withheld, render, report, view,
};
use catalyst_plan::{Invalid, names};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How long it counts that a server has no streams: it says so every minute.
const LOST: Duration = Duration::from_secs(150);

/// Where secrets are found.
pub trait Lookup: Send + Sync {
    /// What an object of a namespace gets that names a secret.
    fn find(&self, namespace: &str, name: &str) -> Found;
}

/// What an app sees of a kind, now and as it changes. It ends with the app.
pub(super) type Seen = watch::Receiver<Arc<View>>;

/// What every app sees.
pub struct State {
    rules: Rules,
    secrets: Arc<dyn Lookup>,
    rooms: Mutex<HashMap<String, Room>>,
    /// The apps, with their namespaces, of which there is something new to say.
    unsaid: Mutex<BTreeSet<(String, String)>>,
    unsaid_news: Notify,
}

/// An app of which nothing can be said: there is none, or what it gets is still being made ready.
pub(super) struct NotYet;

/// One namespace of a project.
#[derive(Default)]
struct Room {
    /// Whether the Project is alive.
    alive: bool,
    /// The AppIdentities that are.
    apps: HashSet<String>,
    /// The objects of each kind, by name.
    shelves: [BTreeMap<String, Kept>; Kind::ALL.len()],
    /// Which objects name a secret.
    users: HashMap<String, BTreeSet<(Kind, String)>>,
    /// What each app sees; of nobody else.
    seats: HashMap<String, Seat>,
    /// Tells that a seat came.
    news: watch::Sender<()>,
    /// The apps of which there may be something new to say.
    unsaid: BTreeSet<String>,
}

/// An object, and what became of it.
struct Kept {
    object: Arc<Value>,
    entry: Entry,
}

/// What one app sees, of each kind, and which of its servers have given up their streams, until when that counts.
#[derive(Default)]
struct Seat {
    views: [watch::Sender<Arc<View>>; Kind::ALL.len()],
    lost: BTreeMap<IpAddr, Instant>,
}

impl State {
    /// Nothing yet.
    pub fn new(rules: Rules, secrets: Arc<dyn Lookup>) -> Self {
        Self {
            rules,
            secrets,
            rooms: Mutex::default(),
            unsaid: Mutex::default(),
            unsaid_news: Notify::new(),
        }
    }

    /// Notes whether the Project of a namespace is alive.
    pub fn set_project(&self, namespace: &str, alive: bool) {
        self.inside(namespace, |room, outside| {
            if room.alive != alive {
                room.alive = alive;
                room.look_again(outside, |_| true);
                room.seat();
            }
        });
    }

    /// Notes whether an AppIdentity is alive.
    pub fn set_app(&self, namespace: &str, name: &str, alive: bool) {
        self.inside(namespace, |room, _| {
            let changed =
                if alive { room.apps.insert(name.into()) } else { room.apps.remove(name) };
            if changed {
                room.seat();
            }
        });
    }

    /// Notes an object as it is now, or that it is gone.
    pub fn put(&self, kind: Kind, namespace: &str, name: &str, object: Option<Arc<Value>>) {
        self.inside(namespace, |room, outside| room.put(outside, kind, name, object));
    }

    /// Notes that a secret is another now: whoever names it is told.
    pub fn secret_changed(&self, namespace: &str, name: &str) {
        self.inside(namespace, |room, outside| room.look_again(outside, |used| used == name));
    }

    /// Notes that any secret may be another now.
    pub fn secrets_changed(&self) {
        let namespaces: Vec<String> = self.rooms().keys().cloned().collect();
        for namespace in namespaces {
            self.inside(&namespace, |room, outside| room.look_again(outside, |_| true));
        }
    }

    /// Whether an object names a secret.
    pub fn uses(&self, namespace: &str, name: &str) -> bool {
        let rooms = self.rooms();
        rooms.get(namespace).is_some_and(|room| room.users.contains_key(name))
    }

    /// The names of what there is of a kind, with their namespaces.
    pub fn places(&self, kind: Kind) -> Vec<(String, String)> {
        let rooms = self.rooms();
        let all = rooms.iter().flat_map(|(namespace, room)| {
            room.shelves[kind as usize].keys().map(|name| (namespace.clone(), name.clone()))
        });
        all.collect()
    }

    /// The namespaces whose Project is alive.
    pub fn projects(&self) -> Vec<String> {
        let rooms = self.rooms();
        let alive = rooms.iter().filter(|(_, room)| room.alive);
        alive.map(|(namespace, _)| namespace.clone()).collect()
    }

    /// The apps that are alive, with their namespaces.
    pub fn apps(&self) -> Vec<(String, String)> {
        let rooms = self.rooms();
        let all = rooms.iter().flat_map(|(namespace, room)| {
            room.apps.iter().map(|app| (namespace.clone(), app.clone()))
        });
        all.collect()
    }

    /// What apps do not get that is meant for them, once for each app.
    pub fn withheld(&self) -> Vec<Withheld> {
        let rooms = self.rooms();
        let seats = rooms.values().flat_map(|room| room.seats.values());
        seats.flat_map(Seat::withheld).collect()
    }

    /// Notes that a server of an app has given up its streams.
    pub(super) fn lost(&self, namespace: &str, app: &str, address: IpAddr) {
        let mut rooms = self.rooms();
        let seat = rooms.get_mut(namespace).and_then(|room| room.seats.get_mut(app));
        if let Some(seat) = seat
            && seat.lost.insert(address, Instant::now() + LOST).is_none()
        {
            drop(rooms);
            self.to_say(namespace, [app.to_string()]);
        }
    }

    /// What is wrong with what an app gets, if anything.
    pub(super) fn problem(&self, namespace: &str, app: &str) -> Result<Option<Invalid>, NotYet> {
        let rooms = self.rooms();
        let seat = rooms.get(namespace).and_then(|room| room.seats.get(app)).ok_or(NotYet)?;
        if seat.views.iter().any(|seen| seen.borrow().pending) {
            return Err(NotYet);
        }
        let lost: Vec<IpAddr> = seat.lost.keys().copied().collect();
        let withheld: Vec<Withheld> = seat.withheld().collect();
        Ok(report::problem(&withheld, &lost))
    }

    /// Forgets servers that have not been heard of for long: they have been restarted.
    pub(super) fn forget_lost(&self) {
        let mut rooms = self.rooms();
        let mut found = Vec::new();
        for (namespace, room) in rooms.iter_mut() {
            for (app, seat) in &mut room.seats {
                let before = seat.lost.len();
                seat.lost.retain(|_, until| *until > Instant::now());
                if seat.lost.len() != before {
                    found.push((namespace.clone(), app.clone()));
                }
            }
        }
        drop(rooms);
        for (namespace, app) in found {
            self.to_say(&namespace, [app]);
        }
    }

    /// Waits until there may be something new to say.
    pub(super) async fn unsaid(&self) {
        while self.unsaid.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.unsaid_news.notified().await;
        }
    }

    /// The apps of which there may be something new to say, with their namespaces.
    pub(super) fn take_unsaid(&self) -> BTreeSet<(String, String)> {
        std::mem::take(&mut *self.unsaid.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that there may be something new to say of apps.
    pub(super) fn to_say(&self, namespace: &str, apps: impl IntoIterator<Item = String>) {
        let apps = apps.into_iter().map(|app| (namespace.to_string(), app));
        self.unsaid.lock().unwrap_or_else(PoisonError::into_inner).extend(apps);
        self.unsaid_news.notify_one();
    }

    /// What an app sees of a kind, if Project and AppIdentity are alive.
    pub fn seen(&self, namespace: &str, app: &str, kind: Kind) -> Option<Seen> {
        let rooms = self.rooms();
        Some(rooms.get(namespace)?.seats.get(app)?.views[kind as usize].subscribe())
    }

    /// Waits until Project and AppIdentity are alive. Of a namespace that is no project's they never are.
    pub async fn wait_for(&self, namespace: &str, app: &str, kind: Kind) -> Seen {
        if names::project_of(namespace).is_none() {
            return std::future::pending().await;
        }
        let mut news = self.rooms().entry(namespace.into()).or_default().news.subscribe();
        loop {
            if let Some(seen) = self.seen(namespace, app, kind) {
                return seen;
            }
            // A room that is gone comes back as another; whoever waits that long is refused before.
            if news.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a room of a project. Nothing else is kept.
    fn inside(&self, namespace: &str, change: impl FnOnce(&mut Room, &Outside<'_>)) {
        if names::project_of(namespace).is_none() {
            return;
        }
        let mut rooms = self.rooms();
        let room = rooms.entry(namespace.into()).or_default();
        change(room, &Outside { namespace, rules: &self.rules, secrets: &*self.secrets });
        let unsaid = std::mem::take(&mut room.unsaid);
        if room.is_empty() {
            rooms.remove(namespace);
        }
        drop(rooms);
        if !unsaid.is_empty() {
            self.to_say(namespace, unsaid);
        }
    }
}

/// What a room needs from outside to make entries.
struct Outside<'a> {
    namespace: &'a str,
    rules: &'a Rules,
    secrets: &'a dyn Lookup,
}

impl Room {
    fn is_empty(&self) -> bool {
        !self.alive
            && self.apps.is_empty()
            && self.shelves.iter().all(BTreeMap::is_empty)
            && self.news.receiver_count() == 0
    }

    fn put(&mut self, outside: &Outside<'_>, kind: Kind, name: &str, object: Option<Arc<Value>>) {
        let old = self.shelves[kind as usize].remove(name).map(|kept| kept.entry);
        for secret in old.iter().flat_map(|entry| &entry.secrets) {
            if let Some(users) = self.users.get_mut(secret) {
                users.remove(&(kind, name.into()));
                if users.is_empty() {
                    self.users.remove(secret);
                }
            }
        }
        let mut affected: Vec<Entry> = Vec::new();
        if let Some(object) = object {
            // Secrets of a project that is not ours are nobody's business.
            let alive = self.alive;
            let mut find = |name: &str| {
                if alive { outside.secrets.find(outside.namespace, name) } else { Found::Unknown }
            };
            let mut entry = render(kind, &object, outside.rules, &mut find);
            if let Some(old) = &old {
                entry.settle(old);
            }
            if let Content::Withheld(withheld) = &entry.content
                && old.as_ref().is_none_or(|old| old.content != entry.content)
            {
                let (namespace, reason) = (outside.namespace, withheld.reason);
                tracing::warn!(namespace, reason, why = %withheld, "object withheld");
            }
            for secret in &entry.secrets {
                self.users.entry(secret.clone()).or_default().insert((kind, name.into()));
            }
            affected.push(entry.clone());
            self.shelves[kind as usize].insert(name.into(), Kept { object, entry });
        }
        affected.extend(old);
        if let [now, before] = &affected[..]
            && now.content == before.content
            && now.audience == before.audience
        {
            return;
        }
        let kept = &self.shelves[kind as usize];
        for (app, seat) in &self.seats {
            if affected.iter().any(|entry| entry.is_for(app)) && seat.look(kind, app, kept) {
                self.unsaid.insert(app.clone());
            }
        }
    }

    /// Makes anew what names such secrets.
    fn look_again(&mut self, outside: &Outside<'_>, is_meant: impl Fn(&str) -> bool) {
        let meant = self.users.iter().filter(|(secret, _)| is_meant(secret));
        let users: BTreeSet<(Kind, String)> =
            meant.flat_map(|(_, users)| users.iter().cloned()).collect();
        for (kind, name) in users {
            let object =
                self.shelves[kind as usize].get(&name).map(|kept| Arc::clone(&kept.object));
            self.put(outside, kind, &name, object);
        }
    }

    /// Gives a seat to every app that is alive, and takes those of all others.
    fn seat(&mut self) {
        let (alive, apps) = (self.alive, &self.apps);
        self.seats.retain(|app, _| alive && apps.contains(app));
        if !alive {
            return;
        }
        for app in &self.apps {
            if self.seats.contains_key(app) {
                continue;
            }
            let seat = Seat::default();
            for kind in Kind::ALL {
                seat.look(kind, app, &self.shelves[kind as usize]);
            }
            self.seats.insert(app.clone(), seat);
            self.unsaid.insert(app.clone());
        }
        self.news.send_replace(());
    }
}

impl Seat {
    /// Looks at the objects of a kind. Whether another is withheld than before.
    fn look(&self, kind: Kind, app: &str, objects: &BTreeMap<String, Kept>) -> bool {
        let watched = &self.views[kind as usize];
        let before = Arc::clone(&watched.borrow());
        let now = view(kind, app, objects.values().map(|kept| &kept.entry), &before);
        let withheld = (now.pending, &now.withheld) != (before.pending, &before.withheld);
        if now != *before {
            watched.send_replace(Arc::new(now));
        }
        withheld
    }

    fn withheld(&self) -> impl Iterator<Item = Withheld> {
        self.views.iter().flat_map(|seen| seen.borrow().withheld.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;

    /// A secret `db` whose value can be changed, and nothing else.
    #[derive(Default)]
    struct Turning(AtomicUsize);

    impl Lookup for Turning {
        fn find(&self, namespace: &str, name: &str) -> Found {
            let value = self.0.load(Ordering::SeqCst).to_string().into_bytes();
            let values = [("key".to_string(), catalyst_plan::SecretBytes(value.into()))];
            Found::by_name(namespace, name, (name == "db").then(|| values.into()))
        }
    }

    fn component(name: &str, secret: Option<&str>, scopes: &[&str]) -> Arc<Value> {
        let metadata =
            secret.map(|name| json!({"name": "k", "secretKeyRef": {"name": name, "key": "key"}}));
        Arc::new(json!({
            "metadata": {"name": name, "namespace": "prj-shop"},
            "spec": {"type": "state.redis", "metadata": metadata.into_iter().collect::<Vec<_>>()},
            "scopes": scopes,
        }))
    }

    fn shop(secrets: Arc<dyn Lookup>) -> State {
        let state = State::new(Rules::default(), secrets);
        state.set_project("prj-shop", true);
        state.set_app("prj-shop", "orders", true);
        state.set_app("prj-shop", "payments", true);
        state
    }

    fn names(seen: &Seen) -> Vec<String> {
        seen.borrow().shown.keys().cloned().collect()
    }

    #[test]
    fn a_rotation_reaches_exactly_those_that_use_the_secret() {
        let secrets = Arc::new(Turning::default());
        let state = shop(Arc::clone(&secrets) as Arc<dyn Lookup>);
        let kind = Kind::Component;
        state.put(kind, "prj-shop", "a", Some(component("a", Some("db"), &["orders"])));
        state.put(kind, "prj-shop", "b", Some(component("b", None, &["payments"])));
        let mut orders = state.seen("prj-shop", "orders", kind).unwrap();
        let payments = state.seen("prj-shop", "payments", kind).unwrap();
        state.secret_changed("prj-shop", "db");
        assert!(!orders.has_changed().unwrap(), "it is the same");
        secrets.0.store(1, Ordering::SeqCst);
        state.secret_changed("prj-shop", "other");
        assert!(!orders.has_changed().unwrap());
        state.secret_changed("prj-shop", "db");
        assert!(orders.has_changed().unwrap() && !payments.has_changed().unwrap());
        let body = Arc::clone(&orders.borrow_and_update().shown["a"]);
        assert!(String::from_utf8_lossy(&body.json.0).contains(r#""value":"1""#));
        assert!(state.uses("prj-shop", "db"));
        state.put(kind, "prj-shop", "a", None);
        assert!(!state.uses("prj-shop", "db"));
    }

    #[test]
    fn nobody_sees_anything_unless_project_and_app_are_alive() {
        let state = shop(Arc::new(Turning::default()));
        state.put(Kind::Component, "prj-shop", "a", Some(component("a", None, &[])));
        let seen = state.seen("prj-shop", "orders", Kind::Component).unwrap();
        assert_eq!(names(&seen), ["a"]);
        state.set_app("prj-shop", "orders", false);
        assert!(state.seen("prj-shop", "orders", Kind::Component).is_none());
        assert!(seen.has_changed().is_err(), "who watches is told");
        state.set_project("prj-shop", false);
        assert!(state.seen("prj-shop", "payments", Kind::Component).is_none());
        state.set_project("prj-shop", true);
        let seen = state.seen("prj-shop", "payments", Kind::Component).unwrap();
        assert_eq!(names(&seen), ["a"]);
        assert!(state.seen("prj-shop", "orders", Kind::Component).is_none());
        assert!(state.seen("prj-blog", "payments", Kind::Component).is_none());
    }

    #[test]
    fn secrets_are_sought_only_in_projects_that_are_alive() {
        struct Never;
        impl Lookup for Never {
            fn find(&self, namespace: &str, name: &str) -> Found {
                panic!("{namespace}/{name} was sought")
            }
        }
        let state = State::new(Rules::default(), Arc::new(Never));
        state.put(Kind::Component, "prj-shop", "a", Some(component("a", Some("db"), &[])));
        state.put(Kind::Component, "default", "a", Some(component("a", Some("db"), &[])));
        assert_eq!(state.places(Kind::Component), [("prj-shop".into(), "a".into())]);
    }

    #[test]
    fn a_namespace_that_holds_nothing_is_forgotten() {
        let state = shop(Arc::new(Turning::default()));
        state.put(Kind::Component, "prj-shop", "a", Some(component("a", None, &[])));
        state.put(Kind::Component, "prj-shop", "a", None);
        state.set_app("prj-shop", "orders", false);
        state.set_app("prj-shop", "payments", false);
        state.set_project("prj-shop", false);
        assert!(state.rooms().is_empty());
    }
}
