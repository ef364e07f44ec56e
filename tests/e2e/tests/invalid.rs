//! A mistake is told within 5 s, with the field, the value and the mend, and opens nothing.

use std::time::Duration;

use catalyst_e2e::{Installation, Stage, condition, essence};
use serde_json::{Value, json};

static STAGE: Stage = Stage::new();

/// The promise.
const TOLD: Duration = Duration::from_secs(5);

/// A machine may be busy.
const SOON: Duration = Duration::from_secs(5);

const REGION: &str = "
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {name: eu}
spec: {trust: {domain: eu.example.com}}
";

/// Applies a project with these blocked networks.
fn block(stage: &Installation, name: &str, cidrs: &str) {
    stage.apply(REGION);
    stage.apply(&format!(
        "
apiVersion: cra.diagrid.io/v1beta1
kind: Project
metadata: {{name: {name}}}
spec:
  network:
    egress:
      blocked: [{{name: office, cidrs: [{cidrs}]}}]
      delegated: {{cidrs: [10.20.0.0/16]}}
"
    ));
}

/// The namespaced kinds, each with a spec that is right anywhere.
const NAMESPACED: [(&str, &str); 3] = [
    ("AppIdentity", "{}"),
    ("EgressPolicy", "{allowed: [{name: web, cidrs: [1.1.1.1/32]}]}"),
    ("SecretRef", "{remote: {name: database}}"),
];

fn apply(stage: &Installation, kind: &str, namespace: &str, name: &str, spec: &str) {
    stage.apply(&format!(
        "
apiVersion: cra.diagrid.io/v1beta1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
"
    ));
}

/// The NetworkPolicies in a namespace, as name and spec.
fn fence(stage: &Installation, namespace: &str) -> Vec<(Value, Value)> {
    let policies = stage.list("NetworkPolicy", Some(namespace), "");
    policies.iter().map(|one| (one["metadata"]["name"].clone(), one["spec"].clone())).collect()
}

/// The networks that the shared base leaves out; none if there is no base.
fn blocked(stage: &Installation, namespace: &str) -> Option<Vec<String>> {
    let base = stage.get("NetworkPolicy", Some(namespace), "base-egress")?;
    let peers = base["spec"]["egress"][0]["to"].as_array()?.clone();
    let texts = peers.iter().filter_map(|peer| peer["ipBlock"]["except"].as_array().cloned());
    Some(texts.flatten().filter_map(|net| net.as_str().map(str::to_owned)).collect())
}

/// Waits until a NetworkPolicy carries, or does not carry, a network.
fn carries(stage: &Installation, namespace: &str, policy: &str, cidr: &str, wanted: bool) {
    let place = ("NetworkPolicy", Some(namespace), policy);
    let what = format!("{} {cidr}", if wanted { "carries" } else { "is without" });
    stage.wait_for(SOON, place, &what, |now| {
        let carries = now["spec"].to_string().contains(&format!("\"{cidr}\""));
        if carries == wanted { Ok(()) } else { Err(now["spec"].to_string()) }
    });
}

#[test]
fn a_network_with_host_bits_is_told_with_field_value_and_mend() {
    let stage = STAGE.shared();
    block(&stage, "hostbits", "10.4.5.6/8");
    let place = ("Project", None, "hostbits");
    let message = stage.told(TOLD, place, "Stalled", "InvalidEgress");
    let wanted = "spec.network.egress.blocked[0].cidrs[0] is \"10.4.5.6/8\": host bits are set; write 10.0.0.0/8";
    assert!(message.contains(wanted), "{message}");
    let project = stage.the("Project", None, "hostbits");
    assert_eq!(condition(&project, "NamespaceReady")["status"], "True");
    assert_eq!(condition(&project, "NetworkReady")["reason"], "InvalidEgress");
    let shown = stage.kubectl("get project hostbits -o wide");
    assert!(shown.contains("InvalidEgress") && shown.contains("write 10.0.0.0/8"), "{shown}");

    block(&stage, "hostbits", "10.0.0.0/8");
    stage.ready("Project", None, "hostbits");
}

