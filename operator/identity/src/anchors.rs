//! Whom a trust domain trusts: its root certificates, and no other domain's.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::error::Error;

/// The roots of one trust domain.
#[derive(Clone, Debug)]
pub struct Anchors {
    domain: String,
    roots: Arc<RootCertStore>,
}

impl Anchors {
    /// From PEM, with at least one certificate in it.
    ///
    /// # Errors
    /// When there is none, or one can't be read.
    pub fn from_pem(domain: &str, pem: &[u8]) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem) {
            let root = root.map_err(|error| Error::Anchors(error.to_string()))?;
            roots.add(root).map_err(|error| Error::Anchors(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(Error::Anchors("there is no certificate in them".into()));
        }
        Ok(Self { domain: domain.into(), roots: Arc::new(roots) })
    }

    /// The trust domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }
}
