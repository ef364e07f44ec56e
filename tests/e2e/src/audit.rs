//! What the API server was asked, by whom, and what it answered: the audit log, from a moment on.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;

/// A moment in the audit log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// One request that was answered.
#[derive(Clone)]
pub struct Request(Value);

impl Request {
    /// Who proved to be somebody: the name in the certificate, also where it then acted as another.
    pub fn user(&self) -> &str {
        self.text(&["user", "username"])
    }

    /// As whom somebody acted who may act as others; empty if as themselves.
    pub fn acts_as(&self) -> &str {
        self.text(&["impersonatedUser", "username"])
    }

    /// `create`, `patch`, `delete`, ... as in roles.
    pub fn verb(&self) -> &str {
        self.text(&["verb"])
    }

    /// The plural, such as `networkpolicies`; a subresource follows after a slash.
    pub fn resource(&self) -> String {
        let (resource, sub) =
            (self.text(&["objectRef", "resource"]), self.text(&["objectRef", "subresource"]));
        if sub.is_empty() { resource.into() } else { format!("{resource}/{sub}") }
    }

    /// The object's namespace, empty if it has none.
    pub fn namespace(&self) -> &str {
        self.text(&["objectRef", "namespace"])
    }

    /// The object's name, empty if the request was for many.
    pub fn name(&self) -> &str {
        self.text(&["objectRef", "name"])
    }

    /// The status code of the answer.
    pub fn code(&self) -> u64 {
        self.0["responseStatus"]["code"].as_u64().unwrap_or_default()
    }

    /// What was sent; null where the audit policy records no bodies.
    pub fn body(&self) -> &Value {
        &self.0["requestObject"]
    }

    /// The path and query of the request.
    pub fn uri(&self) -> &str {
        self.text(&["requestURI"])
    }

    /// Whether it was one that changes something, if it succeeds.
    pub fn is_write(&self) -> bool {
        ["create", "update", "patch", "delete", "deletecollection"].contains(&self.verb())
    }

    /// Whether it kept a lease, and nothing else.
    pub fn is_lease(&self) -> bool {
        self.resource() == "leases"
    }

    fn text(&self, path: &[&str]) -> &str {
        let value = path.iter().fold(&self.0, |value, field| &value[*field]);
        value.as_str().unwrap_or_default()
    }
}

impl fmt::Debug for Request {
    /// `patch networkpolicies prj-shop/default-deny by system:... -> 200`, one a line in a list.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}/{} by {} -> {}",
            self.verb(),
            self.resource(),
            self.namespace(),
            self.name(),
            self.user(),
            self.code()
        )
    }
}

impl Mark {
    /// Before the first request.
    pub const BEGINNING: Self = Self(0);
}

pub(crate) fn now(log: &Path) -> Mark {
    Mark(log.metadata().map(|data| data.len()).unwrap_or_default())
}

/// The requests that were answered since, in that order.
pub(crate) fn since(log: &Path, mark: Mark) -> Vec<Request> {
    let mut text = String::new();
    File::open(log)
        .and_then(|mut file| {
            file.seek(SeekFrom::Start(mark.0))?;
            file.read_to_string(&mut text)
        })
        .expect("the audit log");
    let events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    events.filter(|event: &Value| event["stage"] == "ResponseComplete").map(Request).collect()
}
