//! The configuration stream against a real API server, with a Sentry of the test's that signs with the region's own
//! authority, and Dapr servers that only ask for their configuration.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, missing_docs, reason = "other tests use the rest of it")]
#[path = "../../../operator/identity/tests/authority/mod.rs"]
mod authority;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catalyst::config_stream::proto::operator_client::OperatorClient;
use catalyst::config_stream::proto::{
    ComponentUpdateRequest, ConfigurationUpdateRequest, HttpEndpointUpdateRequest,
    ListComponentsRequest, McpServerUpdateRequest, ResiliencyUpdateRequest,
    SubscriptionUpdateRequest, WorkflowAccessPolicyUpdateRequest,
};
use catalyst_identity::connector;
use catalyst_identity::proto::ca_server::{Ca, CaServer};
use catalyst_identity::proto::{SignCertificateRequest, SignCertificateResponse};
use futures::{StreamExt, stream};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tower::service_fn;

use self::authority::Authority;
use crate::installation::{Installation, STREAM};
use crate::process::{Operator, free_port};
use crate::wait::until;

/// The groups of its account.
const GROUPS: [&str; 2] = ["system:serviceaccounts", "system:serviceaccounts:catalyst-dapr"];

/// How long a certificate of the stream holds, so that it is renewed within a test.
const LIFE: Duration = Duration::from_mins(1);

/// The longest wait for what has no deadline of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many servers of a crowd come at once.
const AT_ONCE: usize = 32;

/// Opens a stream of a server and reads whatever comes.
macro_rules! drain {
    ($client:ident, $namespace:ident, $call:ident, $request:ident) => {{
        let request = $request { namespace: $namespace.into() };
        let mut stream = $client.$call(request).await.expect("a stream").into_inner();
        #[allow(clippy::disallowed_methods, reason = "it ends with the runtime")]
        tokio::spawn(async move { while let Ok(Some(_)) = stream.message().await {} });
    }};
}

/// A configuration stream that runs, and its Sentry.
pub struct Stream {
    /// `catalyst config-stream`.
    pub process: Operator,
    domain: String,
    authority: Arc<Authority>,
    port: u16,
    runtime: Arc<Runtime>,
    folder: PathBuf,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Stream {
    /// Starts it beside an installation whose Region runs Dapr, and waits until it is ready.
    pub fn start(installation: &Installation) -> Self {
        let region = installation.wait_for(
            PATIENCE,
            ("Region", None, "eu"),
            "has trust anchors",
            |region| {
                region["status"]["trustAnchors"]
                    .as_str()
                    .map(|_| region.clone())
                    .ok_or_else(|| region["status"].to_string())
            },
        );
        let domain = region["spec"]["trust"]["domain"].as_str().unwrap().to_string();
        let secret = installation.the("Secret", Some("catalyst-dapr"), "catalyst-authority");
        let value = |key: &str| {
            let encoded = secret["data"][key].as_str().unwrap();
            String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
        };
        let authority = Authority::of(&value("ca.crt"), &value("issuer.crt"), &value("issuer.key"));
        let authority = Arc::new(authority);
        let runtime = Arc::new(Runtime::new().unwrap());
        let sentry = runtime.block_on(sentry(Arc::clone(&authority), domain.clone()));
        let folder = std::env::temp_dir().join(format!("catalyst-stream-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let token = folder.join("token");
        fs::write(&token, "token").unwrap();

        let port = free_port();
        let (listen, sentry) = (format!("127.0.0.1:{port}"), sentry.to_string());
        let arguments =
            ["--listen", &listen, "--sentry", &sentry, "--token", token.to_str().unwrap()];
        let kubeconfig =
            installation.control_plane.kubeconfig_for("config-stream", STREAM, &GROUPS).unwrap();
        let mut process = Operator::stream("config-stream", &arguments, &kubeconfig);
        process.start(&installation.control_plane);
        Self { process, domain, authority, port, runtime, folder }
    }

    /// Starts it again after it ended.
    pub fn start_again(&mut self, installation: &Installation) {
        self.process.start(&installation.control_plane);
    }

    /// The server of an app, connected.
    pub fn server(&self, namespace: &str, app: &str) -> Server {
        let client = self.runtime.block_on(self.client(namespace, app));
        Server { namespace: namespace.into(), client, runtime: Arc::clone(&self.runtime) }
    }

    /// The servers of many apps, each as it is when it has started: one list, seven streams.
    pub fn crowd(&self, namespace: &str, apps: &[String]) -> Vec<Followed> {
        let servers = stream::iter(apps).map(|app| async move {
            let mut client = self.client(namespace, app).await;
            let request = ListComponentsRequest { namespace: namespace.into() };
            client.list_components(request).await.expect("a list");
            drain!(client, namespace, configuration_update, ConfigurationUpdateRequest);
            drain!(client, namespace, resiliency_update, ResiliencyUpdateRequest);
            drain!(client, namespace, http_endpoint_update, HttpEndpointUpdateRequest);
            drain!(client, namespace, subscription_update, SubscriptionUpdateRequest);
            drain!(client, namespace, mcp_server_update, McpServerUpdateRequest);
            drain!(
                client,
                namespace,
                workflow_access_policy_update,
                WorkflowAccessPolicyUpdateRequest
            );
            follow(client, namespace).await
        });
        self.runtime.block_on(servers.buffered(AT_ONCE).collect())
    }

    async fn client(&self, namespace: &str, app: &str) -> OperatorClient<Channel> {
        let id = format!("spiffe://{}/ns/{namespace}/{app}", self.domain);
        let anchors = self.authority.trusted_in(&self.domain);
        let svid = self.authority.svid(&id);
        let ours = format!("spiffe://{}/ns/catalyst-dapr/dapr-operator", self.domain).parse();
        let tls = connector(&ours.unwrap(), &anchors, Some(&svid)).unwrap();
        OperatorClient::new(channel(self.port, TlsConnector::from(tls)).await)
    }
}

/// A Dapr server, as far as it asks for its components.
pub struct Server {
    namespace: String,
    client: OperatorClient<Channel>,
    runtime: Arc<Runtime>,
}

impl Server {
    /// Its components, or what it is refused with.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub fn components(&self) -> Result<Vec<Value>, Status> {
        let request = ListComponentsRequest { namespace: self.namespace.clone() };
        let mut client = self.client.clone();
        let answer = self.runtime.block_on(client.list_components(request))?;
        Ok(answer.into_inner().components.iter().map(|bytes| read(bytes)).collect())
    }

    /// Follows its components from now on.
    pub fn follow(&self) -> Followed {
        self.runtime.block_on(follow(self.client.clone(), &self.namespace))
    }
}

async fn follow(mut client: OperatorClient<Channel>, namespace: &str) -> Followed {
    let request = ComponentUpdateRequest { namespace: namespace.into() };
    let mut stream = client.component_update(request).await.expect("a stream").into_inner();
    let followed = Followed::default();
    let told = followed.clone();
    #[allow(clippy::disallowed_methods, reason = "it ends with the runtime")]
    tokio::spawn(async move {
        let end = loop {
            match stream.message().await {
                Ok(Some(event)) => {
                    let (at, object) = (Instant::now(), read(&event.component));
                    let event = Event { at, change: event.r#type, object };
                    told.0.lock().unwrap().events.push(event);
                }
                Ok(None) => break None,
                Err(status) => break Some(status),
            }
        };
        let mut told = told.0.lock().unwrap();
        (told.is_over, told.with) = (true, end);
    });
    followed
}

/// What a server is told.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it came.
    pub at: Instant,
    /// 1: it came, 2: it is another, 3: it is gone.
    pub change: i32,
    /// The object.
    pub object: Value,
}

/// All that a server was told of its components, and how that ended.
#[derive(Clone, Default)]
pub struct Followed(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    events: Vec<Event>,
    is_over: bool,
    /// What it ended with, if not just so.
    with: Option<Status>,
}

impl Followed {
    /// All so far.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().events.clone()
    }

    /// How many so far.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().events.len()
    }

