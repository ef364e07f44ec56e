//! What the configuration stream tells Dapr servers of what people apply, by the rights that its account has.

use std::time::{Duration, Instant};

use catalyst_e2e::stream::{Event, Stream};
use catalyst_e2e::{Installation, STREAM, condition};
use serde_json::{Value, json};

const FILES: &str = "
{apiVersion: cra.diagrid.io/v1beta1, kind: Region, metadata: {name: eu}, spec: {trust: {domain: eu.example.com}, dapr: {version: 1.18.3}}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: Project, metadata: {name: shop}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: Project, metadata: {name: blog}}
";

const INSIDE: &str = "
{apiVersion: cra.diagrid.io/v1beta1, kind: AppIdentity, metadata: {name: orders, namespace: prj-shop}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: AppIdentity, metadata: {name: payments, namespace: prj-shop}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: AppIdentity, metadata: {name: orders, namespace: prj-blog}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: SecretRef, metadata: {name: db, namespace: prj-shop}, spec: {remote: {name: database}}}
";

const PATIENCE: Duration = Duration::from_secs(30);

const CREATED: i32 = 1;
const UPDATED: i32 = 2;
const DELETED: i32 = 3;

fn component(name: &str, secret: Option<&str>, scopes: &[&str]) -> String {
    let host = json!({"name": "host", "value": "db:5432"});
    let password = secret
        .map(|name| json!({"name": "password", "secretKeyRef": {"name": name, "key": "password"}}));
    let metadata: Vec<Value> = [host].into_iter().chain(password).collect();
    let mut component = json!({
        "apiVersion": "dapr.io/v1alpha1", "kind": "Component",
        "metadata": {"name": name, "namespace": "prj-shop"},
        "spec": {"type": "state.postgresql", "version": "v2", "metadata": metadata},
    });
    if !scopes.is_empty() {
        component["scopes"] = json!(scopes);
    }
    component.to_string()
}

fn secret(namespace: &str, name: &str, password: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
        "stringData": {"password": password},
    })
    .to_string()
}

fn is(change: i32, name: &str) -> impl Fn(&Event) -> bool {
    move |event| event.change == change && event.object["metadata"]["name"] == name
}

fn password(event: &Event) -> &str {
    event.object["spec"]["metadata"][1]["value"].as_str().unwrap_or_default()
}

fn names(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap_or_default()).collect()
}

