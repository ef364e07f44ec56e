//! The kernel against scripted answers: what it sends, in which order, and what it leaves alone.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use catalyst_crds::Project;
use catalyst_plan::{Invalid, Key, Object, Owner, Plan, Resource, names};
use http::{Request, Response};
use http_body_util::BodyExt;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::apply::{Applicant, Applied, Children, apply};
use super::cluster::Cluster;
use super::error::Error;
use super::gate::Gate;
use super::metrics::Metrics;
use super::reconcile::{Reconcile, Worker};
use super::shared::Shared;
use super::store::{Child, Place, Store};
use super::watch::live;

mod repair;

const UID: &str = "11111111-1111-1111-1111-111111111111";

/// One request as it was sent.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    path: String,
    body: Value,
}

/// An API server that answers as told and remembers what it was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Script {
    fn answering(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
    }

    fn cluster(&self) -> Cluster {
        let gate = Gate::default();
        gate.open_until(Instant::now() + Duration::from_hours(1));
        Cluster::new(self.client(), gate, Metrics::default())
    }

    fn client(&self) -> Client {
        let script = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let script = script.clone();
            async move {
                let (head, body) = request.into_parts();
                let bytes = body
                    .collect()
                    .await
                    .map(http_body_util::Collected::to_bytes)
                    .unwrap_or_default();
                script.sent.lock().unwrap().push(Sent {
                    method: head.method.to_string(),
                    path: head.uri.to_string(),
                    body: serde_json::from_slice(&bytes).unwrap_or_default(),
                });
                let answer = script.answers.lock().unwrap().pop_front();
                let (status, body) =
                    answer.expect("one request more than the script has answers for");
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, Infallible>(
                    Response::builder().status(status).body(body).expect("a response"),
                )
            }
        });
        Client::new(service, "default")
    }

    fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    fn methods(&self) -> Vec<String> {
        self.sent().into_iter().map(|sent| sent.method).collect()
    }
}

fn refused(code: u16, message: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "reason": ""}),
    )
}

/// Denies everything; what a plan of the network concern would name.
fn planned(name: &str) -> Object {
    let owner =
        Owner { concern: "network", project: "shop".into(), uid: UID.into(), reference: None };
    owner.owns(&NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some("prj-shop".into()),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(vec!["Ingress".into()]),
            ..NetworkPolicySpec::default()
        }),
    })
}

/// What the server holds once a manifest is applied.
fn stands(object: &Object, version: &str) -> Value {
    let mut stands = object.manifest.clone();
    stands["metadata"]["uid"] = json!(format!("uid-of-{}", object.key.name));
    stands["metadata"]["resourceVersion"] = json!(version);
    stands
}

fn knows(children: &Children, object: &Object, stands: &Value) {
    let seen = live(&serde_json::from_value(stands.clone()).expect("an object"));
    children
        .store(&object.key.resource)
        .put(&Place::new(Some("prj-shop"), &object.key.name), Child(seen));
}

async fn applied(script: &Script, children: &Children, object: &Object) -> Result<Applied, Error> {
    let by =
        Applicant { concern: "network", uid: UID, kind: "Project", is_gone: &|uid| uid == "gone" };
    apply(&script.cluster(), children, object, &by).await
}

#[tokio::test]
async fn what_stands_as_planned_costs_no_call() {
    let (script, children, object) =
        (Script::default(), Children::default(), planned("default-deny"));
    knows(&children, &object, &stands(&object, "7"));
    assert_eq!(applied(&script, &children, &object).await.expect("no error"), Applied::Unchanged);
    assert!(script.sent().is_empty());
}

