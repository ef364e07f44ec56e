//! The pods of tests: they answer with their names, and dial for the test.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::node::containers::POD_IMAGE;
use crate::node::dial::CONTROL;

/// A pod that answers with `<namespace>/<name>` on some ports, TCP (as HTTP) and UDP, and dials for
/// [`Node::dial`](crate::Node::dial). It keeps to the Pod Security Standard `restricted`.
pub fn pod(namespace: &str, name: &str, labels: &[(&str, &str)], ports: &[u16]) -> Value {
    let labels: BTreeMap<_, _> = labels.iter().copied().collect();
    let mut arguments = vec!["serve".to_owned(), format!("{namespace}/{name}")];
    arguments.extend(ports.iter().chain([&CONTROL]).map(ToString::to_string));
    json!({
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
            "containers": [{
                "name": "pod",
                "image": POD_IMAGE,
                "args": arguments,
                "readinessProbe": {"httpGet": {"path": "/", "port": CONTROL}, "periodSeconds": 1},
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}
