//! The configuration stream with three thousand servers on one replica: what it has in memory, and how long a change to
//! their project, or to a secret that they use, takes to the last of them.

use std::time::{Duration, Instant};

use catalyst_e2e::stream::{Followed, Stream};
use catalyst_e2e::{Installation, until};
use serde_json::{Value, json};

use crate::floor::Client;
use crate::table::{Table, percentile};
use crate::{CONNECTIONS, rest, say};

/// The apps of a project like others, and of one that has all the rest.
const FEW: usize = 6;
const MANY: usize = 2994;

/// Changes, for each figure.
const CHANGES: usize = 40;

const REGION: &str = "{apiVersion: cra.diagrid.io/v1beta1, kind: Region, metadata: {name: eu}, spec: {trust: {domain: eu.example.com}, dapr: {version: 1.18.3}}}";

/// The longest wait for a change to have reached everybody.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn three_thousand(table: &mut Table) {
    say("the configuration stream with 3,000 servers");
    let mut installation = Installation::for_figures();
    installation.mend();
    installation.apply(REGION);
    let (shop, crowd) = (Team { name: "shop", apps: FEW }, Team { name: "crowd", apps: MANY });
    for team in [&shop, &crowd] {
        installation.apply(&team.project().to_string());
        installation.ready("Project", None, team.name);
        for object in [team.reference(), team.secret(0), team.component(0)] {
            installation.apply(&object.to_string());
        }
    }
    let stream = Stream::start(&installation);
    // What they make of so many apps is measured elsewhere.
    installation.kill();

    let client = Client::new(installation.control_plane.kubeconfig(), CONNECTIONS[1]);
    let began = Instant::now();
    let mut servers = [&shop, &crowd].map(|team| {
        client.apply_all(&team.identities(), "git");
        stream.crowd(&team.namespace(), &team.names())
    });
    table.plain("config_stream_open_s", began.elapsed().as_secs_f64(), None, "s");
    let pid = stream.process.pid().expect("it runs");

    let figures: [(&str, usize, Change, Option<f64>); 4] = [
        ("config_push_p99_ms", 0, Team::component, Some(100.0)),
        ("secret_rotation_p99_ms", 0, Team::secret, Some(1000.0)),
        ("config_push_to_all_p99_ms", 1, Team::component, None),
        ("secret_rotation_to_all_p99_ms", 1, Team::secret, Some(1000.0)),
    ];
    for (key, whose, change, goal) in figures {
        let team = [&shop, &crowd][whose];
        let mut took = reached(&client, &mut servers[whose], |number| change(team, number));
        table.plain(key, percentile(&mut took, 99), goal, "ms");
    }
    let rss = rest::rss_kib_of(pid) / 1024.0;
    table.plain("config_stream_rss_mib", rss, Some(256.0), "MiB");
    let told = servers.iter().flatten().map(Followed::count);
    assert!(told.into_iter().all(|told| told == 2 * CHANGES), "each is told of each change once");
}

type Change = fn(&Team, usize) -> Value;

/// Milliseconds from the answer to a change until each server was told of it.
fn reached(client: &Client, servers: &mut [Followed], change: impl Fn(usize) -> Value) -> Vec<f64> {
    let before = servers[0].count();
    let mut took = Vec::new();
    for number in 1..=CHANGES {
        client.runtime.block_on(client.apply_one(&change(number)));
        let changed = Instant::now();
        let wanted = before + number;
        until(PATIENCE, "everybody is told", || {
            let behind = servers.iter().filter(|server| server.count() < wanted).count();
            if behind == 0 { Ok(()) } else { Err(format!("{behind} are not")) }
        });
        took.extend(
            servers
                .iter()
                .map(|server| server.last().saturating_duration_since(changed).as_secs_f64() * 1e3),
        );
    }
    took
}

/// A project whose apps all use one component, and it a secret of the region.
struct Team {
    name: &'static str,
    apps: usize,
}

impl Team {
    fn namespace(&self) -> String {
        format!("prj-{}", self.name)
    }

    fn names(&self) -> Vec<String> {
        (0..self.apps).map(|number| format!("app-{number}")).collect()
    }

    fn project(&self) -> Value {
        json!({"apiVersion": "cra.diagrid.io/v1beta1", "kind": "Project", "metadata": {"name": self.name}})
    }

    fn identities(&self) -> Vec<Value> {
        let identity = |name: &String| self.inside("cra.diagrid.io/v1beta1", "AppIdentity", name);
        self.names().iter().map(identity).collect()
    }

    fn reference(&self) -> Value {
        let mut reference = self.inside("cra.diagrid.io/v1beta1", "SecretRef", "db");
        reference["spec"] = json!({"remote": {"name": "database"}});
        reference
    }

    fn secret(&self, number: usize) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": format!("{}.database", self.name), "namespace": "catalyst-secrets"},
            "stringData": {"password": format!("password-{number}")}})
    }

    fn component(&self, number: usize) -> Value {
        let mut component = self.inside("dapr.io/v1alpha1", "Component", "store");
        let metadata = json!([
            {"name": "host", "value": format!("db-{number}:5432")},
            {"name": "password", "secretKeyRef": {"name": "db", "key": "password"}},
        ]);
        component["spec"] =
            json!({"type": "state.postgresql", "version": "v2", "metadata": metadata});
        component
    }

    fn inside(&self, version: &str, kind: &str, name: &str) -> Value {
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": self.namespace()}})
    }
}
