//! What a Region with Dapr and an app come to stands as it is planned, whatever others do to it, and its root of trust
//! outlives everything. No pod runs here: `apis.rs` shows that Dapr does.

use std::time::Duration;

use catalyst_e2e::{Installation, Stage};
use serde_json::{Value, json};

static STAGE: Stage = Stage::new();

/// A machine may be busy.
const SOON: Duration = Duration::from_secs(30);

/// A controller that was silent for 5 s after a start would show by then.
const RESTARTED: Duration = Duration::from_secs(8);

const DAPR: &str = "catalyst-dapr";
const PROJECT: Option<&str> = Some("prj-shop");

const REGION: &str = "
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {name: eu}
spec:
  trust: {domain: eu.example.com}
  dapr: {version: 1.18.3}
";

const APP: &str = "
apiVersion: cra.diagrid.io/v1beta1
kind: Project
metadata: {name: shop}
---
apiVersion: cra.diagrid.io/v1beta1
kind: AppIdentity
metadata: {name: orders, namespace: prj-shop}
spec:
  appEndpoint: {url: 'http://10.20.0.15:8080', tokenSecretKeyRef: {name: orders, key: token}}
  healthCheck: {probe: {intervalInSec: 10}}
  resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {memory: 256Mi}}
";

/// Everything that is made for both.
const MADE: [(&str, &str, &str); 14] = [
    ("Secret", DAPR, "catalyst-authority"),
    ("Secret", DAPR, "dapr-trust-bundle"),
    ("ConfigMap", DAPR, "dapr-trust-bundle"),
    ("NetworkPolicy", DAPR, "default-deny"),
    ("Configuration", DAPR, "daprsystem"),
    ("Service", DAPR, "dapr-sentry"),
    ("Service", DAPR, "dapr-scheduler-server-a"),
    ("PodDisruptionBudget", DAPR, "dapr-sentry"),
    ("Deployment", DAPR, "dapr-sentry"),
    ("StatefulSet", DAPR, "dapr-placement-server"),
    ("StatefulSet", DAPR, "dapr-scheduler-server"),
    ("Configuration", "prj-shop", "orders-dapr"),
    ("Service", "prj-shop", "orders-dapr"),
    ("Deployment", "prj-shop", "orders-dapr"),
];

/// Declares both, and waits until all of it stands.
fn settle(stage: &Installation) {
    stage.apply(REGION);
    stage.until(SOON, "the project's namespace is there", || {
        stage.try_apply(APP).map_err(|refused| refused.to_string())
    });
    for (kind, namespace, name) in MADE {
        stage.wait_for(SOON, (kind, Some(namespace), name), "stands", |object| {
            if object.is_null() { Err("it is missing".into()) } else { Ok(()) }
        });
    }
    stage.calm();
}

#[test]
fn what_stands_is_what_is_planned_and_a_restart_writes_nothing() {
    let mut stage = STAGE.alone();
    settle(&stage);
    let mark = stage.mark();
    stage.kill();
    stage.mend();
    std::thread::sleep(RESTARTED);
    let writes = stage.writes(mark);
    assert!(writes.is_empty(), "{writes:#?}");
}

#[test]
fn what_others_change_is_put_back_but_a_restart_that_somebody_asked_for_stays() {
    let stage = STAGE.alone();
    settle(&stage);
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "daprd", "image": "evil:1"}]}}}});
    let labels = json!({"spec": {"selector": {"cra.diagrid.io/app": "payments"}}});
    let edits: [(&str, &str, &str, Value); 4] = [
        ("Deployment", "prj-shop", "orders-dapr", image),
        ("Service", "prj-shop", "orders-dapr", labels),
        ("StatefulSet", DAPR, "dapr-scheduler-server", json!({"spec": {"replicas": 0}})),
        ("PodDisruptionBudget", DAPR, "dapr-sentry", json!({"spec": {"maxUnavailable": 0}})),
    ];
    let put_back = |(kind, namespace, name): (&str, &str, &str), part: &str, edit: &Value| {
        let before = stage.the(kind, Some(namespace), name);
        stage.edit(kind, Some(namespace), name, edit);
        stage.wait_for(SOON, (kind, Some(namespace), name), "is as it was", |object| {
            if object[part] == before[part] { Ok(()) } else { Err(format!("{:#}", object[part])) }
        });
    };
    for (kind, namespace, name, edit) in edits {
        put_back((kind, namespace, name), "spec", &edit);
    }
    // Nobody's server is rolled by what somebody wrote into the bundle.
    let mark = stage.mark();
    let anchors = json!({"data": {"ca.crt": "mine"}});
    put_back(("ConfigMap", DAPR, "dapr-trust-bundle"), "data", &anchors);
    let restart = "kubectl.kubernetes.io/restartedAt";
    let wish = json!({"spec": {"template": {"metadata": {"annotations": {(restart): "now"}}}}});
    stage.edit("Deployment", PROJECT, "orders-dapr", &wish);
    stage.calm();
    let stands = stage.the("Deployment", PROJECT, "orders-dapr");
    assert_eq!(stands["spec"]["template"]["metadata"]["annotations"][restart], "now");
    let mut writes = stage.writes(mark);
    writes.retain(|write| write.resource() == "deployments");
    assert!(writes.is_empty(), "{writes:#?}");
}