#[test]
fn what_was_fenced_stays_fenced_and_a_bad_block_never_widens() {
    let stage = STAGE.shared();
    block(&stage, "shut", "203.0.113.0/24, 8.8.8.0/24");
    stage.ready("Project", None, "shut");
    let deny = stage.the("NetworkPolicy", Some("prj-shut"), "default-deny");
    carries(&stage, "prj-shut", "base-egress", "8.8.8.0/24", true);

    // Host bits: the whole network is blocked.
    block(&stage, "shut", "8.8.8.8/16");
    stage.told(TOLD, ("Project", None, "shut"), "Stalled", "InvalidEgress");
    carries(&stage, "prj-shut", "base-egress", "8.8.0.0/16", true);

    // Not readable: all is blocked that nothing allows.
    block(&stage, "shut", "8.8.8.999/24");
    let place = ("Project", None, "shut");
    let message = stage.wait_for(TOLD, place, "names the value", |now| {
        let message = condition(now, "Ready")["message"].as_str().unwrap_or_default();
        let named = message.contains("blocked[0].cidrs[0] is \"8.8.8.999/24\"");
        if named { Ok(message.to_owned()) } else { Err(message.to_owned()) }
    });
    assert!(message.contains("until then all is blocked"), "{message}");
    stage.gone(SOON, "NetworkPolicy", Some("prj-shut"), "base-egress");
    let now = stage.the("NetworkPolicy", Some("prj-shut"), "default-deny");
    assert_eq!(essence(&now), essence(&deny));

    block(&stage, "shut", "8.8.8.0/24");
    stage.ready("Project", None, "shut");
    assert!(blocked(&stage, "prj-shut").is_some_and(|nets| nets.contains(&"8.8.8.0/24".into())));
}

#[test]
fn a_team_s_bad_entry_counts_for_nothing_and_the_rest_of_its_policy_stands() {
    let stage = STAGE.shared();
    block(&stage, "team", "203.0.113.0/24");
    stage.ready("Project", None, "team");
    let spec = "{allowed: [
        {name: bad, cidrs: [10.20.1.5/24]},
        {name: foreign, cidrs: [10.99.0.0/16]},
        {name: good, cidrs: [10.20.2.0/24]}]}";
    apply(&stage, "EgressPolicy", "prj-team", "mixed", spec);
    let place = ("EgressPolicy", Some("prj-team"), "mixed");
    let message = stage.told(TOLD, place, "Stalled", "InvalidEgress");
    let wanted =
        "spec.allowed[0].cidrs[0] is \"10.20.1.5/24\": host bits are set; write 10.20.1.0/24";
    assert!(message.contains(wanted), "{message}");
    carries(&stage, "prj-team", "egress-mixed", "10.20.2.0/24", true);
    carries(&stage, "prj-team", "egress-mixed", "10.20.1.0/24", false);
    carries(&stage, "prj-team", "egress-mixed", "10.99.0.0/16", false);
    // A team's mistake is not its project's.
    stage.ready("Project", None, "team");
}

