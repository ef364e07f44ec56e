//! TLS by identity: a chain to the anchors of one trust domain, exactly one SPIFFE id in the certificate, that domain in it.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError,
    ServerConfig, SignatureScheme,
};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::anchors::Anchors;
use crate::error::Error;
use crate::id::SpiffeId;
use crate::svid::Svid;

/// HTTP/2, which is all that gRPC speaks.
const H2: &[u8] = b"h2";

pub(crate) fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

/// Why somebody at the other end is nobody.
#[derive(Clone, Eq, PartialEq, thiserror::Error)]
enum Stranger {
    #[error("its certificate can't be read")]
    Unreadable,
    #[error("its certificate has {0} URIs, not one")]
    Uris(usize),
    #[error(transparent)]
    Id(#[from] crate::id::InvalidId),
    #[error("it is {0}, of another trust domain")]
    Foreign(Box<SpiffeId>),
    #[error("it is {0}, and another was dialled")]
    Other(Box<SpiffeId>),
}

/// As people read it, since rustls shows it so.
impl fmt::Debug for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Stranger> for rustls::Error {
    fn from(stranger: Stranger) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(stranger))))
    }
}

/// The one SPIFFE id of a certificate.
///
/// # Errors
/// When there is none, more than one, or one of another form.
pub fn id_of(certificate: &CertificateDer<'_>) -> Result<SpiffeId, rustls::Error> {
    Ok(read(certificate)?)
}

fn read(certificate: &CertificateDer<'_>) -> Result<SpiffeId, Stranger> {
    let (_, parsed) = parse_x509_certificate(certificate).map_err(|_| Stranger::Unreadable)?;
    let names = parsed.subject_alternative_name().map_err(|_| Stranger::Unreadable)?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let uris: Vec<&str> = names
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let [uri] = uris[..] else { return Err(Stranger::Uris(uris.len())) };
    Ok(uri.parse()?)
}

/// Accepts whoever has a certificate of the trust domain. Nothing is resumed, since a resumed connection checks nobody.
///
/// # Errors
/// When the anchors can't be used.
pub fn acceptor(svid: &Svid, anchors: &Anchors) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(provider());
    let chain = WebPkiClientVerifier::builder_with_provider(anchors.roots(), Arc::clone(&provider))
        .build()
        .map_err(|error| Error::Anchors(error.to_string()))?;
    let members = Members { chain, domain: anchors.domain().into() };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(members))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(svid.key())));
    config.alpn_protocols = vec![H2.into()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Dials one peer, by id, whatever host it is on; as somebody, or as nobody.
///
/// # Errors
/// When TLS can't be set up.
pub fn connector(
    peer: &SpiffeId,
    anchors: &Anchors,
    svid: Option<&Svid>,
) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(provider());
    let one = One { peer: peer.clone(), anchors: anchors.clone(), provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(one));
    let mut config = match svid {
        Some(svid) => {
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(svid.key())))
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![H2.into()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Whoever is of a trust domain.
#[derive(Debug)]
struct Members {
    chain: Arc<dyn ClientCertVerifier>,
    domain: String,
}

impl ClientCertVerifier for Members {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(leaf, intermediates, now)?;
        let id = read(leaf)?;
        if id.domain() != self.domain {
            return Err(Stranger::Foreign(Box::new(id)).into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// One peer.
#[derive(Debug)]
struct One {
    peer: SpiffeId,
    anchors: Anchors,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for One {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(leaf)?,
            &self.anchors.roots(),
            intermediates,
            now,
            algorithms,
        )?;
        let id = read(leaf)?;
        if id != self.peer {
            return Err(Stranger::Other(Box::new(id)).into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
