//! Runs Dapr's control plane, fenced: Sentry, placement, scheduler.
//!
//! watches  Region (primary), ConfigMap (the trust bundle), Service (DNS), EndpointSlice (API server), and what it writes
//! writes   Deployment, StatefulSet, Service, PodDisruptionBudget, Configuration, NetworkPolicy; condition `DaprReady` on Region

use catalyst_crds::Region;
use catalyst_crds::dapr::Configuration;
use catalyst_plan::dapr::{self, World};
use catalyst_plan::names::DAPR_NAMESPACE;
use catalyst_plan::network::ApiServer;
use catalyst_plan::{Invalid, Plan, trust};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::all;
use super::network::{DNS, addresses};
use crate::kernel::{Cache, Child, Error, Kernel, Reconcile};

/// The slice of the API server's Service.
pub(crate) const API: (&str, &str) = ("default", "kubernetes");

struct Controller {
    regions: Cache<Region>,
    configurations: Cache<Child>,
    bundles: Cache<Child>,
    deployments: Cache<Child>,
    stateful: Cache<Child>,
    dns: Cache<Service>,
    api: Cache<EndpointSlice>,
}

pub(super) fn wire(kernel: &mut Kernel) {
    let (dns, api) = (kernel.cache_one(DNS.0, DNS.1), kernel.cache_one(API.0, API.1));
    let controller = Controller {
        regions: kernel.cache(),
        configurations: kernel.children::<Configuration>(),
        bundles: kernel.children_in::<ConfigMap>(DAPR_NAMESPACE),
        deployments: kernel.children::<Deployment>(),
        stateful: kernel.children_in::<StatefulSet>(DAPR_NAMESPACE),
        dns: dns.clone(),
        api: api.clone(),
    };
    kernel
        .controller(controller)
        .on_spec::<Region>(|_, regions| all(regions))
        .on_cached(&dns, |_: &Service, regions| all(regions))
        .on_cached(&api, |_: &EndpointSlice, regions| all(regions))
        .on_child::<ConfigMap>(|_, _, regions| all(regions))
        .owns::<Deployment>()
        .owns_in::<StatefulSet>(DAPR_NAMESPACE)
        .owns::<Service>()
        .owns_in::<PodDisruptionBudget>(DAPR_NAMESPACE)
        .owns::<Configuration>()
        .owns::<NetworkPolicy>()
        .start();
}

impl Reconcile for Controller {
    type Kind = Region;
    type World = World;
    const CONCERN: &'static str = dapr::CONCERN;
    const CONDITION: &'static str = "DaprReady";

    async fn observe(&self, _: &Region) -> Result<World, Error> {
        let mut rollouts = std::collections::BTreeMap::new();
        for workloads in [&self.deployments, &self.stateful] {
            let standing = workloads.standing(DAPR_NAMESPACE).await.into_iter();
            rollouts.extend(standing.filter_map(|(name, live)| Some((name, live.rollout?))));
        }
        Ok(World {
            regions: self.regions.all().await,
            dapr: !self.configurations.is_missing().await,
            trusted: self.bundles.live(Some(DAPR_NAMESPACE), trust::BUNDLE).await.is_some(),
            rollouts,
            resolvers: self
                .dns
                .get(Some(DNS.0), DNS.1)
                .await
                .map(|service| addresses(&service))
                .unwrap_or_default(),
            api: self.api.get(Some(API.0), API.1).await.map(|slice| at(&slice)).unwrap_or_default(),
        })
    }

    fn plan(region: &Region, world: &World) -> Result<Plan, Invalid> {
        dapr::plan(region, world)
    }
}

/// Where the API server answers, as its slice says.
fn at(slice: &EndpointSlice) -> ApiServer {
    let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    let ports = slice.ports.iter().flatten().filter_map(|port| port.port);
    ApiServer {
        addresses: addresses.filter_map(|address| address.parse().ok()).collect(),
        ports: ports.collect(),
    }
}