#[test]
fn the_root_of_trust_outlives_the_region_and_what_sentry_reads_is_always_the_same_twice() {
    let stage = STAGE.alone();
    settle(&stage);
    let authority = || stage.the("Secret", Some(DAPR), "catalyst-authority")["data"].clone();
    let first = authority();
    let bundle = |kind| stage.the(kind, Some(DAPR), "dapr-trust-bundle")["data"].clone();
    let anchors = bundle("ConfigMap")["ca.crt"].as_str().expect("PEM").to_owned();
    assert!(anchors.starts_with("-----BEGIN CERTIFICATE-----"), "{anchors}");
    let status = stage.the("Region", None, "eu")["status"]["trustAnchors"].clone();
    assert_eq!(status, anchors);
    let keys = ["ca.crt", "issuer.crt", "issuer.key"];
    assert!(keys.iter().all(|key| bundle("Secret")[key] == first[key]), "the bundle differs");
    assert!(bundle("Secret")["ca.key"].is_null(), "the root's key is where Sentry reads");

    // Turned off, all goes but what every identity hangs on.
    let off = "
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {name: eu}
spec:
  trust: {domain: eu.example.com}
";
    stage.apply(off);
    for (kind, namespace, name) in MADE.iter().skip(1).filter(|(_, _, name)| *name != "orders-dapr")
    {
        stage.gone(SOON, kind, Some(namespace), name);
    }
    stage.gone(SOON, "Deployment", PROJECT, "orders-dapr");
    stage.delete("Region", None, "eu");
    stage.gone(SOON, "Region", None, "eu");
    settle(&stage);
    assert_eq!(authority(), first);
}

#[test]
fn an_app_says_why_its_server_does_not_answer() {
    let stage = STAGE.alone();
    settle(&stage);
    let app = ("AppIdentity", PROJECT, "orders");
    let message = stage.told(SOON, app, "Reconciling", "ServerNotReady");
    assert!(message.contains("kubectl -n prj-shop get pods"), "{message}");
    let wrong = json!({"spec": {"appEndpoint": {"url": "http://10.20.0.15"}}});
    stage.edit(app.0, app.1, app.2, &wrong);
    let message = stage.told(Duration::from_secs(5), app, "Stalled", "InvalidAppEndpoint");
    assert!(message.contains("it has no port"), "{message}");
    stage.apply(APP);
    stage.told(SOON, app, "Reconciling", "ServerNotReady");
}

/// Somebody else's, by the names of ours: a Deployment, a Service and a `StatefulSet` that run nothing.
fn squatter(kind: &str, namespace: &str, name: &str) -> Value {
    let labels = json!({"app": "theirs"});
    let pod = json!({
        "metadata": {"labels": labels},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "theirs", "image": "theirs:1", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            }}],
        },
    });
    let spec = match kind {
        "Service" => json!({"selector": labels, "ports": [{"port": 80}]}),
        "PodDisruptionBudget" => json!({"selector": {"matchLabels": labels}, "maxUnavailable": 2}),
        _ => {
            json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": pod, "serviceName": "theirs"})
        }
    };
    let version = match kind {
        "Service" | "ConfigMap" => "v1",
        "PodDisruptionBudget" => "policy/v1",
        _ => "apps/v1",
    };
    let metadata = json!({"name": name, "namespace": namespace});
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": metadata});
    if kind == "ConfigMap" {
        object["data"] = json!({"ca.crt": "theirs"});
    } else {
        object["spec"] = spec;
    }
    if kind == "Deployment" {
        object["spec"].as_object_mut().expect("a spec").remove("serviceName");
    }
    object
}

#[test]
fn what_somebody_else_made_by_one_of_our_names_is_never_touched() {
    let stage = STAGE.alone();
    settle(&stage);
    let billing = "
apiVersion: cra.diagrid.io/v1beta1
kind: AppIdentity
metadata: {name: billing, namespace: prj-shop}
";
    for kind in ["Service", "Deployment"] {
        stage.apply(&squatter(kind, "prj-shop", "billing-dapr").to_string());
        stage.apply(billing);
        let app = ("AppIdentity", PROJECT, "billing");
        let message = stage.told(SOON, app, "Stalled", "NameTaken");
        assert!(message.contains(&format!("{kind} prj-shop/billing-dapr")), "{message}");
        stage.delete(app.0, app.1, app.2);
        stage.delete(kind, PROJECT, "billing-dapr");
        for kind in ["AppIdentity", "Service", "Deployment", "Configuration"] {
            let name = if kind == "AppIdentity" { "billing" } else { "billing-dapr" };
            stage.gone(SOON, kind, PROJECT, name);
        }
    }

    let dapr = |on: bool| {
        let dapr = if on { json!({"version": "1.18.3"}) } else { Value::Null };
        stage.edit("Region", None, "eu", &json!({"spec": {"dapr": dapr}}));
    };
    for (kind, name) in [
        ("ConfigMap", "dapr-trust-bundle"),
        ("PodDisruptionBudget", "dapr-sentry"),
        ("StatefulSet", "dapr-placement-server"),
    ] {
        dapr(false);
        stage.gone(SOON, kind, Some(DAPR), name);
        stage.apply(&squatter(kind, DAPR, name).to_string());
        dapr(true);
        let message = stage.told(SOON, ("Region", None, "eu"), "Stalled", "NameTaken");
        assert!(message.contains(&format!("{kind} {DAPR}/{name}")), "{message}");
        stage.delete(kind, Some(DAPR), name);
    }
    settle(&stage);
}
