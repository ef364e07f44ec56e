//! The calls: who may make them, what they are answered, and how streams go on.
//!
//! A server answers whatever ends a stream by opening it anew, without a pause. So nothing is refused at once: a refusal
//! is a wait for what is missing that ran out.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalyst_plan::stream::{Body, Change, Event, Kind, View, replay, told};
use futures::{Stream, stream};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::metrics::{Counted, Metrics};
use super::peer::{Call, Known, Peer};
use super::proto::operator_server::Operator;
use super::proto::{
    ComponentUpdateEvent, ComponentUpdateRequest, ConfigurationUpdateEvent,
    ConfigurationUpdateRequest, GetConfigurationRequest, GetConfigurationResponse,
    HttpEndpointUpdateEvent, HttpEndpointUpdateRequest, ListComponentResponse,
    ListComponentsRequest, ListHttpEndpointsRequest, ListHttpEndpointsResponse,
    ListMcpServersRequest, ListMcpServersResponse, ListResiliencyRequest, ListResiliencyResponse,
    ListSubscriptionsRequest, ListSubscriptionsResponse, ListWorkflowAccessPolicyRequest,
    ListWorkflowAccessPolicyResponse, McpServerUpdateEvent, McpServerUpdateRequest,
    ResiliencyUpdateEvent, ResiliencyUpdateRequest, ResourceEventType, SubscriptionUpdateEvent,
    SubscriptionUpdateRequest, WorkflowAccessPolicyUpdateEvent, WorkflowAccessPolicyUpdateRequest,
};
use super::state::{Seen, State};

/// How long callers are kept waiting.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Before a call is refused. A server that starts gives up after 5 s, and would not hear why.
    pub call: Duration,
    /// Before a stream is refused, and between two of a kind on one connection.
    pub stream: Duration,
    /// Before a connection without calls is closed: each start within a server's process leaves one behind.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(4),
            stream: Duration::from_secs(10),
            idle: Duration::from_secs(150),
        }
    }
}

/// What Dapr servers call. Cheap to copy.
#[derive(Clone)]
pub struct Api {
    state: Arc<State>,
    metrics: Metrics,
    patience: Patience,
}

