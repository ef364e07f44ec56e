//! What an app reaches is what the rules say, packet by packet: pods of projects and of others, hosts outside, IPv4 and
//! IPv6, TCP and UDP, enforced by an implementation of NetworkPolicy that is not ours.

#![allow(clippy::panic, reason = "a test fails by it, helpers of one too")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use catalyst_e2e::{Installation, Stage};
use catalyst_testbed::{Dialled, Node};
use serde_json::json;

static STAGE: Stage = Stage::of(fenced);

/// Everybody answers on these, and every one of them is tried: of the web, of Dapr, of a database, of metrics.
const PORTS: [u16; 6] = [80, 443, 3500, 5432, 9090, 50001];

/// How long an answer may take; one that a policy stops never comes.
const WITHIN: Duration = Duration::from_secs(2);

/// From a change of rules to all packets following it, on a machine that is busy. The time it took is printed.
const FOLLOWED: Duration = Duration::from_secs(30);

/// Hosts outside of the cluster: one machine, with an address of each family for each of them.
const HOSTS: [(&str, [&str; 2]); 9] = [
    ("internet", ["11.0.0.7", "2600::7"]),
    ("rival", ["11.0.1.7", "2600:1::7"]),
    ("mirror", ["11.0.1.9", "2600:1::9"]),
    ("shop", ["11.0.2.7", "2600:2::7"]),
    ("example", ["198.51.100.7", "2001:db8::7"]),
    ("metadata", ["169.254.169.254", "fd00:ec2::254"]),
    ("registry", ["10.20.0.5", "fd00:20::5"]),
    ("database", ["10.30.0.5", "fd00:30::5"]),
    ("ledger", ["10.40.0.5", "fd00:40::5"]),
];

/// The pods, by the shortest name that tells them apart: namespace, name, and the app that each is.
const PODS: [(&str, &str, &str, Option<&str>); 10] = [
    ("a/one", "prj-alpha", "one", Some("one")),
    ("a/two", "prj-alpha", "two", Some("two")),
    ("a/any", "prj-alpha", "any", None),
    ("b/one", "prj-beta", "one", Some("one")),
    ("c/one", "prj-gamma", "one", Some("one")),
    ("other", "neighbour", "pod", None),
    ("monitor", "monitoring", "pod", None),
    ("release", "catalyst-system", "pod", None),
    ("dapr", "catalyst-dapr", "pod", None),
    ("stray", "monitoring-of-others", "pod", None),
];

/// What the rules below say, worked out by hand. A row dials, a column is dialled. A cell lists the ports that are open by
/// TCP; `all` is every port by both protocols, `-` none.
const EXPECTED: &str = "
    -       internet rival mirror shop example metadata registry database ledger a/one a/two b/one c/one other dapr
    a/one   all      -     all    all  -       -        443      5432     -      all   all   -     -     80    50001
    a/two   all      -     all    -    -       -        443      -        -      all   all   -     -     -     50001
    a/any   all      -     all    all  -       -        443      -        -      all   all   -     -     -     50001
    b/one   all      all   all    all  -       -        443      -        -      80    80    all   -     -     50001
    c/one   -        -     -      -    -       -        443      -        -      -     -     -     all   -     50001
    other   all      all   all    all  all     all      all      all      all    -     -     -     -     all   all
    monitor all      all   all    all  all     all      all      all      all    9090  9090  9090  9090  all   all
    release all      all   all    all  all     all      all      all      all    3500,50001 3500,50001 3500,50001 3500,50001 all all
    stray   all      all   all    all  all     all      all      all      all    -     -     -     -     all   all
";

/// One region; two projects that open a way to each other, and a third that trusts nobody and answers one who did not ask.
const RULES: &str = r#"
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {name: eu}
spec:
  trust: {domain: eu.example.com}
  network:
    egress:
      # In networks that are blocked by default: allow wins.
      allowed:
      - {name: registry, cidrs: [10.20.0.5/32, "fd00:20::5/128"], ports: [{port: 443}]}
      delegated: {cidrs: [10.30.0.0/16, "fd00:30::/32"], namespaces: [neighbour]}
