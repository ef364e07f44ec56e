//! All eleven APIs of Dapr answer an application that has an address and a token, and nobody else.

#![allow(clippy::panic, reason = "a test fails by it, helpers of one too")]

use std::time::Duration;

use catalyst_e2e::{App, Installation, Stage, repository, until};
use catalyst_testbed::python_sdk;
use serde_json::{Value, json};

static STAGE: Stage = Stage::of(served);

const ORDERS: App = App { project: "shop", id: "orders", protocol: "http" };
const PAYMENTS: App = App { project: "shop", id: "payments", protocol: "http" };
/// One that speaks gRPC.
const LEDGER: App = App { project: "shop", id: "ledger", protocol: "grpc" };
/// Of another project, with the name of one of the first.
const RIVAL: App = App { project: "rival", id: "orders", protocol: "http" };

/// From a call to what comes of it elsewhere, on a machine that is busy.
const SOON: Duration = Duration::from_secs(20);

/// From a component to servers that have it, on a machine that is busy.
const LOADED: Duration = Duration::from_secs(30);

/// What the team of `shop` applies: a component of each kind, and one that only one app has.
const COMPONENTS: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: stores, namespace: prj-shop}
stringData: {postgres: "host=10.30.0.7 user=shop password=secret database=postgres", redis: secret}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: state, namespace: prj-shop}
spec:
  type: state.postgresql
  version: v2
  metadata:
  - {name: connectionString, secretKeyRef: {name: stores, key: postgres}}
  - {name: actorStateStore, value: "true"}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: pubsub, namespace: prj-shop}
spec:
  type: pubsub.redis
  version: v1
  metadata:
  - {name: redisHost, value: "10.30.0.7:6379"}
  - {name: redisUsername, value: shop}
  - {name: redisPassword, secretKeyRef: {name: stores, key: redis}}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: settings, namespace: prj-shop}
spec:
  type: configuration.redis
  version: v1
  metadata:
  - {name: redisHost, value: "10.30.0.7:6379"}
  - {name: redisUsername, value: shop}
  - {name: redisPassword, secretKeyRef: {name: stores, key: redis}}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: locks, namespace: prj-shop}
spec:
  type: lock.redis
  version: v1
  metadata:
  - {name: redisHost, value: "10.30.0.7:6379"}
  - {name: redisUsername, value: shop}
  - {name: redisPassword, secretKeyRef: {name: stores, key: redis}}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: secrets, namespace: prj-shop}
spec: {type: secretstores.local.env, version: v1, metadata: []}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: echo, namespace: prj-shop}
spec: {type: conversation.echo, version: v1, metadata: []}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: endpoint, namespace: prj-shop}
spec:
  type: bindings.http
  version: v1
  metadata:
  - {name: url, value: "http://shop-payments.apps.svc.cluster.local:8080/bound"}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: tick, namespace: prj-shop}
spec:
  type: bindings.cron
  version: v1
  metadata:
  - {name: schedule, value: "@every 1s"}
scopes: [orders]
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: sold, namespace: prj-shop}
spec: {pubsubname: pubsub, topic: sold, routes: {default: /sold}}
scopes: [payments]
"#;

/// Two projects whose apps are served, the first with components.
fn served() -> Installation {
    let installation = Installation::with_dapr();
    // By default no server gets a store of its own environment, and there is no other store of secrets here.
    let chart = repository("charts/catalyst");
    let namespace = ["-n", "catalyst-system", "--reuse-values"];
    let upgrade =
        ["upgrade", "catalyst", &chart.to_string_lossy(), "--set-json=configStream.refuseTypes=[]"];
    installation.helm(&[upgrade.as_slice(), &namespace].concat());
    installation.kubectl("rollout status -n catalyst-dapr deployment/config-stream --timeout=60s");
    let stores = installation.control_plane.node().stores().expect("databases");
    stores.admit("shop", "secret").expect("a user");
    stores.redis(&["SET", "colour", "blue||1"]).expect("a setting");
    let apps = [ORDERS, PAYMENTS, LEDGER, RIVAL];
    installation.declare_apps(&apps);
    installation.served(&apps);
    installation.apply(COMPONENTS);
    for (app, count) in [(ORDERS, 8), (PAYMENTS, 7)] {
        installation.until(LOADED, &format!("{app:?} has {count} components"), || {
            let metadata = installation.dapr(app, "GET", "/v1.0/metadata", "").json();
            let loaded = metadata["components"].as_array().map_or(0, Vec::len);
            if loaded == count { Ok(()) } else { Err(format!("{metadata:#}")) }
        });
    }
    installation
}

