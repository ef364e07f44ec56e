//! Whatever somebody else does to what Catalyst made is put right; whatever is theirs is left alone.
//!
//! The foreign hand is a cluster administrator's: to anybody else admission refuses all of this.

use std::time::Duration;

use catalyst_e2e::{Installation, Stage, condition, essence};
use serde_json::{Value, json};

static STAGE: Stage = Stage::new();

/// It takes some milliseconds; a machine may be busy.
const SOON: Duration = Duration::from_secs(5);

const REGION: &str = "
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {name: eu}
spec: {trust: {domain: eu.example.com}}
";

/// The kinds of children that are watched. Secrets are not.
const KINDS: [&str; 5] =
    ["RoleBinding", "ResourceQuota", "NetworkPolicy", "ServiceAccount", "Configuration"];

/// A project with an app and a policy, so with a child of every kind, once it is Ready.
fn project(stage: &Installation, name: &str) -> String {
    let namespace = format!("prj-{name}");
    stage.apply(REGION);
    stage.apply(&format!(
        "
apiVersion: cra.diagrid.io/v1beta1
kind: Project
metadata: {{name: {name}}}
spec:
  quota: {{hard: {{pods: 10}}}}
  network: {{egress: {{delegated: {{cidrs: [10.20.0.0/16]}}}}}}
"
    ));
    stage.ready("Project", None, name);
    stage.apply(&format!(
        "
apiVersion: cra.diagrid.io/v1beta1
kind: AppIdentity
metadata: {{name: orders, namespace: {namespace}}}
---
apiVersion: cra.diagrid.io/v1beta1
kind: EgressPolicy
metadata: {{name: orders, namespace: {namespace}}}
spec:
  appIds: [orders]
  blocked: [{{name: resolver, cidrs: [8.8.8.8/32]}}]
  allowed: [{{name: db, cidrs: [10.20.5.6/32], ports: [{{port: 5432}}]}}]
"
    ));
    stage.ready("AppIdentity", Some(&namespace), "orders");
    stage.ready("EgressPolicy", Some(&namespace), "orders");
    namespace
}

/// The children in a namespace, of the kinds that are watched.
fn children(stage: &Installation, namespace: &str) -> Vec<Value> {
    let ours = "app.kubernetes.io/managed-by=catalyst";
    let list = |kind: &&str| {
        let children = stage.list(kind, Some(namespace), ours);
        assert!(!children.is_empty(), "there is no {kind} of ours in {namespace}");
        children
    };
    KINDS.iter().flat_map(list).collect()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    let found = if field == "kind" { &object[field] } else { &object["metadata"][field] };
    found.as_str().unwrap_or_default()
}

/// Waits until an object is again what it was, and returns it.
fn restored(stage: &Installation, was: &Value, what: &str) -> Value {
    let namespace = was["metadata"]["namespace"].as_str();
    let place = (text(was, "kind"), namespace, text(was, "name"));
    let wanted = essence(was);
    stage.wait_for(SOON, place, &format!("is what it was before {what}"), |now| {
        let same = essence(now) == wanted;
        if same { Ok(now.clone()) } else { Err(format!("{:#}", essence(now))) }
    })
}

/// What a foreign hand does to a child: values changed, and fields added beside ours.
fn edits(child: &Value) -> Vec<Value> {
    match (text(child, "kind"), text(child, "name")) {
        ("NetworkPolicy", "default-deny") => vec![
            json!({"spec": {"egress": [{}]}}),
            json!({"spec": {"policyTypes": ["Ingress"]}}),
            json!({"spec": {"podSelector": {"matchLabels": {"app": "nobody"}}}}),
        ],
        ("NetworkPolicy", _) => {
            vec![json!({"spec": {"ingress": [{}], "egress": [{}]}})]
        }
        ("ResourceQuota", _) => vec![
            json!({"spec": {"hard": {"pods": "1000"}}}),
            json!({"spec": {"hard": {"count/secrets": "1"}}}),
        ],
        ("RoleBinding", _) => {
            let mut subjects = child["subjects"].clone();
            let eve =
                json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"});
            subjects.as_array_mut().expect("subjects").push(eve.clone());
            vec![json!({"subjects": subjects}), json!({"subjects": [eve]})]
        }
        ("ServiceAccount", _) => vec![
            json!({"automountServiceAccountToken": true}),
            json!({"metadata": {"ownerReferences": null}}),
        ],
        ("Configuration", _) => vec![
            json!({"spec": {"accessControl": {"defaultAction": "deny"}}}),
            json!({"spec": {"tracing": {"samplingRate": "1"}}}),
        ],
        (kind, name) => unreachable!("what would somebody do to {kind} {name}?"),
    }
}