---
apiVersion: cra.diagrid.io/v1beta1
kind: Project
metadata: {name: alpha}
spec:
  network:
    egress:
      blocked:
      - {name: rivals, cidrs: [11.0.1.0/24, "2600:1::/32"]}
      allowed:
      - {name: mirror, cidrs: [11.0.1.9/32, "2600:1::9/128"]}
    ingress:
      allowed:
      - {name: beta, namespaces: [prj-beta], ports: [{port: 80}]}
---
apiVersion: cra.diagrid.io/v1beta1
kind: Project
metadata: {name: beta}
spec:
  network:
    egress:
      allowed:
      - {name: alpha, namespaces: [prj-alpha], ports: [{port: 80}]}
---
apiVersion: cra.diagrid.io/v1beta1
kind: Project
metadata: {name: gamma}
spec:
  network:
    egress: {default: None}
    ingress:
      allowed:
      - {name: beta, namespaces: [prj-beta]}
"#;

/// What the teams of alpha say.
const TEAMS: &str = r#"
apiVersion: cra.diagrid.io/v1beta1
kind: AppIdentity
metadata: {name: one, namespace: prj-alpha}
---
apiVersion: cra.diagrid.io/v1beta1
kind: AppIdentity
metadata: {name: two, namespace: prj-alpha}
---
apiVersion: cra.diagrid.io/v1beta1
kind: EgressPolicy
metadata: {name: orders, namespace: prj-alpha}
spec:
  appIds: [one]
  allowed:
  - {name: database, cidrs: [10.30.0.5/32, "fd00:30::5/128"], ports: [{port: 5432}]}
  - {name: neighbour, namespaces: [neighbour], ports: [{port: 80}]}
---
apiVersion: cra.diagrid.io/v1beta1
kind: EgressPolicy
metadata: {name: careful, namespace: prj-alpha}
spec:
  appIds: [two]
  blocked:
  - {name: shop, cidrs: [11.0.2.0/24, "2600:2::/32"]}
---
# Nobody delegated it.
apiVersion: cra.diagrid.io/v1beta1
kind: EgressPolicy
metadata: {name: greedy, namespace: prj-alpha}
spec:
  appIds: [one]
  allowed:
  - {name: ledger, cidrs: [10.40.0.5/32, "fd00:40::5/128"]}
"#;

/// A cluster with these rules and pods, and what lies outside.
fn fenced() -> Installation {
    let installation = Installation::with_pods();
    let addresses: Vec<&str> = HOSTS.iter().flat_map(|(_, addresses)| *addresses).collect();
    node(&installation).outside("outside", &addresses, &PORTS).expect("a host outside");
    for namespace in ["neighbour", "monitoring", "monitoring-of-others", "catalyst-dapr"] {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        installation.apply(&namespace.to_string());
    }
    installation.apply(RULES);
    for project in ["alpha", "beta", "gamma"] {
        installation.ready("Project", None, project);
    }
    installation.apply(TEAMS);
    // By its name, from within and from a project that may not.
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "prj-alpha", "name": "shop"},
        "spec": {
            "ipFamilyPolicy": "RequireDualStack",
            "selector": {"cra.diagrid.io/app": "one"},
            "ports": [{"port": 8000, "targetPort": 80}],
        },
    });
    let applied = node(&installation).kubectl_with(&["apply", "-f", "-"], &service.to_string());
    applied.and_then(catalyst_testbed::Output::success).expect("a service");
    let pods = PODS.map(|(_, namespace, name, app)| (namespace, name, app));
    installation.run_pods(&pods, &PORTS);
    // Of the control plane a project reaches only the parts that it needs, each on its port.
    installation.kubectl("label pod pod -n catalyst-dapr app=dapr-sentry");
    installation.calm();
    installation
}

fn node(installation: &Installation) -> &Node {
    installation.control_plane.node()
}

/// The ports that are open, by TCP and by UDP, in one family.
type Open = [Vec<u16>; 2];

/// A source, a destination, and a family.
type Place = (String, String, u8);

