//! A certificate authority with Sentry's profile, for tests: an empty subject, one URI, no basic constraints.

#![allow(unreachable_pub, reason = "it is a module of several tests")]
#![allow(clippy::unwrap_used, reason = "a test fails by it, helpers of one too")]

use std::time::Duration;

use catalyst_identity::{Anchors, SpiffeId, Svid};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A root, and the issuer that signs under it.
pub struct Authority {
    pub anchors: String,
    issuer_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let root = authority("root");
        let root_key = key();
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let issuer = authority("issuer");
        let issuer_key = key();
        let root = Issuer::new(root, root_key);
        let issuer_pem = issuer.signed_by(&issuer_key, &root).unwrap().pem();
        Self { anchors: root_pem, issuer_pem, issuer: Issuer::new(issuer, issuer_key) }
    }

    /// One that was made elsewhere: what is trusted, the issuer, and its key, all PEM.
    #[allow(dead_code, reason = "most tests make one")]
    pub fn of(anchors: &str, issuer_pem: &str, key: &str) -> Self {
        let key = KeyPair::from_pem(key).unwrap();
        let issuer = Issuer::from_ca_cert_pem(issuer_pem, key).unwrap();
        Self { anchors: anchors.into(), issuer_pem: issuer_pem.into(), issuer }
    }

    pub fn trusted_in(&self, domain: &str) -> Anchors {
        Anchors::from_pem(domain, self.anchors.as_bytes()).unwrap()
    }

    /// Somebody of this authority, for an hour.
    pub fn svid(&self, id: &str) -> Svid {
        let (pem, key) = self.leaf(&[id]);
        Svid::new(&id.parse::<SpiffeId>().unwrap(), pem.as_bytes(), key).unwrap()
    }

    /// A leaf and its issuer, with these URIs.
    pub fn leaf(&self, uris: &[&str]) -> (String, PrivateKeyDer<'static>) {
        let key = key();
        let leaf = profile(uris, Duration::from_hours(1)).signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (leaf.pem() + &self.issuer_pem, key)
    }

    /// What Sentry answers to a request: valid since as long as it is still valid.
    #[allow(dead_code, reason = "not every test has a Sentry")]
    pub fn sign(&self, request: &str, uri: &str, life: Duration) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(request).unwrap();
        assert_eq!(request.params.distinguished_name, DistinguishedName::new(), "a subject");
        request.params = profile(&[uri], life);
        request.signed_by(&self.issuer).unwrap().pem() + &self.issuer_pem
    }
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn profile(uris: &[&str], life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names =
        uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let now = std::time::SystemTime::now();
    params.not_before = (now - Duration::from_mins(15)).into();
    params.not_after = (now + life).into();
    params
}