fn edit(stage: &Installation, object: &Value, patch: &Value) {
    let namespace = object["metadata"]["namespace"].as_str();
    stage.edit(text(object, "kind"), namespace, text(object, "name"), patch);
}

fn delete(stage: &Installation, object: &Value) {
    let namespace = object["metadata"]["namespace"].as_str();
    stage.delete(text(object, "kind"), namespace, text(object, "name"));
}

#[test]
fn every_child_that_is_deleted_comes_back() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "deleted");
    for child in children(&stage, &namespace) {
        delete(&stage, &child);
        let now = restored(&stage, &child, "it was deleted");
        assert_ne!(text(&now, "uid"), text(&child, "uid"), "it was not deleted: {child:#}");
    }
    stage.ready("Project", None, "deleted");
    stage.ready("AppIdentity", Some(&namespace), "orders");
}

#[test]
fn every_child_that_is_edited_is_put_right_fields_added_to_it_included() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "edited");
    for child in children(&stage, &namespace) {
        for patch in edits(&child) {
            edit(&stage, &child, &patch);
            let now = restored(&stage, &child, &patch.to_string());
            assert_eq!(text(&now, "uid"), text(&child, "uid"), "it was made anew");
        }
    }
}

#[test]
fn our_labels_come_back_on_every_child_and_on_the_namespace() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "relabelled");
    let mut objects = children(&stage, &namespace);
    objects.push(stage.the("Namespace", None, &namespace));
    for object in objects {
        let labels = object["metadata"]["labels"].as_object().expect("labels");
        let ours: Vec<_> =
            labels.keys().filter(|label| *label != "kubernetes.io/metadata.name").collect();
        // One by one, as each may be what the object is known by, and all at once.
        let mut patches: Vec<Value> = ours.iter().map(|label| json!({ *label: null })).collect();
        patches.push(ours.iter().map(|label| ((*label).clone(), Value::Null)).collect());
        for labels in patches {
            let patch = json!({"metadata": {"labels": labels}});
            edit(&stage, &object, &patch);
            let now = restored(&stage, &object, &patch.to_string());
            assert_eq!(text(&now, "uid"), text(&object, "uid"), "it was made anew");
        }
    }
    stage.ready("Project", None, "relabelled");
}

#[test]
fn a_namespace_of_ours_that_was_made_less_secure_is_restricted_again() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "insecure");
    let was = stage.the("Namespace", None, &namespace);
    let level = "pod-security.kubernetes.io/enforce";
    let patch = json!({"metadata": {"labels": {level: "privileged"}}});
    edit(&stage, &was, &patch);
    restored(&stage, &was, &patch.to_string());
}

#[test]
fn labels_and_annotations_of_others_stay_when_a_child_is_put_right() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "annotated");
    let theirs = json!({"labels": {"team": "a"}, "annotations": {"example.com/note": "ours too"}});
    for child in children(&stage, &namespace) {
        edit(&stage, &child, &json!({"metadata": theirs}));
        let (kind, name) = (text(&child, "kind"), text(&child, "name"));
        let marked = stage.the(kind, Some(&namespace), name);
        for patch in edits(&child) {
            edit(&stage, &child, &patch);
            restored(&stage, &marked, &patch.to_string());
        }
    }
}

