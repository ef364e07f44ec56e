//! A certificate is asked for, kept fresh and used, against a Sentry that signs with the real profile.

#![allow(clippy::unwrap_used, reason = "a test fails by it, helpers of one too")]

mod authority;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use catalyst_identity::proto::ca_server::{Ca, CaServer};
use catalyst_identity::proto::{SignCertificateRequest, SignCertificateResponse};
use catalyst_identity::{Identity, Sentry, SpiffeId, Svid, Workload, acceptor, connector, id_of};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::{Request, Response, Status};

use self::authority::Authority;

const DOMAIN: &str = "eu.example.com";
const OURS: &str = "spiffe://eu.example.com/ns/catalyst-dapr/dapr-operator";
const SENTRY: &str = "spiffe://eu.example.com/ns/catalyst-dapr/dapr-sentry";
const WITHIN: Duration = Duration::from_secs(20);

/// A Sentry in this process.
struct Fake {
    authority: Arc<Authority>,
    life: Duration,
    asked: Arc<AtomicUsize>,
    tokens: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl Ca for Fake {
    async fn sign_certificate(
        &self,
        request: Request<SignCertificateRequest>,
    ) -> Result<Response<SignCertificateResponse>, Status> {
        let request = request.into_inner();
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.tokens.lock().unwrap().push(request.token.clone());
        if request.token != "good" && request.token != "renewed" {
            return Err(Status::permission_denied("no such token"));
        }
        assert_eq!(
            (request.id.as_str(), request.namespace.as_str()),
            ("dapr-operator", "catalyst-dapr")
        );
        assert_eq!(request.token_validator, 2);
        let pem = String::from_utf8(request.certificate_signing_request).unwrap();
        let signed = self.authority.sign(&pem, OURS, self.life);
        Ok(Response::new(SignCertificateResponse { workload_certificate: signed.into_bytes() }))
    }
}

struct Site {
    folder: PathBuf,
    workload: Workload,
    asked: Arc<AtomicUsize>,
    tokens: Arc<Mutex<Vec<String>>>,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A Sentry that says it is `says`, and signs for so long.
async fn site(name: &str, authority: &Arc<Authority>, says: &str, life: Duration) -> Site {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, tokens) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
    let fake = Fake {
        authority: Arc::clone(authority),
        life,
        asked: Arc::clone(&asked),
        tokens: Arc::clone(&tokens),
    };
    let tls = serving(&authority.svid(says));
    let service = TowerToHyperService::new(CaServer::new(fake));
    #[allow(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A handshake that fails ends only itself.
            let Ok(stream) = tls.accept(stream).await else { continue };
            let server = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service.clone()));
        }
    });

    let folder =
        std::env::temp_dir().join(format!("catalyst-identity-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("token"), "good\n").unwrap();
    let workload = Workload {
        id: OURS.parse().unwrap(),
        sentry: Sentry { address: address.to_string(), id: SENTRY.parse().unwrap() },
        token: folder.join("token"),
        anchors: authority.trusted_in(DOMAIN),
    };
    Site { folder, workload, asked, tokens }
}

/// TLS for a server that asks nobody who they are.
fn serving(svid: &Svid) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(svid.key())));
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Runs what keeps an identity beside `test`.
async fn kept<T>(
    workload: &Workload,
    test: impl AsyncFnOnce(watch::Receiver<Option<Identity>>) -> T,
) -> T {
    let (sender, receiver) = watch::channel(None);
    tokio::select! {
        done = tokio::time::timeout(WITHIN, test(receiver)) => done.expect("in time"),
        () = workload.keep(&sender) => unreachable!("it keeps for ever"),
    }
}

#[tokio::test]
async fn a_certificate_is_asked_for_with_the_token_and_is_ours() {
    let authority = Arc::new(Authority::new());
    let site = site("first", &authority, SENTRY, Duration::from_hours(1)).await;
    let identity = kept(&site.workload, async |mut identity| {
        identity.wait_for(Option::is_some).await.unwrap().clone().unwrap()
    })
    .await;
    assert_eq!(identity.id.to_string(), OURS);
    assert_eq!(*site.tokens.lock().unwrap(), ["good"]);
}

#[tokio::test]
async fn it_is_renewed_after_half_of_its_life_with_the_token_of_then() {
    let authority = Arc::new(Authority::new());
    let site = site("renewed", &authority, SENTRY, Duration::from_secs(6)).await;
    let (first, second) = kept(&site.workload, async |mut identity| {
        let first = identity.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        fs::write(&site.workload.token, "renewed").unwrap();
        identity.changed().await.unwrap();
        (first, identity.borrow().clone().unwrap())
    })
    .await;
    assert!(second.not_after > first.not_after);
    assert_eq!(*site.tokens.lock().unwrap(), ["good", "renewed"]);
}

