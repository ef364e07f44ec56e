//! Keeps every project namespace fenced: what the rules of region, project and team leave open, and nothing else.
//!
//! watches  Project (primary), EgressPolicy, Region, AppIdentity, SecretRef, Namespace, and RoleBinding (ours), NetworkPolicy
//! writes   NetworkPolicy; condition `NetworkReady` on Project and EgressPolicy

use std::net::IpAddr;

use catalyst_crds::dapr::Configuration;
use catalyst_crds::{AppIdentity, EgressPolicy, Project, Region};
use catalyst_plan::namespace::AGENT_BINDING;
use catalyst_plan::network::{self, World};
use catalyst_plan::{Invalid, Key, Plan, names};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;

use super::{Access, Settings, all, place_of_project, project_place, the_one};
use crate::kernel::{Cache, Child, Error, Kernel, Reconcile, Secrets};

/// The Service of the cluster's DNS: NodeLocal DNSCache answers on its addresses, without a pod behind them.
pub(crate) const DNS: (&str, &str) = ("kube-system", "kube-dns");

struct Controller {
    regions: Cache<Region>,
    projects: Cache<Project>,
    policies: Cache<EgressPolicy>,
    apps: Cache<AppIdentity>,
    namespaces: Cache<Child>,
    access: Access,
    standing: Cache<Child>,
    accounts: Cache<Child>,
    configurations: Cache<Child>,
    deployments: Cache<Child>,
    services: Cache<Child>,
    secrets: Secrets,
    dns: Cache<Service>,
    release: String,
}

pub(super) fn wire(kernel: &mut Kernel, settings: &Settings) {
    let dns = kernel.cache_one(DNS.0, DNS.1);
    let controller = Controller {
        regions: kernel.cache(),
        projects: kernel.cache(),
        policies: kernel.cache(),
        apps: kernel.cache(),
        namespaces: kernel.everything::<Namespace>(),
        access: Access::new(kernel, AGENT_BINDING),
        standing: kernel.everything::<NetworkPolicy>(),
        accounts: kernel.children::<ServiceAccount>(),
        configurations: kernel.children::<Configuration>(),
        deployments: kernel.children::<Deployment>(),
        services: kernel.children::<Service>(),
        secrets: kernel.secrets(),
        dns: dns.clone(),
        release: settings.release.clone(),
    };
    kernel
        .controller(controller)
        .on_spec::<Region>(|_, projects| all(projects))
        .on_spec::<Project>(neighbours)
        .on_spec::<EgressPolicy>(|policy, _| project_place(policy))
        .on_spec::<AppIdentity>(|app, _| project_place(app))
        .on_cached(&dns, |_: &Service, projects| all(projects))
        .on_child::<Namespace>(|place, _, _| place_of_project(Some(&place.name)))
        .on_child::<RoleBinding>(|place, _, _| place_of_project(place.namespace()))
        .on_child::<ServiceAccount>(|place, _, projects| super::namespace::leaving(place, projects))
        .on_child::<Configuration>(|place, _, projects| super::namespace::leaving(place, projects))
        .on_child::<Deployment>(|place, _, projects| super::namespace::leaving(place, projects))
        .on_child::<Service>(|place, _, projects| super::namespace::leaving(place, projects))
        .on_child::<NetworkPolicy>(|place, _, _| place_of_project(place.namespace()))
        .owns::<NetworkPolicy>()
        .start();
}

impl Reconcile for Controller {
    type Kind = Project;
    type World = World;
    const CONCERN: &'static str = network::CONCERN;
    const CONDITION: &'static str = "NetworkReady";

    async fn observe(&self, project: &Project) -> Result<World, Error> {
        let namespace = names::namespace_of(&project.name_any());
        let standing = self.standing.standing(&namespace).await.into_iter();
        let mut remaining = self.remaining::<ServiceAccount>(&self.accounts, &namespace).await;
        remaining.extend(self.remaining::<Configuration>(&self.configurations, &namespace).await);
        remaining.extend(self.remaining::<Deployment>(&self.deployments, &namespace).await);
        remaining.extend(self.remaining::<Service>(&self.services, &namespace).await);
        if project.metadata.deletion_timestamp.is_some() {
            let secrets = self.secrets.standing(&namespace).await?;
            remaining.extend(secrets.iter().map(|name| Key::of::<Secret>(Some(&namespace), name)));
        }
        Ok(World {
            region: the_one(&self.regions).await,
            projects: self.projects.all().await,
            policies: self.policies.within(&namespace).await,
            apps: self.apps.within(&namespace).await.iter().map(|app| app.name_any()).collect(),
            namespace: self.namespaces.live(None, &namespace).await,
            bound: self.access.granted(&namespace).await,
            standing: standing
                .map(|(name, live)| (Key::of::<NetworkPolicy>(Some(&namespace), &name), live))
                .collect(),
            remaining_children: remaining,
            release_namespace: self.release.clone(),
            foreign: self.standing.foreign(&namespace).await,
            unreadable: self.policies.unreadable(&namespace).await,
            resolvers: self
                .dns
                .get(Some(DNS.0), DNS.1)
                .await
                .map(|service| addresses(&service))
                .unwrap_or_default(),
        })
    }

    fn plan(project: &Project, world: &World) -> Result<Plan, Invalid> {
        network::plan(project, world)
    }
}

impl Controller {
    /// What stands of a kind, as keys.
    async fn remaining<C: kube::Resource<DynamicType = ()>>(
        &self,
        of: &Cache<Child>,
        namespace: &str,
    ) -> Vec<Key> {
        of.standing(namespace)
            .await
            .into_iter()
            .map(|(name, _)| Key::of::<C>(Some(namespace), &name))
            .collect()
    }
}

/// The addresses of a Service.
pub(super) fn addresses(service: &Service) -> Vec<IpAddr> {
    let addresses = service.spec.iter().filter_map(|spec| spec.cluster_ips.as_ref()).flatten();
    addresses.filter_map(|address| address.parse().ok()).collect()
}

/// The Projects whose fence depends on another one: those that it lets in.
fn neighbours(
    project: &Project,
    projects: &crate::kernel::Store<Project>,
) -> Vec<crate::kernel::Place> {
    let ingress = project.spec.network.iter().filter_map(|network| network.ingress.as_ref());
    let named = ingress.flat_map(|ingress| &ingress.allowed).flat_map(|rule| &rule.namespaces);
    named
        .flat_map(|namespace| place_of_project(Some(namespace)))
        .filter(|place| projects.get(place).is_some())
        .collect()
}
