//! The one upstream kind that the spine writes: Dapr's Configuration, as far as it is used.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How one Dapr server behaves. Only the fields that Catalyst sets; Dapr owns the kind and ships its CRD.
#[derive(
    Clone, CustomResource, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize,
)]
#[kube(
    group = "dapr.io",
    version = "v1alpha1",
    kind = "Configuration",
    plural = "configurations",
    namespaced,
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationSpec {
    /// Who may call this app.
    pub access_control: AccessControl,
    /// The same as `metrics`, by its older name: Dapr's CRD defaults both, so both are written out.
    pub metric: Metrics,
    /// Whether the server shows metrics.
    pub metrics: Metrics,
}

/// Whether a Dapr server shows metrics.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Metrics {
    /// On or off.
    pub enabled: bool,
}

/// Who may call an app.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessControl {
    /// What holds for a caller that no policy names: `allow` or `deny`.
    pub default_action: String,
    /// The trust domain of this app's own SVID.
    pub trust_domain: String,
}