/// Who reaches whom, and where.
type Verdicts = BTreeMap<Place, Open>;

/// The table, read. Both families are the same.
fn expected() -> Verdicts {
    let mut rows = EXPECTED.trim().lines().map(str::split_whitespace);
    let columns: Vec<&str> = rows.next().into_iter().flatten().skip(1).collect();
    let mut verdicts = Verdicts::new();
    for mut row in rows {
        let from = row.next().expect("a source");
        for (to, cell) in columns.iter().zip(row) {
            let tcp: Vec<u16> = match cell {
                "all" => PORTS.to_vec(),
                "-" => vec![],
                ports => ports.split(',').map(|port| port.parse().expect("a port")).collect(),
            };
            let udp = if cell == "all" { PORTS.to_vec() } else { vec![] };
            for family in [4, 6] {
                let place = (from.to_owned(), (*to).to_owned(), family);
                verdicts.insert(place, [tcp.clone(), udp.clone()]);
            }
        }
    }
    verdicts
}

/// The same, with no fence at all.
fn unfenced() -> Verdicts {
    expected().into_keys().map(|place| (place, [PORTS.to_vec(), PORTS.to_vec()])).collect()
}

fn address_of(installation: &Installation, name: &str, family: u8) -> String {
    let at = usize::from(family == 6);
    if let Some((_, addresses)) = HOSTS.iter().find(|(host, _)| *host == name) {
        return addresses[at].to_owned();
    }
    let (namespace, pod) = place_of(name);
    let pod = installation.the("Pod", Some(namespace), pod);
    pod["status"]["podIPs"][at]["ip"].as_str().expect("an address").to_owned()
}

fn place_of(name: &str) -> (&'static str, &'static str) {
    let found = PODS.iter().find(|(short, ..)| *short == name).expect("a pod of that name");
    (found.1, found.2)
}

fn target(kind: &str, family: u8, address: &str, port: u16) -> String {
    match family {
        4 => format!("{kind}4://{address}:{port}"),
        _ => format!("{kind}6://[{address}]:{port}"),
    }
}

fn dial(installation: &Installation, from: &str, to: &[String], within: Duration) -> Vec<Dialled> {
    let dialled = node(installation).dial(place_of(from), to, within);
    dialled.unwrap_or_else(|error| panic!("{error}"))
}

/// How many pods dial at once: each dials hundreds of targets, and the machine has to answer as well.
const AT_ONCE: usize = 3;

/// Every pair of the table, every port, both protocols and families: packets sent, and what came back.
///
/// What is not as expected is dialled once more, on its own: on a busy machine an answer may come too late.
fn probed(installation: &Installation, expected: &Verdicts) -> Verdicts {
    let mut seen = dialled(installation, expected.keys().collect());
    let differing = expected.iter().filter(|(place, open)| seen.get(place) != Some(open));
    let again = dialled(installation, differing.map(|(place, _)| place).collect());
    seen.extend(again);
    seen
}

fn dialled(installation: &Installation, places: Vec<&Place>) -> Verdicts {
    let mut sources: BTreeMap<&str, Vec<&Place>> = BTreeMap::new();
    for place in places {
        sources.entry(&place.0).or_default().push(place);
    }
    let sources: Vec<_> = sources.into_iter().collect();
    let mut verdicts = Verdicts::new();
    for some in sources.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let row = |(from, places): &'_ (&str, Vec<&Place>)| row(installation, from, places);
            let rows: Vec<_> = some.iter().map(|source| scope.spawn(move || row(source))).collect();
            verdicts.extend(rows.into_iter().flat_map(|row| row.join().expect("a row")));
        });
    }
    verdicts
}

