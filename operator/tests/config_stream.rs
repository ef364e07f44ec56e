//! What Dapr servers get from the configuration stream, as they see it: real TLS, real gRPC, a state that tests change.

#![allow(clippy::unwrap_used, reason = "a test fails by it, helpers of one too")]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../identity/tests/authority/mod.rs"]
mod authority;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use catalyst::config_stream::proto::operator_client::OperatorClient;
use catalyst::config_stream::proto::{
    ComponentUpdateEvent, ComponentUpdateRequest, ConfigurationUpdateRequest,
    GetConfigurationRequest, HttpEndpointUpdateRequest, ListComponentsRequest,
    ListHttpEndpointsRequest, ListMcpServersRequest, ListResiliencyRequest,
    ListSubscriptionsRequest, ListWorkflowAccessPolicyRequest, McpServerUpdateRequest,
    ResiliencyUpdateRequest, SubscriptionUpdateRequest, WorkflowAccessPolicyUpdateRequest,
};
use catalyst::config_stream::{Api, Lookup, Metrics, Patience, State, serve};
use catalyst_identity::{Anchors, Identity, Svid, acceptor, connector};
use catalyst_plan::SecretBytes;
use catalyst_plan::stream::{Found, Kind, Rules};
use futures::future::join_all;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};
use tower::service_fn;

use self::authority::Authority;

const DOMAIN: &str = "eu.example.com";
const OURS: &str = "spiffe://eu.example.com/ns/catalyst-dapr/dapr-operator";

/// As in the product, but that tests do not wait for minutes.
const PATIENCE: Patience = Patience {
    call: Duration::from_millis(400),
    stream: Duration::from_millis(800),
    idle: Duration::from_millis(500),
};

/// Longer than anything here takes.
const WITHIN: Duration = Duration::from_secs(30);

/// How long nothing has to come, to have come not at all.
const SILENCE: Duration = Duration::from_millis(200);

const CREATED: i32 = 1;
const UPDATED: i32 = 2;
const DELETED: i32 = 3;

/// Secrets with one key, `key`; one whose name begins with `late` is still being read.
#[derive(Default)]
struct Secrets(Mutex<BTreeMap<String, String>>);

impl Lookup for Secrets {
    fn find(&self, namespace: &str, name: &str) -> Found {
        let value = self.0.lock().unwrap().get(name).cloned();
        if value.is_none() && name.starts_with("late") {
            return Found::Unknown;
        }
        let values = value.map(|value| {
            [("key".to_string(), SecretBytes(value.into_bytes().into()))].into_iter().collect()
        });
        Found::by_name(namespace, name, values)
    }
}

/// A stream that runs, and what is behind it.
struct Site {
    state: Arc<State>,
    secrets: Arc<Secrets>,
    authority: Authority,
    identity: watch::Sender<Option<Identity>>,
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Site {
    /// With the apps `orders` and `payments` in `prj-shop`, and `orders` in `prj-blog`.
    async fn open() -> Self {
        Self::with(PATIENCE).await
    }

    async fn with(patience: Patience) -> Self {
        let authority = Authority::new();
        let secrets = Arc::new(Secrets::default());
        let state = Arc::new(State::new(Rules::default(), Arc::clone(&secrets) as Arc<dyn Lookup>));
        for (namespace, apps) in
            [("prj-shop", &["orders", "payments"][..]), ("prj-blog", &["orders"])]
        {
            state.set_project(namespace, true);
            for app in apps {
                state.set_app(namespace, app, true);
            }
        }
        let identity = watch::Sender::new(Some(ours(&authority)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let api = Api::new(Arc::clone(&state), Metrics::default(), patience);
        let stop = CancellationToken::new();
        #[allow(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        let served = tokio::spawn(serve(listener, identity.subscribe(), api, stop.clone()));
        Self { state, secrets, authority, identity, address, stop, served }
    }

    /// The server of an app.
    async fn server(&self, namespace: &str, app: &str) -> Server {
        self.dial(&self.authority.svid(&format!("spiffe://{DOMAIN}/ns/{namespace}/{app}"))).await
    }

    async fn dial(&self, svid: &Svid) -> Server {
        let namespace = svid.id().namespace().to_string();
        let anchors = self.authority.trusted_in(DOMAIN);
        let client =
            OperatorClient::new(channel(self.address, &anchors, Some(svid)).await.unwrap());
        Server { namespace, client }
    }

    fn put(&self, kind: Kind, namespace: &str, name: &str, object: Value) {
        self.state.put(kind, namespace, name, Some(Arc::new(object)));
    }

    fn component(&self, name: &str, host: &str, scopes: &[&str]) {
        let metadata = json!([{"name": "host", "value": host}]);
        self.put(Kind::Component, "prj-shop", name, component(name, &metadata, scopes));
    }
}

fn ours(authority: &Authority) -> Identity {
    let svid = authority.svid(OURS);
    Identity {
        id: svid.id().clone(),
        acceptor: acceptor(&svid, &authority.trusted_in(DOMAIN)).unwrap(),
        not_after: svid.not_after(),
    }
}

fn component(name: &str, metadata: &Value, scopes: &[&str]) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "prj-shop"},
        "spec": {"type": "state.redis", "version": "v1", "metadata": metadata}, "scopes": scopes,
    })
}

