//! Whatever of Dapr and Catalyst is killed while apps work, they go on: only what is asked of a killed server fails, until
//! the next one stands. What was begun before is ended after.

#![allow(clippy::panic, reason = "a test fails by it, helpers of one too")]

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use catalyst_e2e::{App, Installation, Load, until};
use serde_json::{Value, json};

const ORDERS: App = App { project: "shop", id: "orders", protocol: "http" };
const PAYMENTS: App = App { project: "shop", id: "payments", protocol: "http" };

/// From a killed pod to the next one that is ready, on a machine that is busy.
const REPLACED: Duration = Duration::from_mins(2);

/// From the end of a trouble to what was waiting for it.
const RESUMED: Duration = Duration::from_mins(1);

/// Everything that apps do not call, each by its namespace and what the names of its pods begin with.
const PARTS: [(&str, &str); 6] = [
    ("catalyst-dapr", "dapr-sentry-"),
    ("catalyst-dapr", "dapr-placement-server-"),
    ("catalyst-dapr", "dapr-scheduler-server-"),
    ("catalyst-dapr", "config-stream-"),
    ("catalyst-system", "catalyst-agent-"),
    ("catalyst-system", "catalyst-secrets-"),
];

const STATE: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: stores, namespace: prj-shop}
stringData: {postgres: "host=10.30.0.7 user=shop password=secret database=postgres"}
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
"#;

/// A call of another app, and one of what an app keeps.
const CALLS: [&str; 2] = ["/v1.0/invoke/payments/method/pay", "/v1.0/state/state/basket"];

/// The cluster of all tests, in turn. Never dropped: the testbed ends it with the process.
fn alone() -> MutexGuard<'static, Installation> {
    static CLUSTER: OnceLock<Mutex<Installation>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| Mutex::new(served()));
    cluster.lock().unwrap_or_else(PoisonError::into_inner)
}

fn served() -> Installation {
    let installation = Installation::with_dapr();
    let stores = installation.control_plane.node().stores().expect("databases");
    stores.admit("shop", "secret").expect("a user");
    let apps = [ORDERS, PAYMENTS];
    installation.declare_apps(&apps);
    installation.served(&apps);
    installation.apply(STATE);
    installation.until(RESUMED, "state is kept", || {
        let kept = r#"[{"key": "basket", "value": 1}]"#;
        match installation.dapr(ORDERS, "POST", "/v1.0/state/state", kept) {
            answer if answer.status == 204 => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    });
    installation
}

/// The pods of a namespace whose names begin so.
fn pods(stage: &Installation, (namespace, begins): (&str, &str)) -> Vec<Value> {
    let mut pods = stage.list("Pod", Some(namespace), "");
    pods.retain(|pod| {
        pod["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(begins))
    });
    pods
}

/// Kills the pods of a part, as a node does that is lost, and waits for as many others that are ready.
fn kill(stage: &Installation, part: (&str, &str)) {
    let before = pods(stage, part);
    assert!(!before.is_empty(), "there is no pod {}.. in {}", part.1, part.0);
    let since = Instant::now();
    for pod in &before {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        stage.kubectl(&format!("delete pod -n {} {name} --grace-period=0 --force", part.0));
    }
    let old: Vec<&Value> = before.iter().map(|pod| &pod["metadata"]["uid"]).collect();
    stage.until(REPLACED, &format!("others of {} are ready", part.1), || {
        let mut now = pods(stage, part);
        now.retain(|pod| !old.contains(&&pod["metadata"]["uid"]));
        let ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        let told = || stage.kubectl(&format!("get pods -n {} -o wide", part.0));
        if now.len() == before.len() && now.iter().all(ready) { Ok(()) } else { Err(told()) }
    });
    eprintln!("{} is there again after {:.1} s", part.1, since.elapsed().as_secs_f32());
}

fn nothing_failed(loads: &[Load]) {
    for load in loads {
        eprintln!("{}: {} calls, {} failed", load.path, load.made, load.failed.len());
    }
    assert!(loads.iter().all(|load| load.failed.is_empty() && load.made > 0), "{loads:#?}");
}

#[test]
fn no_call_of_an_app_fails_when_anything_else_is_killed() {
    let stage = alone();
    for part in PARTS {
        let ((), loads) = stage.under_load(ORDERS, &CALLS, || kill(&stage, part));
        nothing_failed(&loads);
    }
}

#[test]
fn when_a_server_is_killed_what_others_do_goes_on() {
    let stage = alone();
    let [invocation, basket] = CALLS;
    let ((), loads) = stage.under_load(ORDERS, &CALLS, || {
        kill(&stage, ("prj-shop", "payments-dapr-"));
        until(RESUMED, "payments is invoked again", || {
            let answer = stage.dapr(ORDERS, "GET", invocation, "");
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    });
    let of = |path: &str| loads.iter().find(|load| load.path == path).expect("a load");
    eprintln!("{invocation}: {} of {} failed", of(invocation).failed.len(), of(invocation).made);
    assert!(of(basket).failed.is_empty(), "{loads:#?}");
}

#[test]
fn jobs_and_workflows_that_were_begun_are_ended_whatever_was_killed_meanwhile() {
    let stage = alone();
    for number in 0..10 {
        let job = r#"{"dueTime": "20s", "data": "bill"}"#;
        stage.dapr(ORDERS, "POST", &format!("/v1.0-alpha1/jobs/kept-{number}"), job).with(204);
    }
    let workflows = "/v1.0/workflows/dapr";
    for number in 0..10 {
        let start = format!("{workflows}/approve/start?instanceID=kept-{number}");
        stage.dapr(ORDERS, "POST", &start, "").with(202);
    }
    for part in [PARTS[2], PARTS[1], ("prj-shop", "orders-dapr-")] {
        kill(&stage, part);
    }
    for number in 0..10 {
        let raise = format!("{workflows}/kept-{number}/raiseEvent/approve");
        until(RESUMED, "an event is taken", || {
            match stage.dapr(ORDERS, "POST", &raise, r#""yes""#) {
                answer if answer.status == 202 => Ok(()),
                answer => Err(format!("{answer:?}")),
            }
        });
    }
    until(RESUMED, "all workflows are ended, and all jobs have called", || {
        let ended = (0..10).filter(|number| {
            let stands = stage.dapr(ORDERS, "GET", &format!("{workflows}/kept-{number}"), "");
            stands.body.contains("COMPLETED")
        });
        let ended = ended.count();
        let mut called: Vec<Value> =
            stage.seen(ORDERS, "/job/kept-").iter().map(|call| call["path"].clone()).collect();
        called.dedup();
        if (ended, called.len()) == (10, 10) {
            Ok(())
        } else {
            Err(json!([ended, called]).to_string())
        }
    });
}
