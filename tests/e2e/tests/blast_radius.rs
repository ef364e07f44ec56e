//! What goes wrong with one project stays with it: the others are as fast as ever, nothing is opened, and a team's
//! mistake holds up no block of the platform's.

use std::collections::BTreeMap;
use std::sync::{Once, RwLockReadGuard};
use std::time::{Duration, Instant};

use catalyst_e2e::{AGENT, Installation, Mark, SECRETS, Stage, condition, is_ready, says};
use serde_json::{Value, json};

static STAGE: Stage = Stage::new();

/// The promise: what is right is in effect within this time, whoever else fails meanwhile.
const SOON: Duration = Duration::from_secs(5);

/// The promise: what was refused is tried again at least so often, and so heals by itself; beside that, a machine may
/// be busy.
const HEALED: Duration = Duration::from_secs(60 + 10);

/// The promise: no object is asked for or written more often than this in a minute, however long it fails.
const CALLS: usize = 30;
const MINUTE: Duration = Duration::from_mins(1);

const REGION: &str = "
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {name: eu}
spec:
  trust: {domain: eu.example.com}
  network: {egress: {blocked: [{name: private, cidrs: [10.0.0.0/8]}]}}
";

/// The installation, with a Region that is applied once: its blocks are what a test changes.
fn stage() -> RwLockReadGuard<'static, Installation> {
    static REGION_APPLIED: Once = Once::new();
    let stage = STAGE.shared();
    REGION_APPLIED.call_once(|| stage.apply(REGION));
    stage
}

fn object(kind: &str, namespace: Option<&str>, name: &str, spec: &str) -> String {
    let at = namespace.map_or(String::new(), |namespace| format!(", namespace: {namespace}"));
    format!(
        "{{apiVersion: cra.diagrid.io/v1beta1, kind: {kind}, metadata: {{name: {name}{at}}}, spec: {spec}}}"
    )
}

/// A Project with this block of its own.
fn project(name: &str, cidr: &str) -> String {
    let spec = format!(
        "{{network: {{egress: {{blocked: [{{name: office, cidrs: [{cidr}]}}], delegated: {{cidrs: [10.20.0.0/16]}}}}}}}}"
    );
    object("Project", None, name, &spec)
}

fn policy(namespace: &str, name: &str, spec: &str) -> String {
    object("EgressPolicy", Some(namespace), name, spec)
}

/// A policy that opens one network.
fn opens(namespace: &str, name: &str, cidr: &str) -> String {
    policy(namespace, name, &format!("{{allowed: [{{name: entry, cidrs: [{cidr}]}}]}}"))
}

/// Waits until a NetworkPolicy has a network, or has it no more; one that is not there has none.
fn carries(stage: &Installation, namespace: &str, policy: &str, cidr: &str, wanted: bool) {
    let place = ("NetworkPolicy", Some(namespace), policy);
    let what = format!("{} {cidr}", if wanted { "carries" } else { "is without" });
    stage.wait_for(SOON, place, &what, |now| {
        let carries = now["spec"].to_string().contains(&format!("\"{cidr}\""));
        if carries == wanted { Ok(()) } else { Err(now["spec"].to_string()) }
    });
}

/// Makes a project with an app and a policy, and changes the policy: each step in effect in time.
fn works(stage: &Installation, name: &str) {
    let namespace = format!("prj-{name}");
    let ready = |kind, namespace, name| {
        stage.wait_for(SOON, (kind, namespace, name), "is Ready", is_ready);
    };
    stage.apply(&project(name, "203.0.113.0/24"));
    ready("Project", None, name);
    stage.apply(&object("AppIdentity", Some(&namespace), "orders", "{}"));
    stage.apply(&opens(&namespace, "db", "10.20.1.0/24"));
    ready("AppIdentity", Some(&namespace), "orders");
    ready("EgressPolicy", Some(&namespace), "db");
    stage.apply(&opens(&namespace, "db", "10.20.2.0/24"));
    carries(stage, &namespace, "egress-db", "10.20.2.0/24", true);
}

