//! What a Dapr server is told: which objects of its project it gets, with secrets in place, and what changed since.
//!
//! An object becomes an [`Entry`], once for all servers: what is sent, to whom, or why it is not. An app sees a [`View`]
//! of each kind; its server is told the difference of two.

mod decode;
mod entry;
mod inline;
pub mod report;
mod view;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use catalyst_crds::SecretRef;

pub use self::entry::render;
pub use self::view::{Change, Event, View, replay, told, view};
use crate::secret::{self, Values};
use crate::{Invalid, SecretBytes};

/// What one message may take: servers refuse more than 4 MiB, a whole list included. The rest is for what surrounds it.
/// <https://github.com/grpc/grpc-go/blob/v1.82.0/server.go#L60>
const MESSAGE: usize = 4 * 1024 * 1024 - 1024;

/// What an object takes in a message beside its own bytes, at most.
const AROUND: usize = 16;

/// A kind of object that Dapr servers are told of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// How the server itself behaves.
    Configuration,
    /// Retries, timeouts and circuit breakers.
    Resiliency,
    /// A building block's implementation.
    Component,
    /// A service outside, called as if it were an app.
    HttpEndpoint,
    /// What is delivered where.
    Subscription,
    /// Who may start which workflow.
    WorkflowAccessPolicy,
    /// A server of tools.
    McpServer,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Configuration,
        Self::Resiliency,
        Self::Component,
        Self::HttpEndpoint,
        Self::Subscription,
        Self::WorkflowAccessPolicy,
        Self::McpServer,
    ];

    /// The kind as Dapr calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration",
            Self::Resiliency => "Resiliency",
            Self::Component => "Component",
            Self::HttpEndpoint => "HTTPEndpoint",
            Self::Subscription => "Subscription",
            Self::WorkflowAccessPolicy => "WorkflowAccessPolicy",
            Self::McpServer => "MCPServer",
        }
    }

    /// Whether servers never list it again, so that all of it is said anew when one comes back.
    pub fn is_replayed(self) -> bool {
        matches!(self, Self::Configuration | Self::Resiliency | Self::HttpEndpoint)
    }
}

/// What the region does not let servers have.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Component types; one that ends with `*` means all that begin so.
    pub refused: Vec<String>,
}

impl Rules {
    fn refuse(&self, type_: &str) -> bool {
        self.refused.iter().any(|rule| match rule.strip_suffix('*') {
            Some(begin) => type_.starts_with(begin),
            None => type_ == rule,
        })
    }
}

/// What is found where an object names a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// Its values, and who may have them: every app, or these.
    Values(Values, Option<BTreeSet<String>>),
    /// There is none; a sentence that says what to do.
    Missing(String),
    /// Nobody has looked yet.
    Unknown,
}

impl Found {
    /// What a SecretRef of that name gives.
    pub fn by_reference(project: &str, reference: &SecretRef, remote: Option<&Values>) -> Self {
        match secret::taken(project, reference, remote) {
            Ok(values) => Self::Values(values, None),
            Err(Invalid { message, .. }) => {
                let name = reference.metadata.name.as_deref().unwrap_or_default();
                Self::Missing(format!("SecretRef \"{name}\": {message}"))
            }
        }
    }

    /// What the Secret of that name in the project gives.
    pub fn by_name(namespace: &str, name: &str, values: Option<Values>) -> Self {
        match values {
            Some(values) => Self::Values(values, None),
            None => Self::Missing(format!(
                "there is neither a SecretRef nor a Secret \"{name}\" in namespace {namespace}: create one"
            )),
        }
    }
}

/// One object as servers get it: JSON, secrets included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Body {
    /// The object's name.
    pub name: String,
    /// The object.
    pub json: SecretBytes,
}

impl Body {
    fn size(&self) -> usize {
        self.json.0.len() + AROUND
    }
}

/// Every reason for which servers do not get an object.
pub const REASONS: [&str; 6] =
    ["RefusedType", "SecretMissing", "SecretNotText", "TooLarge", "TooMany", "Unreadable"];

/// Why servers do not get an object.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Withheld {
    /// The object's kind.
    pub kind: Kind,
    /// The object's name.
    pub name: String,
    /// One of [`REASONS`].
    pub reason: &'static str,
    /// A sentence that names the field, the value and the mend.
    pub message: String,
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\": {}", self.kind.name(), self.name, self.message)
    }
}

/// What became of one object.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The apps that get it; `None` for every app of the namespace.
    pub audience: Option<BTreeSet<String>>,
    /// The secrets that it names.
    pub secrets: BTreeSet<String>,
    /// What is sent, or why nothing is.
    pub content: Content,
    /// Sorts the oldest first.
    age: (bool, Option<jiff::Timestamp>),
}

/// What is sent of an object, or why nothing is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    /// This.
    Sent(Arc<Body>),
    /// Nothing, for this reason.
    Withheld(Withheld),
    /// Nothing yet: a secret that it names is being read.
    Pending,
}

impl Entry {
    /// Whether an app gets it.
    pub fn is_for(&self, app: &str) -> bool {
        self.audience.as_ref().is_none_or(|apps| apps.contains(app))
    }

    /// Keeps what `before` holds where nothing changed, so that who compares is done at once.
    pub fn settle(&mut self, before: &Self) {
        if self.content == before.content {
            self.content = before.content.clone();
        }
    }
}
