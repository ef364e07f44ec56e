//! What a test may rely on while its control plane runs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use catalyst_testbed::{ControlPlane, Error, Kubernetes, Options, Output, dapr_crds};
use serde_json::Value;

/// Whose request bodies the shared control plane records.
const AGENT: &str = "system:serviceaccount:catalyst-system:catalyst-agent";
const AGENT_GROUPS: [&str; 2] =
    ["system:serviceaccounts", "system:serviceaccounts:catalyst-system"];

/// The control plane of all tests that don't stop it. Never dropped: its end is the janitor's work.
fn shared() -> &'static ControlPlane {
    static SHARED: OnceLock<ControlPlane> = OnceLock::new();
    SHARED.get_or_init(|| {
        let options = Options {
            crds: dapr_crds().expect("Dapr's definitions"),
            audit_bodies_of: vec![AGENT.to_owned()],
            ..Options::default()
        };
        ControlPlane::start(&options).expect("a control plane")
    })
}

fn ok(output: Result<Output, Error>) -> String {
    output.and_then(Output::success).expect("kubectl succeeds")
}

fn as_user(cluster: &ControlPlane, kubeconfig: &Path, arguments: &[&str]) -> Output {
    let kubeconfig = kubeconfig.to_str().expect("a path in UTF-8");
    cluster.kubectl(&[&["--kubeconfig", kubeconfig], arguments].concat()).expect("kubectl runs")
}

#[test]
fn it_answers_readyz_in_the_pinned_version() {
    assert_eq!(ok(shared().kubectl(&["get", "--raw", "/readyz"])), "ok");
    let version: Value =
        serde_json::from_str(&ok(shared().kubectl(&["get", "--raw", "/version"]))).unwrap();
    let pinned = Kubernetes::build().unwrap().version;
    assert_eq!(version["gitVersion"], format!("v{pinned}"));
    assert_eq!(format!("{}.{}", version["major"], version["minor"]).replace('"', ""), pinned[..4]);
}

#[test]
fn the_user_of_a_kubeconfig_is_that_user() {
    let kubeconfig = shared().kubeconfig_for("whoami", AGENT, &AGENT_GROUPS).unwrap();
    let answer = as_user(shared(), &kubeconfig, &["auth", "whoami", "-o", "json"]);
    let answer: Value = serde_json::from_str(&answer.success().unwrap()).unwrap();
    let user = &answer["status"]["userInfo"];
    assert_eq!(user["username"], AGENT);
    let groups: Vec<&str> =
        user["groups"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(groups, [AGENT_GROUPS[0], AGENT_GROUPS[1], "system:authenticated"]);

    let denied = as_user(shared(), &kubeconfig, &["get", "secrets", "-A"]);
    assert!(denied.stderr.contains(&format!("User \"{AGENT}\" cannot list")), "{}", denied.stderr);
}

#[test]
fn a_third_group_is_refused_with_a_way_out() {
    let error = shared().kubeconfig_for("many", "alice", &["a", "b", "c"]).unwrap_err().to_string();
    assert!(error.contains("alice") && error.contains("kubectl create token"), "{error}");
}

#[test]
fn writes_of_a_named_user_are_audited_with_their_bodies() {
    let agent = shared().kubeconfig_for("audited", AGENT, &AGENT_GROUPS).unwrap();
    let create = ["create", "configmap", "audited", "--from-literal=colour=blue"];
    let user = format!("--user={AGENT}");
    ok(shared().kubectl(&["create", "rolebinding", "audited", "--clusterrole=edit", &user]));
    as_user(shared(), &agent, &create).success().unwrap();
    ok(shared().kubectl(&["delete", "configmap", "audited"]));
    ok(shared().kubectl(&create));

    let events = shared().audit_events().unwrap();
    let of = |user: &str| {
        let mut events = events.iter().filter(|event| event["user"]["username"] == user);
        events.find(|event| {
            let object = &event["objectRef"];
            event["verb"] == "create"
                && object["resource"] == "configmaps"
                && object["name"] == "audited"
        })
    };
    let (agent, admin) = (of(AGENT).unwrap(), of("admin").unwrap());
    assert_eq!(agent["requestObject"]["data"]["colour"], "blue");
    assert_eq!(admin["requestObject"], Value::Null);
}

#[test]
fn what_an_object_of_a_named_definition_owns_goes_right_after_it() {
    let component = r#"{"apiVersion": "dapr.io/v1alpha1", "kind": "Component",
        "metadata": {"name": "owner"},
        "spec": {"type": "state.in-memory", "version": "v1", "metadata": []}}"#;
    ok(shared().kubectl_with(&["apply", "-f", "-"], component));
    let get_uid = ["get", "component", "owner", "-o", "jsonpath={.metadata.uid}"];
    let uid = ok(shared().kubectl(&get_uid));
    let owned = format!(
        r#"{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": "owned",
        "ownerReferences": [{{"apiVersion": "dapr.io/v1alpha1", "kind": "Component",
        "name": "owner", "uid": "{uid}"}}]}}}}"#
    );
    ok(shared().kubectl_with(&["apply", "-f", "-"], &owned));

    let since = Instant::now();
    ok(shared().kubectl(&["delete", "component", "owner"]));
    ok(shared().kubectl(&["wait", "--for=delete", "configmap/owned", "--timeout=60s"]));
    // Of a definition that comes later: up to 40 s.
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
}

#[test]
fn two_run_side_by_side() {
    let other = ControlPlane::start(&Options::default()).unwrap();
    assert_ne!(other.url(), shared().url());
    ok(other.kubectl(&["create", "namespace", "only-there"]));
    assert!(!shared().kubectl(&["get", "namespace", "only-there"]).unwrap().status.success());
    other.check().unwrap();
    shared().check().unwrap();
}

#[test]
fn an_api_server_that_is_killed_and_started_again_has_its_state_and_its_address() {
    let cluster = ControlPlane::start(&Options::default()).unwrap();
    let (url, before) = (cluster.url(), cluster.api_server_pid());
    ok(cluster.kubectl(&["create", "configmap", "kept"]));

    cluster.stop_api_server().unwrap();
    assert_eq!(cluster.api_server_pid(), None);
    let refused = cluster.kubectl(&["get", "configmap", "kept"]).unwrap();
    assert!(!refused.status.success() && refused.stderr.contains("refused"), "{}", refused.stderr);

    cluster.start_api_server().unwrap();
    assert_eq!(cluster.url(), url);
    assert_ne!(cluster.api_server_pid(), before);
    ok(cluster.kubectl(&["get", "configmap", "kept"]));
    let made = |event: &Value| event["verb"] == "create" && event["objectRef"]["name"] == "kept";
    assert!(cluster.audit_events().unwrap().iter().any(made), "the audit log lost the time before");
}

#[test]
fn what_is_spawned_takes_over_its_environment_and_can_be_stopped_and_signalled() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo $COLOUR from $PWD; exec sleep 60"]);
    let mut process =
        shared().spawn("asleep", command.env("COLOUR", "blue").current_dir("/")).unwrap();
    let since = Instant::now();
    while fs::read_to_string(process.log()).unwrap() != "blue from /\n" {
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "nothing in {}",
            process.log().display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(process.ended().unwrap(), None);
    process.signal("TERM").unwrap();
    assert!(process.wait(Duration::from_secs(10)).unwrap().is_some());
}
