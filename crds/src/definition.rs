//! The CRDs as an API server takes and keeps them: what is applied is what is read back, so a GitOps diff is empty.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, JSON, JSONSchemaProps,
    JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::{AppIdentity, EgressPolicy, Project, Region, SecretRef};

/// The YAML of [`definitions`] as the repository shows it, for whoever prints or applies it as text.
pub const MANIFESTS: [&str; 5] = [
    include_str!("../region.yaml"),
    include_str!("../project.yaml"),
    include_str!("../appidentity.yaml"),
    include_str!("../egresspolicy.yaml"),
    include_str!("../secretref.yaml"),
];

/// The five CRDs, those that others refer to first.
///
/// # Guarantees
///
/// Every list, map and string has a bound, and no list is empty: the API server would drop it.
/// A default would show as a difference from Git, so there are two only: `status`, by which
/// kstatus sees that nobody has looked at a fresh object yet, and an empty `spec`.
///
/// # Caveats
///
/// When a server-side apply leaves an object that had fields without any (`network: {}`), the API
/// server stores null in its place. So optional objects are `nullable`, and `spec` has its default.
pub fn definitions() -> [CustomResourceDefinition; 5] {
    [
        definition::<Region>(vec![column("Domain", ".spec.trust.domain")]),
        definition::<Project>(vec![
            column("Namespace", ".status.namespace"),
            column("Apps", ".status.apps.summary"),
        ]),
        definition::<AppIdentity>(vec![wide(column("SPIFFE ID", ".status.spiffeIds[0]"))]),
        definition::<EgressPolicy>(vec![]),
        definition::<SecretRef>(vec![]),
    ]
}

fn definition<K: CustomResourceExt>(
    own: Vec<CustomResourceColumnDefinition>,
) -> CustomResourceDefinition {
    let mut crd = K::crd();
    let columns = columns(own);
    for version in &mut crd.spec.versions {
        version.additional_printer_columns = Some(columns.clone());
        let schema = version.schema.as_mut();
        let Some(root) = schema.and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        root.title = None;
        tidy(root);
        let Some(properties) = root.properties.as_mut() else {
            continue;
        };
        if let Some(status) = properties.get_mut("status") {
            status.nullable = None;
            status.default = Some(JSON(json!({ "observedGeneration": -1 })));
        }
        if let Some(spec) = properties.get_mut("spec").filter(|spec| spec.required.is_none()) {
            spec.default = Some(JSON(json!({})));
            // Below 1.25 kubectl looks for what is required by itself, and knows no defaults.
            root.required = None;
        }
    }
    crd
}

/// The first question of whoever lists objects: is it ready, and if not, why.
fn columns(own: Vec<CustomResourceColumnDefinition>) -> Vec<CustomResourceColumnDefinition> {
    let ready = |field: &str| format!(r#".status.conditions[?(@.type=="Ready")].{field}"#);
    let mut columns = vec![column("Ready", &ready("status")), column("Status", &ready("reason"))];
    columns.extend(own);
    columns.push(CustomResourceColumnDefinition {
        type_: "date".into(),
        ..column("Age", ".metadata.creationTimestamp")
    });
    columns.push(wide(column("Message", &ready("message"))));
    columns
}

fn column(name: &str, json_path: &str) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: name.into(),
        type_: "string".into(),
        json_path: json_path.into(),
        ..Default::default()
    }
}

/// Shows only with `-o wide`.
fn wide(column: CustomResourceColumnDefinition) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition { priority: Some(1), ..column }
}

/// Takes away what the derives add and nobody means.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.default = None;
    if schema.type_.as_deref() != Some("object") {
        schema.nullable = None;
    }
    schema.description = schema.description.as_deref().map(unwrapped);
    for property in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        tidy(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

/// A doc comment without the line breaks of its source; paragraphs stay.
fn unwrapped(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|p| p.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}
