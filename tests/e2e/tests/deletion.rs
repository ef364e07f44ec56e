//! What goes when a Project goes, what stays, in which order, and that nothing comes back meanwhile.

use std::time::Duration;

use catalyst_e2e::{AGENT, Installation, Mark, Request, Stage, is_ready};
use serde_json::{Value, json};

static STAGE: Stage = Stage::new();

/// A machine may be busy.
const SOON: Duration = Duration::from_secs(5);

/// The promise. Kubernetes itself takes 5 s for a namespace.
const MINUTE: Duration = Duration::from_mins(1);

const REGION: &str = "
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {name: eu}
spec: {trust: {domain: eu.example.com}}
";

/// What Catalyst makes in a project's namespace.
const KINDS: [&str; 6] =
    ["RoleBinding", "ResourceQuota", "NetworkPolicy", "ServiceAccount", "Configuration", "Secret"];

/// Applies a project, of this spec, with an app, a policy and a secret, and waits until all is Ready.
fn project(stage: &Installation, name: &str, spec: &str) -> String {
    let namespace = format!("prj-{name}");
    stage.apply(REGION);
    stage.apply(&format!(
        "
apiVersion: cra.diagrid.io/v1beta1
kind: Project
metadata: {{name: {name}}}
spec: {{{spec}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: {name}.database, namespace: catalyst-secrets}}
stringData: {{password: example}}
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
metadata: {{name: web, namespace: {namespace}}}
spec: {{allowed: [{{name: web, cidrs: [1.1.1.1/32]}}]}}
---
apiVersion: cra.diagrid.io/v1beta1
kind: SecretRef
metadata: {{name: database, namespace: {namespace}}}
spec: {{remote: {{name: database}}}}
---
{{apiVersion: v1, kind: ConfigMap, metadata: {{name: theirs, namespace: {namespace}}}}}
"
    ));
    for (kind, name) in DECLARED {
        stage.ready(kind, Some(&namespace), name);
    }
    namespace
}

const DECLARED: [(&str, &str); 3] =
    [("AppIdentity", "orders"), ("EgressPolicy", "web"), ("SecretRef", "database")];

/// A namespace as its owner makes it, who consents.
fn own_namespace(stage: &Installation, project: &str) {
    stage.apply(&format!(
        "
apiVersion: v1
kind: Namespace
metadata:
  name: prj-{project}
  labels: {{cra.diagrid.io/project: {project}, team: a}}
"
    ));
}

/// What Catalyst made that stands in a namespace, as `Kind name`.
fn ours(stage: &Installation, namespace: &str) -> Vec<String> {
    let selector = "app.kubernetes.io/managed-by=catalyst";
    let list = |kind: &&str| stage.list(kind, Some(namespace), selector);
    let name = |object: Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
    KINDS.iter().flat_map(list).map(name).collect()
}

/// Waits until nothing of ours stands in a namespace that stays.
fn cleared(stage: &Installation, namespace: &str) {
    stage.until(MINUTE, &format!("nothing of ours is left in {namespace}"), || {
        let left = ours(stage, namespace);
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    });
}

/// The writes of the operator's accounts in a namespace, or of it, since a moment.
fn writes(stage: &Installation, since: Mark, namespace: &str) -> Vec<Request> {
    let mut writes = stage.writes(since);
    writes.retain(|write| {
        write.namespace() == namespace
            || (write.resource() == "namespaces" && write.name() == namespace)
    });
    writes
}

/// What would make something, or bring it back.
fn makes(write: &Request) -> bool {
    let said = ["events", "/status"].iter().any(|end| write.resource().ends_with(end));
    write.verb() != "delete" && !said && write.code() < 300
}

#[test]
fn a_deleted_project_is_gone_within_a_minute_with_its_namespace_and_all_in_it() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "gone", "");
    let mark = stage.mark();
    stage.delete("Project", None, "gone");
    stage.gone(MINUTE, "Namespace", None, &namespace);
    stage.gone(SOON, "Project", None, "gone");
    let mut made = writes(&stage, mark, &namespace);
    made.retain(makes);
    assert!(made.is_empty(), "made while it went: {made:#?}");
}

