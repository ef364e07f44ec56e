//! What people see of input that is sound: manifests, verdicts, notes, and never a secret.

mod refused;

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Exit well, stdout, stderr.
fn render(input: &[u8]) -> (bool, String, String) {
    render_as(input, Format::Yaml)
}

fn render_as(mut input: &[u8], output: Format) -> (bool, String, String) {
    let render = Render { filename: vec![PathBuf::from("-")], output, facts: None };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let well = render.run(&mut input, &mut out, &mut err).expect("memory can be written");
    let text = |bytes| String::from_utf8(bytes).expect("we write UTF-8");
    (well, text(out), text(err))
}

const WORLD: &str = r"
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {name: eu}
spec:
  trust: {domain: eu.example.com}
  network:
    egress:
      delegated: {cidrs: [10.20.0.0/16]}
---
apiVersion: cra.diagrid.io/v1beta1
kind: Project
metadata: {name: shop}
spec:
  quota: {hard: {pods: 10}}
---
apiVersion: cra.diagrid.io/v1beta1
kind: AppIdentity
metadata: {name: orders, namespace: prj-shop}
---
apiVersion: cra.diagrid.io/v1beta1
kind: EgressPolicy
metadata: {name: orders, namespace: prj-shop}
spec:
  appIds: [orders]
  allowed:
  - {name: rds, cidrs: [10.20.5.6/32], ports: [{port: 5432, protocol: TCP}]}
---
apiVersion: cra.diagrid.io/v1beta1
kind: SecretRef
metadata: {name: database, namespace: prj-shop}
spec:
  remote: {name: database}
---
apiVersion: v1
kind: Secret
metadata: {name: shop.database, namespace: catalyst-secrets}
data: {password: aHVudGVyMg==}
stringData: {user: root-of-all}
";

#[test]
fn a_good_world_is_printed_in_apply_order_and_everything_is_ready() {
    let (well, out, err) = render(WORLD.as_bytes());
    assert!(well, "{err}");
    let at = |text: &str| out.find(text).unwrap_or_else(|| panic!("no {text} in\n{out}"));
    assert!(at("kind: Namespace") < at("kind: RoleBinding"));
    assert!(at("kind: RoleBinding") < at("kind: NetworkPolicy"));
    assert!(at("name: default-deny") < at("name: base-egress"));
    assert!(out.starts_with("---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: prj-shop\n"));
    assert_eq!(
        err,
        "Region eu: Ready\nProject shop: Ready\nAppIdentity prj-shop/orders: Ready\n\
         EgressPolicy prj-shop/orders: Ready\nSecretRef prj-shop/database: Ready\n"
    );
}

#[test]
fn json_is_one_list_of_the_same_objects() {
    let (_, yaml, _) = render(WORLD.as_bytes());
    let (well, json, _) = render_as(WORLD.as_bytes(), Format::Json);
    let list: Value = serde_json::from_str(&json).expect("JSON");
    assert!(well && list["kind"] == "List");
    assert_eq!(list["items"].as_array().map(Vec::len), Some(yaml.matches("---\n").count()));
}

#[test]
fn secret_values_are_never_printed() {
    let (_, out, err) = render(WORLD.as_bytes());
    assert!(out.contains("password: <secret>") && out.contains("user: <secret>"), "{out}");
    let bad = WORLD.replace("{password: aHVudGVyMg==}", "{password: hunter2!, other: [hunter2]}");
    let (_, bad_out, bad_err) = render(bad.as_bytes());
    assert!(
        bad_err.contains("data.password is no base64") && bad_err.contains("data.other is no text"),
        "{bad_err}"
    );
    for broken in [
        "{password: !!int hunter2}",
        "{password: *hunter2}",
        "{password: hunter2",
        "!!binary hunter2",
        "hunter2",
    ] {
        let (_, out, err) = render(WORLD.replace("{password: aHVudGVyMg==}", broken).as_bytes());
        assert!(!out.contains("hunter2"), "{out}");
        // The name of an anchor is no value.
        assert!(!err.contains("hunter2") || broken.contains('*'), "{broken}: {err}");
    }
    for text in [out, err, bad_out, bad_err] {
        for secret in ["hunter2", "root-of-all", "aHVudGVyMg"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn an_object_that_would_not_be_ready_is_a_finding_and_the_rest_is_printed() {
    let (well, out, err) = render(WORLD.replace("10.20.5.6/32", "10.30.5.6/32").as_bytes());
    assert!(!well && out.contains("kind: Namespace"));
    assert!(
        err.contains("EgressPolicy prj-shop/orders: NotDelegated: spec.allowed[0].cidrs[0]"),
        "{err}"
    );
}

#[test]
fn lists_are_taken_apart_and_what_is_not_ours_is_ignored_with_a_note() {
    let input = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: apps/v1, kind: Deployment}\n\
                 - {apiVersion: cra.diagrid.io/v1beta1, kind: Region, metadata: {name: eu}, spec: {trust: {domain: a.b}}}\n";
    let (well, out, err) = render(input.as_bytes());
    assert!(well && out.is_empty());
    assert_eq!(
        err,
        "note: ignored 1 object of kind Deployment, which Catalyst does not plan from\nRegion eu: Ready\n"
    );
    let (well, _, err) = render(b"");
    assert!(well && err.contains("nothing to plan"), "{err}");
}

#[test]
fn what_kubectl_get_prints_is_taken() {
    let metadata = "{name: shop, uid: a, resourceVersion: \"7\", generation: 3, managedFields: [],\n  \
                    creationTimestamp: \"2026-01-01T00:00:00Z\", deletionGracePeriodSeconds: null}";
    let status = "  quota: {hard: {pods: 10}}\nstatus: {observedGeneration: 3, unheardOf: []}";
    let object =
        WORLD.replace("{name: shop}", metadata).replace("  quota: {hard: {pods: 10}}", status);
    let (well, _, err) = render(object.as_bytes());
    assert!(well, "{err}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        render(&bytes);
    }

    #[test]
    fn a_mutated_world_never_panics_and_never_shows_a_secret(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), "[ -~\n]{0,3}", 0_usize..4), 1..6)
    ) {
        let mut text: Vec<char> = WORLD.chars().collect();
        for (at, insert, remove) in edits {
            let at = at.index(text.len());
            let end = (at + remove).min(text.len());
            text.splice(at..end, insert.chars());
        }
        let (_, out, _) = render(text.into_iter().collect::<String>().as_bytes());
        prop_assert!(!out.contains("hunter2"));
    }
}
