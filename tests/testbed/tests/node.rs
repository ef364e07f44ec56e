//! What a test may rely on while it has a cluster with pods.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends by panicking with what it saw, and an error's words say what to do"
)]

use std::os::unix::fs::MetadataExt;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use catalyst_testbed::{Dialled, Error, Node, Options, Output, pod};
use serde_json::{Value, json};

/// The ports on which pods and hosts answer.
const PORTS: [u16; 2] = [80, 5432];

/// Longer than an answer ever takes, on a machine that is busy.
const WITHIN: Duration = Duration::from_secs(2);

/// How long a change of policies may take to act.
const SOON: Duration = Duration::from_secs(10);

/// The promise, once everything is built.
const STARTED: Duration = Duration::from_secs(20);

/// The cluster of all tests, each with namespaces of its own. Never dropped: its end is the janitor's work.
fn node() -> &'static Node {
    static NODE: OnceLock<Node> = OnceLock::new();
    NODE.get_or_init(|| {
        let node = Node::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"));
        eprintln!("a cluster with pods was there after {:.1} s", node.took().as_secs_f32());
        node.outside("internet", &["198.51.100.7", "2001:db8::7"], &PORTS).unwrap();
        node.outside("metadata", &["169.254.169.254", "fd00:ec2::254"], &[80]).unwrap();
        node
    })
}

/// Held by tests that share the cluster; one that stops a part of it waits for them.
static SHARED: RwLock<()> = RwLock::new(());

fn shared() -> RwLockReadGuard<'static, ()> {
    SHARED.read().unwrap_or_else(PoisonError::into_inner)
}

fn ok(output: Result<Output, Error>) -> String {
    output.and_then(Output::success).unwrap_or_else(|error| panic!("{error}"))
}

fn apply(object: &Value) {
    ok(node().kubectl_with(&["apply", "-f", "-"], &object.to_string()));
}

/// Two namespaces `<name>-a` and `<name>-b`, each with a pod `pod` and a service `shop` of both families in front.
fn two_namespaces(name: &str) -> [String; 2] {
    let namespaces = ["a", "b"].map(|letter| format!("{name}-{letter}"));
    let objects: Vec<Value> = namespaces
        .iter()
        .flat_map(|namespace| {
            [
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
                json!({
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": {"namespace": namespace, "name": "shop"},
                    "spec": {
                        "ipFamilyPolicy": "RequireDualStack",
                        "selector": {"app": "shop"},
                        "ports": [{"port": 8000, "targetPort": 80}],
                    },
                }),
                pod(namespace, "pod", &[("app", "shop")], &PORTS),
            ]
        })
        .collect();
    apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}));
    for namespace in &namespaces {
        ok(node().kubectl(&[
            "wait",
            "--for=condition=Ready",
            "pod/pod",
            "-n",
            namespace,
            "--timeout=60s",
        ]));
    }
    namespaces
}

/// A policy that selects every pod of a namespace and leaves nothing open in a direction.
fn deny(namespace: &str, direction: &str) {
    apply(&json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": "deny"},
        "spec": {"podSelector": {}, "policyTypes": [direction]},
    }));
}

fn addresses(namespace: &str) -> Vec<String> {
    let ips = "jsonpath={.status.podIPs[*].ip}";
    let ips = ok(node().kubectl(&["get", "pod", "pod", "-n", namespace, "-o", ips]));
    ips.split(' ').map(host).collect()
}