#[test]
fn a_taken_namespace_stays_and_what_catalyst_put_into_it_goes_in_order() {
    let stage = STAGE.shared();
    own_namespace(&stage, "stays");
    let namespace = project(&stage, "stays", "quota: {hard: {pods: 10}}");
    let before = stage.the("Namespace", None, &namespace);
    let mark = stage.mark();
    stage.delete("Project", None, "stays");
    stage.gone(MINUTE, "Project", None, "stays");
    cleared(&stage, &namespace);

    let after = stage.the("Namespace", None, &namespace);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    let labels = &after["metadata"]["labels"];
    assert_eq!(
        (&labels["team"], &labels["cra.diagrid.io/project"]),
        (&json!("a"), &json!("stays"))
    );
    assert_eq!(labels["cra.diagrid.io/owner-uid"], Value::Null, "our labels stay behind");
    stage.the("ConfigMap", Some(&namespace), "theirs");
    for (kind, name) in DECLARED {
        // They wait for another Project of the name.
        stage.the(kind, Some(&namespace), name);
        let place = (kind, Some(namespace.as_str()), name);
        stage.told(SOON, place, "Reconciling", "WaitingForProject");
    }

    // First what apps need, then the fence, then what lets us write here, then the finalizer.
    let mut requests = writes(&stage, mark, &namespace);
    requests.retain(|write| write.verb() == "delete" && write.code() == 200);
    let stages = [
        vec!["secrets", "serviceaccounts", "configurations"],
        vec!["networkpolicies"],
        vec!["rolebindings", "resourcequotas"],
    ];
    let stage_of = |write: &Request| {
        stages.iter().position(|kinds| kinds.contains(&write.resource().as_str()))
    };
    let order: Vec<_> = requests.iter().map(stage_of).collect();
    assert!(order.is_sorted() && !order.contains(&None), "{requests:#?}");
    assert_eq!(order.last(), Some(&Some(2)), "{requests:#?}");
    let all = stage.requests(mark);
    let last = all.iter().rposition(|write| {
        write.verb() == "delete" && write.namespace() == namespace && write.code() == 200
    });
    let lifted = all.iter().position(|write| {
        write.user() == AGENT && write.resource() == "projects" && write.name() == "stays"
    });
    assert!(lifted > last, "the finalizer went before the last child");
}

#[test]
fn every_delete_names_the_uid_of_what_it_means() {
    let stage = STAGE.shared();
    own_namespace(&stage, "precise");
    let namespace = project(&stage, "precise", "");
    let mark = stage.mark();
    stage.delete("Project", None, "precise");
    stage.gone(MINUTE, "Project", None, "precise");
    let mut deletes = writes(&stage, mark, &namespace);
    deletes.retain(|write| write.verb() == "delete");
    assert!(!deletes.is_empty());
    for delete in deletes {
        assert!(delete.body()["preconditions"]["uid"].is_string(), "{delete:?} {}", delete.body());
    }
}

#[test]
fn the_namespace_object_is_never_written_where_the_policy_is_external() {
    let stage = STAGE.shared();
    own_namespace(&stage, "external");
    let was = stage.the("Namespace", None, "prj-external");
    let namespace = project(&stage, "external", "namespace: {policy: External}");
    stage.delete("Project", None, "external");
    stage.gone(MINUTE, "Project", None, "external");
    cleared(&stage, &namespace);
    let now = stage.the("Namespace", None, &namespace);
    assert_eq!(now["metadata"]["resourceVersion"], was["metadata"]["resourceVersion"]);
    stage.the("ConfigMap", Some(&namespace), "theirs");
}

#[test]
fn a_retained_namespace_keeps_all_and_a_new_project_of_its_name_takes_it_over() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "kept", "deletionPolicy: Retain");
    let (before, uid) = (ours(&stage, &namespace), stage.the("Namespace", None, &namespace));
    let token = stage.the("Secret", Some(&namespace), "orders-dapr-token-1");
    let mark = stage.mark();
    stage.delete("Project", None, "kept");
    stage.gone(MINUTE, "Project", None, "kept");
    for (kind, name) in DECLARED {
        let place = (kind, Some(namespace.as_str()), name);
        stage.told(SOON, place, "Reconciling", "WaitingForProject");
    }
    assert_eq!(ours(&stage, &namespace), before);
    let mut deletes = writes(&stage, mark, &namespace);
    deletes.retain(|write| write.verb() == "delete");
    assert!(deletes.is_empty(), "{deletes:#?}");

    stage.apply("{apiVersion: cra.diagrid.io/v1beta1, kind: Project, metadata: {name: kept}}");
    let new = stage.ready("Project", None, "kept");
    for (kind, name) in DECLARED {
        stage.ready(kind, Some(&namespace), name);
    }
    let fence = stage.the("NetworkPolicy", Some(&namespace), "default-deny");
    let owner = &fence["metadata"]["labels"]["cra.diagrid.io/owner-uid"];
    assert_eq!(owner, &new["metadata"]["uid"]);
    let namespace_now = stage.the("Namespace", None, &namespace);
    assert_eq!(namespace_now["metadata"]["uid"], uid["metadata"]["uid"]);
    let token_now = stage.the("Secret", Some(&namespace), "orders-dapr-token-1");
    assert_eq!(token_now["data"], token["data"], "the app has another token");

    // The new one says Delete, so now it goes.
    stage.delete("Project", None, "kept");
    stage.gone(MINUTE, "Namespace", None, &namespace);
}