/// Lets a kind's spec be anything while objects are applied that nobody can read.
fn unreadable(stage: &Installation, plural: &str, objects: &[String]) {
    let definition = format!("{plural}.cra.diagrid.io");
    let found = stage.kubectl(&format!("get crd {definition} -o json"));
    let found: Value = serde_json::from_str(&found).expect("JSON");
    let schema = &found["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let set = |spec: &Value| {
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        let change = json!([{"op": "replace", "path": path, "value": spec}]).to_string();
        let words = ["patch", "crd", &definition, "--type=json", "--patch-file=/dev/stdin"];
        let output = stage.control_plane.kubectl_with(&words, &change).expect("kubectl runs");
        assert!(output.status.success(), "{output:?}");
    };
    set(&json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    for object in objects {
        stage.until(SOON, "the server takes what nobody can read", || {
            stage.try_apply(object).map_err(|refused| refused.to_string())
        });
    }
    set(&schema["properties"]["spec"]);
}

/// Puts right what nobody can read. A server-side apply of it fails, as the server can't merge into what is no spec.
fn readable(stage: &Installation, kind: &str, namespace: Option<&str>, name: &str, spec: &Value) {
    stage.edit(kind, namespace, name, &json!({ "spec": spec }));
}

/// Somebody else's quota in a namespace that waits for its Project.
fn limit(stage: &Installation, name: &str, resource: &str, count: u32) {
    let namespace = format!("prj-{name}");
    stage.apply(&format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}, labels: {{cra.diagrid.io/project: {name}}}}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {{name: foreign, namespace: {namespace}}}
spec: {{hard: {{{resource}: '{count}'}}}}
"
    ));
    let place = ("ResourceQuota", Some(namespace.as_str()), "foreign");
    let patience = Duration::from_secs(30);
    stage.wait_for(patience, place, "counts", |quota| {
        let used = &quota["status"]["used"][resource];
        if used.is_string() { Ok(()) } else { Err(quota["status"].to_string()) }
    });
}

/// Somebody else's admission policy, for the fences of some projects and for the namespace of one.
const FREEZE: &str = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: change-freeze}
spec:
  matchConstraints:
    resourceRules:
      - {apiGroups: [networking.k8s.io], apiVersions: ['*'], operations: [CREATE, UPDATE], resources: [networkpolicies]}
      - {apiGroups: [''], apiVersions: ['*'], operations: [CREATE, UPDATE], resources: [namespaces]}
  matchConditions:
    - name: frozen
      expression: >-
        object.metadata.name == 'prj-denied-2' || object.kind == 'NetworkPolicy' &&
        object.metadata.namespace in ['prj-denied-0', 'prj-denied-1']
  validations: [{expression: 'false', message: nothing changes until Monday}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: change-freeze}
spec: {policyName: change-freeze, validationActions: [Deny]}
";

/// Applies it, and waits until it acts.
fn freeze(stage: &Installation) {
    let words = ["apply", "-f", "-"];
    let applied = stage.control_plane.kubectl_with(&words, FREEZE).expect("kubectl runs");
    assert!(applied.status.success(), "{applied:?}");
    stage.until(Duration::from_secs(30), "the admission policy acts", || {
        let words = ["create", "namespace", "prj-denied-2", "--dry-run=server"];
        let output = stage.control_plane.kubectl(&words).expect("kubectl runs");
        if output.status.success() { Err("not yet".into()) } else { Ok(()) }
    });
}