#[test]
fn servers_follow_what_people_apply_and_nothing_else() {
    let installation = Installation::start();
    let mark = installation.mark();
    installation.apply(FILES);
    for project in ["shop", "blog"] {
        installation.ready("Project", None, project);
    }
    installation.apply(INSIDE);
    installation.apply(&secret("catalyst-secrets", "shop.database", "first"));
    installation.apply(&secret("prj-shop", "own", "mine"));
    installation.apply(&component("for-all", None, &[]));
    let mut stream = Stream::start(&installation);

    let (orders, payments) =
        (stream.server("prj-shop", "orders"), stream.server("prj-shop", "payments"));
    assert_eq!(names(&orders.components().expect("a list")), ["for-all"]);
    assert_eq!(names(&stream.server("prj-blog", "orders").components().expect("a list")), [""; 0]);
    let (told, others) = (orders.follow(), payments.follow());

    // A secret of the region, by a SecretRef: a rotation is there at once, for whoever uses it.
    installation.apply(&component("state", Some("db"), &["orders"]));
    let event = told.until("the component comes", is(CREATED, "state"));
    assert_eq!(
        (password(&event), event.object["spec"]["ignoreErrors"].as_bool()),
        ("first", Some(true))
    );
    let begun = Instant::now();
    installation.apply(&secret("catalyst-secrets", "shop.database", "second"));
    let event = told.until("the rotation comes", is(UPDATED, "state"));
    assert_eq!(password(&event), "second");
    let took = event.at - begun;
    eprintln!("a rotated secret of the region was told after {took:?}");
    assert!(took < Duration::from_secs(2), "it took {took:?}");

    // A Secret of the project: found, changed, gone, back.
    installation.apply(&component("own", Some("own"), &["orders"]));
    assert_eq!(password(&told.until("it comes", is(CREATED, "own"))), "mine");
    let begun = Instant::now();
    installation.apply(&secret("prj-shop", "own", "changed"));
    let event = told.until("the change comes", is(UPDATED, "own"));
    assert_eq!(password(&event), "changed");
    eprintln!("a changed Secret of the project was told after {:?}", event.at - begun);
    installation.delete("Secret", Some("prj-shop"), "own");
    assert_eq!(password(&told.until("it goes", is(DELETED, "own"))), "changed", "whole, as it was");
    assert_eq!(
        names(&orders.components().expect("a list")),
        ["for-all", "state"],
        "and nothing else goes"
    );

    let app = ("AppIdentity", Some("prj-shop"), "orders");
    let says = |status: &'static str, reason: &'static str| {
        installation.wait_for(PATIENCE, app, &format!("says {status}, {reason}"), |app| {
            let found = condition(app, "ComponentsReady");
            let is_there = found["status"] == status && found["reason"] == reason;
            is_there.then(|| found["message"].to_string()).ok_or_else(|| found.to_string())
        })
    };
    let message = says("False", "SecretMissing");
    assert!(
        message.contains(r#"Component \"own\": spec.metadata[1].secretKeyRef.name is \"own\""#),
        "{message}"
    );
    let theirs = installation.the("AppIdentity", Some("prj-shop"), "payments");
    assert!(condition(&theirs, "ComponentsReady").is_null(), "it is not meant for them");
    installation.apply(&secret("prj-shop", "own", "back"));
    told.until("it is back", |event| is(CREATED, "own")(event) && password(event) == "back");
    says("True", "Ready");

    // A scope takes it away.
    installation.apply(&component("state", Some("db"), &["payments"]));
    assert_eq!(password(&told.until("it goes", is(DELETED, "state"))), "second");
    assert_eq!(password(&others.until("it comes", is(CREATED, "state"))), "second");

    // The stream itself starts anew: what happened meanwhile is in the next list.
    installation.apply(&component("late", None, &[]));
    told.until("it comes", is(CREATED, "late"));
    stream.process.term(Duration::from_secs(20));
    assert_eq!(told.ended().expect("it did not just end").code(), tonic::Code::Unavailable);
    installation.delete("Component", Some("prj-shop"), "late");
    stream.start_again(&installation);
    let orders = stream.server("prj-shop", "orders");
    assert_eq!(names(&orders.components().expect("a list")), ["for-all", "own"]);

    // An app that is deleted is told nothing more.
    let told = orders.follow();
    installation.delete("AppIdentity", Some("prj-shop"), "orders");
    installation.apply(&component("after", None, &[]));
    assert_eq!(told.ended().expect("a refusal").code(), tonic::Code::PermissionDenied);
    assert!(told.events().is_empty(), "{:?}", told.events());
    assert_eq!(orders.components().unwrap_err().code(), tonic::Code::PermissionDenied);
    let log = stream.process.log();
    assert!(log.contains("call refused") && log.contains("/ns/prj-shop/orders"), "{log}");

    // Its account may do what it does, and no more.
    let requests = installation.requests(mark);
    let forbidden: Vec<_> = requests
        .iter()
        .filter(|request| request.user() == STREAM && request.code() == 403)
        .collect();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
    for (verb, namespace) in
        [("list", ""), ("list", "prj-shop"), ("watch", "prj-shop"), ("get", "catalyst-dapr")]
    {
        let place = if namespace.is_empty() { "-A".into() } else { format!("-n {namespace}") };
        let line = format!("auth can-i {verb} secrets {place} --as {STREAM}");
        let words: Vec<&str> = line.split_whitespace().collect();
        let asked = installation.control_plane.kubectl(&words).expect("kubectl");
        assert_eq!(asked.stdout.trim(), "no", "{verb} {namespace}");
    }
}