impl Api {
    /// The calls on a state.
    pub fn new(state: Arc<State>, metrics: Metrics, patience: Patience) -> Self {
        Self { state, metrics, patience }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    /// What a caller sees of a kind, once it may.
    async fn admit(
        &self,
        peer: &Peer,
        namespace: &str,
        kind: Kind,
        within: Duration,
    ) -> Result<Seen, Status> {
        let (own, app) = (peer.id.namespace(), peer.id.name());
        if namespace != own {
            sleep(within).await;
            let why = "the namespace asked for is not the caller's";
            return Err(self.refuse(peer, kind, namespace, "OtherNamespace", why));
        }
        let seen = timeout(within, self.state.wait_for(own, app, kind)).await;
        seen.map_err(|_| {
            let why = "there is no such app in a Project: an AppIdentity makes one";
            self.refuse(peer, kind, namespace, "UnknownApp", why)
        })
    }

    /// A refusal, and the line about it.
    fn refuse(
        &self,
        peer: &Peer,
        kind: Kind,
        asked: &str,
        reason: &'static str,
        why: &'static str,
    ) -> Status {
        self.metrics.refused(reason);
        tracing::warn!(
            id = %peer.id, peer = %peer.address, kind = kind.name(), asked, reason, "call refused"
        );
        Status::permission_denied(why)
    }

    /// All that a caller sees of a kind.
    async fn list<T>(
        &self,
        request: &Request<T>,
        namespace: &str,
        kind: Kind,
    ) -> Result<Vec<Bytes>, Status> {
        let view = self.look(request, namespace, kind, |view| !view.pending).await?;
        Ok(view.shown.values().map(bytes).collect())
    }

    /// What a caller sees of a kind, once it is what is waited for.
    async fn look<T>(
        &self,
        request: &Request<T>,
        namespace: &str,
        kind: Kind,
        is_there: impl Fn(&View) -> bool,
    ) -> Result<Arc<View>, Status> {
        let call = call(request)?;
        let peer = call.peer();
        let mut seen = self.admit(peer, namespace, kind, self.patience.call).await?;
        let view = timeout(self.patience.call, seen.wait_for(|view| is_there(view))).await;
        let Ok(Ok(view)) = view.map(|view| view.map(|view| Arc::clone(&view))) else {
            // A list that lacks something closes it; one that fails changes nothing, and is asked for again.
            return Err(Status::unavailable("what the caller asks for is not there yet"));
        };
        peer.told(kind, &view.shown);
        self.metrics.listed(kind);
        if kind == Kind::Component && peer.listed(kind) {
            self.metrics.lost();
            self.state.lost(peer.id.namespace(), peer.id.name(), peer.address.ip());
            tracing::warn!(
                id = %peer.id, peer = %peer.address, "server has no streams: its pod has to be restarted"
            );
        }
        Ok(view)
    }

    /// A stream of what changes.
    async fn stream<T, E: From<Told>>(
        &self,
        request: &Request<T>,
        namespace: &str,
        kind: Kind,
    ) -> Result<Response<Events<E>>, Status> {
        let call = call(request)?;
        let peer = Arc::clone(call.peer());
        let (newest, before) = peer.open(kind);
        if let Some(before) = before {
            // It can't read what it was sent, or was refused: it would come back hundreds of times a second.
            sleep_until(before + self.patience.stream).await;
        }
        let seen = self.admit(&peer, namespace, kind, self.patience.stream).await?;
        let streaming = self.metrics.streaming(kind);
        let mut telling = Telling {
            api: self.clone(),
            kind,
            seen,
            known: Known::default(),
            queue: VecDeque::new(),
            newest,
            call,
            over: false,
            _streaming: streaming,
        };
        telling.begin();
        let events = stream::unfold(telling, |mut telling| async {
            let event = telling.next().await?;
            Some((event.map(|event| Told(event).into()), telling))
        });
        Ok(Response::new(Box::pin(events)))
    }
}

type Events<E> = Pin<Box<dyn Stream<Item = Result<E, Status>> + Send>>;

/// A call by whoever is at the other end of the connection.
fn call<T>(request: &Request<T>) -> Result<Call, Status> {
    let peer = request.extensions().get::<Arc<Peer>>();
    Ok(peer.ok_or_else(|| Status::unauthenticated("nobody is at the other end"))?.call())
}

/// One stream.
struct Telling {
    api: Api,
    kind: Kind,
    seen: Seen,
    /// What the server knows once the queue is sent.
    known: Known,
    queue: VecDeque<Event>,
    newest: CancellationToken,
    call: Call,
    over: bool,
    _streaming: Counted,
}

impl Telling {
    /// What a server listed before it opened this stream, on the same connection, may have changed in between. A kind that
    /// it does not list again is told anew.
    fn begin(&mut self) {
        let now = Arc::clone(&self.seen.borrow_and_update());
        if self.kind.is_replayed() {
            self.queue.extend(replay(&now));
            self.known.clone_from(&now.shown);
        } else {
            self.known = self.call.peer().known(self.kind).unwrap_or_else(|| now.shown.clone());
            self.look();
        }
    }

    fn look(&mut self) {
        let now = Arc::clone(&self.seen.borrow_and_update());
        let (events, known) = told(self.kind, &self.known, &now);
        self.queue.extend(events);
        self.known = known;
    }