/// Waits until an application has been called so, and returns the first of these calls.
fn until_seen(stage: &Installation, by: App, below: &str, what: impl Fn(&Value) -> bool) -> Value {
    until(SOON, &format!("{by:?} is called at {below}"), || {
        let seen = stage.seen(by, below);
        seen.iter().find(|call| what(call)).cloned().ok_or_else(|| format!("{seen:#?}"))
    })
}

#[test]
fn an_app_invokes_another_which_is_told_who_it_is() {
    let stage = STAGE.shared();
    let answer =
        stage.dapr(ORDERS, "POST", "/v1.0/invoke/payments/method/pay?once=1", r#"{"sum":3}"#);
    let call = answer.json();
    assert_eq!([&call["app"], &call["path"]], ["apps/shop-payments", "/pay?once=1"], "{call:#}");
    assert_eq!(call["body"], r#"{"sum":3}"#);
    let headers = &call["headers"];
    assert_eq!(headers["dapr-caller-app-id"], "orders", "{call:#}");
    assert_eq!(headers["dapr-caller-namespace"], "prj-shop", "{call:#}");
}

#[test]
fn an_app_that_speaks_grpc_is_invoked_by_one_that_speaks_http() {
    let stage = STAGE.shared();
    let call = stage.dapr(ORDERS, "POST", "/v1.0/invoke/ledger/method/pay", "7").json();
    assert_eq!([&call["app"], &call["method"]], ["apps/shop-ledger", "gRPC"], "{call:#}");
    assert_eq!(call["body"], "7");
}

#[test]
fn state_is_kept_for_each_app_by_itself() {
    let stage = STAGE.shared();
    let saved = r#"[{"key": "basket", "value": {"apples": 2}}]"#;
    stage.dapr(ORDERS, "POST", "/v1.0/state/state", saved).with(204);
    let kept = stage.dapr(ORDERS, "GET", "/v1.0/state/state/basket", "").json();
    assert_eq!(kept, json!({"apples": 2}));
    assert_eq!(stage.dapr(PAYMENTS, "GET", "/v1.0/state/state/basket", "").with(204), "");

    let node = stage.control_plane.node();
    let keys = node.stores().expect("databases").sql("SELECT key FROM state").expect("rows");
    assert!(keys.lines().any(|key| key == "orders||basket"), "{keys}");
}

#[test]
fn what_is_published_is_delivered_to_who_subscribed() {
    let stage = STAGE.shared();
    stage.dapr(ORDERS, "POST", "/v1.0/publish/pubsub/sold", r#"{"order":7}"#).with(204);
    let event = until_seen(&stage, PAYMENTS, "/sold", |call| {
        call["body"].as_str().is_some_and(|body| body.contains(r#"{"order":7}"#))
    });
    assert_eq!(event["method"], "POST");
    assert!(stage.seen(ORDERS, "/sold").is_empty(), "it did not subscribe");
}

#[test]
fn actors_are_called_from_any_app_keep_state_and_are_reminded() {
    let stage = STAGE.shared();
    let cart = "/v1.0/actors/cart/7";
    // Whichever of the two hosts it.
    let added = stage.dapr(PAYMENTS, "PUT", &format!("{cart}/method/add"), "1").json();
    assert_eq!(added["path"], "/actors/cart/7/method/add", "{added:#}");
    let host = if added["app"] == "apps/shop-orders" { ORDERS } else { PAYMENTS };

    let change = r#"[{"operation": "upsert", "request": {"key": "sum", "value": 1}}]"#;
    stage.dapr(host, "POST", &format!("{cart}/state"), change).with(204);
    assert_eq!(stage.dapr(host, "GET", &format!("{cart}/state/sum"), "").json(), 1);

    let reminder = r#"{"dueTime": "1s", "data": "pay"}"#;
    stage.dapr(host, "POST", &format!("{cart}/reminders/hurry"), reminder).with(204);
    until_seen(&stage, host, "/actors/cart/7/method/remind/hurry", |_| true);
}

#[test]
fn workflows_run_wait_for_events_and_end() {
    let stage = STAGE.shared();
    let workflows = "/v1.0/workflows/dapr";
    let start = |name: &str, id: &str, input: &str| {
        let path = format!("{workflows}/{name}/start?instanceID={id}");
        stage.dapr(ORDERS, "POST", &path, input).with(202);
    };
    let is = |id: &str, wanted: &str| {
        until(SOON, &format!("workflow {id} is {wanted}"), || {
            let stands = stage.dapr(ORDERS, "GET", &format!("{workflows}/{id}"), "").json();
            let same = stands["runtimeStatus"] == wanted;
            if same { Ok(stands) } else { Err(format!("{stands:#}")) }
        })
    };
    start("greet", "greeting", r#""world""#);
    let done = is("greeting", "COMPLETED");
    assert_eq!(done["properties"]["dapr.workflow.output"], r#""hello world""#, "{done:#}");

    start("approve", "approval", "");
    is("approval", "RUNNING");
    stage
        .dapr(ORDERS, "POST", &format!("{workflows}/approval/raiseEvent/approve"), r#""yes""#)
        .with(202);
    let done = is("approval", "COMPLETED");
    assert_eq!(done["properties"]["dapr.workflow.output"], r#""yes""#, "{done:#}");

    start("approve", "rejected", "");
    stage.dapr(ORDERS, "POST", &format!("{workflows}/rejected/terminate"), "").with(202);
    is("rejected", "TERMINATED");
    stage.dapr(ORDERS, "POST", &format!("{workflows}/rejected/purge"), "").with(202);
    stage.dapr(ORDERS, "GET", &format!("{workflows}/rejected"), "").with(404);
}

#[test]
fn secrets_are_read_but_never_the_token() {
    let stage = STAGE.shared();
    let secret = stage.dapr(ORDERS, "GET", "/v1.0/secrets/secrets/HOSTNAME", "").json();
    let name = secret["HOSTNAME"].as_str().unwrap_or_default();
    assert!(name.starts_with("orders-dapr-"), "{secret}");
    let token = stage.dapr(ORDERS, "GET", "/v1.0/secrets/secrets/DAPR_API_TOKEN", "");
    assert!(!token.body.contains("cat1_"), "{token:?}");
}

#[test]
fn configuration_is_read() {
    let stage = STAGE.shared();
    let items = stage.dapr(ORDERS, "GET", "/v1.0/configuration/settings?key=colour", "").json();
    assert_eq!(items["colour"]["value"], "blue", "{items:#}");
}

#[test]
fn bindings_bring_events_in_and_requests_out() {
    let stage = STAGE.shared();
    until_seen(&stage, ORDERS, "/tick", |call| call["method"] == "POST");
    assert!(stage.seen(PAYMENTS, "/tick").is_empty(), "it is not in the scopes");

    let request = r#"{"operation": "post", "data": "parcel"}"#;
    stage.dapr(ORDERS, "POST", "/v1.0/bindings/endpoint", request).with(200);
    until_seen(&stage, PAYMENTS, "/bound", |call| {
        call["body"].as_str().is_some_and(|body| body.contains("parcel"))
    });
}

#[test]
fn a_lock_is_had_once() {
    let stage = STAGE.shared();
    let lock = |action: &str, owner: &str| {
        let body = json!({"resourceId": "till", "lockOwner": owner, "expiryInSeconds": 60});
        let path = format!("/v1.0-alpha1/{action}/locks");
        stage.dapr(ORDERS, "POST", &path, &body.to_string()).json()
    };
    assert_eq!(lock("lock", "one")["success"], true);
    assert_ne!(lock("lock", "two")["success"], true);
    assert_eq!(lock("unlock", "one")["status"], 0);
    assert_eq!(lock("lock", "two")["success"], true);
}

#[test]
fn a_job_calls_the_app_when_it_is_due() {
    let stage = STAGE.shared();
    let job = r#"{"dueTime": "1s", "data": "bill"}"#;
    stage.dapr(ORDERS, "POST", "/v1.0-alpha1/jobs/bill", job).with(204);
    let call = until_seen(&stage, ORDERS, "/job/bill", |_| true);
    assert!(call["body"].as_str().is_some_and(|body| body.contains("bill")), "{call:#}");
}

#[test]
fn a_conversation_is_answered() {
    let stage = STAGE.shared();
    let words =
        json!({"inputs": [{"messages": [{"ofUser": {"content": [{"text": "good day"}]}}]}]});
    let path = "/v1.0-alpha2/conversation/echo/converse";
    let answer = stage.dapr(ORDERS, "POST", path, &words.to_string()).with(200);
    assert!(answer.contains("good day"), "{answer}");
}

#[test]
fn the_official_go_sdk_finds_its_server_in_the_connection_secret() {
    let stage = STAGE.shared();
    let outcomes = stage.ask(ORDERS, "sdk?peer=payments", Some(""));
    let outcomes = outcomes.as_object().expect("an outcome of each API");
    let failed: Vec<_> = outcomes.iter().filter(|(_, outcome)| *outcome != "ok").collect();
    assert!(failed.is_empty() && outcomes.len() == 10, "{outcomes:#?}");
}

#[test]
fn the_official_python_sdk_works_from_outside_of_the_cluster() {
    let packages = python_sdk().unwrap_or_else(|error| panic!("{error}"));
    let stage = STAGE.shared();
    let node = stage.control_plane.node();
    let host = node.outside("office", &["198.51.100.9"], &[80]).expect("a host outside");
    let token =
        "get secret orders-dapr -n prj-shop -o go-template={{.data.DAPR_API_TOKEN|base64decode}}";
    let slices = "get endpointslices -n prj-shop -l kubernetes.io/service-name=orders-dapr";
    let first = "-o jsonpath={.items[?(@.addressType==\"IPv4\")].endpoints[0].addresses[0]}";
    let address = stage.kubectl(&format!("{slices} {first}"));
    let mut python = host.command("python3");
    python.arg(repository("tests/peers/python/client.py")).arg("payments");
    python.env("PYTHONPATH", packages).env("DAPR_API_TOKEN", stage.kubectl(token));
    python.env("DAPR_HTTP_ENDPOINT", format!("http://{address}:3500"));
    python.env("DAPR_GRPC_ENDPOINT", format!("{address}:50001"));

    let done = python.output().expect("Python runs");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}");
    let outcomes: Value = serde_json::from_slice(&done.stdout).expect("an outcome of each API");
    let outcomes = outcomes.as_object().expect("an outcome of each API");
    let well = outcomes.values().all(|outcome| outcome == "ok");
    assert!(well && outcomes.len() == 10, "{outcomes:#?}\n{told}");
}

#[test]
fn without_its_own_token_nobody_is_answered_by_http_or_grpc() {
    let stage = STAGE.shared();
    let address = "orders-dapr.prj-shop.svc.cluster.local";
    // Each by who can reach the server; the last two are tokens, but of other servers.
    let tokens = [
        (ORDERS, ""),
        (ORDERS, "wrong"),
        (PAYMENTS, "$DAPR_API_TOKEN"),
        (RIVAL, "$DAPR_API_TOKEN"),
    ];
    for (from, token) in tokens {
        let headers = if token.is_empty() { json!({}) } else { json!({"dapr-api-token": token}) };
        for path in
            ["/v1.0/metadata", "/v1.0/state/state/basket", "/v1.0/invoke/payments/method/pay"]
        {
            let url = format!("http://{address}:3500{path}");
            let call = json!({"method": "GET", "url": url, "headers": headers});
            stage.call(from, &call).with(401);
        }
        let asked = format!("grpc?endpoint={address}:50001&token={token}");
        assert_eq!(stage.ask(from, &asked, Some("")), "Unauthenticated", "{from:?} {token}");
    }
    let asked = format!("grpc?endpoint={address}:50001&token=$DAPR_API_TOKEN");
    assert_eq!(stage.ask(ORDERS, &asked, Some("")), "OK");
    let metadata = stage.dapr(ORDERS, "GET", "/v1.0/metadata", "").json();
    assert_eq!(
        [&metadata["id"], &metadata["runtimeVersion"]],
        ["orders", "1.18.3"],
        "{metadata:#}"
    );
}

#[test]
fn an_app_of_another_project_can_not_be_invoked() {
    let stage = STAGE.shared();
    for id in ["payments", "payments.prj-shop"] {
        let path = format!("/v1.0/invoke/{id}/method/burgle");
        let answer = stage.dapr(RIVAL, "GET", &path, "");
        assert_ne!(answer.status, 200, "{answer:?}");
    }
    assert!(stage.seen(PAYMENTS, "/burgle").is_empty());
    // Its own server works.
    stage.dapr(RIVAL, "GET", "/v1.0/invoke/orders/method/own", "").with(200);
}

#[test]
fn a_component_that_can_not_work_stops_no_server_and_one_without_its_secret_is_named_until_it_has_it()
 {
    let stage = STAGE.shared();
    let bad = r"
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: of-no-type, namespace: prj-shop}
spec: {type: state.nosuch, version: v1, metadata: []}
scopes: [ledger]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: late, namespace: prj-shop}
spec:
  type: state.in-memory
  version: v1
  metadata:
  - {name: password, secretKeyRef: {name: late, key: password}}
scopes: [ledger]
";
    stage.apply(bad);
    let app = ("AppIdentity", Some("prj-shop"), "ledger");
    let message = stage.told(LOADED, app, "Reconciling", "SecretMissing");
    assert!(message.contains("Component \"late\""), "{message}");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "late", "namespace": "prj-shop"}, "stringData": {"password": "known"},
    });
    stage.apply(&secret.to_string());
    stage.ready(app.0, app.1, app.2);
    until(LOADED, "the server has the component", || {
        let metadata = stage.dapr(LEDGER, "GET", "/v1.0/metadata", "").json();
        let mut loaded = metadata["components"].as_array().into_iter().flatten();
        let has = loaded.any(|component| component["name"] == "late");
        if has { Ok(()) } else { Err(format!("{metadata:#}")) }
    });
    let pods = stage.list("Pod", Some("prj-shop"), "cra.diagrid.io/app=ledger");
    assert!(!pods.is_empty());
    assert!(pods.iter().all(|pod| pod["status"]["containerStatuses"][0]["restartCount"] == 0));
}
