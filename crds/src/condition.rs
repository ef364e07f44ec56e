//! The condition that every kind carries, as kstatus, Argo CD and `kubectl wait` read it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One aspect of an object's state. Types are positive (`NamespaceReady`); what went wrong is the reason.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is judged, such as `Ready` or `NetworkReady`.
    #[serde(rename = "type")]
    #[schemars(schema_with = "crate::schema::condition_type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    #[schemars(schema_with = "crate::schema::condition_status")]
    pub status: String,
    /// The verdict in one CamelCase word.
    #[schemars(schema_with = "crate::schema::reason")]
    pub reason: String,
    /// The verdict in a sentence that names the field, the value and the mend.
    #[schemars(length(max = crate::schema::MAX_MESSAGE))]
    pub message: String,
    /// When `status` last flipped; a new reason or message does not move it.
    pub last_transition_time: Time,
    /// The `metadata.generation` that was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
