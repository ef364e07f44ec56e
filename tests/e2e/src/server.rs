//! What an API server knows that an older one does not. docs/kubernetes.md says what is lost with it.

use catalyst_testbed::{ControlPlane, Output};

/// Whether a server knows admission policies: from Kubernetes 1.30 on.
pub fn serves_admission_policies(control_plane: &ControlPlane) -> bool {
    get(control_plane, "/apis/admissionregistration.k8s.io/v1")
        .contains("validatingadmissionpolicies")
}

/// Whether a server keeps the rules in CEL of a definition: from Kubernetes 1.25 on. An older one drops them.
pub fn serves_cel(control_plane: &ControlPlane) -> bool {
    let version: serde_json::Value =
        serde_json::from_str(&get(control_plane, "/version")).expect("JSON");
    let minor = version["minor"].as_str().and_then(|minor| minor.parse::<u32>().ok());
    minor.expect("a version of the server") >= 25
}

fn get(control_plane: &ControlPlane, path: &str) -> String {
    let answer = control_plane.kubectl(&["get", "--raw", path]).and_then(Output::success);
    answer.unwrap_or_else(|error| panic!("{error}"))
}
