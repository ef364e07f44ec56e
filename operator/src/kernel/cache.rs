//! What controllers read: caches of what the server holds, and the Secrets that no cache holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalyst_plan::{Key, Live, SecretBytes, names};
use k8s_openapi::api::core::v1::Secret;

use super::error::Error;
use super::secrets;
use super::shared::Shared;
use super::store::{Child, Held, Place, State, Store};

/// What is known of one kind, for controllers to read.
pub struct Cache<T>(pub(super) Arc<Store<T>>);

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

    /// All objects, in the order of namespaces and names.
    pub async fn all(&self) -> Vec<Arc<T>> {
        self.0.settled().await;
        self.0.objects()
    }

    /// The names of what lies in a namespace and can't be read.
    pub async fn unreadable(&self, namespace: &str) -> Vec<String> {
        self.0.settled().await;
        self.0.unreadable(namespace)
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

    /// What stands in a namespace and names an owner by our label, by name.
    pub async fn standing(&self, namespace: &str) -> Vec<(String, Live)> {
        self.0.settled().await;
        owned(&self.0, namespace)
    }

    /// The names of what stands in a namespace and names no owner by our label: somebody else's.
    pub async fn foreign(&self, namespace: &str) -> Vec<String> {
        self.0.settled().await;
        let all = self.0.within(namespace).into_iter();
        let foreign = all.filter(|(_, child)| child.0.label(names::OWNER_UID).is_none());
        foreign.map(|(place, _)| place.name.to_string()).collect()
    }
}

/// The Secrets of ours, which are never watched: asked for when it matters.
#[derive(Clone)]
pub struct Secrets(pub(super) Arc<Shared>);

impl Secrets {
    /// The names of those that stand in a namespace now, by a list.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn standing(&self, namespace: &str) -> Result<Vec<String>, Error> {
        if let Some(cluster) = &self.0.cluster {
            secrets::refresh(cluster, &self.0.children, namespace).await?;
        }
        let standing = owned(&self.0.children.store(&secrets::resource()), namespace);
        Ok(standing.into_iter().map(|(name, _)| name).collect())
    }

    /// The values of one, asked for now; `None` if it is not there, or nobody can be asked.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn read(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, SecretBytes>>, Error> {
        let Some(cluster) = &self.0.cluster else { return Ok(None) };
        let found = cluster.get(&Key::of::<Secret>(Some(namespace), name)).await?;
        Ok(found.map(|found| secrets::values(&found)))
    }

    /// Whether there is a cluster to ask; `render` has none.
    pub fn are_known(&self) -> bool {
        self.0.cluster.is_some()
    }
}

/// What is ours in a namespace. Our labels are kept by admission; `managed-by` anyone can write.
fn owned(store: &Store<Child>, namespace: &str) -> Vec<(String, Live)> {
    let all = store
        .within(namespace)
        .into_iter()
        .map(|(place, child)| (place.name.to_string(), child.0.clone()));
    all.filter(|(_, live)| live.label(names::OWNER_UID).is_some()).collect()
}