/// An object without anything that matters.
fn named(name: &str, note: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "prj-shop"}, "spec": {"note": note}})
}

async fn channel(
    address: SocketAddr,
    anchors: &Anchors,
    svid: Option<&Svid>,
) -> Result<Channel, tonic::transport::Error> {
    let tls = TlsConnector::from(connector(&OURS.parse().unwrap(), anchors, svid).unwrap());
    let dial = move |_| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("dapr-api.catalyst-dapr.svc").unwrap();
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
        }
    };
    Endpoint::from_static("http://dapr-api").connect_with_connector(service_fn(dial)).await
}

/// A Dapr server, as far as it asks for its configuration.
#[derive(Clone)]
struct Server {
    namespace: String,
    client: OperatorClient<Channel>,
}

impl Server {
    async fn components(&mut self) -> Result<Vec<Value>, tonic::Status> {
        let request = ListComponentsRequest { namespace: self.namespace.clone() };
        let answer = self.client.list_components(request).await?;
        Ok(answer.into_inner().components.iter().map(|bytes| read(bytes)).collect())
    }

    async fn component_names(&mut self) -> Vec<String> {
        self.components().await.unwrap().iter().map(name).collect()
    }

    async fn stream(&mut self) -> Result<Streaming<ComponentUpdateEvent>, tonic::Status> {
        let request = ComponentUpdateRequest { namespace: self.namespace.clone() };
        Ok(self.client.component_update(request).await?.into_inner())
    }
}

fn read(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().into()
}

fn host(object: &Value) -> &str {
    object["spec"]["metadata"][0]["value"].as_str().unwrap()
}