    async fn next(&mut self) -> Option<Result<Event, Status>> {
        loop {
            if self.over {
                return None;
            }
            if let Some(event) = self.queue.pop_front() {
                self.api.metrics.told(self.kind, event.change);
                return Some(Ok(event));
            }
            let peer = Arc::clone(self.call.peer());
            peer.told(self.kind, &self.known);
            let alive = tokio::select! {
                changed = self.seen.changed() => changed.is_ok(),
                () = self.newest.cancelled() => return None,
                () = peer.leaving.cancelled() => {
                    self.over = true;
                    return Some(Err(Status::unavailable("this replica leaves: come to another")));
                }
            };
            if alive {
                self.look();
                continue;
            }
            let admitted =
                self.api.admit(&peer, peer.id.namespace(), self.kind, self.api.patience.stream);
            tokio::select! {
                admitted = admitted => match admitted {
                    Ok(seen) => {
                        self.seen = seen;
                        self.look();
                    }
                    Err(status) => {
                        self.over = true;
                        return Some(Err(status));
                    }
                },
                () = self.newest.cancelled() => return None,
                () = peer.leaving.cancelled() => {}
            }
        }
    }
}

/// The bytes of an object, shared by all that are sent it.
fn bytes(body: &Arc<Body>) -> Bytes {
    struct Shared(Arc<Body>);
    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            &self.0.json.0
        }
    }
    Bytes::from_owner(Shared(Arc::clone(body)))
}

/// What a server is told, as each kind's stream says it.
struct Told(Event);

impl Told {
    fn parts(&self) -> (Bytes, i32) {
        let change = match self.0.change {
            Change::Created => ResourceEventType::Created,
            Change::Updated => ResourceEventType::Updated,
            Change::Deleted => ResourceEventType::Deleted,
        };
        (bytes(&self.0.body), change.into())
    }
}

