//! Asks Sentry for a certificate: over TLS to exactly Sentry, with a key that never leaves this process.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::Endpoint;
use tower::service_fn;

use self::proto::SignCertificateRequest;
use self::proto::ca_client::CaClient;
use self::proto::sign_certificate_request::TokenValidator;
use crate::anchors::Anchors;
use crate::error::Error;
use crate::id::SpiffeId;
use crate::svid::Svid;
use crate::tls::connector;

/// Sentry's API.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod proto {
    tonic::include_proto!("dapr.proto.sentry.v1");
}

/// How long a dial, and an answer, may take.
const DIAL: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);

/// Where Sentry is, and who it is.
#[derive(Clone, Debug)]
pub struct Sentry {
    /// Host and port.
    pub address: String,
    /// Its id.
    pub id: SpiffeId,
}

impl Sentry {
    /// A certificate for `id`, with a key of its own. `token` proves to Sentry who asks.
    ///
    /// # Errors
    /// When Sentry is not reached, is somebody else, refuses, or signs something else.
    pub async fn sign(&self, id: &SpiffeId, token: &str, anchors: &Anchors) -> Result<Svid, Error> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut request = CertificateParams::default();
        // Sentry takes nothing of it but the key, and a subject would only be in its way.
        request.distinguished_name = DistinguishedName::new();
        let request = request.serialize_request(&key)?.pem()?;

        let mut client = CaClient::new(self.dial(anchors).await?);
        let asked = client.sign_certificate(SignCertificateRequest {
            id: id.name().into(),
            token: token.into(),
            trust_domain: id.domain().into(),
            namespace: id.namespace().into(),
            certificate_signing_request: request.into_bytes(),
            token_validator: TokenValidator::Kubernetes.into(),
        });
        let answer = asked
            .await
            .map_err(|status| Error::Refused { id: id.to_string(), status: Box::new(status) })?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Svid::new(id, &answer.into_inner().workload_certificate, key)
    }

    async fn dial(&self, anchors: &Anchors) -> Result<tonic::transport::Channel, Error> {
        let tls = TlsConnector::from(connector(&self.id, anchors, None)?);
        let address = Arc::<str>::from(self.address.as_str());
        let dial = move |_| {
            let (tls, address) = (tls.clone(), Arc::clone(&address));
            async move {
                let host = address.rsplit_once(':').map_or(&*address, |(host, _)| host);
                let host = host.trim_matches(['[', ']']).to_string();
                // Only said, never checked: Sentry is known by its id.
                let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
                let stream = TcpStream::connect(&*address).await?;
                Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
            }
        };
        let endpoint = Endpoint::from_static("http://sentry").connect_timeout(DIAL).timeout(ANSWER);
        endpoint
            .connect_with_connector(service_fn(dial))
            .await
            .map_err(|source| Error::Dial { address: self.address.clone(), source })
    }
}
