//! EgressPolicy: what a team declares for its own project, within what the platform delegates.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::network::{AllowRule, BlockRule};

/// What these apps may reach, and what not.
#[derive(
    Clone, CustomResource, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize,
)]
#[kube(
    group = "cra.diagrid.io",
    version = "v1beta1",
    kind = "EgressPolicy",
    plural = "egresspolicies",
    namespaced,
    shortname = "egp",
    category = "catalyst",
    status = "EgressPolicyStatus",
    derive = "PartialEq",
    doc = "What apps of a project may reach, or may not, beyond what Region and Project say."
)]
#[serde(rename_all = "camelCase")]
pub struct EgressPolicySpec {
    /// The apps it speaks of, by the names of their AppIdentities. Absent means every app of the
    /// project; an empty list is refused, so that a template can't widen by accident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::app_ids")]
    pub app_ids: Option<Vec<String>>,
    /// Networks that these apps must not reach, unless something allows them: allow wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::rules::<BlockRule>")]
    pub blocked: Vec<BlockRule>,
    /// What these apps may reach. Each entry must lie within what Region or Project delegate,
    /// or outside of everything they block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::rules::<AllowRule>")]
    pub allowed: Vec<AllowRule>,
}

/// What Catalyst says of an EgressPolicy.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EgressPolicyStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One verdict per concern, and `Ready` over all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The NetworkPolicies that carry these rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::reported")]
    pub network_policies: Vec<String>,
    /// What is allowed but probably not meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::reported")]
    pub warnings: Vec<String>,
}
