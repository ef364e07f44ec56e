//! A certificate that Sentry signed, with its key: who we are, for a while.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

use crate::error::Error;
use crate::id::SpiffeId;
use crate::tls::{id_of, provider};

/// Who we are.
#[derive(Clone)]
pub struct Svid {
    id: SpiffeId,
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Svid {
    /// From the PEM of a leaf and what signed it, and the leaf's key.
    ///
    /// # Errors
    /// When it can't be read, is somebody else's, or is not of this key.
    pub fn new(
        expected: &SpiffeId,
        pem: &[u8],
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        let unusable = |error: String| Error::Certificate(error);
        let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| unusable(error.to_string()))?;
        let leaf = chain.first().ok_or_else(|| unusable("there is none in the answer".into()))?;
        let id = id_of(leaf).map_err(|error| unusable(error.to_string()))?;
        if id != *expected {
            return Err(unusable(format!("it is of {id}, and {expected} was asked for")));
        }
        let (_, parsed) =
            parse_x509_certificate(leaf).map_err(|error| unusable(error.to_string()))?;
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
        let not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let key = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self { id, key: Arc::new(key), not_after })
    }

    /// Who it says we are.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Its chain and key, for TLS.
    pub fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    /// Until when it is valid.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }
}
