//! The examples that users copy, `gitops-examples/`, and the secrets that the region has for them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cluster::documents;
use crate::installation::{Installation, repository};

/// What the region keeps: never in Git, so no example holds it.
pub const REGION_SECRETS: &str = "
apiVersion: v1
kind: Secret
metadata: {name: shop.database, namespace: catalyst-secrets}
stringData: {username: orders, password: example}
---
apiVersion: v1
kind: Secret
metadata: {name: blog.mail, namespace: catalyst-secrets}
stringData: {host: mail.example.com, password: example}
";

/// The files of the examples, in order, each with its text. What only tools read is left out.
pub fn examples() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    collect(&repository("gitops-examples"), &mut found);
    found.sort();
    assert!(!found.is_empty(), "gitops-examples is empty");
    found
}

/// The objects of our kinds that the examples declare.
pub fn declared() -> Vec<Value> {
    let objects = examples().into_iter().flat_map(|(_, text)| documents(&text));
    objects.filter(|object| is_of(object, "cra.diagrid.io/")).collect()
}

/// Applies the examples in their order, with the region's secrets, and waits until all of it is Ready
/// and nothing more is done.
pub fn settle(installation: &Installation) {
    region_secrets(installation);
    let files = examples();
    let (platform, teams): (Vec<_>, Vec<_>) =
        files.iter().partition(|(path, _)| path.iter().any(|part| part == "platform"));
    for group in [platform, teams] {
        for (_, text) in &group {
            installation.apply(text);
        }
        for object in group.iter().flat_map(|(_, text)| documents(text)) {
            ready(installation, &object);
        }
    }
    installation.calm();
}

/// Writes the region's secrets for the examples.
pub fn region_secrets(installation: &Installation) {
    installation.apply(REGION_SECRETS);
}

fn ready(installation: &Installation, object: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if is_of(object, "cra.diagrid.io/") {
        let (kind, metadata) = (text(&object["kind"]), &object["metadata"]);
        installation.ready(&kind, metadata["namespace"].as_str(), &text(&metadata["name"]));
    }
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    let entries = fs::read_dir(folder).expect("a folder of examples");
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).expect("an example");
            let tools =
                ["kustomize.config.k8s.io/", "kustomize.toolkit.fluxcd.io/", "argoproj.io/"];
            let for_tools = |object| tools.iter().any(|group| is_of(object, group));
            if !documents(&text).iter().any(for_tools) {
                found.push((path, text));
            }
        }
    }
}

fn is_of(object: &Value, group: &str) -> bool {
    object["apiVersion"].as_str().is_some_and(|version| version.starts_with(group))
}
