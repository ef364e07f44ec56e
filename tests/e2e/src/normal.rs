//! Two clusters in the same state, made comparable: without what the server draws or counts.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::cluster::Cluster;

/// What Catalyst makes, and what people declare.
const OURS: [&str; 7] = [
    "Namespace",
    "RoleBinding",
    "ResourceQuota",
    "NetworkPolicy",
    "ServiceAccount",
    "Configuration",
    "Secret",
];
const DECLARED: [&str; 5] = ["Region", "Project", "AppIdentity", "EgressPolicy", "SecretRef"];

/// What the server keeps about an object.
const SERVERS: [&str; 5] =
    ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"];

/// Everything that Catalyst made and that was declared, by kind and place, in its normal form.
pub fn state(cluster: &Cluster) -> BTreeMap<String, Value> {
    let ours = OURS.iter().map(|kind| (kind, "app.kubernetes.io/managed-by=catalyst"));
    let declared = DECLARED.iter().map(|kind| (kind, ""));
    let mut objects = Vec::new();
    for (kind, labels) in ours.chain(declared) {
        objects.extend(cluster.list(kind, None, labels));
    }
    let names: BTreeMap<String, String> =
        objects.iter().map(|object| (text(&object["metadata"]["uid"]), place(object))).collect();
    objects.iter().map(|object| (place(object), normal(object, &names))).collect()
}

/// What an object is for: all but what the server keeps about it, and its status.
pub fn essence(object: &Value) -> Value {
    let mut object = object.clone();
    for field in SERVERS {
        remove(&mut object["metadata"], field);
    }
    remove(&mut object, "status");
    object
}

/// An object without what differs from run to run. A UID becomes the place of the object that has it.
pub fn normal(object: &Value, names: &BTreeMap<String, String>) -> Value {
    let mut object = object.clone();
    let metadata = &mut object["metadata"];
    for field in SERVERS {
        remove(metadata, field);
    }
    remove(&mut object["status"], "observedGeneration");
    if object["kind"] == "ResourceQuota" {
        // The quota controller's, which follows in its own time.
        remove(&mut object, "status");
    }
    if object["status"].is_null() {
        remove(&mut object, "status");
    }
    for value in object["data"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        *value = json!("<value>");
    }
    mask(&mut object, names);
    object
}

fn mask(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(name) = names.get(text.as_str()) {
                *text = format!("<uid of {name}>");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, names)),
        Value::Object(fields) => {
            fields.remove("lastTransitionTime");
            // The generation that a condition is of counts how often a file was sent before.
            fields.remove("observedGeneration");
            // HMAC under a key of each region.
            fields.remove("fingerprint");
            fields.values_mut().for_each(|field| mask(field, names));
        }
        _ => {}
    }
}

fn place(object: &Value) -> String {
    let metadata = &object["metadata"];
    let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
    format!("{} {namespace}/{name}", text(&object["kind"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

fn remove(value: &mut Value, field: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(field);
    }
}
