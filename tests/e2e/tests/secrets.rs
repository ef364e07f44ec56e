//! Secrets reach whom they are for, at once, and nobody else; and no value is found anywhere but in a Secret.

use std::fmt::Write as _;
use std::time::Duration;

use catalyst_e2e::{Installation, Stage};
use serde_json::{Value, json};

static STAGE: Stage = Stage::new();

/// The promise.
const ROTATION: Duration = Duration::from_secs(1);

/// A machine may be busy.
const SOON: Duration = Duration::from_secs(5);

fn project(stage: &Installation, name: &str) -> String {
    stage.apply(&format!(
        "
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {{name: eu}}
spec: {{trust: {{domain: eu.example.com}}}}
---
apiVersion: cra.diagrid.io/v1beta1
kind: Project
metadata: {{name: {name}}}
"
    ));
    stage.ready("Project", None, name);
    format!("prj-{name}")
}

/// Writes a secret of the region's.
fn remote(stage: &Installation, name: &str, values: &Value) {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "catalyst-secrets"},
        "stringData": values,
    });
    stage.apply(&secret.to_string());
}

fn reference(stage: &Installation, namespace: &str, name: &str, spec: &Value) {
    let reference = json!({
        "apiVersion": "cra.diagrid.io/v1beta1",
        "kind": "SecretRef",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    });
    stage.apply(&reference.to_string());
}

fn app(stage: &Installation, namespace: &str, name: &str, revision: u32) {
    let app = json!({
        "apiVersion": "cra.diagrid.io/v1beta1",
        "kind": "AppIdentity",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"apiTokenRevision": revision},
    });
    stage.apply(&app.to_string());
    stage.ready("AppIdentity", Some(namespace), name);
}

/// A value of a Secret, in clear text.
fn value(secret: &Value, key: &str) -> String {
    let encoded = secret["data"][key].as_str().unwrap_or_default();
    let bytes: k8s_openapi::ByteString =
        serde_json::from_value(json!(encoded)).expect("base64 in a Secret");
    String::from_utf8(bytes.0).expect("text")
}

fn encoded(value: &str) -> String {
    let bytes = k8s_openapi::ByteString(value.as_bytes().to_vec());
    serde_json::to_value(bytes).expect("base64").as_str().unwrap_or_default().into()
}

fn fingerprint(reference: &Value) -> String {
    reference["status"]["fingerprint"].as_str().unwrap_or_default().into()
}

#[test]
fn a_rotation_reaches_the_target_within_a_second_and_changes_the_fingerprint() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "rotated");
    remote(&stage, "rotated.database", &json!({"password": "first-4711", "user": "orders"}));
    let spec = json!({
        "remote": {"name": "database"},
        "keys": [{"name": "pw", "remoteKey": "password"}],
        "target": {"secretName": "db"},
    });
    reference(&stage, &namespace, "database", &spec);
    let first = fingerprint(&stage.ready("SecretRef", Some(&namespace), "database"));
    let target = stage.the("Secret", Some(&namespace), "db");
    assert_eq!(target["data"], json!({"pw": encoded("first-4711")}), "only what was asked for");
    assert_eq!(target["type"], "Opaque");

    remote(&stage, "rotated.database", &json!({"password": "second-4711"}));
    let place = ("Secret", Some(namespace.as_str()), "db");
    stage.wait_for(ROTATION, place, "has the new value", |now| {
        let value = value(now, "pw");
        if value == "second-4711" { Ok(()) } else { Err(value) }
    });
    let place = ("SecretRef", Some(namespace.as_str()), "database");
    let second = stage.wait_for(SOON, place, "has another fingerprint", |now| {
        let print = fingerprint(now);
        if print == first { Err(print) } else { Ok(print) }
    });
    assert_eq!(second.len(), 64, "{second}");

    // The same value gives the same fingerprint again, so that one can tell that nothing changed.
    remote(&stage, "rotated.database", &json!({"password": "first-4711"}));
    stage.wait_for(SOON, place, "has its first fingerprint", |now| {
        let print = fingerprint(now);
        if print == first { Ok(()) } else { Err(print) }
    });
}

#[test]
fn a_fingerprint_can_t_be_computed_without_the_region_s_key() {
    let stage = STAGE.shared();
    let namespaces = [project(&stage, "print-a"), project(&stage, "print-b")];
    let mut prints = Vec::new();
    for (namespace, project) in namespaces.iter().zip(["print-a", "print-b"]) {
        remote(&stage, &format!("{project}.pin"), &json!({"pin": "1234"}));
        reference(&stage, namespace, "pin", &json!({"remote": {"name": "pin"}}));
        let ready = stage.ready("SecretRef", Some(namespace), "pin");
        prints.push(fingerprint(&ready));
    }
    // What everybody can compute who guesses the value: its SHA-256.
    let guess = "03ac674216f3e15c761ee1a5e255f067953623c8b388b4459e13f978d7c846f4";
    assert!(prints.iter().all(|print| print.len() == 64 && print != guess), "{prints:?}");
    let key = stage.the("Secret", Some("catalyst-secrets"), "fingerprint-key");
    assert_eq!(key["immutable"], true);
    assert!(value(&key, "key").len() >= 32, "the key is too short to be safe from guesses");
}