#[test]
fn a_namespace_deleted_by_hand_under_a_living_project_comes_back_fenced() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "revived", "");
    let was = stage.the("Namespace", None, &namespace);
    stage.delete("Namespace", None, &namespace);
    stage.wait_for(MINUTE, ("Namespace", None, &namespace), "is a new one", |now| {
        let new = now["metadata"]["uid"].is_string();
        let new = new && now["metadata"]["uid"] != was["metadata"]["uid"];
        if new { Ok(()) } else { Err(now["status"]["phase"].to_string()) }
    });
    stage.wait_for(SOON, ("Project", None, "revived"), "is Ready", is_ready);
    stage.the("NetworkPolicy", Some(&namespace), "default-deny");
    stage.the("RoleBinding", Some(&namespace), "catalyst-project");
}

/// Deletes a project that a finalizer of somebody else's holds, then what was made for it, and lets it go.
fn nothing_comes_back(stage: &Installation, name: &str, delete: &str) {
    let namespace = format!("prj-{name}");
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    stage.edit("Project", None, name, &held);
    stage.kubectl(delete);
    stage.wait_for(SOON, ("Project", None, name), "is being deleted", |now| {
        let deleting = now["metadata"]["deletionTimestamp"].is_string();
        if deleting { Ok(()) } else { Err(now["metadata"].to_string()) }
    });
    let mark = stage.mark();
    for (kind, child) in [
        ("NetworkPolicy", "default-deny"),
        ("ServiceAccount", "orders-dapr"),
        ("ResourceQuota", "project"),
    ] {
        stage.delete(kind, Some(&namespace), child);
    }
    // Once another project is through, the operator had the time.
    let other = format!("after-{name}");
    project(stage, &other, "");
    let mut made = writes(stage, mark, &namespace);
    made.retain(makes);
    assert!(made.is_empty(), "made while the project went: {made:#?}");
    stage.delete("Project", None, &other);
    stage.edit("Project", None, name, &json!({"metadata": {"finalizers": null}}));
    stage.gone(MINUTE, "Project", None, name);
}

#[test]
fn nothing_is_made_again_once_the_project_is_being_deleted() {
    let stage = STAGE.shared();
    project(&stage, "held", "quota: {hard: {pods: 10}}");
    nothing_comes_back(&stage, "held", "delete project held --wait=false");
    stage.gone(MINUTE, "Namespace", None, "prj-held");
}

#[test]
fn nothing_is_made_again_while_argo_cd_deletes_in_the_foreground() {
    let stage = STAGE.shared();
    project(&stage, "foreground", "quota: {hard: {pods: 10}}");
    let delete = "delete project foreground --cascade=foreground --wait=false";
    nothing_comes_back(&stage, "foreground", delete);
    stage.gone(MINUTE, "Namespace", None, "prj-foreground");
}

