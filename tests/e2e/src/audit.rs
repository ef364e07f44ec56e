//! What the API server was asked, by whom, and what it answered: the audit log, from a moment on.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
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

    /// By whose rights it was judged.
    pub fn who(&self) -> &str {
        if self.acts_as().is_empty() { self.user() } else { self.acts_as() }
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

    /// The API group, empty for the core one.
    pub fn group(&self) -> &str {
        self.text(&["objectRef", "apiGroup"])
    }

    /// Which program asked, as it names itself.
    pub fn agent(&self) -> &str {
        self.text(&["userAgent"])
    }

    /// Whether roles allowed it, whatever came of it then.
    pub fn is_allowed(&self) -> bool {
        self.text(&["annotations", "authorization.k8s.io/decision"]) == "allow"
    }

    /// Whether no role allowed it. Who is not known at all, as while an API server starts, is not even asked for.
    pub fn is_forbidden(&self) -> bool {
        self.text(&["annotations", "authorization.k8s.io/decision"]) == "forbid"
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

    /// One of an event as the log holds it.
    #[cfg(test)]
    pub(crate) fn of(event: Value) -> Self {
        Self(event)
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

/// Every request of a whole log that was answered, or, as a watch that was still open at the end, began to be.
///
/// # Panics
///
/// When it can't be read.
pub fn requests(log: &Path) -> impl Iterator<Item = Request> {
    let file = BufReader::new(File::open(log).expect("the audit log"));
    let lines = file.lines().map(|line| line.expect("a line"));
    lines.filter_map(|line| serde_json::from_str(&line).ok()).map(Request)
}

/// The requests that were answered since, in that order.
pub(crate) fn since(log: &Path, mark: Mark) -> Vec<Request> {
    let events = events(log, mark).into_iter();
    events.filter(|event| event["stage"] == "ResponseComplete").map(Request).collect()
}

/// The most requests of these users that came within any one second since; a watch that is open counts too.
pub(crate) fn peak(log: &Path, mark: Mark, users: &[&str]) -> usize {
    let mut came = BTreeMap::new();
    for event in events(log, mark) {
        if users.iter().any(|user| event["user"]["username"] == *user) {
            let at = serde_json::from_value::<MicroTime>(event["requestReceivedTimestamp"].clone());
            came.insert(event["auditID"].to_string(), at.expect("a time").0.as_microsecond());
        }
    }
    let mut times: Vec<i64> = came.into_values().collect();
    times.sort_unstable();
    let within =
        |(first, at): (usize, &i64)| times.partition_point(|other| *other < at + 1_000_000) - first;
    times.iter().enumerate().map(within).max().unwrap_or_default()
}

fn events(log: &Path, mark: Mark) -> Vec<Value> {
    let mut text = String::new();
    File::open(log)
        .and_then(|mut file| {
            file.seek(SeekFrom::Start(mark.0))?;
            file.read_to_string(&mut text)
        })
        .expect("the audit log");
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