#[test]
fn what_was_done_while_the_operator_was_down_is_put_right_once_it_is_back() {
    let mut stage = STAGE.alone();
    let deleted = project(&stage, "down-deleted");
    let edited = project(&stage, "down-edited");
    let mut before = Vec::new();
    stage.kill();
    for child in children(&stage, &deleted) {
        delete(&stage, &child);
        before.push((child, "it was deleted"));
    }
    for child in children(&stage, &edited) {
        edit(&stage, &child, &edits(&child)[0]);
        before.push((child, "it was edited"));
    }
    for namespace in [&deleted, &edited] {
        let namespace = stage.the("Namespace", None, namespace);
        let labels =
            json!({"app.kubernetes.io/managed-by": null, "cra.diagrid.io/owner-uid": null});
        edit(&stage, &namespace, &json!({"metadata": {"labels": labels}}));
        before.push((namespace, "it was relabelled"));
    }
    let connection = stage.the("Secret", Some(&edited), "orders-dapr");
    edit(&stage, &connection, &json!({"data": {"DAPR_API_TOKEN": "c3RvbGVu", "more": "c3RvbGVu"}}));
    before.push((connection, "it was edited"));
    let connection = stage.the("Secret", Some(&deleted), "orders-dapr");
    delete(&stage, &connection);
    before.push((connection, "it was deleted"));
    stage.mend();
    for (child, what) in &before {
        restored(&stage, child, what);
    }
}

#[test]
fn a_tenants_own_object_of_a_childs_name_is_never_touched_and_shows_as_name_taken() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "tenants");
    stage.apply(&format!(
        "
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: a-dapr, namespace: {namespace}}}}}
---
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {{name: b-dapr, namespace: {namespace}}}
spec: {{tracing: {{samplingRate: '1'}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: c-dapr, namespace: {namespace}}}
stringData: {{DAPR_API_TOKEN: the tenants own}}
"
    ));
    let apps = [("ServiceAccount", "a"), ("Configuration", "b"), ("Secret", "c")];
    let taken: Vec<Value> = apps
        .iter()
        .map(|(kind, app)| stage.the(kind, Some(&namespace), &format!("{app}-dapr")))
        .collect();
    for (kind, app) in apps {
        stage.apply(&format!(
            "
{{apiVersion: cra.diagrid.io/v1beta1, kind: AppIdentity,
  metadata: {{name: {app}, namespace: {namespace}}}}}
"
        ));
        let place = ("AppIdentity", Some(namespace.as_str()), app);
        let message = stage.told(SOON, place, "Stalled", "NameTaken");
        assert!(message.contains(&format!("{kind} {namespace}/{app}-dapr")), "{message}");
    }
    for ((kind, app), was) in apps.iter().zip(&taken) {
        let now = stage.the(kind, Some(&namespace), &format!("{app}-dapr"));
        assert_eq!(now["metadata"]["resourceVersion"], was["metadata"]["resourceVersion"]);
    }
    stage.ready("Project", None, "tenants");
    // As the message says: renamed or deleted, and then ours is made.
    delete(&stage, &taken[0]);
    stage.ready("AppIdentity", Some(&namespace), "a");
}

#[test]
fn a_taken_namespace_keeps_what_is_not_ours_in_it_and_on_it() {
    let stage = STAGE.shared();
    stage.apply(REGION);
    stage.apply(
        "
apiVersion: v1
kind: Namespace
metadata:
  name: prj-taken
  labels:
    cra.diagrid.io/project: taken
    pod-security.kubernetes.io/enforce: baseline
    team: a
  annotations: {example.com/owner: team-a}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: theirs, namespace: prj-taken}, data: {a: b}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: Project, metadata: {name: taken}}
",
    );
    let config = stage.the("ConfigMap", Some("prj-taken"), "theirs");
    let project = stage.ready("Project", None, "taken");
    let message = condition(&project, "Ready")["message"].as_str().unwrap_or_default();
    assert!(message.contains("baseline"), "no warning of a low Pod Security level: {message}");

    let namespace = stage.the("Namespace", None, "prj-taken");
    let (labels, metadata) = (&namespace["metadata"]["labels"], &namespace["metadata"]);
    assert_eq!(labels["team"], "a");
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "baseline");
    assert_eq!(labels["cra.diagrid.io/owner-uid"], project["metadata"]["uid"]);
    assert_eq!(labels["app.kubernetes.io/managed-by"], Value::Null, "Catalyst did not make it");
    assert_eq!(metadata["ownerReferences"], Value::Null, "it would go with the Project");
    assert_eq!(metadata["annotations"]["example.com/owner"], "team-a");
    assert_eq!(stage.the("ConfigMap", Some("prj-taken"), "theirs"), config);

    let patch = json!({"metadata": {"labels": {"cra.diagrid.io/owner-uid": null, "team": "b"}}});
    edit(&stage, &namespace, &patch);
    let mut wanted = namespace.clone();
    wanted["metadata"]["labels"]["team"] = json!("b");
    restored(&stage, &wanted, &patch.to_string());
}

