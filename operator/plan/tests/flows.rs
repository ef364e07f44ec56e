//! Both halves of every flow that Dapr needs stand, and nothing else lets anybody at its control plane.

use std::sync::Arc;

use catalyst_crds::region::{Dapr, Trust};
use catalyst_crds::{Project, ProjectSpec, Region, RegionSpec};
use catalyst_plan::flows::{FLOWS, Flow, Party};
use catalyst_plan::{Live, Object, dapr, names, network};
use serde_json::{Value, json};

fn region() -> Arc<Region> {
    let mut region = Region::new(
        "eu",
        RegionSpec {
            trust: Trust { domain: "eu.example.com".into(), ..Trust::default() },
            dapr: Some(Dapr { version: "1.18.3".into(), ..Dapr::default() }),
            ..RegionSpec::default()
        },
    );
    region.metadata.uid = Some("1".into());
    Arc::new(region)
}

/// The NetworkPolicies of the control plane, and those of a project.
fn policies() -> (Vec<Value>, Vec<Value>) {
    let region = region();
    let world = dapr::World {
        regions: vec![Arc::clone(&region)],
        dapr: true,
        trusted: true,
        api: network::ApiServer {
            addresses: vec!["10.0.0.1".parse().expect("an address")],
            ports: vec![6443],
        },
        ..dapr::World::default()
    };
    let control_plane = dapr::plan(&region, &world).expect("a plan").objects;
    let labels = [(names::PROJECT.to_string(), "shop".to_string())];
    let world = network::World {
        region: Some(region),
        namespace: Some(Live { labels: Arc::new(labels.into()), ..Live::default() }),
        bound: true,
        ..network::World::default()
    };
    let project =
        network::plan(&Project::new("shop", ProjectSpec::default()), &world).expect("a plan");
    (rules(control_plane), rules(project.objects))
}

fn rules(objects: Vec<Object>) -> Vec<Value> {
    let policies = objects.into_iter().filter(|object| object.key.resource.kind == "NetworkPolicy");
    policies.map(|object| object.manifest).collect()
}

/// The rules of a direction in the policies that select a part of the control plane.
fn of<'a>(policies: &'a [Value], party: Party, direction: &str) -> Vec<&'a Value> {
    let selects = |policy: &&Value| {
        policy["spec"]["podSelector"]["matchLabels"]["app"].as_str() == party.app()
    };
    let rules =
        policies.iter().filter(selects).filter_map(|policy| policy["spec"][direction].as_array());
    rules.flatten().collect()
}

fn opens(rule: &Value, port: i32) -> bool {
    rule["ports"].as_array().expect("ports").contains(&json!({"port": port, "protocol": "TCP"}))
}

/// Whether a peer of a rule is this party, as seen from the control plane.
fn names_party(peer: &Value, party: Party) -> bool {
    match party {
        Party::Server => peer["namespaceSelector"]["matchExpressions"][0]["key"] == names::PROJECT,
        Party::ApiServer => peer["ipBlock"]["cidr"] == "10.0.0.1/32",
        part => peer["podSelector"]["matchLabels"]["app"].as_str() == part.app(),
    }
}

fn has(rules: &[&Value], side: &str, party: Party, port: i32) -> bool {
    rules.iter().any(|rule| opens(rule, port) && names_party(&rule[side][0], party))
}

#[test]
fn both_halves_of_every_flow_stand() {
    let (control_plane, project) = policies();
    for Flow { from, to, port, carries } in FLOWS {
        let port = if to == Party::ApiServer { 6443 } else { port };
        if to.app().is_some() {
            let incoming = of(&control_plane, to, "ingress");
            assert!(has(&incoming, "from", from, port), "{to:?} lets in nobody for {carries}");
        }
        if from.app().is_some() {
            let outgoing = of(&control_plane, from, "egress");
            assert!(has(&outgoing, "to", to, port), "{from:?} can't get out for {carries}");
        }
        if from == Party::Server && to.app().is_some() {
            let mut rules = project.iter().filter_map(|policy| policy["spec"]["egress"].as_array());
            let mut reached = rules.any(|rules| {
                rules.iter().any(|rule| opens_for(rule, port) && names_party(&rule["to"][0], to))
            });
            reached &= !project.is_empty();
            assert!(reached, "a project can't get out for {carries}");
        }
    }
}

fn opens_for(rule: &Value, port: i32) -> bool {
    rule["ports"].is_array() && opens(rule, port)
}

#[test]
fn nobody_but_projects_and_parts_gets_in_but_for_metrics() {
    let (control_plane, _) = policies();
    for policy in &control_plane {
        for rule in policy["spec"]["ingress"].as_array().into_iter().flatten() {
            let metrics = opens(rule, 9090);
            let known = FLOWS
                .iter()
                .any(|flow| opens(rule, flow.port) && names_party(&rule["from"][0], flow.from));
            assert!(metrics || known, "{policy:#}");
        }
    }
}
