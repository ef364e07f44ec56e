//! AppIdentity: the identity of one app of a project, with its token and the Secret it connects by.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

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
    /// What the app speaks on its endpoint. Absent means `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Where the app listens for calls, events and jobs. Absent means that it only calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_endpoint: Option<AppEndpoint>,
    /// Whether the Dapr server asks the app how it is, and sends it nothing while it is not well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// The name of a Dapr Configuration in the same namespace: what it says holds for this app's server. The trust
    /// domain is the region's, and `mtls` is not an app's to set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::object_name")]
    pub app_config: Option<String>,
    /// The largest body that the server takes, such as `16Mi`. Absent means `4Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::bytes")]
    pub max_body_size: Option<String>,
    /// The largest header that the server takes, such as `8Ki`. Absent means `4Ki`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::bytes")]
    pub read_buffer_size: Option<String>,
    /// How many pods the app's Dapr server has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// What each of these pods asks for and may take. Absent means 50m of a CPU and 96Mi, and at most 512Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The account that these pods run as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Account>,
    /// While true nothing more is made for this app and nothing is removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// What an app speaks.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP.
    #[default]
    Http,
    /// gRPC.
    Grpc,
}

/// Where an app listens.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppEndpoint {
    /// Scheme, host and port, such as `http://10.20.0.15:8080`: nothing after the port. With `https` or `grpcs` the
    /// connection is encrypted, but Dapr does not verify the app's certificate.
    #[schemars(schema_with = "crate::schema::app_url")]
    pub url: String,
    /// The key of a Secret in the same namespace: the server sends its value as `dapr-api-token`, so that the app
    /// knows who calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_key_ref: Option<KeyRef>,
}

/// How a Dapr server asks its app how it is.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// The path that is asked, with HTTP. Absent means `/healthz`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::path")]
    pub path: Option<String>,
    /// How often and how patiently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

/// How often an app is asked.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Whether it is asked at all. Absent means true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Seconds between two questions. Absent means 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub interval_in_sec: Option<i32>,
    /// Milliseconds until an answer counts as none, less than the interval. Absent means 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3_600_000))]
    pub timeout_in_ms: Option<i32>,
    /// How many failures in a row make the app unwell. Absent means 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failure_threshold: Option<i32>,
}

/// How many pods there are.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// How many. Absent means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<i32>,
}

/// What a pod asks for and may take, such as `cpu: 100m`, `memory: 128Mi`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What it asks for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "texts")]
    #[schemars(schema_with = "crate::schema::resource_quantities")]
    pub requests: BTreeMap<String, String>,
    /// What it may take.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "texts")]
    #[schemars(schema_with = "crate::schema::resource_quantities")]
    pub limits: BTreeMap<String, String>,
}

/// Takes null as no text at all: that is what the API server makes of a map that loses its last key.
fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A ServiceAccount.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Its annotations, such as those by which a cloud gives it a role.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "texts")]
    #[schemars(schema_with = "crate::schema::annotations")]
    pub annotations: BTreeMap<String, String>,
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
    /// Where the app's Dapr server answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// How many pods of the app's Dapr server are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
}

/// Where a Dapr server answers, inside of the cluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// Dapr's HTTP API, as `DAPR_HTTP_ENDPOINT` of the SDKs.
    #[schemars(length(max = 512))]
    pub http: String,
    /// Dapr's gRPC API, as `DAPR_GRPC_ENDPOINT` of the SDKs.
    #[schemars(length(max = 512))]
    pub grpc: String,
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
