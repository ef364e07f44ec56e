//! The rule shapes that Region, Project and EgressPolicy share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where traffic may go, or come from, beyond what is open anyway.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "(has(self.cidrs) && size(self.cidrs) > 0) || (has(self.namespaces) && size(self.namespaces) > 0)",
        "message": "an entry without cidrs and namespaces would mean everywhere: name the networks in cidrs or the namespaces in namespaces",
    },
    {
        "rule": "!has(self.podLabels) || (has(self.namespaces) && size(self.namespaces) > 0)",
        "message": "podLabels narrow the pods of namespaces and say nothing of cidrs: add namespaces, or remove podLabels",
    }
]))]
#[serde(rename_all = "camelCase")]
pub struct AllowRule {
    /// A name for people: it is unique in its list and appears in messages.
    #[schemars(schema_with = "crate::schema::rule_name")]
    pub name: String,
    /// Networks in CIDR notation, IPv4 or IPv6, such as `10.20.5.6/32`. Alternatives to `namespaces`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::cidrs")]
    pub cidrs: Vec<String>,
    /// Kubernetes namespaces, by name. Alternatives to `cidrs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::namespaces")]
    pub namespaces: Vec<String>,
    /// Narrows `namespaces` to the pods that carry all of these labels. It says nothing about `cidrs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::pod_labels")]
    pub pod_labels: BTreeMap<String, String>,
    /// Ports of the pods or hosts that are reached (after service translation). Absent means all ports and protocols.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::ports::<PortRange>")]
    pub ports: Vec<PortRange>,
}

/// A port, or a range of them.
#[derive(
    Clone, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.endPort) || self.endPort >= self.port",
        "message": "endPort is the last port of a range and can't be below port: raise endPort, or remove it for a single port",
    }
]))]
#[serde(rename_all = "camelCase")]
pub struct PortRange {
    /// The port, or the first of the range: 1 to 65535.
    #[schemars(schema_with = "crate::schema::port")]
    pub port: i32,
    /// The last port of the range, not below `port`. Absent means just `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::port")]
    pub end_port: Option<i32>,
    /// `TCP` (the default), `UDP` or `SCTP`.
    #[serde(default)]
    pub protocol: Protocol,
}

/// A transport protocol.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[allow(clippy::upper_case_acronyms, reason = "the API spells them so")]
pub enum Protocol {
    /// Transmission Control Protocol.
    #[default]
    TCP,
    /// User Datagram Protocol.
    UDP,
    /// Stream Control Transmission Protocol.
    SCTP,
}

/// Networks that must not be reached, unless something allows them: allow wins.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockRule {
    /// A name for people: it is unique in its list and appears in messages.
    #[schemars(schema_with = "crate::schema::rule_name")]
    pub name: String,
    /// Networks in CIDR notation, IPv4 or IPv6, such as `10.0.0.0/8`.
    #[schemars(schema_with = "crate::schema::blocked_cidrs")]
    pub cidrs: Vec<String>,
}

/// What an app may reach when no rule speaks of the destination.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum EgressDefault {
    /// Every address of the served families that is in no block.
    #[default]
    Internet,
    /// Nothing: only what an allow rule names.
    None,
}

/// Egress rules of a Region or a Project.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// What may be reached when no rule speaks of it: `Internet` (the default) or `None`.
    /// `None` anywhere above an app wins: a Project may tighten its Region's, never loosen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::choice::<EgressDefault>")]
    pub default: Option<EgressDefault>,
    /// Networks that are taken out of what `default` opens. In a Region, absent means the list that
    /// Catalyst ships (private, link-local, metadata and special-purpose ranges), and a list that is
    /// present replaces it whole, an empty one too. (A server-side apply that empties a list leaves
    /// it absent: to block nothing after all, name a network that nobody reaches.) In a Project they
    /// add to the Region's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::rules::<BlockRule>")]
    pub blocked: Option<Vec<BlockRule>>,
    /// What may be reached whatever is blocked: allow wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::rules::<AllowRule>")]
    pub allowed: Vec<AllowRule>,
    /// What the teams of the projects below may open for themselves, by an EgressPolicy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegated: Option<Delegated>,
}

/// The bounds within which an EgressPolicy may allow.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delegated {
    /// Networks whose parts a team may open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::cidrs")]
    pub cidrs: Vec<String>,
    /// Namespaces that a team may open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::namespaces")]
    pub namespaces: Vec<String>,
}

/// Ingress rules of a Region or a Project.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// Who may reach the pods of a project, beside the project itself, the release and the monitoring namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::rules::<AllowRule>")]
    pub allowed: Vec<AllowRule>,
}