    /// When the last one came.
    pub fn last(&self) -> Instant {
        self.0.lock().unwrap().events.last().expect("an event").at
    }

    /// Waits for an event that is looked for.
    pub fn until(&self, what: &str, mut is_it: impl FnMut(&Event) -> bool) -> Event {
        until(PATIENCE, what, || {
            let events = self.events();
            let found = events.iter().find(|event| is_it(event)).cloned();
            found.ok_or_else(|| format!("{events:#?}, {:?}", self.0.lock().unwrap().with))
        })
    }

    /// Waits until it is over, and says how.
    pub fn ended(&self) -> Option<Status> {
        until(PATIENCE, "the stream is over", || {
            let told = self.0.lock().unwrap();
            if told.is_over { Ok(told.with.clone()) } else { Err(format!("{:#?}", told.events)) }
        })
    }
}

fn read(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

async fn channel(port: u16, tls: TlsConnector) -> Channel {
    let dial = move |_| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            let name = ServerName::try_from("dapr-api.catalyst-dapr.svc").unwrap();
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
        }
    };
    let endpoint = Endpoint::from_static("http://dapr-api");
    endpoint.connect_with_connector(service_fn(dial)).await.expect("a connection")
}

/// A Sentry that signs for whoever asks.
struct Sentry {
    authority: Arc<Authority>,
    domain: String,
}

#[tonic::async_trait]
impl Ca for Sentry {
    async fn sign_certificate(
        &self,
        request: Request<SignCertificateRequest>,
    ) -> Result<Response<SignCertificateResponse>, Status> {
        let request = request.into_inner();
        let id = format!("spiffe://{}/ns/{}/{}", self.domain, request.namespace, request.id);
        let pem = String::from_utf8(request.certificate_signing_request).unwrap();
        let signed = self.authority.sign(&pem, &id, LIFE);
        Ok(Response::new(SignCertificateResponse { workload_certificate: signed.into_bytes() }))
    }
}

/// Serves it for as long as the runtime lives. Returns where.
async fn sentry(authority: Arc<Authority>, domain: String) -> std::net::SocketAddr {
    let svid = authority.svid(&format!("spiffe://{domain}/ns/catalyst-dapr/dapr-sentry"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(svid.key())));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = TowerToHyperService::new(CaServer::new(Sentry { authority, domain }));
    #[allow(clippy::disallowed_methods, reason = "it ends with the runtime")]
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = tls.accept(stream).await else { continue };
            let server = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service.clone()));
        }
    });
    address
}