#[tokio::test]
async fn the_first_write_makes_and_never_takes_over() {
    let object = planned("default-deny");
    let script = Script::answering([(201, stands(&object, "7"))]);
    let children = Children::default();
    assert_eq!(applied(&script, &children, &object).await.expect("no error"), Applied::Written);
    let sent = script.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].body["metadata"]["resourceVersion"], "1", "an apply that only creates");
    assert!(sent[0].path.contains("fieldManager=network.cra.diagrid.io"), "{}", sent[0].path);
    assert_eq!(
        applied(&Script::default(), &children, &object).await.expect("no call"),
        Applied::Unchanged
    );
}

#[tokio::test]
async fn something_of_that_name_that_is_not_ours_is_never_written() {
    let object = planned("default-deny");
    let foreign = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "default-deny", "namespace": "prj-shop", "uid": "x", "resourceVersion": "3"}, "spec": {}});
    let script = Script::answering([refused(409, "the object has been modified"), (200, foreign)]);
    let error = applied(&script, &Children::default(), &object).await.expect_err("refused");
    assert!(matches!(error, Error::NameTaken(_)), "{error}");
    assert_eq!(script.methods(), ["PATCH", "GET"]);
}

#[tokio::test]
async fn a_child_whose_labels_were_taken_away_is_known_by_our_manager_and_restored() {
    let object = planned("default-deny");
    let mut bare = stands(&object, "8");
    bare["metadata"]["labels"] = json!({});
    bare["metadata"]["managedFields"] =
        json!([{"manager": "network.cra.diagrid.io", "operation": "Apply"}]);
    let script =
        Script::answering([refused(409, "modified"), (200, bare), (200, stands(&object, "9"))]);
    assert_eq!(
        applied(&script, &Children::default(), &object).await.expect("restored"),
        Applied::Written
    );
    assert_eq!(script.methods(), ["PATCH", "GET", "PATCH"]);
}

#[tokio::test]
async fn what_others_added_below_the_content_is_taken_out_guarded_by_the_version() {
    let (children, object) = (Children::default(), planned("default-deny"));
    let mut holed = stands(&object, "8");
    holed["spec"]["egress"] = json!([{}]);
    knows(&children, &object, &holed);
    let script = Script::answering([(200, holed), (200, stands(&object, "9"))]);
    assert_eq!(applied(&script, &children, &object).await.expect("mended"), Applied::Written);
    let sent = script.sent();
    assert_eq!(
        sent[1].body[0],
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": "8"})
    );
    assert_eq!(sent[1].body[1], json!({"op": "remove", "path": "/spec/egress"}));
}

#[tokio::test]
async fn a_server_that_insists_on_more_than_we_sent_is_asked_once_not_for_ever() {
    let (children, object) = (Children::default(), planned("default-deny"));
    let mut more = stands(&object, "8");
    more["spec"]["insisted"] = json!(true);
    knows(&children, &object, &more);
    let script = Script::answering([(200, more.clone()), (200, more)]);
    assert_eq!(applied(&script, &children, &object).await.expect("asked"), Applied::Written);
    assert_eq!(applied(&script, &children, &object).await.expect("known"), Applied::Unchanged);
    assert_eq!(script.sent().len(), 2);
}

