//! Takes connections: TLS first, with the identity of now, then HTTP/2, for as long as somebody calls.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use catalyst_identity::{Identity, id_of};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;

use super::api::Api;
use super::peer::Peer;
use super::proto::operator_server::OperatorServer;

/// How long TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How often a connection is tried, and how long an answer may take: a node that is lost says no goodbye.
const PING: Duration = Duration::from_secs(20);

/// How many calls one connection may have at once: seven streams, seven lists, and some that are held before a refusal.
const CALLS: u32 = 64;

/// How long a connection that was told to go may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Over how long all connections are told to go: all at once would come to the other replica at once.
const LEAVING: Duration = Duration::from_secs(4);
const STEPS: u32 = 40;

/// Serves until `stop`, then sends everybody away and waits for them to go.
pub async fn serve(
    listener: TcpListener,
    identity: watch::Receiver<Option<Identity>>,
    api: Api,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    let mut number = 0_u32;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "no connection can be taken");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Whoever is expired itself can't vouch for anybody.
        let Some(acceptor) = identity.borrow().as_ref().map(|held| Arc::clone(&held.acceptor))
        else {
            continue;
        };
        number = number.wrapping_add(1);
        let turn = LEAVING / STEPS * (number % STEPS);
        connections.spawn(connection(stream, address, acceptor, api.clone(), stop.clone(), turn));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// One connection, from its first byte to its last.
async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Arc<ServerConfig>,
    api: Api,
    stop: CancellationToken,
    turn: Duration,
) {
    // An event is small, and must not wait for more.
    let _ = stream.set_nodelay(true);
    let taken = timeout(HANDSHAKE, TlsAcceptor::from(acceptor).accept(stream)).await;
    let stream = match taken {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            api.metrics().refused("Handshake");
            tracing::warn!(peer = %address, error = %error, "connection refused");
            return;
        }
        Err(_) => return,
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let Some(Ok(id)) = certificates.first().map(id_of) else { return };
    let _counted = api.metrics().connected();
    let leaving = CancellationToken::new();
    let peer = Arc::new(Peer::new(id, address, leaving.clone()));
    let idle = api.patience().idle;

    let known = Arc::clone(&peer);
    let service = MapRequest::new(OperatorServer::new(api), move |mut request: Request| {
        request.extensions_mut().insert(Arc::clone(&known));
        request
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(CALLS);
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = peer.idle(idle) => {}
        () = async { stop.cancelled().await; sleep(turn).await } => {}
    }
    connection.as_mut().graceful_shutdown();
    leaving.cancel();
    let _ = timeout(FAREWELL, connection).await;
}

type Request = http::Request<hyper::body::Incoming>;
