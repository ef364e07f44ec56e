//! Dapr's own kinds: the one that Catalyst writes, and definitions of all for clusters that have none yet.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, from_value, json};

/// How one Dapr server behaves. Dapr owns the kind: what is in it is taken as it is.
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
pub struct ConfigurationSpec {
    /// Every field, by Dapr's names.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// Each kind of Dapr's: version, name, plural, whether it is for some apps only, whether a store of secrets may be named.
/// <https://github.com/dapr/dapr/tree/v1.18.3/charts/dapr/crds>
const KINDS: [(&str, &str, &str, bool, bool); 7] = [
    ("v1alpha1", "Component", "components", true, true),
    ("v1alpha1", "Configuration", "configurations", false, false),
    ("v1alpha1", "HTTPEndpoint", "httpendpoints", true, true),
    ("v1alpha1", "MCPServer", "mcpservers", true, true),
    ("v1alpha1", "Resiliency", "resiliencies", true, false),
    ("v2alpha1", "Subscription", "subscriptions", true, false),
    ("v1alpha1", "WorkflowAccessPolicy", "workflowaccesspolicies", true, false),
];

/// Definitions of Dapr's kinds, for a cluster without Dapr's own: the same names and versions, and of what is in them no
/// more than the configuration stream needs to know. Dapr judges the rest.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    KINDS.iter().filter_map(|kind| from_value(definition(kind)).ok()).collect()
}

fn definition((version, kind, plural, scoped, stored): &(&str, &str, &str, bool, bool)) -> Value {
    let mut properties = json!({
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "description": "As Dapr has it.",
            "x-kubernetes-preserve-unknown-fields": true,
        },
    });
    if *scoped {
        properties["scopes"] = json!({
            "type": "array",
            "description": "The app ids that it is for. Absent means every app of the namespace.",
            "items": {"type": "string", "maxLength": 64},
            "maxItems": 4096,
        });
    }
    if *stored {
        properties["auth"] = json!({
            "type": "object",
            "description": "Where its secrets are. Absent means Secrets and SecretRefs of the namespace.",
            "properties": {"secretStore": {"type": "string", "maxLength": 253}},
        });
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.dapr.io")},
        "spec": {
            "group": "dapr.io",
            "names": {
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": plural,
                "singular": kind.to_lowercase(),
                "categories": ["dapr"],
            },
            "scope": "Namespaced",
            "versions": [{
                "name": version,
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
            }],
        },
    })
}