fn row(installation: &Installation, from: &str, places: &[&Place]) -> Verdicts {
    let mut targets = Vec::new();
    for (_, to, family) in places {
        let address = address_of(installation, to, *family);
        for kind in ["tcp", "udp"] {
            targets.extend(PORTS.map(|port| target(kind, *family, &address, port)));
        }
    }
    let dialled = dial(installation, from, &targets, WITHIN);
    assert_eq!(dialled.len(), targets.len());
    let open = |dialled: &[Dialled]| {
        let answered = PORTS.iter().zip(dialled).filter(|(_, dial)| dial.answered.is_some());
        answered.map(|(port, _)| *port).collect()
    };
    let pairs = places.iter().zip(dialled.chunks(2 * PORTS.len()));
    pairs
        .map(|(place, dialled)| {
            let (tcp, udp) = dialled.split_at(PORTS.len());
            ((*place).clone(), [open(tcp), open(udp)])
        })
        .collect()
}

/// Where two differ, a line each.
fn differences(seen: &Verdicts, expected: &Verdicts) -> Vec<String> {
    let differing = expected.iter().filter(|(place, open)| seen.get(place) != Some(open));
    differing
        .map(|((from, to, family), open)| {
            let seen = seen.get(&(from.clone(), to.clone(), *family));
            let [tcp, udp] = open;
            format!("{from} to {to} by IPv{family}: {seen:?}, expected tcp {tcp:?}, udp {udp:?}")
        })
        .collect()
}

/// Probes until all is as expected.
fn follows(installation: &Installation, what: &str, expected: &Verdicts) {
    let since = Instant::now();
    let mut rounds = 0;
    installation.until(FOLLOWED, what, || {
        rounds += 1;
        let differences = differences(&probed(installation, expected), expected);
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    });
    let (probes, seconds) = (expected.len() * PORTS.len() * 2, since.elapsed().as_secs_f32());
    eprintln!("{what}: {probes} probes, in round {rounds} all as expected ({seconds:.1} s)");
}

/// Dials one target again and again until it is answered, or is not. Returns how long that took.
fn turns(installation: &Installation, from: &str, to: &str, open: bool) -> Duration {
    let since = Instant::now();
    let to = [to.to_owned()];
    installation.until(FOLLOWED, if open { "it opens" } else { "it closes" }, || {
        let dialled = dial(installation, from, &to, Duration::from_millis(300)).remove(0);
        if dialled.answered.is_some() == open { Ok(()) } else { Err(format!("{dialled:?}")) }
    });
    since.elapsed()
}

#[test]
fn every_packet_follows_the_rules() {
    let stage = STAGE.alone();
    let expected = expected();
    assert!(expected.len() * PORTS.len() * 2 >= 200);
    follows(&stage, "the rules of region, projects and teams", &expected);
}

#[test]
fn the_api_server_is_out_of_reach_of_every_project() {
    let stage = STAGE.alone();
    // By the node's address and by its service. It answers in TLS, and anybody with words.
    let targets = ["192.168.77.10:6443", "10.96.0.1:443"].map(|at| format!("tcp4://{at}"));
    for (from, reached) in [("other", true), ("a/one", false), ("b/one", false), ("c/one", false)] {
        let dialled = dial(&stage, from, &targets, WITHIN);
        assert!(dialled.iter().all(|dial| dial.silent != reached), "{from}: {dialled:#?}");
    }
}

#[test]
fn names_are_found_even_where_nothing_else_is_open() {
    let stage = STAGE.alone();
    let shop = [4, 6].map(|family| format!("tcp{family}://shop.prj-alpha.svc.cluster.local:8000"));
    for from in ["a/any", "b/one"] {
        let dialled = dial(&stage, from, &shop, WITHIN);
        let answered = |dial: &Dialled| dial.answered.as_deref() == Some("prj-alpha/one");
        assert!(dialled.iter().all(answered), "{from}: {dialled:#?}");
    }
    // The name was found: what is silent is the address.
    let dialled = dial(&stage, "c/one", &shop, WITHIN);
    let found = |dial: &Dialled| dial.silent && !dial.failed.contains("lookup");
    assert!(dialled.iter().all(found), "{dialled:#?}");
    // The resolver answers on its port only.
    let resolver = stage.list("Pod", Some("kube-system"), "k8s-app=kube-dns").remove(0);
    let address = resolver["status"]["podIP"].as_str().expect("an address");
    let others = [8080, 8181].map(|port| target("tcp", 4, address, port));
    assert!(dial(&stage, "other", &others, WITHIN).iter().all(|dial| !dial.silent));
    assert!(dial(&stage, "a/any", &others, WITHIN).iter().all(|dial| dial.silent));
}

