//! Keeps every project's namespace: made or taken, bound to our accounts, within its quota.
//!
//! watches  Project (primary), Region, Namespace, and RoleBinding, ResourceQuota, NetworkPolicy, and what apps have (ours)
//! writes   Namespace, RoleBinding, ResourceQuota; the finalizer and condition `NamespaceReady` on Project

use catalyst_crds::dapr::Configuration;
use catalyst_crds::{Project, Region};
use catalyst_plan::namespace::{self, World};
use catalyst_plan::{Invalid, Plan, names};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;

use super::{Settings, all, place_of_project, the_one, waiting_for_room};
use crate::kernel::{Cache, Child, Error, Kernel, Place, Reconcile, Secrets, Store};

struct Controller {
    regions: Cache<Region>,
    projects: Cache<Project>,
    namespaces: Cache<Child>,
    policies: Cache<Child>,
    /// What AppIdentities and SecretRefs own.
    children: [Cache<Child>; 4],
    secrets: Secrets,
    release: String,
}

pub(super) fn wire(kernel: &mut Kernel, settings: &Settings) {
    let controller = Controller {
        regions: kernel.cache(),
        projects: kernel.cache(),
        namespaces: kernel.everything::<Namespace>(),
        policies: kernel.children::<NetworkPolicy>(),
        children: [
            kernel.children::<ServiceAccount>(),
            kernel.children::<Configuration>(),
            kernel.children::<Deployment>(),
            kernel.children::<Service>(),
        ],
        secrets: kernel.secrets(),
        release: settings.release.clone(),
    };
    kernel
        .controller(controller)
        .on_spec::<Region>(|_, projects| all(projects))
        .on_spec::<Project>(refused)
        .on_child::<Namespace>(|place, _, _| place_of_project(Some(&place.name)))
        .on_child::<NetworkPolicy>(|place, _, projects| leaving(place, projects))
        .on_child::<ServiceAccount>(|place, _, projects| leaving(place, projects))
        .on_child::<Configuration>(|place, _, projects| leaving(place, projects))
        .on_child::<Deployment>(|place, _, projects| leaving(place, projects))
        .on_child::<Service>(|place, _, projects| leaving(place, projects))
        .owns::<ResourceQuota>()
        .owns::<RoleBinding>()
        .start();
}

impl Reconcile for Controller {
    type Kind = Project;
    type World = World;
    const CONCERN: &'static str = namespace::CONCERN;
    const CONDITION: &'static str = "NamespaceReady";
    const FENCES: bool = true;

    async fn observe(&self, project: &Project) -> Result<World, Error> {
        let namespace = names::namespace_of(&project.name_any());
        let leaves = project.metadata.deletion_timestamp.is_some();
        let mut children = if leaves { self.secrets.standing(&namespace).await?.len() } else { 0 };
        for kind in &self.children {
            children += kind.standing(&namespace).await.len();
        }
        Ok(World {
            region: the_one(&self.regions).await,
            projects: self.projects.all().await,
            namespace: self.namespaces.live(None, &namespace).await,
            release: self.release.clone(),
            children,
            policies: self.policies.standing(&namespace).await.len(),
        })
    }

    fn plan(project: &Project, world: &World) -> Result<Plan, Invalid> {
        namespace::plan(project, world)
    }
}

/// A Project that comes or goes may make room for those that the region had no room for.
pub(super) fn refused(_: &Project, all: &Store<Project>) -> Vec<Place> {
    waiting_for_room(all, |project| {
        project.status.as_ref().map_or(&[], |status| &status.conditions)
    })
}

/// The Project of a child, while it waits for its children to go.
pub(super) fn leaving(place: &Place, projects: &Store<Project>) -> Vec<Place> {
    let mut places = place_of_project(place.namespace());
    places.retain(|place| {
        projects.get(place).is_some_and(|project| project.metadata.deletion_timestamp.is_some())
    });
    places
}