/// How each kind's stream names its object.
macro_rules! events {
    ($($event:ident { $object:ident })*) => {$(
        impl From<Told> for $event {
            fn from(told: Told) -> Self {
                let ($object, r#type) = told.parts();
                Self { $object, r#type }
            }
        }
    )*};
}

events! {
    ConfigurationUpdateEvent { configuration }
    ResiliencyUpdateEvent { resiliency }
    ComponentUpdateEvent { component }
    HttpEndpointUpdateEvent { http_endpoints }
    SubscriptionUpdateEvent { subscription }
    WorkflowAccessPolicyUpdateEvent { policy }
    McpServerUpdateEvent { mcp_server }
}

#[tonic::async_trait]
impl Operator for Api {
    async fn get_configuration(
        &self,
        request: Request<GetConfigurationRequest>,
    ) -> Result<Response<GetConfigurationResponse>, Status> {
        let GetConfigurationRequest { name, namespace } = request.get_ref();
        let is_there = |view: &View| view.shown.contains_key(name);
        let view = self.look(&request, namespace, Kind::Configuration, is_there).await?;
        let configuration = view.shown.get(name).map(bytes).unwrap_or_default();
        Ok(Response::new(GetConfigurationResponse { configuration }))
    }

    async fn list_resiliency(
        &self,
        request: Request<ListResiliencyRequest>,
    ) -> Result<Response<ListResiliencyResponse>, Status> {
        let namespace = &request.get_ref().namespace;
        let resiliencies = self.list(&request, namespace, Kind::Resiliency).await?;
        Ok(Response::new(ListResiliencyResponse { resiliencies }))
    }

    async fn list_components(
        &self,
        request: Request<ListComponentsRequest>,
    ) -> Result<Response<ListComponentResponse>, Status> {
        let namespace = &request.get_ref().namespace;
        let components = self.list(&request, namespace, Kind::Component).await?;
        Ok(Response::new(ListComponentResponse { components }))
    }

    async fn list_http_endpoints(
        &self,
        request: Request<ListHttpEndpointsRequest>,
    ) -> Result<Response<ListHttpEndpointsResponse>, Status> {
        let namespace = &request.get_ref().namespace;
        let http_endpoints = self.list(&request, namespace, Kind::HttpEndpoint).await?;
        Ok(Response::new(ListHttpEndpointsResponse { http_endpoints }))
    }

    async fn list_subscriptions_v2(
        &self,
        request: Request<ListSubscriptionsRequest>,
    ) -> Result<Response<ListSubscriptionsResponse>, Status> {
        let namespace = &request.get_ref().namespace;
        let subscriptions = self.list(&request, namespace, Kind::Subscription).await?;
        Ok(Response::new(ListSubscriptionsResponse { subscriptions }))
    }

    async fn list_workflow_access_policy(
        &self,
        request: Request<ListWorkflowAccessPolicyRequest>,
    ) -> Result<Response<ListWorkflowAccessPolicyResponse>, Status> {
        let namespace = &request.get_ref().namespace;
        let policies = self.list(&request, namespace, Kind::WorkflowAccessPolicy).await?;
        Ok(Response::new(ListWorkflowAccessPolicyResponse { policies }))
    }

    async fn list_mcp_servers(
        &self,
        request: Request<ListMcpServersRequest>,
    ) -> Result<Response<ListMcpServersResponse>, Status> {
        let namespace = &request.get_ref().namespace;
        let mcp_servers = self.list(&request, namespace, Kind::McpServer).await?;
        Ok(Response::new(ListMcpServersResponse { mcp_servers }))
    }

    type ConfigurationUpdateStream = Events<ConfigurationUpdateEvent>;

    async fn configuration_update(
        &self,
        request: Request<ConfigurationUpdateRequest>,
    ) -> Result<Response<Self::ConfigurationUpdateStream>, Status> {
        self.stream(&request, &request.get_ref().namespace, Kind::Configuration).await
    }

    type ResiliencyUpdateStream = Events<ResiliencyUpdateEvent>;

    async fn resiliency_update(
        &self,
        request: Request<ResiliencyUpdateRequest>,
    ) -> Result<Response<Self::ResiliencyUpdateStream>, Status> {
        self.stream(&request, &request.get_ref().namespace, Kind::Resiliency).await
    }

    type ComponentUpdateStream = Events<ComponentUpdateEvent>;

    async fn component_update(
        &self,
        request: Request<ComponentUpdateRequest>,
    ) -> Result<Response<Self::ComponentUpdateStream>, Status> {
        self.stream(&request, &request.get_ref().namespace, Kind::Component).await
    }

    type HTTPEndpointUpdateStream = Events<HttpEndpointUpdateEvent>;

    async fn http_endpoint_update(
        &self,
        request: Request<HttpEndpointUpdateRequest>,
    ) -> Result<Response<Self::HTTPEndpointUpdateStream>, Status> {
        self.stream(&request, &request.get_ref().namespace, Kind::HttpEndpoint).await
    }

    type SubscriptionUpdateStream = Events<SubscriptionUpdateEvent>;

    async fn subscription_update(
        &self,
        request: Request<SubscriptionUpdateRequest>,
    ) -> Result<Response<Self::SubscriptionUpdateStream>, Status> {
        self.stream(&request, &request.get_ref().namespace, Kind::Subscription).await
    }

    type WorkflowAccessPolicyUpdateStream = Events<WorkflowAccessPolicyUpdateEvent>;

    async fn workflow_access_policy_update(
        &self,
        request: Request<WorkflowAccessPolicyUpdateRequest>,
    ) -> Result<Response<Self::WorkflowAccessPolicyUpdateStream>, Status> {
        self.stream(&request, &request.get_ref().namespace, Kind::WorkflowAccessPolicy).await
    }

    type MCPServerUpdateStream = Events<McpServerUpdateEvent>;

    async fn mcp_server_update(
        &self,
        request: Request<McpServerUpdateRequest>,
    ) -> Result<Response<Self::MCPServerUpdateStream>, Status> {
        self.stream(&request, &request.get_ref().namespace, Kind::McpServer).await
    }
}
