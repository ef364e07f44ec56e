//! Promotion by kustomize: an overlay adds to the rules of its base and drops none, with the files in `schemas/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use catalyst_e2e::documents;
use catalyst_testbed::Kubernetes;
use serde_json::{Value, json};

const BASE: &str = "
apiVersion: cra.diagrid.io/v1beta1
kind: Project
metadata: {name: shop}
spec:
  region: eu
---
apiVersion: cra.diagrid.io/v1beta1
kind: AppIdentity
metadata: {name: orders, namespace: prj-shop}
spec: {}
---
apiVersion: cra.diagrid.io/v1beta1
kind: EgressPolicy
metadata: {name: orders, namespace: prj-shop}
spec:
  appIds: [orders]
  allowed:
  - {name: app, cidrs: [10.20.0.15/32], ports: [{port: 8080, protocol: TCP}]}
  - {name: rds, cidrs: [10.20.5.6/32], ports: [{port: 5432, protocol: TCP}]}
";

const PATCH: &str = "
apiVersion: cra.diagrid.io/v1beta1
kind: EgressPolicy
metadata: {name: orders, namespace: prj-shop}
spec:
  allowed:
  - {name: rds, cidrs: [10.99.5.6/32]}
  - {name: cache, cidrs: [10.99.7.7/32]}
";

/// Builds an overlay over [`BASE`] with kustomize as kubectl has it, and returns its EgressPolicy.
fn overlay(name: &str, kustomization: &str) -> Value {
    let kubernetes = Kubernetes::build().expect("kubectl");
    let folder =
        std::env::temp_dir().join(format!("catalyst-overlay-{name}-{}", std::process::id()));
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder is made");
        fs::write(path, text).expect("a file is written");
    };
    write("base/objects.yaml", BASE);
    write("base/kustomization.yaml", "resources: [objects.yaml]\n");
    write("overlay/patch.yaml", PATCH);
    write("overlay/kustomization.yaml", kustomization);
    for file in ["kustomize-openapi.json", "kustomizeconfig.yaml"] {
        let schema = schemas().join(file);
        write(&format!("overlay/{file}"), &fs::read_to_string(schema).expect("a file of schemas/"));
    }
    let kubectl = Command::new(kubernetes.bin.join("kubectl"))
        .args(["kustomize", &folder.join("overlay").to_string_lossy()])
        .output()
        .expect("kubectl runs");
    fs::remove_dir_all(&folder).expect("the folder goes");
    assert!(kubectl.status.success(), "{}", String::from_utf8_lossy(&kubectl.stderr));
    let built = documents(&String::from_utf8_lossy(&kubectl.stdout));
    built.into_iter().find(|object| object["kind"] == "EgressPolicy").expect("an EgressPolicy")
}

fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
}

#[test]
fn an_overlay_merges_rules_by_name_and_drops_none() {
    let policy = overlay(
        "merge",
        "resources: [../base]\nopenapi: {path: kustomize-openapi.json}\npatches: [{path: patch.yaml}]\n",
    );
    let mut rules = policy["spec"]["allowed"].as_array().expect("rules").clone();
    rules.sort_by_key(|rule| rule["name"].as_str().map(String::from));
    let names: Vec<&Value> = rules.iter().map(|rule| &rule["name"]).collect();
    assert_eq!(names, ["app", "cache", "rds"]);
    assert_eq!(
        rules[2]["cidrs"],
        json!(["10.99.5.6/32"]),
        "the overlay's network replaces the base's"
    );
    assert_eq!(rules[2]["ports"][0]["port"], 5432, "what the overlay does not name stays");
}

#[test]
fn without_the_schema_the_same_overlay_would_drop_a_rule() {
    let policy = overlay("plain", "resources: [../base]\npatches: [{path: patch.yaml}]\n");
    assert_eq!(
        policy["spec"]["allowed"].as_array().map(Vec::len),
        Some(2),
        "so the schema is what merges"
    );
}

#[test]
fn a_suffix_follows_into_the_names_of_apps() {
    let policy = overlay(
        "suffix",
        "resources: [../base]\nopenapi: {path: kustomize-openapi.json}\nconfigurations: [kustomizeconfig.yaml]\nnameSuffix: -blue\n",
    );
    assert_eq!(policy["metadata"]["name"], "orders-blue");
    assert_eq!(policy["spec"]["appIds"], json!(["orders-blue"]));
}
