//! Where secrets are found: by the SecretRef of a name in the region's secret namespace, else as a Secret of the project.
//!
//! The region's secrets are watched, so that a rotation is known at once. Those of a project we may only get, one at a
//! time: they are read when an object names them, and looked at again every few seconds for as long as one does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catalyst_crds::SecretRef;
use catalyst_plan::secret::{Values, remote_name};
use catalyst_plan::stream::Found;
use catalyst_plan::{Key, SecretBytes, names};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::DynamicObject;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::state::{Lookup, State};
use crate::kernel::{Cluster, Error, Place, Store};

/// How often a Secret of a project is looked at.
const EVERY: Duration = Duration::from_secs(5);

/// The least time between two looks, so that many Secrets are looked at less often, and not all at once.
const APART: Duration = Duration::from_millis(20);

/// How many are read at once that nobody has read before.
const AT_ONCE: usize = 8;

/// The wait before one is tried again that could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// What is known of secrets.
pub(super) struct Secrets {
    references: Arc<Store<SecretRef>>,
    remote: Arc<Store<Secret>>,
    own: Own,
}

impl Secrets {
    pub(super) fn new(references: Arc<Store<SecretRef>>, remote: Arc<Store<Secret>>) -> Self {
        Self { references, remote, own: Own::default() }
    }

    /// The names by which a project means a secret of the region, `<project>.<name>`.
    pub(super) fn meaning(&self, secret: &str) -> Option<(String, Vec<String>)> {
        let (project, remote) = secret.split_once('.')?;
        let namespace = names::namespace_of(project);
        let references = self.references.within(&namespace).into_iter();
        let meaning = references.filter(|(_, reference)| reference.spec.remote.name == remote);
        let names = meaning.map(|(place, _)| place.name.to_string()).collect();
        Some((namespace, names))
    }

    /// Waits until all that was sought is known.
    pub(super) async fn settled(&self) {
        let mut unread = self.own.unread.subscribe();
        // The sender lives in `self`.
        let _ = unread.wait_for(|unread| *unread == 0).await;
    }

    /// Reads the Secrets of projects, for ever.
    pub(super) async fn read(&self, cluster: &Cluster, state: &State) {
        loop {
            let unread = self.own.not_read();
            if unread.is_empty() {
                self.look_again(cluster, state).await;
                continue;
            }
            let reads = unread.into_iter().map(|place| self.look(cluster, state, place));
            let failed = stream::iter(reads).buffer_unordered(AT_ONCE);
            if failed.any(|read| std::future::ready(read.is_err())).await {
                sleep(RETRY).await;
            }
        }
    }

    /// Looks again at the one that was not looked at for longest, once that is long enough ago, or until one is sought.
    async fn look_again(&self, cluster: &Cluster, state: &State) {
        let Some((place, due)) = self.own.oldest() else {
            return self.own.sought.notified().await;
        };
        tokio::select! {
            () = self.own.sought.notified() => return,
            () = sleep_until(due) => {}
        }
        if state.uses(&place.namespace, &place.name) {
            // What it was stays, if the server does not answer.
            let _ = self.look(cluster, state, place).await;
        } else {
            self.own.forget(&place);
        }
        sleep(APART).await;
    }

    async fn look(&self, cluster: &Cluster, state: &State, place: Place) -> Result<(), Error> {
        let key = Key::of::<Secret>(Some(&place.namespace), &place.name);
        let known = match cluster.get(&key).await {
            Ok(secret) => {
                secret.as_ref().map_or(Known::Absent, |secret| Known::Values(values(secret)))
            }
            Err(error) if error.code() == 403 => Known::Forbidden,
            Err(error) => {
                tracing::warn!(secret = %place, error = %error, "secret can't be read");
                self.own.tried(&place);
                return Err(error);
            }
        };
        if self.own.learn(&place, known) {
            state.secret_changed(&place.namespace, &place.name);
        }
        Ok(())
    }
}

impl Lookup for Secrets {
    fn find(&self, namespace: &str, name: &str) -> Found {
        let place = Place::new(Some(namespace), name);
        if let Some(reference) = self.references.get(&place) {
            let project = names::project_of(namespace).unwrap_or_default();
            let remote = remote_name(project, &reference.spec.remote.name);
            let remote = self.remote.get(&Place::new(Some(names::SECRETS_NAMESPACE), &remote));
            let values = remote.as_deref().map(|secret| {
                let data = secret.data.iter().flatten();
                data.map(|(key, value)| (key.clone(), SecretBytes(value.0.clone().into())))
                    .collect()
            });
            return Found::by_reference(project, &reference, values.as_ref());
        }
        match self.own.known(&place) {
            Known::Unread => Found::Unknown,
            Known::Absent => Found::by_name(namespace, name, None),
            Known::Values(values) => Found::by_name(namespace, name, Some(values)),
            Known::Forbidden => Found::Missing(format!(
                "Catalyst may not read Secrets in namespace {namespace} yet: see Project \"{}\"",
                names::project_of(namespace).unwrap_or_default()
            )),
        }
    }
}

/// The Secrets of projects that somebody sought.
#[derive(Default)]
struct Own {
    known: Mutex<HashMap<Place, (Known, Instant)>>,
    sought: Notify,
    unread: watch::Sender<usize>,
}

/// What is known of a Secret.
#[derive(Clone, Eq, PartialEq)]
enum Known {
    /// Nobody has looked.
    Unread,
    /// There is none.
    Absent,
    /// We may not look.
    Forbidden,
    /// This.
    Values(Values),
}

impl Own {
    /// What is known of one, which is sought from now on.
    fn known(&self, place: &Place) -> Known {
        let mut known = self.lock();
        if let Some((known, _)) = known.get(place) {
            return known.clone();
        }
        known.insert(place.clone(), (Known::Unread, Instant::now()));
        self.unread.send_modify(|unread| *unread += 1);
        self.sought.notify_one();
        Known::Unread
    }

    fn not_read(&self) -> Vec<Place> {
        let known = self.lock();
        let unread = known.iter().filter(|(_, (known, _))| *known == Known::Unread);
        unread.map(|(place, _)| place.clone()).collect()
    }

    /// The one that was looked at first, and when it is due.
    fn oldest(&self) -> Option<(Place, Instant)> {
        let known = self.lock();
        let (place, (_, looked)) = known.iter().min_by_key(|(_, (_, looked))| *looked)?;
        Some((place.clone(), *looked + EVERY))
    }

    /// Takes note of what one is; whether that is news.
    fn learn(&self, place: &Place, now: Known) -> bool {
        let mut known = self.lock();
        let Some(held) = known.get_mut(place) else { return false };
        let news = held.0 != now;
        if held.0 == Known::Unread {
            self.unread.send_modify(|unread| *unread -= 1);
        }
        *held = (now, Instant::now());
        news
    }

    fn tried(&self, place: &Place) {
        if let Some(held) = self.lock().get_mut(place) {
            held.1 = Instant::now();
        }
    }

    fn forget(&self, place: &Place) {
        self.lock().remove(place);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, (Known, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn values(secret: &DynamicObject) -> Values {
    let data = secret.data["data"].as_object().into_iter().flatten();
    data.filter_map(|(key, value)| {
        let value = STANDARD.decode(value.as_str()?).ok()?;
        Some((key.clone(), SecretBytes(value.into())))
    })
    .collect()
}
