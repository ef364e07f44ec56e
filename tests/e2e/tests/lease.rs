//! Of several replicas one writes. It hands over at once when it is told to end, and one that was stopped for too long
//! writes nothing more.
//!
//! Each replica proves itself with a certificate of its own and then acts as the operator's account, so that the audit
//! log tells them apart.

use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use catalyst_e2e::{AGENT, Installation, Mark, Operator, Request};
use serde_json::{Value, json};

/// A machine may be busy.
const SOON: Duration = Duration::from_secs(10);

/// The promise.
const HANDOVER: Duration = Duration::from_secs(2);

/// A lease runs for 15 s.
const EXPIRED: Duration = Duration::from_secs(20);

struct Replicas {
    installation: Installation,
    operators: [Operator; 2],
    /// How many projects were made.
    count: u32,
}

/// The tests of this file, in turn, each with both replicas running.
fn stage() -> MutexGuard<'static, Replicas> {
    static STAGE: OnceLock<Mutex<Replicas>> = OnceLock::new();
    let stage = STAGE.get_or_init(|| Mutex::new(Replicas::prepare()));
    let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
    stage.mend();
    stage
}

impl Replicas {
    fn prepare() -> Self {
        let installation = Installation::prepare();
        let operators = ["replica-0", "replica-1"].map(|name| {
            let kubeconfig = acting_as_agent(&installation, name);
            Operator::new(name, &["--identity", name], &kubeconfig)
        });
        installation.apply(
            "
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {name: eu}
spec: {trust: {domain: eu.example.com}}
",
        );
        Self { installation, operators, count: 0 }
    }

    fn mend(&mut self) {
        for replica in &mut self.operators {
            if !replica.runs() {
                replica.start(&self.installation.control_plane);
            }
        }
    }

    /// Which replica holds the lease.
    fn holder(&self) -> usize {
        self.installation.until(EXPIRED, "a replica holds the lease", || {
            let holder = self.holds();
            let replica = (0..2).find(|replica| holder == format!("replica-{replica}"));
            replica.ok_or(holder)
        })
    }

    fn holds(&self) -> String {
        let lease = self.installation.get("Lease", Some("catalyst-system"), "catalyst-agent");
        let holder = lease.map(|lease| lease["spec"]["holderIdentity"].clone());
        holder.as_ref().and_then(Value::as_str).unwrap_or_default().into()
    }

    /// Makes a project, and waits until it is Ready.
    fn project(&mut self) -> String {
        self.count += 1;
        let name = format!("project-{}", self.count);
        let project = json!({
            "apiVersion": "cra.diagrid.io/v1beta1",
            "kind": "Project",
            "metadata": {"name": name},
        });
        self.installation.apply(&project.to_string());
        self.installation.ready("Project", None, &name);
        name
    }

    /// What a replica tried to write since a moment, but for the lease.
    fn writes(&self, replica: usize, since: Mark) -> Vec<Request> {
        let user = format!("replica-{replica}");
        let mut requests = self.installation.requests(since);
        requests.retain(|one| one.user() == user && one.is_write() && !one.is_lease());
        requests
    }
}

/// A kubeconfig for a user who acts as the agent's account.
fn acting_as_agent(installation: &Installation, name: &str) -> PathBuf {
    let file = installation.control_plane.kubeconfig_for(name, name, &["system:masters"]);
    let file = file.expect("a kubeconfig");
    let text = fs::read_to_string(&file).expect("a kubeconfig");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    let user = &mut config["users"][0]["user"];
    user["as"] = json!(AGENT);
    user["as-groups"] = json!([
        "system:serviceaccounts",
        "system:serviceaccounts:catalyst-system",
        "system:authenticated",
    ]);
    fs::write(&file, config.to_string()).expect("a kubeconfig");
    file
}

#[test]
fn one_of_two_replicas_writes_and_both_are_ready() {
    let mut stage = stage();
    let holder = stage.holder();
    let mark = stage.installation.mark();
    stage.project();
    let writes = stage.writes(holder, mark);
    assert!(writes.iter().any(|write| write.resource() == "networkpolicies"), "{writes:#?}");
    assert!(writes.iter().all(|write| write.acts_as() == AGENT), "{writes:#?}");
    let others = stage.writes(1 - holder, mark);
    assert!(others.is_empty(), "{others:#?}");
    assert!(stage.operators[holder].metrics().contains("catalyst_lease_held 1"));
    assert!(stage.operators[1 - holder].metrics().contains("catalyst_lease_held 0"));
}

#[test]
fn sigterm_hands_over_in_less_than_two_seconds() {
    let mut stage = stage();
    let holder = stage.holder();
    let other = format!("replica-{}", 1 - holder);
    let since = std::time::Instant::now();
    let ended = stage.operators[holder].term(SOON);
    let left = HANDOVER.saturating_sub(since.elapsed());
    stage.installation.until(left, "the other replica holds the lease", || {
        let holds = stage.holds();
        if holds == other { Ok(()) } else { Err(holds) }
    });
    assert_eq!(ended.code(), Some(0), "{ended}");
    let mark = stage.installation.mark();
    stage.project();
    assert!(!stage.writes(1 - holder, mark).is_empty());
}

#[test]
fn a_replica_that_is_killed_and_started_again_has_its_lease_back_at_once() {
    let mut stage = stage();
    let holder = stage.holder();
    let (installation, operators) = {
        let Replicas { installation, operators, .. } = &mut *stage;
        (installation, operators)
    };
    operators[holder].kill();
    operators[holder].start(&installation.control_plane);
    installation.until(HANDOVER, "it writes again", || {
        let metrics = operators[holder].metrics();
        let holds = metrics.contains("catalyst_lease_held 1");
        if holds { Ok(()) } else { Err("it does not hold the lease".into()) }
    });
}

#[test]
fn a_holder_that_was_stopped_for_longer_than_its_lease_writes_nothing_after_it_wakes() {
    let mut stage = stage();
    let stopped = stage.holder();
    let name = stage.project();
    let namespace = format!("prj-{name}");
    stage.operators[stopped].signal("STOP");
    // Something to do for whoever holds the lease, which the stopped one will see first when it wakes.
    stage.installation.delete("NetworkPolicy", Some(&namespace), "default-deny");
    let other = format!("replica-{}", 1 - stopped);
    stage.installation.until(EXPIRED, "the other replica holds the lease", || {
        let holds = stage.holds();
        if holds == other { Ok(()) } else { Err(holds) }
    });
    let place = ("NetworkPolicy", Some(namespace.as_str()), "default-deny");
    stage.installation.wait_for(SOON, place, "is back", |now| {
        if now.is_null() { Err("not yet".into()) } else { Ok(()) }
    });

    let mark = stage.installation.mark();
    // And something that it would see only now.
    stage.installation.delete("NetworkPolicy", Some(&namespace), "default-deny");
    stage.operators[stopped].signal("CONT");
    let ended: ExitStatus = {
        let Replicas { installation, operators, .. } = &mut *stage;
        installation.until(SOON, "it ends, as another one writes", || {
            operators[stopped].ended().ok_or_else(|| "it runs on".to_owned())
        })
    };
    assert!(!ended.success(), "Kubernetes must start it again: {ended}");
    let writes = stage.writes(stopped, mark);
    assert!(writes.is_empty(), "{writes:#?}");
    stage.installation.wait_for(SOON, place, "is back once more", |now| {
        if now.is_null() { Err("not yet".into()) } else { Ok(()) }
    });
}
