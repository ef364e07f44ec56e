//! What the operator costs when there is nothing to do, and when it starts again.

use std::fs;
use std::time::{Duration, Instant};

use catalyst_e2e::{AGENT, Installation, Request, SECRETS, until};

use crate::Size;
use crate::floor::Client;
use crate::load::namespace;

/// How long nothing happens.
const REST: Duration = Duration::from_mins(2);

/// What the operator reads when it starts, but for Secrets, which it lists in each namespace.
const READ: [(&str, &str); 10] = [
    ("cra.diagrid.io/v1beta1", "Region"),
    ("cra.diagrid.io/v1beta1", "Project"),
    ("cra.diagrid.io/v1beta1", "AppIdentity"),
    ("cra.diagrid.io/v1beta1", "EgressPolicy"),
    ("v1", "Namespace"),
    ("v1", "ServiceAccount"),
    ("v1", "ResourceQuota"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("dapr.io/v1alpha1", "Configuration"),
];

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

/// KiB that the agent has in memory.
pub(crate) fn rss_kib(installation: &Installation) -> f64 {
    rss_kib_of(installation.agent.pid().expect("it runs"))
}

/// KiB that a process has in memory.
pub(crate) fn rss_kib_of(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Seconds of processor time that a process has used; `proc_pid_stat(5)`, in ticks of which Linux counts 100 a second.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("Linux tells");
    let (_, after_name) = stat.rsplit_once(") ").expect("a name");
    let ticks = |field: &str| field.parse::<f64>().expect("a number");
    after_name.split(' ').skip(11).take(2).map(ticks).sum::<f64>() / 100.0
}

/// Writes, and calls a minute, in two minutes of rest; leases and the Secret sweep apart.
#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn idle(installation: &Installation) -> (f64, f64) {
    let mark = installation.mark();
    std::thread::sleep(REST);
    let calls = installation.requests(mark);
    let is_sweep = |call: &&Request| call.verb() == "list" && call.resource() == "secrets";
    let ours = calls
        .iter()
        .filter(|call| [AGENT, SECRETS].contains(&call.user()) && !call.is_lease())
        .filter(|call| !is_sweep(call));
    let writes = installation.writes(mark).len();
    (writes as f64, ours.count() as f64 / REST.as_secs_f64() * 60.0)
}

/// SIGKILL, start, and every primary planned once: seconds, and writes.
#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn restart(installation: &mut Installation, size: Size) -> (f64, f64) {
    installation.agent.kill();
    let mark = installation.mark();
    let began = Instant::now();
    installation.agent.spawn(&installation.control_plane);
    let controllers = [
        ("project", size.projects),
        ("namespace", size.projects),
        ("network", size.projects),
        ("egress", size.projects),
        ("identity", size.apps),
    ];
    until(Duration::from_mins(2), "every primary is planned once", || {
        let metrics = installation.agent.metrics_now().ok_or("it does not answer yet")?;
        let missing = controllers.iter().find(|(name, wanted)| turns(&metrics, name) < *wanted);
        missing.map_or(Ok(()), |(name, wanted)| Err(format!("{name}: not yet {wanted}")))
    });
    let took = began.elapsed().as_secs_f64();
    installation.calm();
    (took, installation.writes(mark).len() as f64)
}

/// Seconds of a plain client that lists what the operator lists when it starts.
pub(crate) fn restart_by_hand(client: &Client, size: Size) -> f64 {
    let namespaces: Vec<String> = (0..size.projects).map(namespace).collect();
    let began = Instant::now();
    client.list_all(&READ, &namespaces);
    began.elapsed().as_secs_f64()
}

fn turns(metrics: &str, controller: &str) -> usize {
    let lines = metrics.lines().filter(|line| line.starts_with("catalyst_reconciles_total"));
    let of = lines.filter(|line| line.contains(&format!("controller=\"{controller}\"")));
    of.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}
