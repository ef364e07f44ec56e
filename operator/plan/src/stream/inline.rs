//! Puts secrets in their places, as the plain text that servers take without a word.
//!
//! A server that gets a reference beside a value decodes it as base64, twice, logs the first character of what it finds,
//! and takes an `HTTPEndpoint` for a changed one each time. So the reference goes, unless the value is no text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Found, Kind};
use crate::SecretBytes;

/// Why a secret can't be put in place.
pub(super) enum Trouble {
    /// Nobody has looked for it yet.
    Unknown,
    /// It is not there.
    Missing(String),
    /// It is no text, and this place takes nothing else.
    NotText(String),
}

/// Fills every place of an object that names a secret of the project.
pub(super) fn inline(
    kind: Kind,
    object: &mut Value,
    find: &mut dyn FnMut(&str) -> Found,
) -> Result<(), Trouble> {
    for place in places(kind) {
        if keeps_its_own_store(kind, place.path, object) {
            continue;
        }
        let pointer = format!("/{}", place.path.replace('.', "/"));
        let Some(value) = object.pointer_mut(&pointer) else { continue };
        match value {
            Value::Array(items) if place.is_list => {
                for (index, item) in items.iter_mut().enumerate() {
                    if let Value::Object(item) = item {
                        fill(item, &format!("{}[{index}]", place.path), place.binary, find)?;
                    }
                }
            }
            Value::Object(item) if !place.is_list => fill(item, place.path, place.binary, find)?,
            _ => {}
        }
    }
    Ok(())
}

/// A field that may name secrets.
struct Place {
    path: &'static str,
    is_list: bool,
    /// Whether servers take a value there that is no text.
    binary: bool,
}

fn places(kind: Kind) -> &'static [Place] {
    const fn list(path: &'static str, binary: bool) -> Place {
        Place { path, is_list: true, binary }
    }
    const fn one(path: &'static str) -> Place {
        Place { path, is_list: false, binary: false }
    }
    match kind {
        Kind::Component => const { &[list("spec.metadata", true)] },
        Kind::HttpEndpoint => {
            const {
                &[
                    list("spec.headers", false),
                    one("spec.clientTLS.rootCA"),
                    one("spec.clientTLS.certificate"),
                    one("spec.clientTLS.privateKey"),
                ]
            }
        }
        Kind::Configuration => const { &[list("spec.tracing.otel.headers", false)] },
        // An OAuth2 client's secret has no place for a value: servers look for it themselves.
        Kind::McpServer => {
            const {
                &[
                    list("spec.endpoint.streamableHTTP.headers", false),
                    list("spec.endpoint.sse.headers", false),
                ]
            }
        }
        Kind::Resiliency | Kind::Subscription | Kind::WorkflowAccessPolicy => &[],
    }
}

/// Whether the secrets of a place lie in a store of the server's own.
fn keeps_its_own_store(kind: Kind, path: &str, object: &Value) -> bool {
    let beside = match kind {
        Kind::McpServer => path.rsplit_once('.').map_or(path, |(endpoint, _)| endpoint),
        _ => "",
    };
    let pointer = format!("/{}/auth/secretStore", beside.replace('.', "/")).replace("//", "/");
    let store = object.pointer(&pointer).and_then(Value::as_str).unwrap_or_default();
    !matches!(store, "" | "kubernetes")
}

fn fill(
    item: &mut Map<String, Value>,
    path: &str,
    binary: bool,
    find: &mut dyn FnMut(&str) -> Found,
) -> Result<(), Trouble> {
    let Some(reference) = item.get("secretKeyRef") else { return Ok(()) };
    let part = |field: &str| reference[field].as_str().unwrap_or_default().to_string();
    let (name, mut key) = (part("name"), part("key"));
    if name.is_empty() {
        item.remove("secretKeyRef");
        return Ok(());
    }
    if key.is_empty() {
        key.clone_from(&name);
    }
    let values = match find(&name) {
        Found::Values(values, _) => values,
        Found::Missing(message) => {
            let message = format!("{path}.secretKeyRef.name is \"{name}\": {message}");
            return Err(Trouble::Missing(message));
        }
        Found::Unknown => return Err(Trouble::Unknown),
    };
    let Some(SecretBytes(value)) = values.get(&key) else {
        let known: Vec<&str> = values.keys().map(String::as_str).collect();
        return Err(Trouble::Missing(format!(
            "{path}.secretKeyRef.key is \"{key}\": the secret \"{name}\" has the keys {}",
            known.join(", ")
        )));
    };
    match std::str::from_utf8(value) {
        Ok(text) => {
            item.remove("secretKeyRef");
            item.insert("value".into(), json!(text));
        }
        Err(_) if binary => {
            item.insert("value".into(), json!(STANDARD.encode(&**value)));
        }
        Err(_) => {
            return Err(Trouble::NotText(format!(
                "{path}.secretKeyRef.key is \"{key}\": that value of the secret \"{name}\" is no UTF-8 text; \
                 store it as text, such as base64, if what reads it takes that"
            )));
        }
    }
    Ok(())
}
