//! The two pods that prove on the wire whether NetworkPolicies are enforced. They know no Kubernetes: what they find is
//! whether they are ready, and the controller `enforcement` reads it.
//!
//! The target answers on three ports. NetworkPolicies of the chart let the prober through to the first; the target's own
//! stops it at the second, the prober's own on its way to the third. So both directions are tried, and that nothing
//! answers means something only while the first port does.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use futures::future::join_all;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Where both are asked by kubelet.
const PAGES: u16 = 8080;

/// Where the prober may reach the target.
const OPEN: u16 = 8081;

/// Where the target's policy shuts it out, and where its own keeps it in.
const SHUT: [u16; 2] = [8082, 8083];

/// How often the prober dials.
const EVERY: Duration = Duration::from_secs(5);

/// How long an answer may take; one that a policy stops never comes.
const WITHIN: Duration = Duration::from_secs(2);

/// How long the target remembers a forbidden visit. Longer than [`EVERY`], so that it never forgets between two; and
/// shorter than two of kubelet's looks, so that a single one, while a new pod's policies are still on their way to its
/// node, is no alarm.
const REMEMBERED: Duration = Duration::from_secs(8);

/// What is asked for, and answered: that something took the connection is no proof that it was the target, where a proxy
/// takes it for everyone.
const PATH: &str = "/canary";
const ANSWER: &str = "catalyst-canary";

/// How much of an answer is read, headers included.
const MOST: usize = 4096;

/// Is dialled, until told to stop.
///
/// # Errors
/// When a port is taken.
pub async fn target() -> Result<()> {
    let visits = Arc::new(Visits::default());
    let answering = Router::new().route(PATH, get(|| async { ANSWER }));
    let noting = |State(visits): State<Arc<Visits>>| async move {
        visits.note(Instant::now());
        ANSWER
    };
    let noting = Router::new().route(PATH, get(noting)).with_state(Arc::clone(&visits));
    let pages = pages(move || visits.may_be_ready(Instant::now()));
    tokio::select! {
        ended = serve(PAGES, pages) => ended,
        ended = serve(OPEN, answering) => ended,
        ended = serve(SHUT[0], noting.clone()) => ended,
        ended = serve(SHUT[1], noting) => ended,
        ended = told_to_stop() => ended,
    }
}

/// Dials the target, a name with an address for each family of the cluster, until told to stop.
///
/// # Errors
/// When the port for probes is taken.
pub async fn prober(target: &str) -> Result<()> {
    let found = Arc::new(Mutex::new(Found::Nothing));
    let shown = Arc::clone(&found);
    let pages = pages(move || *lock(&shown) == Found::Fenced);
    tokio::select! {
        ended = serve(PAGES, pages) => ended,
        () = probe(target, &found) => Ok(()),
        ended = told_to_stop() => ended,
    }
}

/// Who came where nobody may.
#[derive(Default)]
struct Visits(Mutex<(Option<Instant>, bool)>);

impl Visits {
    fn note(&self, now: Instant) {
        lock(&self.0).0 = Some(now);
    }

    /// Whether the target may say it is ready. The first time it always is: one that was never ready has only just begun,
    /// to those who read its status.
    fn may_be_ready(&self, now: Instant) -> bool {
        let (last, asked) = &mut *lock(&self.0);
        let first = !std::mem::replace(asked, true);
        first || last.is_none_or(|last| now.duration_since(last) > REMEMBERED)
    }
}

/// What came of a round of dialling.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Found {
    /// What is allowed is not reached either.
    Nothing,
    /// What is allowed is reached, and nothing else.
    Fenced,
    /// Something forbidden is reached.
    Open,
}

impl Found {
    /// From what answered at each address: the open port, and any that is shut.
    fn of(answers: &[(bool, bool)]) -> Self {
        if answers.iter().any(|(_, shut)| *shut) {
            Self::Open
        } else if answers.iter().any(|(open, _)| *open) {
            Self::Fenced
        } else {
            Self::Nothing
        }
    }
}

