//! Project: a fenced namespace `prj-<name>` with its quota, roles and network rules.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::condition::Condition;
use crate::network::{Egress, Ingress};

/// What the project is to be. Everything has a default.
#[derive(
    Clone, CustomResource, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize,
)]
#[kube(
    group = "cra.diagrid.io",
    version = "v1beta1",
    kind = "Project",
    plural = "projects",
    shortname = "prj",
    category = "catalyst",
    status = "ProjectStatus",
    derive = "PartialEq",
    doc = "A fenced namespace for one team: the name is the project's id, the namespace is `prj-<name>`.",
    validation = Rule::new(
        "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,57}[a-z0-9])?$')"
    ).message(
        "metadata.name becomes the namespace prj-<name>: write lower-case letters, digits and dashes, beginning and ending with a letter or digit, at most 59"
    )
)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(oldSelf.region) || (has(self.region) && self.region == oldSelf.region)",
        "message": "region can't be changed or removed once it is set: write the region that was there",
    }
]))]
#[serde(rename_all = "camelCase")]
pub struct ProjectSpec {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub display_name: Option<String>,
    /// The name of the Region, as a guard against applying to the wrong cluster. It can't be changed once set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::object_name")]
    pub region: Option<String>,
    /// What happens to the namespace when the Project is deleted: `Delete` (the default) or `Retain`.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Who makes the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<ProjectNamespace>,
    /// How much the project may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// Network rules that add to the Region's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<ProjectNetwork>,
    /// While true nothing more is made for this Project and nothing is removed. The fence stays kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// What happens to a project's namespace when the Project goes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// A namespace that Catalyst made is deleted with all in it. One that it did not make stays, and what Catalyst put into it goes.
    #[default]
    Delete,
    /// The namespace and all in it stay, the fence included.
    Retain,
}

/// Who makes the project's namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectNamespace {
    /// `Create` (the default) makes the namespace `prj-<name>`, or takes one that carries the label
    /// `cra.diagrid.io/project: <name>`, which is its owner's consent. `External` never writes the
    /// Namespace, which must carry that label, and works inside it.
    #[serde(default)]
    pub policy: NamespacePolicy,
}

/// Who makes a project's namespace.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum NamespacePolicy {
    /// Catalyst makes it, or takes one whose owner consents by label.
    #[default]
    Create,
    /// Somebody else makes it; Catalyst never writes the Namespace object.
    External,
}

/// Limits of a project.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// What becomes `spec.hard` of a ResourceQuota in the namespace, such as `requests.cpu: 4`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "quantities")]
    #[schemars(schema_with = "crate::schema::quantities")]
    pub hard: BTreeMap<String, String>,
    /// How many AppIdentities may be ready. One over the limit says so and makes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_app_identities: Option<i32>,
}

/// Takes `pods: 10` as well as `pods: "10"`, as Kubernetes does in a `ResourceQuota`; and null,
/// which is what the API server makes of a map that loses its last key.
fn quantities<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Quantity {
        Number(i64),
        Text(String),
    }
    let found = Option::<BTreeMap<String, Quantity>>::deserialize(from)?;
    let texts = found.into_iter().flatten().map(|(resource, quantity)| match quantity {
        Quantity::Number(number) => (resource, number.to_string()),
        Quantity::Text(text) => (resource, text),
    });
    Ok(texts.collect())
}

/// Network rules of a project. They add to the Region's.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectNetwork {
    /// What the project's apps may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// Who may reach the project's apps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
}

/// What Catalyst says of a Project.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One verdict per concern, and `Ready` over all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The project's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::namespace")]
    pub namespace: Option<String>,
    /// The project's apps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apps: Option<Apps>,
}

/// A count of AppIdentities.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Apps {
    /// How many are ready.
    pub ready: i32,
    /// How many there are, but for those that nobody has looked at yet.
    pub total: i32,
    /// Both, for people: `2/3`.
    #[schemars(length(max = 32))]
    pub summary: String,
}

#[cfg(test)]
mod tests {
    use super::Quota;

    #[test]
    fn a_quota_takes_numbers_and_texts() {
        let quota: Quota =
            serde_saphyr::from_str("hard: {pods: 10, cpu: '4', memory: 8589934592, disk: 1.5Gi}")
                .unwrap();
        let found: Vec<&str> = quota.hard.values().map(String::as_str).collect();
        assert_eq!(found, ["4", "1.5Gi", "8589934592", "10"]);
        let emptied: Quota = serde_saphyr::from_str("hard: null").unwrap();
        assert!(emptied.hard.is_empty());
    }
}