/// What fails: the object that says so, the reason, and words that name what is in the way.
type Failing =
    ((&'static str, Option<&'static str>, &'static str), &'static str, [&'static str; 2]);

const REFUSED: [Failing; 9] = [
    (("Project", None, "wrong-0"), "InvalidEgress", ["blocked[0].cidrs[0]", "write 10.0.0.0/8"]),
    (("Project", None, "wrong-1"), "InvalidEgress", ["blocked[0].cidrs[0]", "write 10.0.0.0/8"]),
    (("Project", None, "wrong-2"), "InvalidEgress", ["blocked[0].cidrs[0]", "write 10.0.0.0/8"]),
    (("Project", None, "full-0"), "QuotaExceeded", ["NetworkPolicy", "exceeded quota: foreign"]),
    (
        ("AppIdentity", Some("prj-full-1"), "orders"),
        "QuotaExceeded",
        ["ServiceAccount", "exceeded quota: foreign"],
    ),
    (
        ("AppIdentity", Some("prj-full-2"), "orders"),
        "QuotaExceeded",
        ["Secret", "exceeded quota: foreign"],
    ),
    (("Project", None, "denied-0"), "DeniedByPolicy", ["change-freeze", "until Monday"]),
    (("Project", None, "denied-1"), "DeniedByPolicy", ["change-freeze", "until Monday"]),
    (("Project", None, "denied-2"), "DeniedByPolicy", ["change-freeze", "until Monday"]),
];

/// Projects that can't be read any more.
const GARBLED: [&str; 3] = ["garbled-0", "garbled-1", "garbled-2"];

/// Has all of them fail.
fn fail(stage: &Installation) {
    freeze(stage);
    for (name, resource, count) in [
        ("full-0", "count/networkpolicies.networking.k8s.io", 0),
        // Kubernetes makes one.
        ("full-1", "count/serviceaccounts", 1),
        ("full-2", "count/secrets", 0),
    ] {
        limit(stage, name, resource, count);
        stage.apply(&project(name, "203.0.113.0/24"));
        let namespace = format!("prj-{name}");
        stage.apply(&object("AppIdentity", Some(&namespace), "orders", "{}"));
    }
    for name in ["wrong-0", "wrong-1", "wrong-2"] {
        stage.apply(&project(name, "10.4.5.6/8"));
    }
    for name in ["denied-0", "denied-1", "denied-2"] {
        stage.apply(&project(name, "203.0.113.0/24"));
    }
    for name in GARBLED {
        stage.apply(&project(name, "203.0.113.0/24"));
        stage.ready("Project", None, name);
    }
    let garbled = GARBLED.map(|name| object("Project", None, name, "{network: everything}"));
    unreadable(stage, "projects", &garbled);
}

/// Takes every cause away.
fn mend(stage: &Installation) {
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        stage.kubectl(&format!("delete {kind} change-freeze"));
    }
    for namespace in ["prj-full-0", "prj-full-1", "prj-full-2"] {
        stage.delete("ResourceQuota", Some(namespace), "foreign");
    }
    for name in ["wrong-0", "wrong-1", "wrong-2"] {
        stage.apply(&project(name, "203.0.113.0/24"));
    }
    for name in GARBLED {
        readable(stage, "Project", None, name, &json!({"network": null}));
    }
}

/// What an object says that fails.
fn said(object: &Value, reason: &str, words: [&str; 2]) -> Result<(), String> {
    let told = ["Stalled", "Reconciling"].map(|as_| says(object, as_, reason));
    match told {
        [Err(_), Err(seen)] => Err(seen),
        [Ok(message), _] | [_, Ok(message)] => {
            let named = words.iter().all(|word| message.contains(word));
            if named { Ok(()) } else { Err(message) }
        }
    }
}

/// How often the operator asked for or wrote each object of these projects.
fn calls(stage: &Installation, since: Mark, projects: &[&str]) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for request in stage.requests(since) {
        let (namespace, name) = (request.namespace(), request.name());
        let own = projects.iter().any(|project| {
            let home = format!("prj-{project}");
            namespace == home
                || name == home
                || request.resource().starts_with("projects") && name == *project
        });
        if own && [AGENT, SECRETS].contains(&request.user()) {
            let key = format!("{} {} {namespace}/{name}", request.verb(), request.resource());
            *calls.entry(key).or_default() += 1;
        }
    }
    calls
}

#[test]
fn whoever_fails_says_why_and_heals_and_holds_up_nobody_meanwhile() {
    let stage = stage();
    works(&stage, "alone");
    fail(&stage);
    for (place, reason, words) in REFUSED {
        stage.wait_for(SOON, place, &format!("says {reason}"), |now| said(now, reason, words));
    }
    let (mark, since) = (stage.mark(), Instant::now());
    let mut made = 0;
    while since.elapsed() < MINUTE {
        works(&stage, &format!("beside-{made}"));
        made += 1;
    }
    let failing = [
        "wrong-0",
        "wrong-1",
        "wrong-2",
        "full-0",
        "full-1",
        "full-2",
        "denied-0",
        "denied-1",
        "denied-2",
        "garbled-0",
        "garbled-1",
        "garbled-2",
    ];
    let mut often = calls(&stage, mark, &failing);
    often.retain(|_, count| *count > CALLS);
    assert!(often.is_empty(), "more than {CALLS} calls in a minute: {often:#?}");

    for (place, reason, words) in REFUSED {
        let (kind, namespace, name) = place;
        said(&stage.the(kind, namespace, name), reason, words).expect("it fails to the end");
    }
    let metrics = stage.agent.metrics();
    let figure = "catalyst_undecodable_objects_total{kind=\"Project\"}";
    assert!(metrics.lines().any(|line| line.starts_with(figure)), "{metrics}");
    for name in GARBLED {
        let garbled = stage.the("Project", None, name);
        assert!(is_ready(&garbled).is_err(), "{name} shows as Ready: {garbled:#}");
        carries(&stage, &format!("prj-{name}"), "base-egress", "203.0.113.0/24", true);
    }

    mend(&stage);
    let since = Instant::now();
    for ((kind, namespace, name), ..) in REFUSED {
        let left = HEALED.saturating_sub(since.elapsed());
        stage.wait_for(left, (kind, namespace, name), "has healed", is_ready);
    }
    for name in GARBLED {
        stage.ready("Project", None, name);
    }
}

#[test]
fn a_mistake_in_one_project_writes_no_status_of_another_and_unfences_none() {
    let stage = stage();
    let fence = || {
        let policies = stage.list("NetworkPolicy", Some("prj-calm"), "");
        policies.iter().map(|policy| policy["spec"].clone()).collect::<Vec<_>>()
    };
    stage.apply(&project("calm", "203.0.113.0/24"));
    stage.ready("Project", None, "calm");
    let (before, calm) = (fence(), stage.the("Project", None, "calm"));
    stage.apply(&project("faulty", "10.4.5.6/8"));
    stage.told(SOON, ("Project", None, "faulty"), "Stalled", "InvalidEgress");
    assert_eq!(fence(), before);
    assert_eq!(stage.the("Project", None, "calm"), calm, "the other one's status was written");
}

#[test]
fn a_teams_bad_policy_holds_up_no_block_of_the_platforms() {
    let stage = stage();
    for (name, own) in [("careless", "9.9.1.0/24"), ("garbling", "9.9.2.0/24")] {
        let namespace = format!("prj-{name}");
        stage.apply(&project(name, "203.0.113.0/24"));
        stage.ready("Project", None, name);
        // What is open to everybody a team may also open by name, until the platform blocks it.
        for (policy, cidr) in [("partner", own), ("public", "9.9.9.0/24")] {
            stage.apply(&opens(&namespace, policy, cidr));
            carries(&stage, &namespace, &format!("egress-{policy}"), cidr, true);
        }
    }
    stage.apply(&opens("prj-careless", "bad", "10.20.1.5/24"));
    let bad = ("EgressPolicy", Some("prj-careless"), "bad");
    stage.told(SOON, bad, "Stalled", "InvalidEgress");
    unreadable(&stage, "egresspolicies", &[policy("prj-garbling", "bad", "{blocked: everything}")]);
    stage.wait_for(SOON, ("Project", None, "garbling"), "names the policy", |now| {
        let message = condition(now, "NetworkReady")["message"].to_string();
        let named = message.contains("EgressPolicy bad can't be read");
        if named { Ok(()) } else { Err(message) }
    });
    // What it blocks nobody knows: nothing is open but what is opened by name.
    stage.gone(SOON, "NetworkPolicy", Some("prj-garbling"), "base-egress");

    // The platform's blocks: of a project, then of the region.
    for (name, own) in [("careless", "9.9.1.0/24"), ("garbling", "9.9.2.0/24")] {
        stage.apply(&project(name, own));
        carries(&stage, &format!("prj-{name}"), "egress-partner", own, false);
    }
    carries(&stage, "prj-careless", "base-egress", "9.9.1.0/24", true);
    let blocked = json!([
        {"name": "private", "cidrs": ["10.0.0.0/8"]},
        {"name": "public", "cidrs": ["9.9.9.0/24"]},
    ]);
    let region = json!({"spec": {"network": {"egress": {"blocked": blocked}}}});
    stage.edit("Region", None, "eu", &region);
    carries(&stage, "prj-careless", "base-egress", "9.9.9.0/24", true);
    for namespace in ["prj-careless", "prj-garbling"] {
        carries(&stage, namespace, "egress-public", "9.9.9.0/24", false);
    }

    // Once it is right, the project has all its other rules again.
    let right = json!({"blocked": null});
    readable(&stage, "EgressPolicy", Some("prj-garbling"), "bad", &right);
    carries(&stage, "prj-garbling", "base-egress", "9.9.9.0/24", true);
}
