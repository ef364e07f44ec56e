//! What a tenant may not bring about: each plan refuses it, and what keeps a project fenced is planned all the same.

use std::sync::Arc;

use catalyst_crds::{Project, Region, SecretRef};
use catalyst_plan::{Keep, Live, SecretBytes, names, namespace, secret};
use serde_json::{Value, json};

fn read<K: serde::de::DeserializeOwned>(value: &Value) -> K {
    serde_json::from_value(value.clone()).expect("a manifest of its kind")
}

fn project(spec: &Value) -> Project {
    read(&json!({
        "apiVersion": "cra.diagrid.io/v1beta1", "kind": "Project",
        "metadata": {"name": "shop", "uid": "uid-of-shop"}, "spec": spec,
    }))
}

/// A region, and a namespace `prj-shop` with these labels.
fn world(labels: &[(&str, &str)]) -> namespace::World {
    let region: Region = read(&json!({
        "apiVersion": "cra.diagrid.io/v1beta1", "kind": "Region",
        "metadata": {"name": "eu", "uid": "r"}, "spec": {"trust": {"domain": "eu.example.com"}},
    }));
    let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let labels = Arc::new(labels.collect());
    namespace::World {
        region: Some(Arc::new(region)),
        namespace: Some(Live { labels, ..Live::default() }),
        release: "catalyst-system".into(),
        ..namespace::World::default()
    }
}

#[test]
fn suspend_keeps_the_bindings_without_which_nobody_could_keep_the_fence() {
    let plan = namespace::plan(
        &project(&json!({"suspend": true})),
        &world(&[(names::PROJECT, "shop"), (names::MANAGED_BY, names::CATALYST)]),
    )
    .unwrap();
    let names: Vec<&str> = plan.objects.iter().map(|object| object.key.name.as_str()).collect();
    assert_eq!(names, [namespace::AGENT_BINDING, namespace::SECRETS_BINDING]);
    assert!(plan.suspended && plan.keep == Keep::All);
}

#[test]
fn an_external_namespace_consents_by_its_project_label_and_by_no_other() {
    let external = project(&json!({"namespace": {"policy": "External"}}));
    let squatted = world(&[(names::MANAGED_BY, names::CATALYST)]);
    let refused = namespace::plan(&external, &squatted).unwrap_err();
    assert_eq!(refused.reason, "NamespaceExists");
    assert!(namespace::plan(&external, &world(&[(names::PROJECT, "shop")])).is_ok());
}

#[test]
fn a_secret_ref_takes_no_more_than_a_secret_holds() {
    let keys: Vec<Value> =
        (0..4).map(|index| json!({"name": format!("copy-{index}"), "remoteKey": "big"})).collect();
    let reference = |keys: &[Value]| -> SecretRef {
        read(&json!({
            "apiVersion": "cra.diagrid.io/v1beta1", "kind": "SecretRef",
            "metadata": {"name": "big", "namespace": "prj-shop", "uid": "s"},
            "spec": {"remote": {"name": "big"}, "keys": keys},
        }))
    };
    let value = SecretBytes(vec![0; 400 * 1024].into());
    let world = secret::World {
        project: Some(Arc::new(project(&json!({})))),
        bound: true,
        remote: Some([("big".to_string(), value)].into()),
        fingerprint_key: None,
    };
    assert!(secret::plan(&reference(&keys[..2]), &world).is_ok());
    let refused = secret::plan(&reference(&keys), &world).unwrap_err();
    assert_eq!(refused.reason, "TooLarge");
    assert!(refused.message.contains("spec.keys"), "{}", refused.message);
}