#[test]
fn an_app_that_is_deleted_takes_all_that_was_made_for_it_and_nothing_else() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "smaller", "");
    stage.delete("AppIdentity", Some(&namespace), "orders");
    stage.until(MINUTE, "what was made for the app is gone", || {
        let left = ours(&stage, &namespace);
        let left: Vec<_> = left.iter().filter(|name| name.contains("orders")).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    let reference = stage.ready("SecretRef", Some(&namespace), "database");
    assert_eq!(reference["metadata"]["deletionTimestamp"], Value::Null);
    stage.the("Secret", Some(&namespace), "database");
}

#[test]
fn a_policy_that_is_deleted_takes_its_network_policy_with_it() {
    let stage = STAGE.shared();
    let namespace = project(&stage, "narrower", "");
    stage.the("NetworkPolicy", Some(&namespace), "egress-web");
    stage.delete("EgressPolicy", Some(&namespace), "web");
    stage.gone(SOON, "NetworkPolicy", Some(&namespace), "egress-web");
    stage.the("NetworkPolicy", Some(&namespace), "default-deny");
}

#[test]
fn a_project_deleted_while_the_operator_was_down_is_gone_once_it_is_back() {
    let mut stage = STAGE.alone();
    own_namespace(&stage, "asleep");
    let namespace = project(&stage, "asleep", "");
    stage.kill();
    stage.kubectl("delete project asleep --wait=false");
    stage.mend();
    stage.gone(MINUTE, "Project", None, "asleep");
    cleared(&stage, &namespace);
}

#[test]
fn an_app_that_somebody_elses_finalizer_holds_keeps_neither_its_project_nor_what_was_made_for_it() {
    let stage = STAGE.shared();
    own_namespace(&stage, "clung");
    let namespace = project(&stage, "clung", "");
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    stage.edit("AppIdentity", Some(&namespace), "orders", &held);
    stage.delete("AppIdentity", Some(&namespace), "orders");
    stage.delete("Project", None, "clung");
    stage.gone(MINUTE, "Project", None, "clung");
    cleared(&stage, &namespace);
    stage.the("AppIdentity", Some(&namespace), "orders");
    let free = json!({"metadata": {"finalizers": null}});
    stage.edit("AppIdentity", Some(&namespace), "orders", &free);
    stage.gone(SOON, "AppIdentity", Some(&namespace), "orders");
}

/// Every order of three.
const ORDERS: [[&str; 3]; 6] = [
    ["Project", "Namespace", "Region"],
    ["Project", "Region", "Namespace"],
    ["Namespace", "Project", "Region"],
    ["Namespace", "Region", "Project"],
    ["Region", "Project", "Namespace"],
    ["Region", "Namespace", "Project"],
];

#[test]
fn whatever_is_deleted_first_all_of_it_is_gone_within_a_minute_and_nothing_comes_back() {
    // Alone: every project of the cluster is without a region meanwhile.
    let stage = STAGE.alone();
    for (number, order) in ORDERS.iter().enumerate() {
        let [made, taken] = ["made", "taken"].map(|name| format!("{name}-{number}"));
        own_namespace(&stage, &taken);
        let projects = [project(&stage, &made, ""), project(&stage, &taken, "")];
        let begun = stage.mark();
        for kind in order {
            match *kind {
                "Region" => stage.delete("Region", None, "eu"),
                "Namespace" => projects.iter().for_each(|name| stage.delete(kind, None, name)),
                _ => [&made, &taken].iter().for_each(|name| stage.delete(kind, None, name)),
            }
        }
        let mark = stage.mark();
        for (project, namespace) in [&made, &taken].iter().zip(&projects) {
            stage.gone(MINUTE, "Project", None, project);
            stage.gone(MINUTE, "Namespace", None, namespace);
            let mut made = writes(&stage, mark, namespace);
            made.retain(makes);
            assert!(made.is_empty(), "{order:?}: made while it went: {made:#?}");
        }
        stage.gone(SOON, "Region", None, "eu");
        let mut strays = stage.writes(begun);
        strays.retain(|write| {
            write.verb() == "delete" && !projects.iter().any(|own| own == write.namespace())
        });
        assert!(strays.is_empty(), "{order:?}: deleted elsewhere: {strays:#?}");
    }
    stage.apply(REGION);
}

#[test]
fn with_its_definitions_all_that_catalyst_made_goes_within_a_minute_and_nothing_else() {
    let mut stage = Installation::start();
    own_namespace(&stage, "guest");
    let (made, guest) = (project(&stage, "host", ""), project(&stage, "guest", ""));
    let definitions = "projects appidentities egresspolicies secretrefs regions";
    for plural in definitions.split(' ') {
        stage.kubectl(&format!("delete crd {plural}.cra.diagrid.io --wait=false"));
    }
    stage.until(MINUTE, "the definitions are gone", || {
        let left = stage.kubectl("get crd -o name");
        if left.contains("cra.diagrid.io") { Err(left) } else { Ok(()) }
    });
    stage.gone(MINUTE, "Namespace", None, &made);
    cleared(&stage, &guest);
    stage.the("ConfigMap", Some(&guest), "theirs");
    let labels = &stage.the("Namespace", None, &guest)["metadata"]["labels"];
    assert_eq!((&labels["team"], &labels["cra.diagrid.io/owner-uid"]), (&json!("a"), &Value::Null));
    assert!(stage.agent.runs() && stage.secrets.runs(), "a process ended");
}

#[test]
fn without_the_operator_nothing_is_stuck_but_a_project_that_one_patch_frees() {
    let mut stage = STAGE.alone();
    own_namespace(&stage, "stuck");
    let (free, stuck) = (project(&stage, "free", ""), project(&stage, "stuck", ""));
    stage.kill();
    for (kind, name) in DECLARED {
        stage.delete(kind, Some(&stuck), name);
        stage.gone(SOON, kind, Some(&stuck), name);
    }
    stage.delete("Project", None, "free");
    stage.delete("Project", None, "stuck");
    stage.delete("Region", None, "eu");
    stage.gone(SOON, "Region", None, "eu");
    stage.gone(SOON, "Project", None, "free");
    stage.gone(MINUTE, "Namespace", None, &free);

    let waits = stage.the("Project", None, "stuck");
    assert_eq!(waits["metadata"]["finalizers"], json!(["cra.diagrid.io/fence"]));
    // As docs/projects.md says.
    stage.kubectl(r#"patch project stuck --type=merge -p {"metadata":{"finalizers":null}}"#);
    stage.gone(SOON, "Project", None, "stuck");
    stage.the("NetworkPolicy", Some(&stuck), "default-deny");
    stage.delete("Namespace", None, &stuck);
    stage.gone(MINUTE, "Namespace", None, &stuck);
}