#[test]
fn a_target_that_stands_is_never_touched() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "occupied");
    remote(&stage, "occupied.database", &json!({"password": "of-the-region"}));
    stage.apply(&format!(
        "
apiVersion: v1
kind: Secret
metadata: {{name: database, namespace: {namespace}}}
stringData: {{password: the tenants own}}
"
    ));
    let was = stage.the("Secret", Some(&namespace), "database");
    reference(&stage, &namespace, "database", &json!({"remote": {"name": "database"}}));
    let place = ("SecretRef", Some(namespace.as_str()), "database");
    let message = stage.told(SOON, place, "Stalled", "TargetExists");
    assert!(message.contains("\"database\"") && message.contains("spec.target"), "{message}");
    assert_eq!(stage.the("Secret", Some(&namespace), "database"), was);

    // Nor is it when the reference goes.
    stage.delete("SecretRef", Some(&namespace), "database");
    stage.gone(SOON, "SecretRef", Some(&namespace), "database");
    assert_eq!(stage.the("Secret", Some(&namespace), "database"), was);
}

#[test]
fn of_two_references_to_one_target_the_second_is_told_and_takes_nothing() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "siblings");
    for name in ["one", "two"] {
        remote(&stage, &format!("siblings.{name}"), &json!({"password": name}));
    }
    let spec = |name: &str| json!({"remote": {"name": name}, "target": {"secretName": "shared"}});
    reference(&stage, &namespace, "one", &spec("one"));
    stage.ready("SecretRef", Some(&namespace), "one");
    let was = stage.the("Secret", Some(&namespace), "shared");
    assert_eq!(value(&was, "password"), "one");
    reference(&stage, &namespace, "two", &spec("two"));
    stage.told(SOON, ("SecretRef", Some(&namespace), "two"), "Stalled", "TargetExists");
    stage.delete("SecretRef", Some(&namespace), "two");
    stage.gone(SOON, "SecretRef", Some(&namespace), "two");
    stage.ready("SecretRef", Some(&namespace), "one");
    assert_eq!(stage.the("Secret", Some(&namespace), "shared"), was);
}

#[test]
fn a_target_that_was_spoilt_is_put_right_when_its_reference_changes() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "spoilt");
    remote(&stage, "spoilt.database", &json!({"password": "of-the-region"}));
    reference(&stage, &namespace, "database", &json!({"remote": {"name": "database"}}));
    stage.ready("SecretRef", Some(&namespace), "database");
    let wanted = stage.the("Secret", Some(&namespace), "database")["data"].clone();
    let spoil = json!({"data": {"password": encoded("other"), "more": encoded("other")}});
    stage.edit("Secret", Some(&namespace), "database", &spoil);
    let touch = json!({"metadata": {"annotations": {"example.com/touched": "yes"}}});
    stage.edit("SecretRef", Some(&namespace), "database", &touch);
    let place = ("Secret", Some(namespace.as_str()), "database");
    stage.wait_for(SOON, place, "is what it was", |now| {
        let same = now["data"] == wanted;
        if same { Ok(()) } else { Err(now["data"].to_string()) }
    });
}

#[test]
fn the_secret_of_another_project_is_out_of_reach() {
    let stage = STAGE.shared();
    project(&stage, "owner");
    let namespace = project(&stage, "thief");
    remote(&stage, "owner.database", &json!({"password": "not-for-thief"}));
    for name in ["database", "owner.database", "thief.owner.database"] {
        reference(&stage, &namespace, name, &json!({"remote": {"name": name}}));
        let place = ("SecretRef", Some(namespace.as_str()), name);
        let message = stage.told(SOON, place, "Reconciling", "NotFound");
        assert!(message.contains(&format!("\"thief.{name}\"")), "{message}");
    }
    let secrets = stage.list("Secret", Some(&namespace), "");
    assert!(!json!(secrets).to_string().contains(&encoded("not-for-thief")));
    // Names that would climb out are refused at once.
    for name in ["../owner.database", "owner/database", "", "Owner"] {
        let spec = json!({"remote": {"name": name}});
        let object = json!({
            "apiVersion": "cra.diagrid.io/v1beta1", "kind": "SecretRef", "spec": spec,
            "metadata": {"name": "climb", "namespace": namespace},
        });
        let refused = stage.try_apply(&object.to_string()).expect_err(name);
        assert_eq!(refused.code, 422, "{refused}");
    }
}

#[test]
fn a_key_that_is_missing_is_named_beside_those_that_are_there() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "keyless");
    remote(&stage, "keyless.database", &json!({"user": "a", "password": "b"}));
    let spec = json!({"remote": {"name": "database"}, "keys": [{"name": "token"}]});
    reference(&stage, &namespace, "database", &spec);
    let place = ("SecretRef", Some(namespace.as_str()), "database");
    let message = stage.told(SOON, place, "Reconciling", "NotFound");
    for part in ["spec.keys[0].name is \"token\"", "password", "user"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert_eq!(stage.get("Secret", Some(&namespace), "database"), None);
}