async fn next(stream: &mut Streaming<ComponentUpdateEvent>) -> (i32, Value) {
    let event = timeout(WITHIN, stream.message()).await.expect("an event").unwrap().unwrap();
    (event.r#type, read(&event.component))
}

async fn is_silent(stream: &mut Streaming<ComponentUpdateEvent>) -> bool {
    timeout(SILENCE, stream.message()).await.is_err()
}

/// How a call ends, and that it did not end at once.
async fn held<T>(call: impl Future<Output = Result<T, tonic::Status>>, least: Duration) -> Code {
    let begun = Instant::now();
    let code = timeout(WITHIN, call).await.expect("an answer").err().expect("a refusal").code();
    assert!(begun.elapsed() >= least, "refused after {:?}", begun.elapsed());
    code
}

#[tokio::test]
async fn a_server_gets_what_is_for_its_own_app_in_its_own_project() {
    let site = Site::open().await;
    site.component("for-all", "1", &[]);
    site.component("for-orders", "1", &["orders"]);
    site.component("for-payments", "1", &["payments"]);
    let blogs = component("theirs", &json!([]), &[]);
    site.put(Kind::Component, "prj-blog", "theirs", blogs);
    let mut orders = site.server("prj-shop", "orders").await;
    assert_eq!(orders.component_names().await, ["for-all", "for-orders"]);
    let mut payments = site.server("prj-shop", "payments").await;
    assert_eq!(payments.component_names().await, ["for-all", "for-payments"]);
    let mut other = site.server("prj-blog", "orders").await;
    assert_eq!(other.component_names().await, ["theirs"]);
}

#[tokio::test]
async fn who_asks_for_another_namespace_gets_nothing_and_not_at_once() {
    let site = Site::open().await;
    site.component("ours", "1", &[]);
    let mut other = site.server("prj-blog", "orders").await;
    other.namespace = "prj-shop".into();
    assert_eq!(held(other.components(), PATIENCE.call).await, Code::PermissionDenied);
    assert_eq!(held(other.stream(), PATIENCE.stream).await, Code::PermissionDenied);
    other.namespace = String::new();
    assert_eq!(held(other.components(), PATIENCE.call).await, Code::PermissionDenied);
}

#[tokio::test]
async fn who_is_no_app_of_a_project_gets_nothing() {
    let site = Site::open().await;
    site.component("ours", "1", &[]);
    for (namespace, app) in
        [("prj-shop", "unknown"), ("prj-none", "orders"), ("catalyst-dapr", "dapr-placement")]
    {
        let mut server = site.server(namespace, app).await;
        assert_eq!(held(server.components(), PATIENCE.call).await, Code::PermissionDenied);
        assert_eq!(held(server.stream(), PATIENCE.stream).await, Code::PermissionDenied);
    }
}

#[tokio::test]
async fn a_server_that_is_faster_than_its_app_waits_for_it() {
    let site = Site::open().await;
    site.component("for-all", "1", &[]);
    let mut early = site.server("prj-shop", "early").await;
    let (listed, ()) = tokio::join!(early.component_names(), async {
        tokio::time::sleep(PATIENCE.call / 4).await;
        site.state.set_app("prj-shop", "early", true);
    });
    assert_eq!(listed, ["for-all"]);
}

#[tokio::test]
async fn nobody_of_another_trust_domain_or_another_root_comes_in() {
    let site = Site::open().await;
    let anchors = site.authority.trusted_in(DOMAIN);
    let foreign = Authority::new();
    let id = format!("spiffe://{DOMAIN}/ns/prj-shop/orders");
    for svid in [
        Some(site.authority.svid("spiffe://public/ns/prj-shop/orders")),
        Some(foreign.svid(&id)),
        None,
    ] {
        // In TLS 1.3 a client may hear of it only when it asks for something.
        if let Ok(channel) = channel(site.address, &anchors, svid.as_ref()).await {
            let request = ListComponentsRequest { namespace: "prj-shop".into() };
            let status = OperatorClient::new(channel).list_components(request).await.unwrap_err();
            assert_ne!(status.code(), Code::PermissionDenied, "it never came so far: {status}");
        }
    }
}

#[tokio::test]
async fn each_change_is_told_once_and_what_is_gone_as_it_was() {
    let site = Site::open().await;
    site.component("a", "1", &[]);
    let mut server = site.server("prj-shop", "orders").await;
    server.components().await.unwrap();
    let mut stream = server.stream().await.unwrap();
    assert!(is_silent(&mut stream).await, "it knows what it listed");

    site.component("b", "1", &["orders"]);
    let (change, object) = next(&mut stream).await;
    assert_eq!((change, name(&object).as_str()), (CREATED, "b"));
    site.component("b", "2", &["orders"]);
    let (change, object) = next(&mut stream).await;
    assert_eq!((change, host(&object)), (UPDATED, "2"));
    assert_eq!(server.component_names().await, ["a", "b"]);
    site.component("b", "3", &["payments"]);
    let (change, object) = next(&mut stream).await;
    assert_eq!(
        (change, host(&object), &object["spec"]["type"]),
        (DELETED, "2", &json!("state.redis"))
    );
    assert_eq!(server.component_names().await, ["a"]);
    site.state.put(Kind::Component, "prj-shop", "a", None);
    let (change, object) = next(&mut stream).await;
    assert_eq!((change, host(&object)), (DELETED, "1"));

    site.component("c", "1", &["payments"]);
    site.component("c", "2", &["payments"]);
    assert!(is_silent(&mut stream).await, "nothing of it is for this app");
}

#[tokio::test]
async fn what_changes_between_a_list_and_its_stream_is_told() {
    let site = Site::open().await;
    site.component("a", "1", &[]);
    let mut server = site.server("prj-shop", "orders").await;
    assert_eq!(server.component_names().await, ["a"]);
    site.component("b", "1", &[]);
    site.state.put(Kind::Component, "prj-shop", "a", None);
    let mut stream = server.stream().await.unwrap();
    let (first, second) = (next(&mut stream).await, next(&mut stream).await);
    assert_eq!((first.0, name(&first.1).as_str()), (DELETED, "a"));
    assert_eq!((second.0, name(&second.1).as_str()), (CREATED, "b"));
    assert!(is_silent(&mut stream).await);
}

#[tokio::test]
async fn a_rotated_secret_is_told_at_once_to_those_that_use_it() {
    let site = Site::open().await;
    site.secrets.0.lock().unwrap().insert("db".into(), "old".into());
    let metadata = json!([{"name": "password", "secretKeyRef": {"name": "db", "key": "key"}}]);
    site.put(Kind::Component, "prj-shop", "a", component("a", &metadata, &["orders"]));
    let mut orders = site.server("prj-shop", "orders").await;
    let mut payments = site.server("prj-shop", "payments").await;
    let listed = orders.components().await.unwrap();
    assert_eq!(host(&listed[0]), "old");
    assert!(!listed[0].to_string().contains("secretKeyRef"));
    let (mut stream, mut other) =
        (orders.stream().await.unwrap(), payments.stream().await.unwrap());

    site.secrets.0.lock().unwrap().insert("db".into(), "new".into());
    site.state.secret_changed("prj-shop", "db");
    let (change, object) = next(&mut stream).await;
    assert_eq!((change, host(&object)), (UPDATED, "new"));
    assert!(is_silent(&mut stream).await && is_silent(&mut other).await);
}

#[tokio::test]
async fn a_missing_secret_withholds_one_component_and_nothing_else() {
    let site = Site::open().await;
    let metadata = json!([{"name": "password", "secretKeyRef": {"name": "db", "key": "key"}}]);
    site.put(Kind::Component, "prj-shop", "a", component("a", &metadata, &[]));
    site.component("b", "1", &[]);
    let mut server = site.server("prj-shop", "orders").await;
    assert_eq!(server.component_names().await, ["b"]);
    let mut stream = server.stream().await.unwrap();
    site.secrets.0.lock().unwrap().insert("db".into(), "there".into());
    site.state.secret_changed("prj-shop", "db");
    let (change, object) = next(&mut stream).await;
    assert_eq!((change, host(&object)), (CREATED, "there"));
}

#[tokio::test]
async fn while_a_secret_is_being_read_a_list_waits_and_then_fails_rather_than_close_what_it_lacks()
{
    let site = Site::open().await;
    let metadata = json!([{"name": "password", "secretKeyRef": {"name": "late", "key": "key"}}]);
    site.put(Kind::Component, "prj-shop", "a", component("a", &metadata, &[]));
    let mut server = site.server("prj-shop", "orders").await;
    assert_eq!(held(server.components(), PATIENCE.call).await, Code::Unavailable);
    let (listed, ()) = tokio::join!(server.component_names(), async {
        tokio::time::sleep(PATIENCE.call / 4).await;
        site.secrets.0.lock().unwrap().insert("late".into(), "read".into());
        site.state.secret_changed("prj-shop", "late");
    });
    assert_eq!(listed, ["a"]);
}

#[tokio::test]
async fn an_app_that_is_deleted_is_told_nothing_more() {
    let site = Site::open().await;
    let mut server = site.server("prj-shop", "orders").await;
    let mut stream = server.stream().await.unwrap();
    let begun = Instant::now();
    site.state.set_app("prj-shop", "orders", false);
    site.component("a", "1", &[]);
    let ended = timeout(WITHIN, stream.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied);
    assert!(begun.elapsed() >= PATIENCE.stream, "the stream ended after {:?}", begun.elapsed());
    assert_eq!(held(server.components(), PATIENCE.call).await, Code::PermissionDenied);
    assert_eq!(held(server.stream(), PATIENCE.stream).await, Code::PermissionDenied);
}

#[tokio::test]
async fn an_app_that_is_made_anew_in_time_goes_on() {
    let site = Site::open().await;
    let mut server = site.server("prj-shop", "orders").await;
    let mut stream = server.stream().await.unwrap();
    site.state.set_app("prj-shop", "orders", false);
    site.component("a", "1", &[]);
    tokio::time::sleep(PATIENCE.stream / 4).await;
    site.state.set_app("prj-shop", "orders", true);
    let (change, object) = next(&mut stream).await;
    assert_eq!((change, name(&object).as_str()), (CREATED, "a"));
}

#[tokio::test]
async fn what_a_server_never_lists_again_is_said_when_it_comes_back_and_so_is_what_is_gone() {
    let site = Site::open().await;
    for name in ["a", "b"] {
        site.put(Kind::HttpEndpoint, "prj-shop", name, named(name, "1"));
        site.put(Kind::Resiliency, "prj-shop", name, named(name, "1"));
    }
    site.put(Kind::Configuration, "prj-shop", "orders-dapr", named("orders-dapr", "1"));
    site.put(Kind::Configuration, "prj-shop", "payments-dapr", named("payments-dapr", "1"));
    site.state.put(Kind::HttpEndpoint, "prj-shop", "a", None);
    site.state.put(Kind::Resiliency, "prj-shop", "b", None);

    let Server { namespace, mut client } = site.server("prj-shop", "orders").await;
    let request = HttpEndpointUpdateRequest { namespace: namespace.clone() };
    let mut stream = client.http_endpoint_update(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Ok(event) = timeout(SILENCE, stream.message()).await {
        let event = event.unwrap().unwrap();
        told.push((event.r#type, name(&read(&event.http_endpoints))));
    }
    assert_eq!(told, [(DELETED, "a".into()), (CREATED, "b".into())]);

    let request = ResiliencyUpdateRequest { namespace: namespace.clone() };
    let mut stream = client.resiliency_update(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Ok(event) = timeout(SILENCE, stream.message()).await {
        let event = event.unwrap().unwrap();
        told.push((event.r#type, name(&read(&event.resiliency))));
    }
    assert_eq!(told, [(DELETED, "b".into()), (CREATED, "a".into())]);

    let request = ConfigurationUpdateRequest { namespace };
    let mut stream = client.configuration_update(request).await.unwrap().into_inner();
    site.state.put(Kind::Configuration, "prj-shop", "orders-dapr", None);
    site.put(Kind::Configuration, "prj-shop", "orders-dapr", named("orders-dapr", "1"));
    site.put(Kind::Configuration, "prj-shop", "payments-dapr", named("payments-dapr", "2"));
    let mut told = Vec::new();
    while let Ok(event) = timeout(SILENCE, stream.message()).await {
        let event = event.unwrap().unwrap();
        told.push((event.r#type, name(&read(&event.configuration))));
    }
    assert_eq!(told, [(CREATED, "orders-dapr".into())], "its own, and no end of it");
}

#[tokio::test]
async fn a_server_gets_its_own_configuration_and_waits_for_it() {
    let site = Site::open().await;
    let Server { namespace, mut client } = site.server("prj-shop", "orders").await;
    let own = GetConfigurationRequest { name: "orders-dapr".into(), namespace: namespace.clone() };
    let (answer, ()) = tokio::join!(client.get_configuration(own), async {
        tokio::time::sleep(PATIENCE.call / 4).await;
        site.put(Kind::Configuration, "prj-shop", "orders-dapr", named("orders-dapr", "1"));
    });
    assert_eq!(name(&read(&answer.unwrap().into_inner().configuration)), "orders-dapr");

    site.put(Kind::Configuration, "prj-shop", "payments-dapr", named("payments-dapr", "1"));
    let theirs = GetConfigurationRequest { name: "payments-dapr".into(), namespace };
    assert_eq!(held(client.get_configuration(theirs), PATIENCE.call).await, Code::Unavailable);
}

#[tokio::test]
async fn every_kind_has_its_list_and_its_stream() {
    let site = Site::open().await;
    for kind in Kind::ALL {
        site.put(kind, "prj-shop", "orders-dapr", named("orders-dapr", "1"));
    }
    let Server { namespace, mut client } = site.server("prj-shop", "orders").await;
    let ns = || namespace.clone();
    macro_rules! listed {
        ($call:ident, $request:ident, $field:ident) => {{
            let answer = client.$call($request { namespace: ns() }).await.unwrap().into_inner();
            assert_eq!(
                answer.$field.iter().map(|bytes| name(&read(bytes))).collect::<Vec<_>>(),
                ["orders-dapr"]
            );
        }};
    }
    listed!(list_components, ListComponentsRequest, components);
    listed!(list_resiliency, ListResiliencyRequest, resiliencies);
    listed!(list_http_endpoints, ListHttpEndpointsRequest, http_endpoints);
    listed!(list_subscriptions_v2, ListSubscriptionsRequest, subscriptions);
    listed!(list_workflow_access_policy, ListWorkflowAccessPolicyRequest, policies);
    listed!(list_mcp_servers, ListMcpServersRequest, mcp_servers);

    macro_rules! told {
        ($call:ident, $request:ident, $kind:ident, $field:ident) => {{
            let mut stream = client.$call($request { namespace: ns() }).await.unwrap().into_inner();
            site.put(Kind::$kind, "prj-shop", "orders-dapr", named("orders-dapr", "2"));
            loop {
                let event = timeout(WITHIN, stream.message()).await.unwrap().unwrap().unwrap();
                if event.r#type == UPDATED {
                    assert_eq!(read(&event.$field)["spec"]["note"], "2");
                    break;
                }
                assert!(Kind::$kind.is_replayed());
            }
        }};
    }
    told!(component_update, ComponentUpdateRequest, Component, component);
    told!(configuration_update, ConfigurationUpdateRequest, Configuration, configuration);
    told!(resiliency_update, ResiliencyUpdateRequest, Resiliency, resiliency);
    told!(http_endpoint_update, HttpEndpointUpdateRequest, HttpEndpoint, http_endpoints);
    told!(subscription_update, SubscriptionUpdateRequest, Subscription, subscription);
    told!(
        workflow_access_policy_update,
        WorkflowAccessPolicyUpdateRequest,
        WorkflowAccessPolicy,
        policy
    );
    told!(mcp_server_update, McpServerUpdateRequest, McpServer, mcp_server);
}

#[tokio::test]
async fn of_two_streams_of_a_kind_on_a_connection_the_newer_counts_and_comes_after_a_pause() {
    let site = Site::open().await;
    let mut server = site.server("prj-shop", "orders").await;
    let mut first = server.stream().await.unwrap();
    let begun = Instant::now();
    let mut opened = server.clone();
    let (second, ended) = tokio::join!(opened.stream(), first.message());
    assert!(begun.elapsed() >= PATIENCE.stream / 2, "opened anew after {:?}", begun.elapsed());
    assert!(ended.unwrap().is_none(), "the older one is over");
    site.component("a", "1", &[]);
    assert_eq!(next(&mut second.unwrap()).await.0, CREATED);
}

#[tokio::test]
async fn a_connection_without_calls_is_closed_and_one_with_a_stream_stays() {
    let site = Site::open().await;
    let anchors = site.authority.trusted_in(DOMAIN);
    let svid = site.authority.svid(&format!("spiffe://{DOMAIN}/ns/prj-shop/orders"));
    let idle = async {
        // By hand, as a client would dial anew.
        let tls =
            TlsConnector::from(connector(&OURS.parse().unwrap(), &anchors, Some(&svid)).unwrap());
        let stream = TcpStream::connect(site.address).await.unwrap();
        let name = ServerName::try_from("dapr-api").unwrap();
        let mut stream = tls.connect(name, stream).await.unwrap();
        let mut buffer = Vec::new();
        tokio::io::AsyncWriteExt::write_all(
            &mut stream,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        )
        .await
        .unwrap();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut buffer).await;
    };
    let mut busy = site.server("prj-shop", "payments").await;
    let mut stream = busy.stream().await.unwrap();
    let begun = Instant::now();
    timeout(WITHIN, idle).await.expect("it is closed");
    assert!(begun.elapsed() >= PATIENCE.idle);
    site.component("a", "1", &[]);
    assert_eq!(next(&mut stream).await.0, CREATED);
}

#[tokio::test]
async fn a_renewed_identity_is_for_new_connections_and_streams_go_on() {
    let site = Site::open().await;
    let mut before = site.server("prj-shop", "orders").await;
    let mut stream = before.stream().await.unwrap();
    site.identity.send_replace(None);
    let anchors = site.authority.trusted_in(DOMAIN);
    let svid = site.authority.svid(&format!("spiffe://{DOMAIN}/ns/prj-shop/payments"));
    assert!(
        channel(site.address, &anchors, Some(&svid)).await.is_err(),
        "who is expired takes nobody"
    );
    site.identity.send_replace(Some(ours(&site.authority)));
    let mut after = site.server("prj-shop", "payments").await;
    site.component("a", "1", &[]);
    assert_eq!(next(&mut stream).await.0, CREATED);
    assert_eq!(after.component_names().await, ["a"]);
}

#[tokio::test]
async fn a_replica_that_leaves_sends_everybody_away_and_then_ends() {
    let mut site = Site::open().await;
    let mut server = site.server("prj-shop", "orders").await;
    let mut stream = server.stream().await.unwrap();
    site.stop.cancel();
    let ended = timeout(WITHIN, stream.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    drop((server, stream));
    timeout(WITHIN, &mut site.served).await.expect("it ends").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_servers_are_each_told_every_change_exactly_once() {
    const SERVERS: usize = 300;
    const CHANGES: usize = 20;
    // All of them come at once, and some wait for long.
    let site = Site::with(Patience { idle: WITHIN, ..PATIENCE }).await;
    let apps: Vec<String> = (0..SERVERS).map(|number| format!("app-{number}")).collect();
    for app in &apps {
        site.state.set_app("prj-shop", app, true);
    }
    site.component("every", "0", &[]);
    let servers = apps.iter().map(|app| async {
        let mut server = site.server("prj-shop", app).await;
        assert_eq!(server.component_names().await, ["every"]);
        let stream = server.stream().await.unwrap();
        (app.clone(), server, stream)
    });
    let servers = join_all(servers).await;

    let heard = Semaphore::new(0);
    let told = join_all(servers.into_iter().map(|(app, server, mut stream)| {
        let heard = &heard;
        async move {
            let mut every = Vec::new();
            for _ in 0..CHANGES {
                let (change, object) = next(&mut stream).await;
                assert_eq!((change, name(&object).as_str()), (UPDATED, "every"));
                every.push(host(&object).parse::<usize>().unwrap());
                heard.add_permits(1);
            }
            let (change, object) = next(&mut stream).await;
            assert_eq!((change, name(&object)), (CREATED, app), "its own, and no other's");
            assert!(is_silent(&mut stream).await, "it is told something twice");
            drop(server);
            every
        }
    }));
    let changes = async {
        for number in 1..=CHANGES {
            site.component("every", &number.to_string(), &[]);
            // What changes twice before a server has heard of it is told once, as it is then.
            heard.acquire_many(SERVERS.try_into().unwrap()).await.unwrap().forget();
        }
        for app in &apps {
            site.component(app, "1", &[app]);
        }
    };
    let (told, ()) = tokio::join!(told, changes);
    let expected: Vec<_> = (1..=CHANGES).collect();
    assert!(told.iter().all(|every| *every == expected));
}