#[test]
fn a_rule_takes_effect_in_seconds_and_ends_as_fast() {
    let stage = STAGE.alone();
    let late = target("tcp", 4, "10.30.0.5", 9090);
    turns(&stage, "a/one", &late, false);
    stage.apply(
        r"
apiVersion: cra.diagrid.io/v1beta1
kind: EgressPolicy
metadata: {name: late, namespace: prj-alpha}
spec: {allowed: [{name: metrics, cidrs: [10.30.0.5/32], ports: [{port: 9090}]}]}",
    );
    let opened = turns(&stage, "a/one", &late, true);
    stage.delete("EgressPolicy", Some("prj-alpha"), "late");
    let closed = turns(&stage, "a/one", &late, false);
    let told = format!("opened {:.1} s after it was applied", opened.as_secs_f32());
    eprintln!("a rule {told}, closed {:.1} s after it was deleted", closed.as_secs_f32());
    assert!(opened < Duration::from_secs(5) && closed < Duration::from_secs(5), "{told}");
}

#[test]
fn a_region_that_is_off_fences_nobody_until_it_is_on_again() {
    let stage = STAGE.alone();
    let mode = |mode: &str| json!({"spec": {"network": {"mode": mode}}});
    stage.edit("Region", None, "eu", &mode("Off"));
    follows(&stage, "mode Off", &unfenced());
    stage.edit("Region", None, "eu", &mode("Enforce"));
    follows(&stage, "mode Enforce again", &expected());
}

/// A renderer that forgets a rule, or a part of one, is what these probes are for.
#[test]
fn a_rule_that_is_missing_and_a_block_that_is_ignored_are_seen_on_the_wire() {
    let mut stage = STAGE.alone();
    follows(&stage, "before", &expected());
    stage.agent.kill();

    stage.delete("NetworkPolicy", Some("prj-alpha"), "egress-orders");
    let mut base = stage.the("NetworkPolicy", Some("prj-alpha"), "base-egress");
    let peers = base["spec"]["egress"][0]["to"].as_array_mut().expect("peers");
    for peer in peers {
        let except = peer["ipBlock"]["except"].as_array_mut().expect("excepted networks");
        except.retain(|net| !["11.0.1.0/24", "2600:1::/32"].contains(&net.as_str().unwrap_or("")));
    }
    let spec = json!({"spec": {"egress": base["spec"]["egress"]}});
    stage.edit("NetworkPolicy", Some("prj-alpha"), "base-egress", &spec);

    let mut broken = expected();
    let all: Open = [PORTS.to_vec(), PORTS.to_vec()];
    let none = Open::default();
    for (from, to, open) in [
        ("a/one", "database", &none),
        ("a/one", "other", &none),
        ("a/one", "rival", &all),
        ("a/any", "rival", &all),
    ] {
        for family in [4, 6] {
            broken.insert((from.to_owned(), to.to_owned(), family), open.clone());
        }
    }
    follows(&stage, "a rule and a block less", &broken);

    stage.mend();
    follows(&stage, "with the operator again", &expected());
}

/// Nothing of the table is left out by mistake: each row has all columns, and each name is known.
#[test]
fn the_table_is_whole() {
    let mut told = String::new();
    let mut rows = EXPECTED.trim().lines();
    let columns = rows.next().expect("columns").split_whitespace().count();
    for row in rows {
        let cells = row.split_whitespace().count();
        if cells != columns {
            let _ = writeln!(told, "{cells} cells, not {columns}: {row}");
        }
    }
    assert!(told.is_empty(), "{told}");
    let known = |name: &String| {
        HOSTS.iter().any(|(host, _)| host == name) || PODS.iter().any(|(pod, ..)| pod == name)
    };
    assert!(expected().keys().all(|(from, to, _)| known(from) && known(to)));
}
