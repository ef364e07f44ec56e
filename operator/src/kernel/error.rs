//! What the environment can do to a reconcile, and how that reads in a condition.

use catalyst_plan::{Invalid, Key};

/// The environment's fault, or somebody else's object in the way: retried with backoff. A user's fault is [`Invalid`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another object has the name of one of ours, and we did not make it.
    #[error(
        "{0} stands already and is not this object's: rename or delete it, then this one is made"
    )]
    NameTaken(Key),
    /// Somebody else owns a field that we need on an object that is not ours.
    #[error("{0} is not Catalyst's and somebody else sets the same fields: {1}")]
    Held(Key, String),
    /// Something of ours, or what it lies in, is being deleted.
    #[error("{0} is being deleted; it is made anew once it is gone")]
    Terminating(Key),
    /// A Secret that another value is copied from is not there.
    #[error("{0} is not there yet")]
    Absent(Key),
    /// The operating system gave no random bytes.
    #[error("no random bytes could be drawn")]
    Entropy,
    /// A certificate can't be made.
    #[error("no certificate can be made")]
    Certificate(#[source] Box<rcgen::Error>),
    /// This process may not write now: another one holds the lease, or the lease can't be renewed.
    #[error("the lease is not held, so nothing is written")]
    NotHolder,
    /// The whole reconcile took too long.
    #[error("gave up after {0} s")]
    Timeout(u64),
    /// The API server said no, or nothing.
    #[error("{verb} {key}: {}", said(source))]
    Api {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        key: Key,
        /// What came back.
        #[source]
        source: Box<kube::Error>,
    },
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(Box::new(error))
    }
}

impl Error {
    /// The API server's status code; 0 where there was no answer.
    pub fn code(&self) -> u16 {
        match self {
            Self::Api { source, .. } => code(source),
            _ => 0,
        }
    }

    /// One CamelCase word for condition, event and metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NameTaken(_) => "NameTaken",
            Self::Held(..) => "HeldByOther",
            Self::Terminating(_) => "Terminating",
            Self::Absent(_) => "SecretMissing",
            Self::Entropy => "NoEntropy",
            Self::Certificate(_) => "NoCertificate",
            Self::NotHolder => "NotHolder",
            Self::Timeout(_) => "Timeout",
            Self::Api { source, .. } => match code(source) {
                403 if says(source, "exceeded quota") => "QuotaExceeded",
                403 | 422 if is_policy(source) => "DeniedByPolicy",
                403 => "Forbidden",
                404 => "NotFound",
                409 => "Conflict",
                400 | 422 => "Rejected",
                413 => "TooLarge",
                429 | 500..=599 => "ServerBusy",
                _ => "Unreachable",
            },
        }
    }

    /// How this reads in a condition. A name that is taken, or a field that is held, is for a person to mend.
    pub fn verdict(&self) -> Invalid {
        let waits = !matches!(self, Self::NameTaken(_) | Self::Held(..));
        Invalid { reason: self.reason(), message: self.to_string(), waits }
    }

    /// Whether the rest of a plan has no chance either: there is no answer, no namespace, or no time for us. What a
    /// server, a quota or a webhook says of one object says nothing of the next.
    pub(super) fn is_fatal_to_plan(&self) -> bool {
        match self {
            Self::NotHolder => true,
            Self::Api { source, .. } => matches!(code(source), 0 | 401 | 404 | 429 | 503),
            _ => false,
        }
    }
}

/// The status code in an error of the client; 0 where the server gave no answer.
pub(super) fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}

/// Whether the server's message contains these words.
pub(super) fn says(error: &kube::Error, words: &str) -> bool {
    matches!(error, kube::Error::Api(status) if status.message.contains(words))
}

/// Whether the server refused because the namespace is being deleted.
/// <https://github.com/kubernetes/api/blob/master/core/v1/types.go> `NamespaceTerminatingCause`
pub(super) fn is_terminating(error: &kube::Error) -> bool {
    code(error) == 403 && says(error, "because it is being terminated")
}

/// Whether an admission policy refused, which no wait will change.
pub(super) fn is_policy(error: &kube::Error) -> bool {
    says(error, "ValidatingAdmissionPolicy")
}

fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