/// An address as it stands before a port.
fn host(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

fn dial(namespace: &str, to: &[String]) -> Vec<Dialled> {
    let dialled =
        node().dial((namespace, "pod"), to, WITHIN).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(dialled.len(), to.len(), "{dialled:?}");
    dialled
}

/// All are answered by the one of this name. It takes a moment until a new service leads to its pods.
fn answered(namespace: &str, to: &[String], by: &str) {
    until(namespace, to, |dial| dial.answered.as_deref() == Some(by));
}

/// Nothing comes back from any. It takes a moment for a policy to act.
fn silent(namespace: &str, to: &[String]) {
    until(namespace, to, |dial| dial.silent);
}

fn until(namespace: &str, to: &[String], all: impl Fn(&Dialled) -> bool) {
    let since = Instant::now();
    loop {
        let dialled = dial(namespace, to);
        if dialled.iter().all(&all) {
            return;
        }
        assert!(since.elapsed() < SOON, "{dialled:#?}");
    }
}

#[test]
fn a_cluster_with_pods_is_there_in_less_than_20_s() {
    assert!(node().took() < STARTED, "{:?}", node().took());
}

#[test]
fn pods_reach_each_other_until_a_policy_says_otherwise_in_both_families() {
    let _shared = shared();
    let [a, b] = two_namespaces("pods");
    let mut targets: Vec<String> = addresses(&b)
        .iter()
        .flat_map(|host| {
            let version = if host.starts_with('[') { 6 } else { 4 };
            PORTS.map(|port| ["tcp", "udp"].map(|kind| format!("{kind}{version}://{host}:{port}")))
        })
        .flatten()
        .collect();
    assert_eq!(targets.len(), 8);
    for version in [4, 6] {
        targets.push(format!("tcp{version}://shop.{b}:8000"));
        targets.push(format!("tcp{version}://shop.{b}.svc.cluster.local:8000"));
    }
    answered(&a, &targets, &format!("{b}/pod"));

    deny(&b, "Ingress");
    silent(&a, &targets);
    // The other direction is another connection.
    answered(&b, &[format!("tcp4://shop.{a}:8000")], &format!("{a}/pod"));
}

#[test]
fn hosts_outside_answer_until_a_policy_says_otherwise() {
    let _shared = shared();
    let [a, _] = two_namespaces("outside");
    let internet =
        ["tcp4://198.51.100.7:80", "udp4://198.51.100.7:5432", "tcp6://[2001:db8::7]:5432"];
    let metadata = ["tcp4://169.254.169.254:80", "tcp6://[fd00:ec2::254]:80"];
    let (internet, metadata) = (internet.map(str::to_owned), metadata.map(str::to_owned));
    answered(&a, &internet, "internet");
    answered(&a, &metadata, "metadata");
    deny(&a, "Egress");
    silent(&a, &[&internet[..], &metadata].concat());
}

#[test]
fn databases_outside_are_reached_until_a_policy_says_otherwise() {
    let _shared = shared();
    let [a, _] = two_namespaces("stores");
    let stores = node().stores().unwrap_or_else(|error| panic!("{error}"));
    let targets: Vec<String> = [stores.postgres, stores.redis]
        .concat()
        .iter()
        .map(|at| format!("tcp{}://{at}", if at.is_ipv4() { 4 } else { 6 }))
        .collect();
    // They speak other languages than a test pod, and say so or hang up.
    let reached = dial(&a, &targets);
    assert!(reached.iter().all(|dial| !dial.silent), "{reached:#?}");
    deny(&a, "Egress");
    silent(&a, &targets);
}

#[test]
fn databases_let_in_whom_they_were_told_to_until_they_are_told_otherwise() {
    let _shared = shared();
    let stores = node().stores().unwrap_or_else(|error| panic!("{error}"));
    let users = || {
        let users = stores.sql("SELECT rolname FROM pg_roles WHERE rolcanlogin").unwrap();
        (users, stores.redis(&["ACL", "USERS"]).unwrap())
    };
    stores.admit("first", "one").unwrap();
    stores.admit("second", "two").unwrap();
    let (postgres, redis) = users();
    assert!(["first", "second"].iter().all(|user| postgres.contains(user) && redis.contains(user)));
    stores.dismiss("first").unwrap();
    let (postgres, redis) = users();
    assert!(!postgres.contains("first") && !redis.contains("first"), "{postgres}{redis}");
    assert!(postgres.contains("second") && redis.contains("second"), "{postgres}{redis}");

    let told = stores.admit("o'neill", "secret").unwrap_err().to_string();
    assert!(told.contains("write small letters and digits"), "{told}");
}

#[test]
fn a_pod_that_claims_a_volume_gets_one_that_its_group_may_write() {
    let _shared = shared();
    let [a, _] = two_namespaces("volumes");
    node().volumes(1).unwrap_or_else(|error| panic!("{error}"));
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": a, "name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Gi"}}},
    });
    let mut pod = pod(&a, "keeper", &[], &[]);
    let spec = &mut pod["spec"];
    spec["securityContext"]["fsGroup"] = 65532.into();
    spec["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    apply(&claim);
    apply(&pod);
    ok(node().kubectl(&["wait", "--for=condition=Ready", "pod/keeper", "-n", &a, "--timeout=60s"]));
    let folder = node().data_dir().join("volumes/0");
    assert_eq!(std::fs::metadata(folder).unwrap().gid(), 65532);
}

#[test]
fn the_api_server_is_out_of_reach_of_a_pod_that_may_reach_nothing() {
    let _shared = shared();
    let [a, _] = two_namespaces("api");
    // It speaks TLS, and says so.
    let targets = ["192.168.77.10:6443", "10.96.0.1:443"].map(|at| format!("tcp4://{at}"));
    let reached = dial(&a, &targets);
    assert!(reached.iter().all(|dial| !dial.silent), "{reached:#?}");
    deny(&a, "Egress");
    silent(&a, &targets);
}

#[test]
fn nothing_leads_out() {
    let _shared = shared();
    let [a, _] = two_namespaces("uplink");
    let refused =
        dial(&a, &["tcp4://192.0.2.1:80", "tcp6://[2606:4700::1111]:80"].map(str::to_owned));
    assert!(refused.iter().all(|dial| dial.answered.is_none()), "{refused:#?}");
    let unknown = dial(&a, &["tcp4://example.com:80".to_owned()]);
    assert!(unknown[0].failed.contains("lookup example.com"), "{unknown:#?}");
}

#[test]
fn commands_run_in_pods() {
    let _shared = shared();
    let [a, b] = two_namespaces("exec");
    let name = format!("shop.{b}");
    let told = ok(node().kubectl(&["exec", "-n", &a, "pod", "--", "/program", "lookup", &name]));
    let addresses: Vec<&str> = told.split_whitespace().skip(1).collect();
    assert_eq!(addresses.len(), 2, "{told}");
}

#[test]
fn without_an_enforcer_policies_are_only_words() {
    let _alone = SHARED.write().unwrap_or_else(PoisonError::into_inner);
    let [a, b] = two_namespaces("words");
    let to = [format!("tcp4://shop.{b}:8000"), format!("tcp6://shop.{b}:8000")];
    deny(&b, "Ingress");
    silent(&a, &to);
    node().stop_enforcing().unwrap();
    answered(&a, &to, &format!("{b}/pod"));
    node().start_enforcing().unwrap();
    silent(&a, &to);
}

#[test]
fn while_kubelet_is_gone_pods_go_on_and_after_it_new_ones_come() {
    let _alone = SHARED.write().unwrap_or_else(PoisonError::into_inner);
    let [a, b] = two_namespaces("kubelet");
    let to = [format!("tcp4://shop.{b}:8000")];
    node().stop_kubelet().unwrap();
    answered(&a, &to, &format!("{b}/pod"));
    apply(&pod(&a, "late", &[], &PORTS));
    node().start_kubelet().unwrap();
    ok(node().kubectl(&["wait", "--for=condition=Ready", "pod/late", "-n", &a, "--timeout=60s"]));
}