#[test]
fn a_new_token_leaves_the_one_before_valid_until_the_next_bump() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "bumped");
    let token = |revision: u32| {
        let name = format!("orders-dapr-token-{revision}");
        stage.get("Secret", Some(&namespace), &name).map(|secret| value(&secret, "token"))
    };
    let connection = |wanted: &str| {
        let place = ("Secret", Some(namespace.as_str()), "orders-dapr");
        stage.wait_for(SOON, place, "has the current token", |now| {
            let token = value(now, "DAPR_API_TOKEN");
            if token == wanted { Ok(()) } else { Err("another one".into()) }
        });
    };
    app(&stage, &namespace, "orders", 1);
    let first = token(1).expect("a token");
    assert!(first.starts_with("cat1_bumped_orders_1_"), "a scanner would not know it");
    assert_eq!(first.len(), "cat1_bumped_orders_1_".len() + 43);
    connection(&first);

    app(&stage, &namespace, "orders", 2);
    let second = token(2).expect("a second token");
    assert_eq!(token(1).as_ref(), Some(&first));
    assert!(second.starts_with("cat1_bumped_orders_2_") && second[21..] != first[21..]);
    connection(&second);

    app(&stage, &namespace, "orders", 3);
    let third = token(3).expect("a third token");
    connection(&third);
    assert_eq!((token(1), token(2)), (None, Some(second)));
    let app = stage.the("AppIdentity", Some(&namespace), "orders");
    let wanted = json!({"name": "orders-dapr-token-3", "key": "token"});
    assert_eq!(app["status"]["apiTokenSecretRef"], wanted);
}

#[test]
fn a_value_is_found_in_secrets_only() {
    let mut stage = STAGE.alone();
    let namespace = project(&stage, "planted");
    app(&stage, &namespace, "orders", 2);
    remote(&stage, "planted.good", &json!({"password": "planted-value-good"}));
    remote(&stage, "planted.taken", &json!({"password": "planted-value-taken"}));
    remote(&stage, "planted.partial", &json!({"password": "planted-value-partial"}));
    stage.apply(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: taken, namespace: {namespace}}},
          stringData: {{password: planted-value-tenant}}}}"
    ));
    let whole = |name: &str| json!({"remote": {"name": name}});
    reference(&stage, &namespace, "good", &whole("good"));
    reference(&stage, &namespace, "taken", &whole("taken"));
    let missing = json!({"remote": {"name": "partial"}, "keys": [{"name": "other"}]});
    reference(&stage, &namespace, "partial", &missing);
    stage.ready("SecretRef", Some(&namespace), "good");
    let place = |name| ("SecretRef", Some(namespace.as_str()), name);
    stage.told(SOON, place("taken"), "Stalled", "TargetExists");
    stage.told(SOON, place("partial"), "Reconciling", "NotFound");
    // Something to repair, and something that fails on the way.
    let spoil = json!({"data": {"password": encoded("planted-value-spoilt")}});
    stage.edit("Secret", Some(&namespace), "good", &spoil);
    remote(&stage, "planted.good", &json!({"password": "planted-value-rotated"}));
    let target = ("Secret", Some(namespace.as_str()), "good");
    stage.wait_for(SOON, target, "has the new value", |now| {
        let value = value(now, "password");
        if value == "planted-value-rotated" { Ok(()) } else { Err(value) }
    });
    stage.kill();
    stage.mend();
    stage.ready("SecretRef", Some(&namespace), "good");

    let mut values: Vec<String> = ["good", "taken", "partial", "tenant", "spoilt", "rotated"]
        .iter()
        .map(|name| format!("planted-value-{name}"))
        .collect();
    for secret in ["orders-dapr", "orders-dapr-token-2"] {
        let secret = stage.the("Secret", Some(&namespace), secret);
        let data = secret["data"].as_object().expect("data");
        values.extend(data.keys().map(|key| value(&secret, key)));
    }
    let key = stage.the("Secret", Some("catalyst-secrets"), "fingerprint-key");
    values.push(value(&key, "key"));

    let mut seen = String::new();
    let kinds = [
        "Region",
        "Project",
        "AppIdentity",
        "EgressPolicy",
        "SecretRef",
        "ConfigMap",
        "Event",
        "Configuration",
        "NetworkPolicy",
        "ServiceAccount",
        "RoleBinding",
        "Namespace",
        "Lease",
    ];
    for kind in kinds {
        let _ = writeln!(seen, "{}", json!(stage.list(kind, None, "")));
    }
    seen += &stage.kubectl("get events -A -o yaml");
    for operator in [&stage.agent, &stage.secrets] {
        seen += &operator.log();
        seen += &operator.metrics();
    }
    assert!(seen.contains("TargetExists") && seen.contains("fingerprint"), "nothing was looked at");
    for value in values {
        for form in [&value, &encoded(&value)] {
            if let Some(at) = seen.find(form.as_str()) {
                let around = seen[..at].chars().rev().take(400).collect::<String>();
                let around: String = around.chars().rev().collect();
                assert!(form.is_empty(), "{form} was found after: {around}");
            }
        }
    }
}