#[tokio::test]
async fn a_sentry_that_refuses_or_is_not_sentry_is_asked_again_until_it_is() {
    let authority = Arc::new(Authority::new());
    let refusing = site("refusing", &authority, SENTRY, Duration::from_hours(1)).await;
    fs::write(&refusing.workload.token, "bad").unwrap();
    kept(&refusing.workload, async |mut identity| {
        while refusing.asked.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(identity.borrow().is_none());
        fs::write(&refusing.workload.token, "good").unwrap();
        identity.wait_for(Option::is_some).await.unwrap();
    })
    .await;

    let other = "spiffe://eu.example.com/ns/prj-shop/dapr-sentry";
    let false_one = site("false", &authority, other, Duration::from_hours(1)).await;
    let anchors = authority.trusted_in(DOMAIN);
    let workload = &false_one.workload;
    let error = workload.sentry.sign(&workload.id, "good", &anchors).await.unwrap_err();
    assert_eq!(false_one.asked.load(Ordering::SeqCst), 0, "the token was not shown: {error}");
}

#[tokio::test]
async fn one_that_can_not_be_renewed_is_kept_until_it_is_expired() {
    let authority = Arc::new(Authority::new());
    let site = site("expired", &authority, SENTRY, Duration::from_secs(4)).await;
    kept(&site.workload, async |mut identity| {
        let held = identity.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        fs::write(&site.workload.token, "bad").unwrap();
        identity.wait_for(Option::is_none).await.unwrap();
        assert!(SystemTime::now() >= held.not_after);
        assert!(site.asked.load(Ordering::SeqCst) > 1, "it was tried");
        fs::write(&site.workload.token, "good").unwrap();
        identity.wait_for(Option::is_some).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn only_members_of_the_trust_domain_are_let_in_each_by_its_one_id() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let anchors = authority.trusted_in(DOMAIN);
    let identity = Identity {
        id: OURS.parse().unwrap(),
        acceptor: acceptor(&authority.svid(OURS), &anchors).unwrap(),
        not_after: SystemTime::now(),
    };
    let orders = "spiffe://eu.example.com/ns/prj-shop/orders";
    let dialled = (OURS, &anchors);
    let met_as = async |svid: Option<&Svid>| met(&identity, svid, dialled).await;
    assert_eq!(met_as(Some(&authority.svid(orders))).await.unwrap().to_string(), orders);

    let error = met_as(None).await.unwrap_err();
    assert!(error.contains("no certificates"), "{error}");
    let error = met_as(Some(&foreign.svid(orders))).await.unwrap_err();
    assert!(error.contains("invalid peer certificate"), "{error}");
    let public = authority.svid("spiffe://public/ns/prj-shop/orders");
    let error = met_as(Some(&public)).await.unwrap_err();
    assert!(error.contains("of another trust domain"), "{error}");
    let two = "spiffe://eu.example.com/ns/prj-shop/payments";
    for uris in [&[][..], &[orders, two]] {
        let (pem, _) = authority.leaf(uris);
        let leaf = rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap();
        assert!(id_of(&leaf).is_err(), "{uris:?}");
    }

    let error =
        met(&identity, Some(&authority.svid(orders)), (SENTRY, &anchors)).await.unwrap_err();
    assert!(error.contains("another was dialled"), "{error}");
}

#[tokio::test]
async fn what_is_signed_for_somebody_else_or_of_another_key_is_not_taken() {
    let authority = Authority::new();
    let (pem, key) = authority.leaf(&["spiffe://eu.example.com/ns/prj-shop/orders"]);
    let ours: SpiffeId = OURS.parse().unwrap();
    let error = Svid::new(&ours, pem.as_bytes(), key).unwrap_err();
    assert!(error.to_string().contains("prj-shop/orders"), "{error}");
    let (pem, _) = authority.leaf(&[OURS]);
    let (_, other) = authority.leaf(&[OURS]);
    assert!(Svid::new(&ours, pem.as_bytes(), other).is_err());
    assert!(Svid::new(&ours, b"", authority.leaf(&[OURS]).1).is_err());
}

/// Who came, as the accepting side sees it, or why nobody did, as either side says.
async fn met(
    identity: &Identity,
    svid: Option<&Svid>,
    (dialled, anchors): (&str, &catalyst_identity::Anchors),
) -> Result<SpiffeId, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async {
        let (stream, _) = listener.accept().await?;
        let tls = TlsAcceptor::from(Arc::clone(&identity.acceptor)).accept(stream).await?;
        let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default();
        id_of(&certificates[0]).map_err(io::Error::other)
    };
    let dial = async {
        let config = connector(&dialled.parse().unwrap(), anchors, svid).unwrap();
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("anything.example").unwrap();
        TlsConnector::from(config).connect(name, stream).await
    };
    let (accepted, dialled) = tokio::join!(accept, dial);
    if let Err(error) = dialled {
        return Err(error.to_string());
    }
    accepted.map_err(|error| error.to_string())
}
