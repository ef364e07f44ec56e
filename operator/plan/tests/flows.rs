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
    let ports = rule["ports"].as_array().into_iter().flatten();
    ports.into_iter().any(|open| *open == json!({"port": port, "protocol": "TCP"}))
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
            let rules = project.iter().filter_map(|policy| policy["spec"]["egress"].as_array());
            let rules: Vec<&Value> = rules.flatten().collect();
            assert!(has(&rules, "to", to, port), "a project can't get out for {carries}");
        }
    }
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

#[test]
fn the_docs_have_every_flow() {
    let docs = include_str!("../../../docs/dapr.md");
    let name = |party| match party {
        Party::Server => "servers",
        Party::Sentry => "Sentry",
        Party::Stream => "configuration stream",
        Party::Placement => "placement",
        Party::Scheduler => "scheduler",
        Party::ApiServer => "API server",
    };
    for Flow { from, to, port, .. } in FLOWS {
        let port = if to == Party::ApiServer { "its own".into() } else { port.to_string() };
        let shown = docs.lines().any(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            cells.len() == 6
                && cells[1].contains(name(from))
                && cells[2].contains(name(to))
                && cells[3] == port
        });
        assert!(shown, "docs/dapr.md lacks {from:?} to {to:?} on {port}");
    }
}
