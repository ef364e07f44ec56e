//! Secrets, which nobody watches: what a foreign hand did to one is found by the sweep alone.

use catalyst_crds::{AppIdentity, AppIdentitySpec};
use catalyst_plan::Datum;
use k8s_openapi::api::core::v1::Secret;
use tokio::task::JoinSet;

use super::super::kernel::Kernel;
use super::super::secrets::{Fetched, apply};
use super::super::sweep::sweep;
use super::*;

/// The promise, and a step of the sweep.
const ROUND: Duration = Duration::from_secs(10 * 60 + 1);

fn secret(name: &str, key: &str, datum: Datum) -> Object {
    let owner =
        Owner { concern: "identity", project: "shop".into(), uid: UID.into(), reference: None };
    let metadata = ObjectMeta {
        name: Some(name.into()),
        namespace: Some("prj-shop".into()),
        ..ObjectMeta::default()
    };
    let mut secret = owner.owns(&Secret { metadata, ..Secret::default() });
    secret.data.insert(key.into(), datum);
    secret
}

/// A server that has one Secret, at most.
#[derive(Clone, Default)]
struct Server {
    stands: Arc<Mutex<Option<Value>>>,
    sent: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let bytes = body.collect().await.expect("a body").to_bytes();
                let body = serde_json::from_slice(&bytes).unwrap_or_default();
                let (code, answer) = server.answer(head.method.as_str(), head.uri.path(), body);
                let answer = Body::from(answer.to_string().into_bytes());
                let response = Response::builder().status(code).body(answer);
                Ok::<_, Infallible>(response.expect("a response"))
            }
        });
        Client::new(service, "default")
    }

    fn answer(&self, method: &str, path: &str, mut body: Value) -> (u16, Value) {
        self.sent.lock().unwrap().push(format!("{method} {path}"));
        let mut stands = self.stands.lock().unwrap();
        match (method, stands.as_ref()) {
            ("GET", _) if path.ends_with("/secrets") => {
                let items: Vec<&Value> = stands.iter().collect();
                let list = json!({"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": items});
                (200, list)
            }
            ("GET", Some(object)) => (200, object.clone()),
            ("GET", None) => refused(404, "not found"),
            ("PATCH", Some(_)) if !body["metadata"]["resourceVersion"].is_null() => {
                refused(409, "it stands")
            }
            ("PATCH", _) => {
                body["metadata"]["uid"] = json!("uid-of-it");
                body["metadata"]["resourceVersion"] = self.version();
                *stands = Some(body.clone());
                (200, body)
            }
            other => unreachable!("nobody sends {other:?}"),
        }
    }

    /// What a foreign hand does to it.
    fn spoil(&self) {
        self.sent.lock().unwrap().push("a foreign hand".into());
        let mut stands = self.stands.lock().unwrap();
        let object = stands.as_mut().expect("it was made");
        object["data"]["address"] = json!("c3BvaWx0");
        object["metadata"]["resourceVersion"] = self.version();
    }

    /// Rises with each request.
    fn version(&self) -> Value {
        json!(self.sent.lock().unwrap().len().to_string())
    }

    /// Waits until the value is the planned one.
    async fn holds(&self, value: &str) {
        loop {
            let holds = self
                .stands
                .lock()
                .unwrap()
                .as_ref()
                .is_some_and(|object| object["data"]["address"] == json!(value));
            if holds {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A controller whose apps have one Secret.
struct Keeps(Object);

impl Reconcile for Keeps {
    type Kind = AppIdentity;
    type World = Object;
    const CONCERN: &'static str = "identity";
    const CONDITION: &'static str = "IdentityReady";

    async fn observe(&self, _: &AppIdentity) -> Result<Object, Error> {
        Ok(self.0.clone())
    }

    fn plan(_: &AppIdentity, object: &Object) -> Result<Plan, Invalid> {
        Ok(Plan { objects: vec![object.clone()], ..Plan::default() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_a_foreign_hand_changed_or_deleted_is_put_right_by_the_sweep_within_ten_minutes()
 {
    let server = Server::default();
    let gate = Gate::default();
    gate.open_until(Instant::now() + Duration::from_hours(2));
    let cluster = Arc::new(Cluster::new(server.client(), gate, Metrics::default()));
    let mut kernel = Kernel::new(Some(cluster));
    let apps = kernel.cache::<AppIdentity>();
    let planned = secret("orders-dapr", "address", Datum::Text("planned".into()));
    kernel.controller(Keeps(planned)).owns::<Secret>().start();
    let mut app = AppIdentity::new("orders", AppIdentitySpec::default());
    app.metadata.namespace = Some("prj-shop".into());
    app.metadata.uid = Some(UID.into());
    apps.0.put(&Place::new(Some("prj-shop"), "orders"), app);
    apps.0.settle();
    // The controller, which was wired last. What it would watch is told here.
    let mut tasks = JoinSet::new();
    tasks.spawn(kernel.tasks.pop().expect("a controller at work"));
    tasks.spawn(sweep(Arc::clone(&kernel.shared)));
    server.holds("cGxhbm5lZA==").await;

    // The first time may be soon after the start, when nothing was looked at yet.
    for done in ["changed", "changed", "deleted"] {
        if done == "deleted" {
            *server.stands.lock().unwrap() = None;
        } else {
            server.spoil();
        }
        let repaired = tokio::time::timeout(ROUND, server.holds("cGxhbm5lZA==")).await;
        assert!(repaired.is_ok(), "it was {done}: {:?}", server.sent.lock().unwrap());
    }
}

#[tokio::test]
async fn a_value_is_copied_from_no_secret_that_is_not_ours() {
    let copy = Datum::CopyOf { secret: "orders-dapr-token-1".into(), key: "token".into() };
    let connection = secret("orders-dapr", "DAPR_API_TOKEN", copy);
    // All that a tenant can write; our labels they can't.
    let planted = json!({"apiVersion": "v1", "kind": "Secret", "data": {"token": "a25vd24="}, "metadata": {
        "name": "orders-dapr-token-1", "namespace": "prj-shop", "uid": "x", "resourceVersion": "3",
        "ownerReferences": [{"apiVersion": "v1", "kind": "AppIdentity", "name": "orders", "uid": UID}],
        "managedFields": [{"manager": "identity.cra.diagrid.io", "operation": "Apply"}]}});
    let script = Script::answering([(200, planted)]);
    let by = Applicant { concern: "identity", uid: UID, kind: "AppIdentity", is_gone: &|_| false };
    let (children, mut fetched) = (Children::default(), Fetched::default());
    let made = apply(&script.cluster(), &children, &connection, &by, &mut fetched).await;
    assert!(
        matches!(&made, Err(Error::NameTaken(key)) if key.name == "orders-dapr-token-1"),
        "{made:?}"
    );
    assert_eq!(script.methods(), ["GET"], "nothing was written");
}
