//! SecretRef: a reference to a secret that stays in the region's provider.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;

/// Which secret is meant, and where it is wanted.
#[derive(
    Clone, CustomResource, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize,
)]
#[kube(
    group = "cra.diagrid.io",
    version = "v1beta1",
    kind = "SecretRef",
    plural = "secretrefs",
    namespaced,
    shortname = "sref",
    category = "catalyst",
    status = "SecretRefStatus",
    derive = "PartialEq",
    doc = "A reference to a secret, never its value: the region keeps the secret in its provider."
)]
#[serde(rename_all = "camelCase")]
pub struct SecretRefSpec {
    /// The secret in the region's provider.
    pub remote: Remote,
    /// Which keys are taken, and what they are called here. Absent means all, by their own names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::keys::<SecretKey>")]
    pub keys: Vec<SecretKey>,
    /// Where a Kubernetes Secret is made of it, for what needs one. Absent means under the SecretRef's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

/// A secret in the region's provider.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Remote {
    /// Its name there. A project reaches only its own: with the Kubernetes provider this is the
    /// Secret `<project>.<name>` in the region's secret namespace.
    #[schemars(schema_with = "crate::schema::remote_name")]
    pub name: String,
}

/// One key of a secret.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// What the key is called in the target.
    #[schemars(schema_with = "crate::schema::secret_key")]
    pub name: String,
    /// What it is called in the provider. Absent means the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::secret_key")]
    pub remote_key: Option<String>,
}

/// The Kubernetes Secret that is made.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Its name, in the project's namespace. One that stands there already is never touched.
    #[schemars(schema_with = "crate::schema::object_name")]
    pub secret_name: String,
}

/// What Catalyst says of a SecretRef.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRefStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One verdict per concern, and `Ready` over all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Changes when the value changes, and reveals nothing of it: HMAC-SHA256 under a key of the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub fingerprint: Option<String>,
}
