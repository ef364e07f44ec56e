//! The applications of tests: they are called by Dapr, and call it, for the test.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::error::Result;
use crate::image::archive;
use crate::node::dial::CONTROL;
use crate::peers::program;

/// What they run: `tests/peers/app`.
const IMAGE: &str = "localhost/testbed/app:1";

/// The ports on which Dapr calls them: by HTTP, and by gRPC.
const HTTP: u16 = 8080;
const GRPC: u16 = 8081;

/// The image of [`app`], for [`Node::load`](crate::Node::load), built or found built before.
///
/// # Errors
///
/// When Go is missing, or the build fails.
pub fn app_image() -> Result<PathBuf> {
    let program = program("app", Some("github.com/dapr/go-sdk"), ".")?;
    archive(IMAGE, "/program", &program)
}

/// An application of this name, and a Service of it: `http://<name>.<namespace>.svc.cluster.local:8080` is what Dapr is to
/// call, or `grpc://` and 8081. It answers every path with what it was asked (by gRPC the method `pay`), hosts actors of
/// the type `cart`, and runs the workflows `greet` and `approve`. [`Node::ask`](crate::Node::ask) asks it what it has
/// seen, and makes it call.
///
/// A Secret of its namespace, if there is one, is its environment: with the keys of the one that Catalyst makes for an
/// AppIdentity, it finds its Dapr server.
pub fn app(namespace: &str, name: &str, secret: Option<&str>) -> Value {
    let mut container = json!({
        "name": "app",
        "image": IMAGE,
        "args": [format!("{namespace}/{name}"), HTTP.to_string(), GRPC.to_string(), CONTROL.to_string()],
        "readinessProbe": {"httpGet": {"path": "/", "port": CONTROL}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
        },
    });
    if let Some(secret) = secret {
        container["envFrom"] = json!([{"secretRef": {"name": secret}}]);
    }
    let labels = json!({"app": name});
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": HTTP}, {"name": "grpc", "port": GRPC}]},
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [pod, service]})
}

/// The path of the API server by which one is asked.
pub(crate) fn path((namespace, name): (&str, &str), path: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods/{name}:{CONTROL}/proxy/{path}")
}
