//! Small worlds to plan from.

use std::sync::Arc;

use catalyst_crds::{EgressPolicy, Project, Region};
use catalyst_plan::network::{World, plan};
use catalyst_plan::{Finding, Key, Live, Plan};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use crate::verdict::{Labels, Peer, may_be_reached, may_reach};

/// A Region `eu` with these network rules.
pub(crate) fn region(network: &Value) -> Arc<Region> {
    read(&json!({
        "apiVersion": "cra.diagrid.io/v1beta1", "kind": "Region",
        "metadata": {"name": "eu", "uid": "r"},
        "spec": {"trust": {"domain": "eu.example.com"}, "network": network},
    }))
}

/// A Project with these network rules.
pub(crate) fn project(name: &str, network: &Value) -> Arc<Project> {
    read(&json!({
        "apiVersion": "cra.diagrid.io/v1beta1", "kind": "Project",
        "metadata": {"name": name, "uid": format!("uid-of-{name}"), "generation": 1},
        "spec": {"network": network},
    }))
}

/// An EgressPolicy of the project `shop`.
pub(crate) fn policy(name: &str, spec: &Value) -> Arc<EgressPolicy> {
    read(&json!({
        "apiVersion": "cra.diagrid.io/v1beta1", "kind": "EgressPolicy",
        "metadata": {"name": name, "namespace": "prj-shop", "generation": 7},
        "spec": spec,
    }))
}

fn read<K: serde::de::DeserializeOwned>(value: &Value) -> Arc<K> {
    Arc::new(serde_json::from_value(value.clone()).unwrap())
}

/// A world in which the namespace of `shop` is ready, with the apps `orders` and `payments`.
pub(crate) fn world(network: &Value, policies: Vec<Arc<EgressPolicy>>) -> World {
    World {
        region: Some(region(network)),
        policies,
        apps: ["orders".into(), "payments".into()].into(),
        namespace: Some(Live {
            labels: Arc::new([("app.kubernetes.io/managed-by".into(), "catalyst".into())].into()),
            ..Live::default()
        }),
        bound: true,
        release_namespace: "catalyst-system".into(),
        ..World::default()
    }
}

/// A NetworkPolicy of `shop` that stands.
pub(crate) fn standing(name: &str) -> (Key, Live) {
    let live = Live {
        labels: Arc::new([("cra.diagrid.io/owner-uid".into(), "uid-of-shop".into())].into()),
        ..Live::default()
    };
    (Key::of::<NetworkPolicy>(Some("prj-shop"), name), live)
}

/// A plan, read as what it lets through.
pub(crate) struct Fence {
    pub(crate) plan: Plan,
    pub(crate) policies: Vec<NetworkPolicy>,
}

impl Fence {
    /// The fence of the project `shop` with these network rules.
    pub(crate) fn of(network: &Value, world: &World) -> Self {
        Self::read(plan(&project("shop", network), world).unwrap())
    }

    pub(crate) fn read(plan: Plan) -> Self {
        let read = |object: &catalyst_plan::Object| {
            serde_json::from_value(object.manifest.clone()).unwrap()
        };
        Self { policies: plan.objects.iter().map(read).collect(), plan }
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.policies.iter().map(|policy| policy.metadata.name.as_deref().unwrap()).collect()
    }

    pub(crate) fn named(&self, name: &str) -> Option<&NetworkPolicy> {
        self.policies.iter().find(|policy| policy.metadata.name.as_deref() == Some(name))
    }

    /// Whether an app may reach an address by TCP. The app `""` is a pod without our label.
    pub(crate) fn opens(&self, app: &str, address: &str, port: i32) -> bool {
        let to = Peer::Address(address.parse().unwrap());
        may_reach(&self.policies, &pod(app), &to, port, "TCP")
    }

    /// Whether an app may reach pods of a namespace by TCP.
    pub(crate) fn opens_pods(
        &self,
        app: &str,
        namespace: &str,
        labels: &[(&str, &str)],
        port: i32,
    ) -> bool {
        let to = Peer::Pod(namespace.into(), labelled(labels));
        may_reach(&self.policies, &pod(app), &to, port, "TCP")
    }

    /// Whether pods of a namespace may reach the project's pods by TCP.
    pub(crate) fn lets_in(&self, namespace: &str, labels: &[(&str, &str)], port: i32) -> bool {
        let from = Peer::Pod(namespace.into(), labelled(labels));
        may_be_reached(&self.policies, &pod("orders"), &from, port, "TCP")
    }

    /// What is said of an EgressPolicy.
    pub(crate) fn finding(&self, policy: &str) -> &Finding {
        let found = self.plan.findings.iter().find(|finding| finding.object.name == policy);
        found.unwrap()
    }

    /// Reason and message of what is wrong with an EgressPolicy.
    pub(crate) fn problem(&self, policy: &str) -> (&'static str, &str) {
        let problem = self.finding(policy).problem.as_ref().unwrap();
        (problem.reason, &problem.message)
    }
}

/// The labels of a pod of an app.
pub(crate) fn pod(app: &str) -> Labels {
    match app {
        "" => Labels::new(),
        app => labelled(&[("cra.diagrid.io/app", app)]),
    }
}

pub(crate) fn labelled(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}
