//! `make bench`: how fast the operator is, against a plain client that does the same work on the same API server.
//!
//! Names of stages as arguments run only those: `small`, `large`, `rest`, `stream`.

mod drift;
mod effect;
mod events;
mod floor;
mod load;
mod rest;
mod stream;
mod table;

use std::env;
use std::process::ExitCode;

use catalyst_e2e::Installation;
use serde_json::{Value, json};

use crate::drift::Edits;
use crate::floor::Client;
use crate::load::Load;
use crate::table::{Table, median, percentile};

/// How many projects, and how many apps over all of them.
#[derive(Clone, Copy)]
struct Size {
    projects: usize,
    apps: usize,
}

const TINY: Size = Size { projects: 10, apps: 60 };
const SMALL: Size = Size { projects: 50, apps: 300 };
const LARGE: Size = Size { projects: 500, apps: 3000 };

/// Edits of a rule, for each figure of their effect.
const EDITS: usize = 200;

/// Connections of the plain client. The first figure tries all three, and the others take the best of them.
const CONNECTIONS: [usize; 3] = [4, 8, 16];

fn main() -> ExitCode {
    let chosen: Vec<String> = env::args().skip(1).collect();
    let is_chosen = |stage: &str| chosen.is_empty() || chosen.iter().any(|one| one == stage);
    let mut table = Table::default();
    let mut best = CONNECTIONS[1];
    let mut at_fifty = None;
    if is_chosen("rest") {
        nothing_to_do(&mut table);
    }
    if is_chosen("small") {
        let (connections, effect) = small(&mut table);
        (best, at_fifty) = (connections, Some(effect));
    }
    if is_chosen("large") {
        large(&mut table, best, at_fifty);
    }
    if is_chosen("stream") {
        stream::three_thousand(&mut table);
    }
    match table.finish() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("target/bench.json can't be written: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// An operator without a load, then with ten projects.
fn nothing_to_do(table: &mut Table) {
    say("an installation without a load");
    let installation = begin();
    table.plain("rss_mib_at_0", rest::rss_kib(&installation) / 1024.0, Some(20.0), "MiB");
    let client = Client::new(installation.control_plane.kubeconfig(), CONNECTIONS[1]);
    Load::new(TINY.projects, TINY.apps).converge(&client);
    installation.calm();
    say("two minutes of rest at 10 projects");
    idle(&installation, table, TINY);
}

/// 50 projects. Returns the best number of connections, and the median of an edit's effect.
fn small(table: &mut Table) -> (usize, f64) {
    let load = Load::new(SMALL.projects, SMALL.apps);
    let (installation, client, operator) = converge(&load);

    say("edits of a rule, then the same while a tenth of the projects fails");
    let healthy = SMALL.projects / 10..SMALL.projects;
    let (mut well, _) = effect::of_edits(&client, EDITS, healthy.clone(), 1);
    fail(&installation, SMALL.projects / 10);
    let (mut beside, _) = effect::of_edits(&client, EDITS, healthy, 2);
    drop(installation);

    say("the same objects by a plain client, on a fresh cluster, with 4, 8 and 16 connections");
    let floors = CONNECTIONS
        .map(|connections| (connections, Floor::of(&load, &operator.children, connections)));
    let (connections, floor) =
        floors.into_iter().min_by(|(_, a), (_, b)| a.seconds.total_cmp(&b.seconds)).expect("three");
    operator.report(table, "converge_ratio_50_300", 1.3, &floor);
    table.plain("floor_objects_per_second", operator.objects(&load) / floor.seconds, None, "1/s");
    let p99 = percentile(&mut well, 99);
    table.ratio("blast_radius_ratio", percentile(&mut beside, 99), p99, 1.5, "ms");
    (connections, median(&mut well))
}

/// 500 projects.
fn large(table: &mut Table, connections: usize, at_fifty: Option<f64>) {
    let load = Load::new(LARGE.projects, LARGE.apps);
    let (mut installation, client, operator) = converge(&load);
    let client = Client { connections, ..client };

    say("two minutes of rest at 500 projects");
    idle(&installation, table, LARGE);
    let rss = rest::rss_kib(&installation);
    table.plain("rss_mib_at_500_3000", rss / 1024.0, Some(64.0), "MiB");

    say("killed and started again");
    let (restarted, writes) = rest::restart(&mut installation, LARGE);

    say("500 foreign edits, additions and deletions, each until it is mended");
    let edits = Edits::of(&installation);
    let mut mended = edits.mended(&client);
    say("edits of a team's rule, then of the Region's");
    let (mut effect, carriers) = effect::of_edits(&client, EDITS, 0..LARGE.projects, 1);
    let (fanned_out, all) = effect::fan_out(&client, LARGE.projects);

    say("the same by a plain client, without the operator");
    installation.kill();
    let restart = rest::restart_by_hand(&client, LARGE);
    let mut applied = edits.applied(&client);
    let mut by_hand = effect::of_edits_by_hand(&client, &carriers);
    let fanned_out_by_hand = effect::fan_out_by_hand(&client, &all);
    drop(installation);

    say("the same objects by a plain client, on a fresh cluster");
    let floor = Floor::of(&load, &operator.children, connections);
    operator.report(table, "converge_ratio_500_3000", 1.5, &floor);
    let objects = operator.objects(&load);
    table.plain("writes_per_child", operator.writes_per_child(), Some(1.05), "");
    table.plain("status_writes_per_object", operator.status_writes(&load), Some(2.0), "");
    let milli = 1e3 / objects;
    table.ratio(
        "apiserver_cpu_ratio",
        operator.cpu * milli,
        floor.cpu * milli,
        1.4,
        "ms an object",
    );
    table.plain("agent_cpu_ms_per_object", operator.own_cpu * milli, None, "ms");
    for (key, percent, goal) in [("drift_ratio_p50", 50, 2.0), ("drift_ratio_p99", 99, 4.0)] {
        let floor = percentile(&mut applied, percent);
        table.ratio(key, percentile(&mut mended, percent), floor, goal, "ms");
    }
    let p99 = percentile(&mut by_hand, 99);
    table.ratio("edit_to_effect_ratio_p99", percentile(&mut effect, 99), p99, 4.0, "ms");
    table.ratio("fan_out_ratio", fanned_out, fanned_out_by_hand, 1.3, "s");
    table.ratio("restart_ratio", restarted, restart, 2.0, "s");
    table.plain("restart_writes", writes, Some(0.0), "");
    #[allow(clippy::cast_precision_loss, reason = "500")]
    let per_project = (rss - operator.rss_before) / LARGE.projects as f64;
    table.plain("rss_kib_per_project", per_project, Some(64.0), "KiB");
    if let Some(before) = at_fifty {
        table.ratio("growth_ratio", median(&mut effect), before, 1.2, "ms");
    }
}

/// What the operator did with a load.
struct Run {
    seconds: f64,
    /// Of the API server, in seconds.
    cpu: f64,
    /// Of the agent, in seconds.
    own_cpu: f64,
    writes: rest::Writes,
    children: Vec<Value>,
    rss_before: f64,
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
impl Run {
    fn objects(&self, load: &Load) -> f64 {
        (self.children.len() + load.len()) as f64
    }

    fn writes_per_child(&self) -> f64 {
        self.writes.children as f64 / self.children.len() as f64
    }

    fn status_writes(&self, load: &Load) -> f64 {
        self.writes.status as f64 / load.len() as f64
    }

    fn report(&self, table: &mut Table, key: &str, goal: f64, floor: &Floor) {
        table.ratio(key, self.seconds, floor.seconds, goal, "s");
    }
}

/// What a plain client needs for the same.
struct Floor {
    seconds: f64,
    /// Of the API server, in seconds.
    cpu: f64,
}

impl Floor {
    fn of(load: &Load, children: &[Value], connections: usize) -> Self {
        let bare = Installation::for_figures();
        let before = cpu(&bare);
        let client = Client::new(bare.control_plane.kubeconfig(), connections);
        let seconds = client.measure(load, children);
        Self { seconds, cpu: cpu(&bare) - before }
    }
}

fn begin() -> Installation {
    let mut installation = Installation::for_figures();
    installation.mend();
    installation.apply(load::REGION);
    installation.ready("Region", None, "eu");
    installation.calm();
    installation
}

fn converge(load: &Load) -> (Installation, Client, Run) {
    say(&format!(
        "{} projects with {} files inside, first file to last Ready",
        load.projects.len(),
        load.inside.len()
    ));
    let installation = begin();
    let client = Client::new(installation.control_plane.kubeconfig(), CONNECTIONS[1]);
    let (mark, before) = (installation.mark(), cpu(&installation));
    let rss_before = rest::rss_kib(&installation);
    let seconds = load.converge(&client).as_secs_f64();
    installation.calm();
    let agent = installation.agent.pid().expect("it runs");
    let run = Run {
        seconds,
        own_cpu: rest::cpu_seconds(agent),
        cpu: cpu(&installation) - before,
        writes: rest::Writes::of(&installation.writes(mark)),
        children: Load::children(&installation),
        rss_before,
    };
    (installation, client, run)
}

fn idle(installation: &Installation, table: &mut Table, size: Size) {
    let (writes, calls) = rest::idle(installation);
    table.plain(&format!("idle_writes_120s_{}", size.projects), writes, Some(0.0), "");
    table.plain(&format!("idle_calls_per_min_{}", size.projects), calls, Some(12.0), "");
}

/// Makes some projects fail for as long as they stand: a quota of somebody else's refuses what they are to have.
fn fail(installation: &Installation, projects: usize) {
    for index in 0..projects {
        let namespace = load::namespace(index);
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": {"name": "nothing", "namespace": namespace},
            "spec": {"hard": {"count/networkpolicies.networking.k8s.io": "0", "count/serviceaccounts": "0"}}});
        installation.apply(&quota.to_string());
        for kind in ["NetworkPolicy", "ServiceAccount"] {
            for child in
                installation.list(kind, Some(&namespace), "app.kubernetes.io/managed-by=catalyst")
            {
                let name = child["metadata"]["name"].as_str().unwrap_or_default();
                installation.delete(kind, Some(&namespace), name);
            }
        }
    }
}

fn cpu(installation: &Installation) -> f64 {
    rest::cpu_seconds(installation.control_plane.api_server_pid().expect("it runs"))
}

/// What is being measured, to stderr: it takes a while.
fn say(what: &str) {
    eprintln!("measuring: {what}");
}
