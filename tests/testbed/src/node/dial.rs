//! Dials between pods: asked of the pod that dials, by way of the API server, which no policy stops.

use serde_json::Value;

/// The port on which every test pod answers the API server: its readiness, and requests to dial.
pub(crate) const CONTROL: u16 = 9999;

/// What came of one dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialled {
    /// The target, as it was given.
    pub to: String,
    /// The name of who answered.
    pub answered: Option<String>,
    /// Why nobody did, in the system's words; empty if somebody did.
    pub failed: String,
    /// Nothing came back at all, as when a policy stops a packet: no answer and no refusal.
    pub silent: bool,
}

/// The path of the API server by which a pod is asked.
pub(crate) fn path((namespace, pod): (&str, &str), to: &[impl AsRef<str>], within: u128) -> String {
    let mut path =
        format!("/api/v1/namespaces/{namespace}/pods/{pod}:{CONTROL}/proxy/dial?within={within}ms");
    for target in to {
        path.push_str("&to=");
        path.push_str(target.as_ref());
    }
    path
}

/// What the pod answered: an object a line.
pub(crate) fn outcomes(answer: &str) -> Vec<Dialled> {
    let outcome = |line: &str| -> Option<Dialled> {
        let outcome: Value = serde_json::from_str(line).ok()?;
        Some(Dialled {
            to: outcome["to"].as_str()?.to_owned(),
            answered: outcome["answered"].as_str().map(str::to_owned),
            failed: outcome["failed"].as_str().unwrap_or_default().to_owned(),
            silent: outcome["silent"] == true,
        })
    };
    answer.lines().filter_map(outcome).collect()
}
