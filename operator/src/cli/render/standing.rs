//! What stands where there is no cluster: what the files and facts say, and what was planned so far.

use std::net::IpAddr;
use std::sync::Arc;

use catalyst_crds::dapr::Configuration;
use catalyst_plan::{Key, Live, Object, Resource, Rollout, Tenure, names};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, ResourceQuota, Secret, Service, ServiceAccount, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;
use serde_json::Value;
use uuid::Uuid;

use super::facts::Facts;
use super::manifests::Manifests;
use crate::controllers::{self, API, DNS, Settings};
use crate::kernel::{Child, Kernel, Place, Primary};

/// The UID that stands in for the one that a server would draw: always the same for one object.
pub fn uid(kind: &str, namespace: Option<&str>, name: &str) -> String {
    let ours = Uuid::new_v5(&Uuid::NAMESPACE_DNS, catalyst_crds::GROUP.as_bytes());
    let place = format!("{kind}/{}/{name}", namespace.unwrap_or_default());
    Uuid::new_v5(&ours, place.as_bytes()).to_string()
}

/// All controllers, with every cache filled.
pub(super) fn kernel(manifests: Manifests, facts: &Facts) -> Kernel {
    let mut kernel = Kernel::new(None);
    let concerns = controllers::ALL.iter().map(ToString::to_string).collect();
    let settings = Settings { release: facts.release_namespace.clone() };
    controllers::wire(&mut kernel, &concerns, &settings);

    let children = [
        Resource::of::<Namespace>(),
        Resource::of::<RoleBinding>(),
        Resource::of::<ResourceQuota>(),
        Resource::of::<NetworkPolicy>(),
        Resource::of::<ServiceAccount>(),
        Resource::of::<Secret>(),
        Resource::of::<Configuration>(),
        Resource::of::<ConfigMap>(),
        Resource::of::<Service>(),
        Resource::of::<Deployment>(),
        Resource::of::<StatefulSet>(),
        Resource::of::<PodDisruptionBudget>(),
    ];
    for resource in children {
        kernel.child_store(&resource).replace(Vec::new());
    }
    if !facts.dapr {
        kernel.child_store(&Resource::of::<Configuration>()).missing();
    }
    let given = facts.namespaces.iter().map(|fact| (fact.name.clone(), fact.labels.clone()));
    let written = manifests.namespaces.iter().map(|one| (one.name_any(), one.labels().clone()));
    let namespaces = kernel.child_store(&Resource::of::<Namespace>());
    for (name, labels) in given.chain(written) {
        let uid = uid("Namespace", None, &name);
        let live = Live { uid, labels: Arc::new(labels), ..Live::default() };
        namespaces.put(&Place::new(None, &name), Child(live));
    }
    let dns = kernel.cache_one::<Service>(DNS.0, DNS.1);
    dns.store().replace(vec![(Place::new(Some(DNS.0), DNS.1), resolver(&facts.resolvers))]);
    let api = kernel.cache_one::<EndpointSlice>(API.0, API.1);
    api.store().replace(Vec::new());
    controllers::pods(&mut kernel).store().replace(Vec::new());
    let others = kernel.cache_of_others::<Configuration>();
    others.store().replace(placed(manifests.configurations));
    controllers::canaries(&mut kernel, &facts.release_namespace).store().replace(Vec::new());
    let secrets = kernel.cache_in::<Secret>(names::SECRETS_NAMESPACE);
    secrets.store().replace(placed(manifests.secrets));
    hold(&mut kernel, manifests.regions);
    hold(&mut kernel, manifests.projects);
    hold(&mut kernel, manifests.apps);
    hold(&mut kernel, manifests.policies);
    hold(&mut kernel, manifests.references);
    kernel
}

fn hold<K: Primary>(kernel: &mut Kernel, objects: Vec<K>) {
    kernel.cache::<K>().store().replace(placed(objects));
}

fn placed<K: kube::Resource>(objects: Vec<K>) -> Vec<(Place, K)> {
    let place = |object: &K| {
        let meta = object.meta();
        Place::new(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
    };
    objects.into_iter().map(|object| (place(&object), object)).collect()
}

/// The Service of the cluster's DNS, on these addresses.
fn resolver(addresses: &[IpAddr]) -> Service {
    let cluster_ips = Some(addresses.iter().map(ToString::to_string).collect());
    let spec = Some(ServiceSpec { cluster_ips, ..ServiceSpec::default() });
    Service { spec, ..Service::default() }
}

/// As far as a workload is that has all its pods.
fn done(manifest: &Value) -> Option<Rollout> {
    let spec = &manifest["spec"];
    let wanted = spec["replicas"].as_i64().and_then(|wanted| i32::try_from(wanted).ok())?;
    spec["template"].is_object().then_some(Rollout {
        observed: true,
        wanted,
        updated: wanted,
        ready: wanted,
        present: wanted,
    })
}

/// Takes a planned object as applied.
pub(super) fn stand(kernel: &Kernel, object: &Object) {
    let store = kernel.child_store(&object.key.resource);
    let (namespace, name) = (object.key.namespace.as_deref(), object.key.name.as_str());
    let place = Place::new(namespace, name);
    let metadata = &object.manifest["metadata"];
    let mut live = Live {
        uid: uid(&object.key.resource.kind, namespace, name),
        labels: Arc::new(serde_json::from_value(metadata["labels"].clone()).unwrap_or_default()),
        owners: Arc::new(
            serde_json::from_value(metadata["ownerReferences"].clone()).unwrap_or_default(),
        ),
        rollout: done(&object.manifest),
        ..Live::default()
    };
    if object.tenure == Tenure::Shared
        && let Some(standing) = store.get(&place)
    {
        let added = std::mem::replace(&mut live, standing.0.clone()).labels;
        Arc::make_mut(&mut live.labels)
            .extend(added.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    store.put(&place, Child(live));
}

/// Takes an object as removed that is planned no longer. What is somebody else's stays.
pub(super) fn fall(kernel: &Kernel, key: &Key, tenure: Tenure) {
    if tenure == Tenure::Ours {
        let place = Place::new(key.namespace.as_deref(), &key.name);
        kernel.child_store(&key.resource).forget(&place, "");
    }
}
