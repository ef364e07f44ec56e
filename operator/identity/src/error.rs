//! Why there is no certificate.

use std::io;
use std::path::PathBuf;

use crate::id::InvalidId;

/// What keeps us from a certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("{} can't be read", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The trust anchors can't be used.
    #[error("the trust anchors can't be used: {0}")]
    Anchors(String),
    /// Sentry is not reached, or is not who it should be.
    #[error("Sentry at {address} can't be dialled")]
    Dial {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// Sentry refuses.
    #[error("Sentry refuses {id}: {}", status.message())]
    Refused {
        /// What was asked for.
        id: String,
        /// What it says.
        status: Box<tonic::Status>,
    },
    /// What was signed is not what was asked for.
    #[error("the certificate can't be used: {0}")]
    Certificate(String),
    /// A key or a signing request can't be made.
    #[error("no key can be made")]
    Key(#[from] rcgen::Error),
    /// TLS can't be set up.
    #[error("TLS can't be set up")]
    Tls(#[from] rustls::Error),
    /// An id has the wrong form.
    #[error(transparent)]
    Id(#[from] InvalidId),
}

/// An error with all that it comes from.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
