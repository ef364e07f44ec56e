//! Region: the installation itself, one per cluster, written by the platform team.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::network::{Egress, Ingress};

/// What the region is to be. Only `trust` has no default.
#[derive(
    Clone, CustomResource, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize,
)]
#[kube(
    group = "cra.diagrid.io",
    version = "v1beta1",
    kind = "Region",
    plural = "regions",
    shortname = "rgn",
    category = "catalyst",
    status = "RegionStatus",
    derive = "PartialEq",
    doc = "The installation: what holds for every project of this cluster. One per cluster; the oldest counts."
)]
#[serde(rename_all = "camelCase")]
pub struct RegionSpec {
    /// Who vouches for the identities of this region.
    pub trust: Trust,
    /// What every project may reach, and who may reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<RegionNetwork>,
    /// Where the region keeps the secrets that SecretRefs name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<RegionSecrets>,
    /// How much the region takes on. Lowering a limit evicts nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// The Dapr that the region runs, as in `dapr: {version: 1.18.3}`. Absent means none: apps then have identities,
    /// tokens and a fence, and no Dapr server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dapr: Option<Dapr>,
}

/// The Dapr of a region: its control plane, and a server for each app.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "(has(self.scheduler) && has(self.scheduler.replicas) ? self.scheduler.replicas : 1) == (has(oldSelf.scheduler) && has(oldSelf.scheduler.replicas) ? oldSelf.scheduler.replicas : 1)",
        "message": "scheduler.replicas can't be changed, as its members are fixed when they are made: write what was there",
    },
    {
        "rule": "(has(self.scheduler) && has(self.scheduler.volume)) ? (has(oldSelf.scheduler) && has(oldSelf.scheduler.volume) && self.scheduler.volume == oldSelf.scheduler.volume) : !(has(oldSelf.scheduler) && has(oldSelf.scheduler.volume))",
        "message": "scheduler.volume can't be added, changed or removed later: write what was there",
    },
]))]
#[serde(rename_all = "camelCase")]
pub struct Dapr {
    /// The version of Dapr, such as 1.18.3: of its images, and so of what every app of the region speaks to.
    #[schemars(schema_with = "crate::schema::dapr_version")]
    pub version: String,
    /// Where Dapr's images lie, such as `registry.example.com/dapr`. Absent means `ghcr.io/dapr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::registry")]
    pub registry: Option<String>,
    /// The domain of the cluster's DNS. Absent means `cluster.local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::trust_domain")]
    pub cluster_domain: Option<String>,
    /// The scheduler, which keeps jobs, reminders and workflows. Absent means one that forgets them when its pod goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
}

/// How the scheduler runs.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.replicas) || self.replicas == 1 || has(self.volume)",
        "message": "replicas 3 needs a volume: a member that loses its data can't come back; write volume: {size: 16Gi}",
    },
]))]
#[serde(rename_all = "camelCase")]
pub struct Scheduler {
    /// How many members, which decide by majority: 1 or 3. Absent means 1. It can't be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3), extend("enum" = [1, 3]))]
    pub replicas: Option<i32>,
    /// What keeps the data of each member. Absent means that it goes with its pod. It can't be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Volume>,
}

/// A volume for each member.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// How large, such as `16Gi`.
    #[schemars(schema_with = "crate::schema::quantity")]
    pub size: String,
    /// The `StorageClass`. Absent means the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::object_name")]
    pub storage_class_name: Option<String>,
}

/// The region's root of identity.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.domain) && has(oldSelf.domain) && self.domain == oldSelf.domain",
        "message": "domain is part of every identity and can't be changed: write the domain that was there",
    }
]))]
#[serde(rename_all = "camelCase")]
pub struct Trust {
    /// The SPIFFE trust domain, such as `eu.example.com`. It is part of every identity and can't be changed.
    #[schemars(schema_with = "crate::schema::trust_domain")]
    pub domain: String,
    /// How long the certificate of an app or of a part of Dapr is valid, such as `24h`; each renews its own after half
    /// of it. Absent means `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "workloadCertTTL")]
    #[schemars(schema_with = "crate::schema::duration")]
    pub workload_cert_ttl: Option<String>,
}

/// Network rules of the region.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionNetwork {
    /// `Enforce` (the default) keeps every project fenced by NetworkPolicies; `Off` removes those that Catalyst made.
    #[serde(default)]
    pub mode: NetworkMode,
    /// What apps may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// Who may reach apps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// The address families that the cluster's pods use. Absent means both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::ip_families::<IpFamily>")]
    pub ip_families: Vec<IpFamily>,
    /// Where pods find DNS. Absent means the pods of `kube-dns`, CoreDNS and NodeLocal DNSCache in `kube-system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// Namespaces whose pods may scrape the metrics of every app. Absent means `monitoring`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::monitoring_namespaces")]
    pub monitoring_namespaces: Option<Vec<String>>,
}

/// Whether projects are fenced.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum NetworkMode {
    /// Every project namespace is closed but for what the rules open.
    #[default]
    Enforce,
    /// Catalyst keeps no NetworkPolicies; those of others stay.
    Off,
}

/// An address family.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum IpFamily {
    /// IPv4: the base is `0.0.0.0/0`.
    IPv4,
    /// IPv6: the base is `2000::/3`, the global unicast range.
    IPv6,
}

/// Where pods find DNS, on port 53 by UDP and TCP.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dns {
    /// Addresses of resolvers that are no pods or sit on the node, such as the cluster IP of `kube-dns` or 169.254.20.10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::addresses")]
    pub addresses: Vec<String>,
    /// The namespace of the resolver's pods. Absent means `kube-system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::namespace")]
    pub namespace: Option<String>,
    /// Labels of the resolver's pods. Absent means `k8s-app` in `kube-dns`, `coredns`, `node-local-dns`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::pod_labels")]
    pub pod_labels: BTreeMap<String, String>,
}

/// The region's secret provider.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionSecrets {
    /// The provider. `Kubernetes` reads Secrets named `<project>.<name>` in the region's secret namespace.
    #[serde(rename = "type", default)]
    pub type_: SecretsType,
}

/// A kind of secret provider.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SecretsType {
    /// Secrets of the namespace `catalyst-secrets`.
    #[default]
    Kubernetes,
}

/// Limits of the region; absent means no limit. The oldest come first.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// How many Projects may be ready. One over the limit says so and makes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_projects: Option<i32>,
    /// How many AppIdentities may be ready, over all projects. One over the limit says so and makes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_app_identities: Option<i32>,
}

/// What Catalyst says of a Region.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One verdict per concern, and `Ready` over all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// How much of the capacity is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<CapacityUsed>,
    /// What vouches for the identities of this region, as PEM: roots that each end a chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub trust_anchors: Option<String>,
}

/// How much of the region's capacity is used.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CapacityUsed {
    /// Projects in the cluster.
    pub projects: i32,
    /// AppIdentities in the cluster.
    pub app_identities: i32,
}
