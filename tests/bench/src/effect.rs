//! From a rule in a file to the NetworkPolicies that carry it: one team's, and the region's in every namespace.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Instant;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::events::Events;
use crate::floor::{Client, api};
use crate::load::{bare, namespace, policy};

const OURS: &str = "cra.diagrid.io/v1beta1";
const KINDS: [(&str, &str); 3] =
    [(OURS, "Region"), (OURS, "EgressPolicy"), ("networking.k8s.io/v1", "NetworkPolicy")];

/// Milliseconds from the event of each edit of a team's rule to the event of the NetworkPolicy that carries it, and
/// the NetworkPolicies as they were.
pub(crate) fn of_edits(
    client: &Client,
    edits: usize,
    projects: Range<usize>,
    mark: u8,
) -> (Vec<f64>, Vec<Value>) {
    client.runtime.block_on(async {
        let mut events = Events::of(client, &KINDS).await;
        let (mut took, mut carriers) = (Vec::new(), Vec::new());
        for index in 0..edits {
            let project = projects.start + index % projects.len();
            let network = format!("8.{mark}.{}.{}/32", index / 256, index % 256);
            let began = edit(client, &mut events, &policy(project, &network)).await;
            let carrier = events.until(|news| carries(&news.object, &network)).await;
            took.push(carrier.at.duration_since(began).as_secs_f64() * 1e3);
            carriers.push(carrier.object);
        }
        (took, carriers)
    })
}

/// The same without the operator: from the event of an edit to the answer to a plain apply of the NetworkPolicy.
pub(crate) fn of_edits_by_hand(client: &Client, carriers: &[Value]) -> Vec<f64> {
    client.runtime.block_on(async {
        let mut events = Events::of(client, &KINDS).await;
        let mut took = Vec::new();
        for (index, carrier) in carriers.iter().enumerate() {
            let place = carrier["metadata"]["namespace"].as_str().unwrap_or_default();
            let project = place.rsplit('-').next().and_then(|number| number.parse().ok());
            let network = format!("9.9.{}.{}/32", index / 256, index % 256);
            let file = policy(project.expect("a project of the load"), &network);
            let began = edit(client, &mut events, &file).await;
            client.apply_one(&with(carrier, &network)).await;
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
        took
    })
}

/// Seconds from the event of a new rule of the Region to the last NetworkPolicy that carries it, one in each of so many
/// namespaces; and those NetworkPolicies.
pub(crate) fn fan_out(client: &Client, projects: usize) -> (f64, Vec<Value>) {
    client.runtime.block_on(async {
        let mut events = Events::of(client, &KINDS).await;
        let network = "8.99.0.1/32";
        let began = edit(client, &mut events, &region(network)).await;
        let mut missing: BTreeSet<String> = (0..projects).map(namespace).collect();
        let (mut carriers, mut last) = (Vec::new(), began);
        while !missing.is_empty() {
            let carrier = events.until(|news| carries(&news.object, network)).await;
            let place = carrier.object["metadata"]["namespace"].as_str().unwrap_or_default();
            if missing.remove(place) {
                last = carrier.at;
                carriers.push(carrier.object);
            }
        }
        (last.duration_since(began).as_secs_f64(), carriers)
    })
}

/// The same without the operator, by a client that keeps all its connections busy.
pub(crate) fn fan_out_by_hand(client: &Client, carriers: &[Value]) -> f64 {
    let network = "9.99.0.1/32";
    let manifests: Vec<Value> = carriers.iter().map(|carrier| with(carrier, network)).collect();
    let began = client.runtime.block_on(async {
        let mut events = Events::of(client, &KINDS).await;
        edit(client, &mut events, &region(network)).await
    });
    client.apply_all(&manifests, "floor");
    began.elapsed().as_secs_f64()
}

fn region(network: &str) -> Value {
    let rule = json!({"name": "everybody", "cidrs": [network], "ports": [{"port": 443, "protocol": "TCP"}]});
    let egress = json!({"allowed": [rule]});
    json!({"apiVersion": OURS, "kind": "Region", "metadata": {"name": "eu"},
        "spec": {"trust": {"domain": "eu.example.com"}, "network": {"egress": egress}}})
}

/// Sends a file as Git would. Returns when its event came.
async fn edit(client: &Client, events: &mut Events, file: &Value) -> Instant {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&file["kind"]);
    events.forget();
    let api = api(&client.inner, OURS, &kind, file["metadata"]["namespace"].as_str());
    let params = PatchParams::apply("git").force();
    let sent = api.patch(&text(&file["metadata"]["name"]), &params, &Patch::Apply(file)).await;
    let sent = json!(sent.expect("it is accepted"));
    events.until(|news| news.kind == kind && news.is(&sent)).await.at
}

fn carries(object: &Value, network: &str) -> bool {
    let blocks = object["spec"]["egress"].as_array().into_iter().flatten();
    let peers = blocks.flat_map(|rule| rule["to"].as_array().into_iter().flatten());
    peers.into_iter().any(|peer| peer["ipBlock"]["cidr"] == network)
}

/// The same NetworkPolicy, as a manifest, with another network in place of the one it was edited for.
fn with(carrier: &Value, network: &str) -> Value {
    let mut manifest = bare(carrier);
    manifest["apiVersion"] = json!("networking.k8s.io/v1");
    manifest["kind"] = json!("NetworkPolicy");
    let rules = manifest["spec"]["egress"].as_array_mut().into_iter().flatten();
    for peer in rules.flat_map(|rule| rule["to"].as_array_mut().into_iter().flatten()) {
        let cidr = peer["ipBlock"]["cidr"].as_str().unwrap_or_default();
        if cidr.starts_with("8.") && cidr.ends_with("/32") {
            peer["ipBlock"]["cidr"] = json!(network);
        }
    }
    manifest
}
