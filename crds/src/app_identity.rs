//! AppIdentity: the identity of one app of a project, with its token and the Secret it connects by.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;

/// What the identity is to be. Everything has a default.
#[derive(
    Clone, CustomResource, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize,
)]
#[kube(
    group = "cra.diagrid.io",
    version = "v1beta1",
    kind = "AppIdentity",
    plural = "appidentities",
    namespaced,
    shortname = "appid",
    category = "catalyst",
    status = "AppIdentityStatus",
    derive = "PartialEq",
    doc = "The identity of one app. It lies in the project's namespace, and its name is the Dapr app id.",
    validation = Rule::new(
        "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,56}[a-z0-9])?$')"
    ).message(
        "metadata.name becomes part of other names: write lower-case letters, digits and dashes, beginning with a letter, ending with a letter or digit, at most 58"
    )
)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "(has(self.apiTokenRevision) ? self.apiTokenRevision : 1) >= (has(oldSelf.apiTokenRevision) ? oldSelf.apiTokenRevision : 1)",
        "message": "apiTokenRevision is a count that only goes up (absent counts as 1): write the one that was there, or one more for a new token",
    }
]))]
#[serde(rename_all = "camelCase")]
pub struct AppIdentitySpec {
    /// Raise it by one to get a new API token. The one before stays valid until the next bump. Absent means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub api_token_revision: Option<i32>,
    /// While true nothing more is made for this app and nothing is removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// What Catalyst says of an AppIdentity.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppIdentityStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One verdict per concern, and `Ready` over all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The SPIFFE ids by which others know this app.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::reported")]
    pub spiffe_ids: Vec<String>,
    /// Where the current API token lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_token_secret_ref: Option<KeyRef>,
    /// The Secret that an application uses: token and endpoints, always the current ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_secret_ref: Option<NameRef>,
}

/// One key of a Secret in the same namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// The Secret's name.
    #[schemars(schema_with = "crate::schema::object_name")]
    pub name: String,
    /// The key in its data.
    #[schemars(schema_with = "crate::schema::secret_key")]
    pub key: String,
}

/// An object in the same namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NameRef {
    /// The object's name.
    #[schemars(schema_with = "crate::schema::object_name")]
    pub name: String,
}
