//! What the operator costs when there is nothing to do, and when it starts again.

use std::time::{Duration, Instant};

use catalyst_e2e::{AGENT, Installation, Request, SECRETS, until};

use crate::floor::Client;
use crate::load::Load;
use crate::table::Table;

/// How long nothing happens.
const REST: Duration = Duration::from_mins(1);

/// Writes, by what they were for.
pub(crate) struct Writes {
    pub(crate) children: usize,
    pub(crate) status: usize,
}

impl Writes {
    pub(crate) fn of(requests: &[Request]) -> Self {
        let count = |is: &dyn Fn(&str) -> bool| {
            requests.iter().filter(|request| is(&request.resource())).count()
        };
        let status = count(&|resource| resource.ends_with("/status"));
        let events = count(&|resource| resource == "events");
        Self { children: requests.len() - status - events, status }
    }
}

/// MiB that the agent has in memory.
pub(crate) fn rss_mib(installation: &Installation) -> f64 {
    let pid = installation.agent.pid().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has a size");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024.0
}

/// Writes and calls in a minute of rest, leases apart.
#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn idle(installation: &Installation, table: &mut Table) {
    let mark = installation.mark();
    std::thread::sleep(REST);
    let calls = installation.requests(mark);
    let ours =
        calls.iter().filter(|call| [AGENT, SECRETS].contains(&call.user()) && !call.is_lease());
    table.plain("idle_writes_60s", installation.writes(mark).len() as f64, Some(0.0), "");
    table.plain("idle_calls_per_min", ours.count() as f64, Some(12.0), "");
}

/// SIGKILL, start, and every primary planned once: over a plain client that lists the same.
#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn restart(
    installation: &mut Installation,
    load: &Load,
    client: &Client,
    table: &mut Table,
) {
    installation.agent.kill();
    let began = Instant::now();
    for kind in ["Region", "Project", "AppIdentity", "EgressPolicy", "SecretRef"] {
        client.list(kind);
    }
    let floor = began.elapsed().as_secs_f64();
    let mark = installation.mark();
    let began = Instant::now();
    installation.mend();
    until(Duration::from_mins(1), "every app is planned once", || {
        let planned = turns(&installation.agent.metrics(), "identity");
        if planned >= crate::APPS { Ok(()) } else { Err(format!("{planned} of {}", load.len())) }
    });
    table.ratio("restart_ratio", began.elapsed().as_secs_f64(), floor, 2.0, "s");
    table.plain("restart_writes", installation.writes(mark).len() as f64, Some(0.0), "");
}

fn turns(metrics: &str, controller: &str) -> usize {
    let lines = metrics.lines().filter(|line| line.starts_with("catalyst_reconciles_total"));
    let of = lines.filter(|line| line.contains(&format!("controller=\"{controller}\"")));
    of.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}