#[test]
fn who_else_sets_our_labels_on_a_taken_namespace_is_named_and_not_fought() {
    let stage = STAGE.shared();
    stage.apply(REGION);
    stage.apply(
        "
{apiVersion: v1, kind: Namespace,
  metadata: {name: prj-fought, labels: {cra.diagrid.io/project: fought}}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: Project, metadata: {name: fought}}
",
    );
    stage.ready("Project", None, "fought");
    let mark = stage.mark();
    let label = "cra.diagrid.io/controller";
    let patch = json!({"metadata": {"labels": {label: "somebody"}}});
    stage.edit("Namespace", None, "prj-fought", &patch);
    let place = ("Project", None, "fought");
    let message = stage.told(SOON, place, "Stalled", "HeldByOther");
    assert!(message.contains("foreign-hand") && message.contains(label), "{message}");
    let namespace = stage.the("Namespace", None, "prj-fought");
    assert_eq!(namespace["metadata"]["labels"][label], "somebody");
    let mut writes = stage.writes(mark);
    writes.retain(|write| write.resource() == "namespaces" && write.name() == "prj-fought");
    assert!(writes.iter().all(|write| write.code() == 409) && writes.len() <= 2, "{writes:#?}");
}

#[test]
fn a_secret_is_put_right_when_its_owner_changes() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "secret");
    let (connection, token) = ("orders-dapr", "orders-dapr-token-1");
    let touch = |count: u32| {
        let patch =
            json!({"metadata": {"annotations": {"example.com/touched": count.to_string()}}});
        stage.edit("AppIdentity", Some(&namespace), "orders", &patch);
    };
    let was = stage.the("Secret", Some(&namespace), connection);
    let patches = [
        json!({"data": {"DAPR_API_TOKEN": "c3RvbGVu"}}),
        json!({"data": {"extra": "c3RvbGVu"}}),
        json!({"metadata": {"labels": {"cra.diagrid.io/owner-uid": null}}}),
    ];
    for (count, patch) in (1..).zip(&patches) {
        edit(&stage, &was, patch);
        touch(count);
        restored(&stage, &was, &patch.to_string());
    }
    delete(&stage, &was);
    touch(10);
    restored(&stage, &was, "it was deleted");

    // Nobody can draw the same value again: a token that is gone comes back as another one.
    let old = stage.the("Secret", Some(&namespace), token);
    delete(&stage, &old);
    touch(11);
    let place = ("Secret", Some(namespace.as_str()), token);
    let new = stage.wait_for(SOON, place, "is back, with another value", |now| {
        let value = &now["data"]["token"];
        let new = value.is_string() && *value != old["data"]["token"];
        if new { Ok(value.clone()) } else { Err("not so".into()) }
    });
    let place = ("Secret", Some(namespace.as_str()), connection);
    stage.wait_for(SOON, place, "has the new token", |now| {
        let follows = now["data"]["DAPR_API_TOKEN"] == new;
        if follows { Ok(()) } else { Err("another one".into()) }
    });
    stage.ready("AppIdentity", Some(&namespace), "orders");
}

#[test]
fn a_network_policy_of_somebody_else_stays_and_is_named_in_the_condition() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "foreign");
    stage.apply(&format!(
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: everything, namespace: {namespace}}}
spec: {{podSelector: {{}}, policyTypes: [Egress], egress: [{{}}]}}
"
    ));
    let named = |wanted: bool| {
        let what = if wanted { "names it" } else { "names it no more" };
        stage.wait_for(SOON, ("Project", None, "foreign"), what, |project| {
            let message = condition(project, "NetworkReady")["message"].to_string();
            if message.contains("NetworkPolicy everything") == wanted {
                Ok(())
            } else {
                Err(message)
            }
        });
    };
    named(true);
    assert!(stage.get("NetworkPolicy", Some(&namespace), "everything").is_some());
    stage.delete("NetworkPolicy", Some(&namespace), "everything");
    named(false);
}
