//! What one concern plans for a world of manifests, as text that reads as documentation.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use catalyst_plan::readiness::{needs, standing};
use catalyst_plan::{Key, Object};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::Value;

use super::facts::Facts;
use super::fault::Fault;
use super::input::Source;
use super::manifests::Manifests;
use super::node::At;
use super::offline::{Judged, Planned, play};
use crate::cli::show;

/// What one concern plans for a world.
pub struct Snapshot {
    /// What it would apply, in that order.
    pub objects: Vec<Object>,
    /// Every object of ours and the status it would have, whatever the concern.
    pub judged: Vec<Judged>,
    /// Verdicts as comments, then the manifests.
    pub text: String,
}

impl Snapshot {
    /// The manifests as they are shown: what an API server would take.
    pub fn manifests(&self) -> Vec<Value> {
        self.objects.iter().map(show::manifest).collect()
    }
}

/// Plans everything in `world` (YAML, as `catalyst render -f` reads it) and shows what one concern comes to.
///
/// # Errors
/// Everything that is wrong with the YAML.
pub fn snapshot(world: &str, concern: &str) -> Result<Snapshot, Vec<Fault>> {
    let source = Source { name: "world.yaml".into(), bytes: world.into() };
    let ours = |message: String| vec![Fault::new(&source.name, At::default(), message)];
    let manifests = Manifests::read(std::slice::from_ref(&source), Vec::new())?;
    let outcome = play(manifests, &Facts::default()).map_err(ours)?;
    let judged: Vec<Judged> = outcome.judged().collect();
    let carried = carried(&judged);
    let belongs = |planned: &Planned| match concern {
        // The network plan speaks for EgressPolicies: of its objects, those that carry one.
        "egress" => carried.contains(&planned.key),
        _ => planned.concern == concern,
    };
    let planned = outcome.planned.iter().filter(|planned| belongs(planned));
    let objects: Vec<Object> = planned.map(Planned::object).collect();
    let mut text = String::new();
    for judged in &judged {
        comment(&mut text, &verdict(judged));
        if speaks(concern, &judged.key.resource.kind) {
            for line in fields(&judged.status).map_err(ours)?.lines() {
                comment(&mut text, &format!("  {line}"));
            }
        }
    }
    for object in &objects {
        text.push_str(&show::yaml(&show::manifest(object)).map_err(ours)?);
    }
    Ok(Snapshot { objects, judged, text })
}

/// The NetworkPolicies that EgressPolicies name in their status.
fn carried(judged: &[Judged]) -> BTreeSet<Key> {
    let mut carried = BTreeSet::new();
    for Judged { key, status } in judged {
        let names =
            status["networkPolicies"].as_array().into_iter().flatten().filter_map(Value::as_str);
        carried.extend(names.map(|name| Key::of::<NetworkPolicy>(key.namespace.as_deref(), name)));
    }
    carried
}

fn comment(text: &mut String, line: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "# {line}");
}

/// The kinds whose status says something of a concern beside its conditions.
fn speaks(concern: &str, kind: &str) -> bool {
    let kinds: &[&str] = match concern {
        "region" => &["Region"],
        "project" => &["Project"],
        "network" | "egress" => &["EgressPolicy"],
        "identity" => &["AppIdentity"],
        "secret" => &["SecretRef"],
        _ => &[],
    };
    kinds.contains(&kind)
}

/// The fields of a status beside its conditions, as YAML.
fn fields(status: &Value) -> Result<String, String> {
    let mut fields = status.as_object().cloned().unwrap_or_default();
    fields.remove("conditions");
    fields.remove("observedGeneration");
    // Warnings are in the verdict.
    fields.remove("warnings");
    if fields.is_empty() {
        return Ok(String::new());
    }
    let yaml = show::yaml(&Value::Object(fields))?;
    Ok(yaml.trim_start_matches("---\n").to_string())
}

/// One line for one object: `EgressPolicy prj-blog/db: NotDelegated: spec.allowed[0] ...`.
pub(super) fn verdict(judged: &Judged) -> String {
    let Some(ready) = standing(&judged.status, "Ready") else {
        return format!("{}: nothing is said of it", judged.key);
    };
    let mut line = format!("{}: {}", judged.key, ready.reason);
    // Writing to a String does not fail.
    if !ready.message.is_empty() {
        let _ = write!(line, ": {}", ready.message);
    }
    // Ready has the first problem; the other conditions may have more, unless they wait for just that one.
    for need in needs(&judged.key.resource.kind) {
        let more = standing(&judged.status, need).filter(|other| {
            other.status == "False"
                && other.message != ready.message
                && other.reason != "WaitingForNamespace"
        });
        if let Some(other) = more {
            let _ = write!(line, "; {}: {}: {}", other.type_, other.reason, other.message);
        }
    }
    line
}

/// Whether the object would be Ready.
pub(super) fn is_ready(judged: &Judged) -> bool {
    standing(&judged.status, "Ready").is_some_and(|ready| ready.status == "True")
}