#[test]
fn what_is_not_delegated_is_named_with_whom_to_ask() {
    let stage = STAGE.shared();
    block(&stage, "greedy", "203.0.113.0/24");
    stage.ready("Project", None, "greedy");
    let spec = "{allowed: [{name: partner, cidrs: [10.99.0.0/16]}]}";
    apply(&stage, "EgressPolicy", "prj-greedy", "partner", spec);
    let place = ("EgressPolicy", Some("prj-greedy"), "partner");
    let message = stage.told(TOLD, place, "Stalled", "NotDelegated");
    for part in ["spec.allowed[0].cidrs[0]", "\"10.99.0.0/16\"", "delegated.cidrs"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert_eq!(stage.get("NetworkPolicy", Some("prj-greedy"), "egress-partner"), None);
}

#[test]
fn a_team_s_bad_block_closes_its_apps_and_no_others() {
    let stage = STAGE.shared();
    block(&stage, "scoped", "203.0.113.0/24");
    stage.ready("Project", None, "scoped");
    for app in ["orders", "web"] {
        apply(&stage, "AppIdentity", "prj-scoped", app, "{}");
    }
    let spec = "{appIds: [orders], blocked: [{name: bad, cidrs: [9.9.9.999/24]}]}";
    apply(&stage, "EgressPolicy", "prj-scoped", "orders", spec);
    let place = ("EgressPolicy", Some("prj-scoped"), "orders");
    stage.told(TOLD, place, "Stalled", "InvalidEgress");
    // The app has left the shared base, and has none of its own.
    let place = ("NetworkPolicy", Some("prj-scoped"), "base-egress");
    stage.wait_for(SOON, place, "is for all apps but orders", |now| {
        let left = now["spec"]["podSelector"].to_string();
        let left = left.contains("NotIn") && left.contains("\"orders\"");
        if left { Ok(()) } else { Err(now["spec"].to_string()) }
    });
    assert_eq!(stage.get("NetworkPolicy", Some("prj-scoped"), "base-egress-orders"), None);
}

#[test]
fn a_second_region_is_told_which_one_counts_and_changes_nothing() {
    let stage = STAGE.shared();
    block(&stage, "single", "203.0.113.0/24");
    stage.ready("Project", None, "single");
    let before = fence(&stage, "prj-single");
    stage.apply(
        "
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {name: us}
spec: {trust: {domain: us.example.com}, network: {mode: 'Off'}}
",
    );
    let message = stage.told(TOLD, ("Region", None, "us"), "Stalled", "SecondRegion");
    assert!(message.contains("\"eu\""), "{message}");
    stage.ready("Region", None, "eu");
    stage.ready("Project", None, "single");
    assert_eq!(fence(&stage, "prj-single"), before);
    stage.delete("Region", None, "us");
}

#[test]
fn a_project_of_another_region_waits_and_makes_nothing() {
    let stage = STAGE.shared();
    stage.apply(REGION);
    stage.apply(
        "
apiVersion: cra.diagrid.io/v1beta1
kind: Project
metadata: {name: abroad}
spec: {region: us}
",
    );
    let message = stage.told(TOLD, ("Project", None, "abroad"), "Reconciling", "UnknownRegion");
    assert!(message.contains("spec.region is \"us\"") && message.contains("\"eu\""), "{message}");
    assert_eq!(stage.get("Namespace", None, "prj-abroad"), None);
}

#[test]
fn what_lies_outside_of_a_project_is_told_where_it_belongs() {
    let stage = STAGE.shared();
    for (kind, spec) in NAMESPACED {
        apply(&stage, kind, "default", "lost", spec);
    }
    for (kind, _) in NAMESPACED {
        let place = (kind, Some("default"), "lost");
        let message = stage.told(TOLD, place, "Stalled", "NotAProjectNamespace");
        assert!(message.contains("\"default\"") && message.contains("prj-<project>"), "{message}");
    }
}

#[test]
fn what_comes_before_its_project_waits_for_it_by_name_and_then_works() {
    let stage = STAGE.shared();
    stage.apply(REGION);
    stage.apply(
        "
apiVersion: v1
kind: Namespace
metadata: {name: prj-late, labels: {cra.diagrid.io/project: late}}
---
apiVersion: v1
kind: Secret
metadata: {name: late.database, namespace: catalyst-secrets}
stringData: {password: example}
",
    );
    for (kind, spec) in NAMESPACED {
        apply(&stage, kind, "prj-late", "early", spec);
    }
    for (kind, _) in NAMESPACED {
        let place = (kind, Some("prj-late"), "early");
        let message = stage.told(TOLD, place, "Reconciling", "WaitingForProject");
        assert!(message.contains("Project \"late\""), "{message}");
    }
    stage.apply("{apiVersion: cra.diagrid.io/v1beta1, kind: Project, metadata: {name: late}}");
    for (kind, _) in NAMESPACED {
        stage.ready(kind, Some("prj-late"), "early");
    }
}

#[test]
fn a_namespace_that_does_not_consent_is_left_alone() {
    let stage = STAGE.shared();
    stage.apply(REGION);
    stage.apply("{apiVersion: v1, kind: Namespace, metadata: {name: prj-private}}");
    let was = stage.the("Namespace", None, "prj-private");
    stage.apply("{apiVersion: cra.diagrid.io/v1beta1, kind: Project, metadata: {name: private}}");
    let place = ("Project", None, "private");
    let message = stage.told(TOLD, place, "Stalled", "NamespaceExists");
    assert!(message.contains("cra.diagrid.io/project: private"), "{message}");
    let now = stage.the("Namespace", None, "prj-private");
    assert_eq!(now["metadata"]["resourceVersion"], was["metadata"]["resourceVersion"]);
    assert_eq!(fence(&stage, "prj-private"), []);

    let consent = json!({"metadata": {"labels": {"cra.diagrid.io/project": "private"}}});
    stage.edit("Namespace", None, "prj-private", &consent);
    stage.ready("Project", None, "private");
}

#[test]
fn a_region_that_is_deleted_leaves_every_fence_standing() {
    // Alone: every project of the cluster is without a region meanwhile.
    let stage = STAGE.alone();
    block(&stage, "orphan", "203.0.113.0/24");
    stage.ready("Project", None, "orphan");
    let before = fence(&stage, "prj-orphan");
    stage.delete("Region", None, "eu");
    stage.told(TOLD, ("Project", None, "orphan"), "Reconciling", "UnknownRegion");
    assert_eq!(fence(&stage, "prj-orphan"), before);
    stage.apply(REGION);
    stage.ready("Project", None, "orphan");
    assert_eq!(fence(&stage, "prj-orphan"), before);
}