#[tokio::test]
async fn without_the_lease_nothing_is_sent() {
    let script = Script::default();
    let cluster = script.cluster();
    cluster.gate().close();
    let by = Applicant { concern: "network", uid: UID, kind: "Project", is_gone: &|_| false };
    let error = apply(&cluster, &Children::default(), &planned("default-deny"), &by)
        .await
        .expect_err("closed");
    assert!(matches!(error, Error::NotHolder));
    assert!(script.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_too_busy_is_asked_again_after_the_time_it_asks_for() {
    let object = planned("default-deny");
    let mut busy = refused(429, "too many requests");
    busy.1["details"] = json!({"retryAfterSeconds": 3});
    let script = Script::answering([busy, (201, stands(&object, "7"))]);
    let began = Instant::now();
    applied(&script, &Children::default(), &object).await.expect("made");
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test]
async fn a_refusal_that_no_binding_of_ours_explains_is_not_retried() {
    let script = Script::answering([refused(403, "forbidden")]);
    let error = applied(&script, &Children::default(), &planned("default-deny"))
        .await
        .expect_err("refused");
    assert_eq!(error.reason(), "Forbidden");
    assert_eq!(script.sent().len(), 1);
}

#[test]
fn an_older_version_never_replaces_a_newer_one() {
    let (children, object) = (Children::default(), planned("default-deny"));
    knows(&children, &object, &stands(&object, "9"));
    knows(&children, &object, &stands(&object, "8"));
    assert_eq!(children.get(&object.key).expect("known").0.resource_version, 9);
}

/// A controller whose plan is what the test says.
struct Told(Result<Plan, Invalid>);

impl Reconcile for Told {
    type Kind = Project;
    type World = Result<Plan, Invalid>;
    const CONCERN: &'static str = "network";
    const CONDITION: &'static str = "NetworkReady";

    async fn observe(&self, _: &Project) -> Result<Self::World, Error> {
        Ok(self.0.clone())
    }

    fn plan(_: &Project, world: &Self::World) -> Result<Plan, Invalid> {
        world.clone()
    }
}

fn worker(script: &Script, plan: Result<Plan, Invalid>, standing: &[Object]) -> Worker<Told> {
    let primaries = Arc::new(Store::<Project>::default());
    let mut project = Project::new("shop", catalyst_crds::ProjectSpec::default());
    project.metadata.uid = Some(UID.into());
    primaries.put(&Place::new(None, "shop"), project);
    let shared = Shared { cluster: Some(Arc::new(script.cluster())), ..Shared::default() };
    for object in standing {
        knows(&shared.children, object, &stands(object, "5"));
    }
    Worker {
        reconcile: Told(plan),
        primaries,
        owned: vec![Resource::of::<NetworkPolicy>()],
        shared: Arc::new(shared),
        failures: Arc::default(),
    }
}

fn plan(objects: &[&str]) -> Plan {
    Plan { objects: objects.iter().map(|name| planned(name)).collect(), ..Plan::default() }
}

#[tokio::test]
async fn what_a_plan_no_longer_names_is_deleted_by_uid_after_the_rest_is_applied() {
    let script =
        Script::answering([(201, stands(&planned("new"), "9")), (200, json!({"kind": "Status"}))]);
    let worker = worker(
        &script,
        Ok(plan(&["default-deny", "new"])),
        &[planned("default-deny"), planned("old")],
    );
    worker.turn(&Place::new(None, "shop")).await;
    let sent = script.sent();
    assert_eq!(script.methods(), ["PATCH", "DELETE"]);
    assert!(sent[1].path.contains("/networkpolicies/old"), "{}", sent[1].path);
    assert_eq!(sent[1].body["preconditions"]["uid"], "uid-of-old");
}

#[tokio::test]
async fn a_primary_that_cannot_be_planned_changes_nothing() {
    let script = Script::default();
    let worker = worker(&script, Err(Invalid::new("InvalidEgress", "mend it")), &[planned("old")]);
    worker.turn(&Place::new(None, "shop")).await;
    assert!(script.sent().is_empty());
}

#[tokio::test]
async fn one_refused_object_holds_up_neither_the_rest_nor_what_has_to_go() {
    let script = Script::answering([
        refused(403, "exceeded quota"),
        (201, stands(&planned("second"), "9")),
        (200, json!({"kind": "Status"})),
    ]);
    let worker = worker(&script, Ok(plan(&["first", "second"])), &[planned("old")]);
    let next = worker.turn(&Place::new(None, "shop")).await;
    assert_eq!(script.methods(), ["PATCH", "PATCH", "DELETE"]);
    assert_eq!(next, Some(Duration::from_secs(1)), "tried again soon");
}

#[tokio::test]
async fn failures_of_one_object_are_tried_again_ever_later_and_at_most_a_minute_later() {
    let script = Script::answering(std::iter::repeat_n(refused(422, "invalid"), 12));
    let worker = worker(&script, Ok(plan(&["first"])), &[]);
    let mut waits = Vec::new();
    for _ in 0..12 {
        waits.push(worker.turn(&Place::new(None, "shop")).await.expect("a next time").as_secs());
    }
    assert_eq!(waits[..4], [1, 2, 4, 8]);
    assert_eq!(waits[11], 60);
}

#[tokio::test]
async fn once_deletion_has_begun_nothing_is_made_again() {
    let script = Script::default();
    let worker = worker(&script, Ok(plan(&["first"])), &[]);
    let mut project = (*worker.primaries.get(&Place::new(None, "shop")).expect("there")).clone();
    project.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
    project.metadata.resource_version = Some("2".into());
    worker.primaries.put(&Place::new(None, "shop"), project.clone());
    worker.turn(&Place::new(None, "shop")).await;
    project.metadata.finalizers = Some(vec![names::FENCE.into()]);
    project.metadata.resource_version = Some("3".into());
    worker.primaries.put(&Place::new(None, "shop"), project);
    worker.turn(&Place::new(None, "shop")).await;
    assert!(script.sent().is_empty());
}

#[test]
fn keys_read_as_people_name_objects() {
    let key = Key::of::<NetworkPolicy>(Some("prj-shop"), "default-deny");
    assert_eq!(key.to_string(), "NetworkPolicy prj-shop/default-deny");
}

#[tokio::test]
async fn what_a_server_says_of_one_object_does_not_hold_up_the_next() {
    let script = Script::answering([
        refused(500, "failed calling webhook"),
        (201, stands(&planned("second"), "9")),
    ]);
    let worker = worker(&script, Ok(plan(&["first", "second"])), &[]);
    worker.turn(&Place::new(None, "shop")).await;
    assert_eq!(script.methods(), ["PATCH", "PATCH"]);
}

#[tokio::test]
async fn a_token_that_somebody_else_chose_is_never_used() {
    use catalyst_plan::Datum;
    use k8s_openapi::api::core::v1::Secret;

    let owner =
        Owner { concern: "identity", project: "shop".into(), uid: UID.into(), reference: None };
    let metadata = ObjectMeta {
        name: Some("orders-dapr-token-2".into()),
        namespace: Some("prj-shop".into()),
        ..ObjectMeta::default()
    };
    let mut token = owner.owns(&Secret { metadata, ..Secret::default() });
    token.data.insert("token".into(), Datum::Generated { prefix: "cat1_".into(), bytes: 32 });
    // All that a tenant can write: an owner, a field manager, a value. Our labels they can't.
    let planted = json!({"apiVersion": "v1", "kind": "Secret", "data": {"token": "a25vd24="}, "metadata": {
        "name": "orders-dapr-token-2", "namespace": "prj-shop", "uid": "x", "resourceVersion": "3",
        "ownerReferences": [{"apiVersion": "v1", "kind": "AppIdentity", "name": "orders", "uid": UID}],
        "managedFields": [{"manager": "identity.cra.diagrid.io", "operation": "Apply"}]}});
    let script = Script::answering([refused(409, "stands"), (200, planted)]);
    let by = Applicant { concern: "identity", uid: UID, kind: "AppIdentity", is_gone: &|_| false };
    let children = Children::default();
    let mut fetched = super::secrets::Fetched::default();
    let made = super::secrets::apply(&script.cluster(), &children, &token, &by, &mut fetched).await;
    assert!(matches!(made, Err(Error::NameTaken(_))), "{made:?}");
    assert_eq!(script.methods(), ["PATCH", "GET"]);
}

#[tokio::test]
async fn secrets_that_a_list_shows_as_planned_cost_no_call_and_an_empty_token_is_drawn_anew() {
    use catalyst_plan::Datum;
    use k8s_openapi::api::core::v1::Secret;

    let owner =
        Owner { concern: "identity", project: "shop".into(), uid: UID.into(), reference: None };
    let secret = |name: &str, key: &str, datum| {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            namespace: Some("prj-shop".into()),
            ..ObjectMeta::default()
        };
        let mut object = owner.owns(&Secret { metadata, ..Secret::default() });
        object.data.insert(key.into(), datum);
        object
    };
    let token = secret("token", "token", Datum::Generated { prefix: "cat1_".into(), bytes: 32 });
    let copy = Datum::CopyOf { secret: "token".into(), key: "token".into() };
    let connection = secret("connection", "DAPR_API_TOKEN", copy);
    let standing = |object: &Object, key: &str, value: &str| {
        let mut stands = object.manifest.clone();
        stands["metadata"]["uid"] = json!(object.key.name);
        stands["metadata"]["resourceVersion"] = json!("3");
        stands["data"] = json!({ key: value });
        stands
    };
    let list = |value: &str| {
        let items =
            [standing(&token, "token", value), standing(&connection, "DAPR_API_TOKEN", value)];
        (200, json!({"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": items}))
    };
    let by = Applicant { concern: "identity", uid: UID, kind: "AppIdentity", is_gone: &|_| false };
    let children = Children::default();
    let mut fetched = super::secrets::Fetched::default();

    let script = Script::answering([list("Y2F0MV94")]);
    let cluster = script.cluster();
    super::secrets::refresh(&cluster, &children, "prj-shop").await.expect("a list");
    for object in [&token, &connection] {
        let came = super::secrets::apply(&cluster, &children, object, &by, &mut fetched).await;
        assert!(matches!(came, Ok(Applied::Unchanged)), "{came:?}");
    }
    assert_eq!(script.methods(), ["GET"]);

    let children = Children::default();
    let drawn = standing(&token, "token", "Y2F0MV95");
    let script = Script::answering([
        list(""),
        (200, standing(&token, "token", "")),
        (200, drawn.clone()),
        (200, drawn),
    ]);
    let cluster = script.cluster();
    super::secrets::refresh(&cluster, &children, "prj-shop").await.expect("a list");
    let came = super::secrets::apply(&cluster, &children, &token, &by, &mut fetched).await;
    assert!(matches!(came, Ok(Applied::Written)), "{came:?}");
    assert_eq!(script.methods()[..3], ["GET", "GET", "PATCH"]);
}

#[test]
fn what_cannot_be_read_is_noted_keeps_what_was_known_and_is_forgotten_when_it_goes() {
    let store = Store::<Project>::default();
    let place = Place::new(Some("prj-shop"), "web");
    let mut project = Project::new("web", catalyst_crds::ProjectSpec::default());
    project.metadata.uid = Some(UID.into());
    store.put(&place, project);
    store.take_in(Vec::new(), [place.clone()].into());
    assert_eq!(store.unreadable("prj-shop"), ["web"]);
    assert!(store.get(&place).is_some(), "what was known of it stays");
    store.forget(&place, "");
    assert!(store.unreadable("prj-shop").is_empty());
    assert!(store.get(&place).is_none());
}

#[tokio::test]
async fn what_only_says_that_it_is_managed_is_nobodys_child_and_holds_nothing_up() {
    let children = Children::default();
    let store = children.store(&Resource::of::<NetworkPolicy>());
    let mut planted = live(&serde_json::from_value(stands(&planned("planted"), "1")).expect("one"));
    planted.labels =
        std::sync::Arc::new([(names::MANAGED_BY.to_string(), names::CATALYST.to_string())].into());
    store.put(&Place::new(Some("prj-shop"), "planted"), Child(planted));
    knows(&children, &planned("ours"), &stands(&planned("ours"), "2"));
    store.settle();
    let cache = super::cache::Cache(store);
    let standing: Vec<String> =
        cache.standing("prj-shop").await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(standing, ["ours"]);
    assert_eq!(cache.foreign("prj-shop").await, ["planted"]);
}
