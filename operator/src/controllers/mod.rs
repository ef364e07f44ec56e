//! The controllers: each gathers its world from caches and asks its plan. About 100 lines each.

mod dapr;
mod egress;
mod enforcement;
mod identity;
mod namespace;
mod network;
mod pods;
mod project;
mod region;
mod secret;
mod server;
mod trust;

use std::collections::BTreeSet;
use std::sync::Arc;

use catalyst_crds::{AppIdentity, Condition, EgressPolicy, Project, Region, SecretRef};
use catalyst_plan::{Live, names};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;

pub(crate) use self::dapr::API;
pub(crate) use self::enforcement::canaries;
pub(crate) use self::network::DNS;
pub(crate) use self::server::pods;
use crate::kernel::{Cache, Child, Kernel, Place, Primary, Store};

/// Every controller, by its concern. The order is that in which `render` shows what they plan.
pub const ALL: [&str; 11] = [
    "region",
    "enforcement",
    "trust",
    "dapr",
    "project",
    "namespace",
    "network",
    "egress",
    "identity",
    "server",
    "secret",
];

/// What runs where nothing else is asked for: `secret`, the last, has a process and an account of its own.
pub const DEFAULT: &[&str] = ALL.split_at(ALL.len() - 1).0;

/// What controllers are told at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace that Catalyst itself runs in.
    pub release: String,
}

/// Wires the controllers of these concerns, and the status writers of the kinds that they fold.
pub fn wire(kernel: &mut Kernel, concerns: &BTreeSet<String>, settings: &Settings) {
    // Whoever needs all of a kind asks before anyone who needs only ours.
    kernel.everything::<Namespace>();
    if concerns.contains("network") {
        kernel.everything::<NetworkPolicy>();
    }
    for concern in ALL.iter().filter(|concern| concerns.contains(**concern)) {
        match *concern {
            "region" => region::wire(kernel),
            "enforcement" => enforcement::wire(kernel, settings),
            "trust" => trust::wire(kernel),
            "dapr" => dapr::wire(kernel),
            "project" => project::wire(kernel),
            "namespace" => namespace::wire(kernel, settings),
            "network" => network::wire(kernel, settings),
            "egress" => egress::wire(kernel),
            "identity" => identity::wire(kernel),
            "server" => server::wire(kernel),
            _ => secret::wire(kernel),
        }
    }
    if concerns.iter().any(|concern| concern != "secret") {
        kernel.folds::<Region>();
        kernel.folds::<Project>();
        kernel.folds::<AppIdentity>();
        kernel.folds::<EgressPolicy>();
    }
    if concerns.contains("secret") {
        kernel.folds::<SecretRef>();
    }
}

/// The Region of the cluster.
async fn the_one(regions: &Cache<Region>) -> Option<Arc<Region>> {
    catalyst_plan::region::the_one(&regions.all().await)
}

/// The Project that a namespace is named after, if there is one.
async fn project_of(projects: &Cache<Project>, namespace: Option<String>) -> Option<Arc<Project>> {
    projects.get(None, names::project_of(namespace.as_deref()?)?).await
}

/// Whether we may write in a namespace: a binding of ours stands in it, and it is not going.
struct Access {
    namespaces: Cache<Child>,
    bindings: Cache<Child>,
    binding: &'static str,
}

impl Access {
    fn new(kernel: &mut Kernel, binding: &'static str) -> Self {
        let namespaces = kernel.everything::<Namespace>();
        Self { namespaces, bindings: kernel.children::<RoleBinding>(), binding }
    }

    async fn granted(&self, namespace: &str) -> bool {
        let stays = |live: Live| !live.deleting;
        self.namespaces.live(None, namespace).await.is_some_and(stays)
            && self.bindings.live(Some(namespace), self.binding).await.is_some_and(stays)
    }
}

/// What waits for room in the region: it is looked at again when something else comes or goes.
fn waiting_for_room<K: Primary>(
    primaries: &Store<K>,
    conditions: fn(&K) -> &[Condition],
) -> Vec<Place> {
    let waits = |primary: &K| {
        conditions(primary).iter().any(|condition| condition.reason == "OverCapacity")
    };
    let all = primaries.all().into_iter();
    all.filter(|(_, primary)| waits(primary)).map(|(place, _)| place).collect()
}

/// The place of the Project whose namespace an object lies in.
fn project_place<K: Primary>(object: &K) -> Vec<Place> {
    place_of_project(object.namespace().as_deref())
}

fn place_of_project(namespace: Option<&str>) -> Vec<Place> {
    namespace
        .and_then(names::project_of)
        .map(|project| Place::new(None, project))
        .into_iter()
        .collect()
}

/// Every primary that lies in a project's namespace.
fn inside<K: Primary>(project: &Project, primaries: &Store<K>) -> Vec<Place> {
    let namespace = names::namespace_of(&project.name_any());
    primaries.within(&namespace).into_iter().map(|(place, _)| place).collect()
}

/// Every primary there is.
fn all<K: Primary>(primaries: &Store<K>) -> Vec<Place> {
    primaries.all().into_iter().map(|(place, _)| place).collect()
}