async fn probe(target: &str, found: &Mutex<Found>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        ticks.tick().await;
        let mut addresses: Vec<SocketAddr> = match timeout(EVERY, lookup_host((target, OPEN))).await
        {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        addresses.sort_unstable();
        let now = Found::of(&join_all(addresses.iter().map(|address| dial(*address))).await);
        *lock(found) = now;
        let news = (now, addresses);
        if told.as_ref() != Some(&news) {
            tell(now, target, &news.1);
            told = Some(news);
        }
    }
}

fn tell(found: Found, name: &str, addresses: &[SocketAddr]) {
    match found {
        Found::Fenced => tracing::info!(name, ?addresses, "network policies are enforced"),
        Found::Open => tracing::warn!(name, ?addresses, "network policies are not enforced"),
        Found::Nothing => {
            tracing::warn!(name, ?addresses, "what is allowed is not reached, so nothing is known");
        }
    }
}

async fn dial(address: SocketAddr) -> (bool, bool) {
    let at = |port| SocketAddr::new(address.ip(), port);
    let (open, first, second) =
        tokio::join!(answers(at(OPEN)), answers(at(SHUT[0])), answers(at(SHUT[1])));
    (open, first || second)
}

/// Whether the target answers there.
async fn answers(address: SocketAddr) -> bool {
    matches!(timeout(WITHIN, ask(address)).await, Ok(Ok(answer)) if answer.ends_with(ANSWER.as_bytes()))
}

async fn ask(address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let stream = TcpStream::connect(address).await?;
    stream.writable().await?;
    // 1.0, so that the answer ends with the connection. A new connection takes so few bytes at once.
    stream.try_write(format!("GET {PATH} HTTP/1.0\r\n\r\n").as_bytes())?;
    let (mut answer, mut part) = (Vec::new(), [0; 512]);
    while answer.len() < MOST {
        stream.readable().await?;
        match stream.try_read(&mut part) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// What kubelet asks.
fn pages(is_ready: impl Fn() -> bool + Clone + Send + Sync + 'static) -> Router {
    let ready = move || async move {
        if is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    };
    Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(ready))
}

/// Serves both families, or the one that the kernel has.
async fn serve(port: u16, pages: Router) -> Result<()> {
    let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
            .await
            .with_context(|| format!("can't listen on port {port}"))?,
    };
    axum::serve(listener, pages).await.context("a port can't be served")
}

async fn told_to_stop() -> Result<()> {
    let (mut term, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_a_proof_only_beside_an_answer() {
        assert_eq!(Found::of(&[]), Found::Nothing);
        assert_eq!(Found::of(&[(false, false)]), Found::Nothing);
        assert_eq!(Found::of(&[(true, false)]), Found::Fenced);
        // A family that has no route on this node.
        assert_eq!(Found::of(&[(true, false), (false, false)]), Found::Fenced);
    }

    #[test]
    fn one_family_that_is_open_is_enough() {
        assert_eq!(Found::of(&[(true, false), (true, true)]), Found::Open);
        assert_eq!(Found::of(&[(false, true)]), Found::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_is_ready_once_before_it_may_fall_and_again_when_nobody_comes_any_more() {
        let visits = Visits::default();
        visits.note(Instant::now());
        assert!(visits.may_be_ready(Instant::now()), "it has only just begun");
        assert!(!visits.may_be_ready(Instant::now()));
        tokio::time::advance(EVERY).await;
        assert!(!visits.may_be_ready(Instant::now()), "it forgot before the next visit");
        tokio::time::advance(EVERY).await;
        assert!(visits.may_be_ready(Instant::now()));
    }

    #[tokio::test]
    async fn what_takes_a_connection_is_not_yet_the_target() {
        let answering = |text: &'static str| async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let pages = Router::new().route(PATH, get(move || async move { text }));
            let dialled = answers(address);
            tokio::select! {
                answered = dialled => answered,
                _ = axum::serve(listener, pages) => false,
            }
        };
        assert!(answering(ANSWER).await);
        assert!(!answering("somebody else").await);
    }
}
