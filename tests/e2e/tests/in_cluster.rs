//! The product as a user runs it: the image on a node, the chart installed by the commands of docs/install.md, its two
//! processes as pods with the chart's rights and no others. An edit takes effect whatever happens to these pods, once.

#![allow(clippy::panic, reason = "a test fails by it, helpers of one too")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use catalyst_e2e::{AGENT, Helm, Installation, Mark, Request, SECRETS, condition, image, until};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};

/// How long an outage lasts.
const OUTAGE: Duration = Duration::from_mins(1);

/// The promise: from one pod that writes to the next.
const HANDOVER: Duration = Duration::from_secs(2);

/// From an edit to what comes of it, whichever pod writes, on a machine that is busy. Who had to wait for a lease to
/// expire would need longer.
const FOLLOWED: Duration = Duration::from_secs(10);

/// The same when all connections were cut.
const RECOVERED: Duration = Duration::from_secs(15);

/// How long the Lease of a process counts that ended without a word.
const LEASE: Duration = Duration::from_secs(15);

/// The same when a pod has to start first, and has to wait for such a Lease.
const REPLACED: Duration = LEASE.saturating_add(FOLLOWED);

/// The longest wait for anything of Kubernetes itself.
const PATIENCE: Duration = Duration::from_mins(1);

/// The cluster of all tests, in turn. Never dropped: the testbed ends it with the process.
fn cluster() -> MutexGuard<'static, Installation> {
    static CLUSTER: OnceLock<Mutex<Installation>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| Mutex::new(installed()));
    let cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
    steady(&cluster);
    cluster
}

/// By the commands of the docs, which everything starts with.
fn installed() -> Installation {
    // Without one nothing need begin.
    image();
    let cluster = Installation::empty_with_pods();
    let since = Instant::now();
    cluster.documented("ctr");
    cluster.documented("helm install");
    cluster.documented("kubectl rollout status");
    cluster.documented("kubectl label namespace");
    eprintln!("image loaded, chart installed, both ready: {:.1} s", since.elapsed().as_secs_f32());
    cluster.a_team_is_ready();
    rights_were_enough(&cluster, Mark::BEGINNING);
    cluster
}

/// The pods of both processes, by name.
fn pods(cluster: &Installation) -> BTreeMap<String, Value> {
    let labels = "app.kubernetes.io/name=catalyst,app.kubernetes.io/component in (agent,secrets)";
    let pods = cluster.list("Pod", Some("catalyst-system"), labels).into_iter();
    let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    pods.map(|pod| (name(&pod), pod)).collect()
}

/// Waits until one pod of each process is ready and there is no other, and returns their names.
fn steady(cluster: &Installation) -> BTreeSet<String> {
    until(PATIENCE, "one pod of each process, ready", || {
        let pods = pods(cluster);
        let ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        if pods.len() == 2 && pods.values().all(ready) {
            return Ok(pods.into_keys().collect());
        }
        Err(shown(cluster))
    })
}

/// No container of the chart was started a second time: without that, nothing can be in `CrashLoopBackOff`.
fn never_restarted(cluster: &Installation) {
    for pod in cluster.list("Pod", Some("catalyst-system"), "") {
        let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
        assert_eq!(*restarts, 0, "{}\n{}", pod["metadata"]["name"], shown(cluster));
    }
}

/// The pods and what they logged, as a person would look.
fn shown(cluster: &Installation) -> String {
    let mut told = cluster.kubectl("get pods -n catalyst-system -o wide");
    for name in pods(cluster).keys() {
        let words = ["logs", "-n", "catalyst-system", "--tail=15", name];
        let logs = cluster.control_plane.kubectl(&words).expect("kubectl");
        told += &["\n", name, ":\n", &logs.stdout, &logs.stderr].concat();
    }
    told
}

/// One edit for each process: of a team's rule, and of a secret of the region. Returns how long it took until both had
/// taken effect.
fn edit(cluster: &Installation, within: Duration) -> Duration {
    static COUNT: AtomicU16 = AtomicU16::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let since = Instant::now();
    let [high, low] = count.to_be_bytes();
    let (address, password) = (format!("10.20.{high}.{low}/32"), format!("edit-{count}"));
    let rule = json!({"spec": {"allowed": [{"name": "app", "cidrs": [address]}]}});
    cluster.edit("EgressPolicy", Some("prj-shop"), "orders", &rule);
    let value = json!({"stringData": {"password": password}});
    cluster.edit("Secret", Some("catalyst-secrets"), "shop.database", &value);

    let wanted = cluster.the("Secret", Some("catalyst-secrets"), "shop.database")["data"].clone();
    let left = || within.saturating_sub(since.elapsed());
    until(left(), "the rule follows", || {
        let policy = cluster.the("NetworkPolicy", Some("prj-shop"), "egress-orders").to_string();
        if policy.contains(&address) { Ok(()) } else { Err(policy + &shown(cluster)) }
    });
    until(left(), "the secret follows", || {
        let data = &cluster.the("Secret", Some("prj-shop"), "database")["data"];
        if *data == wanted { Ok(()) } else { Err(shown(cluster)) }
    });
    since.elapsed()
}

/// Edits again and again, and returns how many edits there were and how long the slowest took.
fn edits(cluster: &Installation, mut more: impl FnMut() -> bool) -> (usize, Duration) {
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while more() {
        slowest = slowest.max(edit(cluster, FOLLOWED));
        count += 1;
    }
    (count, slowest)
}

/// Since a moment the rights of both accounts, which are the chart's, were enough. What was refused was allowed soon
/// after: the API server takes a moment to see the binding that comes with a project.
fn rights_were_enough(cluster: &Installation, since: Mark) {
    let mut requests = cluster.requests(since);
    requests.retain(|request| [AGENT, SECRETS].contains(&request.user()));
    assert!(!requests.is_empty(), "they act as these accounts");
    for (at, refused) in requests.iter().enumerate() {
        let same = |later: &Request| {
            let place = |of: &Request| {
                let text = [of.user(), of.verb(), of.namespace(), of.name()].map(str::to_owned);
                (text, of.resource())
            };
            later.is_allowed() && place(later) == place(refused)
        };
        assert!(refused.is_allowed() || requests[at..].iter().any(same), "{refused:?}");
    }
}

/// Since a moment nothing was made, as nothing was missing, and no object was written twice with the same content.
fn nothing_was_written_twice(cluster: &Installation, since: Mark) {
    cluster.calm();
    let mut writes = cluster.writes(since);
    // Events tell, as of a node that is gone.
    writes.retain(|write| write.resource() != "events" && write.code() < 300);
    let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
    for write in &writes {
        assert_ne!(write.code(), 201, "{write:?} made something\n{writes:#?}");
        let object = write.uri().split('?').next().unwrap_or_default();
        let before = last.insert(object, write.body());
        assert_ne!(before, Some(write.body()), "{write:?} is the second\n{writes:#?}");
    }
}

/// For each process, the time from the last write of its Lease by the pod that let go of it to the first by the next.
fn handovers(cluster: &Installation, since: Mark) -> Vec<Duration> {
    let requests = cluster.requests(since);
    [AGENT, SECRETS].into_iter().map(|user| handover(&requests, user)).collect()
}

fn handover(requests: &[Request], user: &str) -> Duration {
    let kept = |write: &&Request| {
        write.user() == user && write.is_lease() && write.is_write() && write.code() < 300
    };
    let leases: Vec<&Value> =
        requests.iter().filter(kept).map(|write| &write.body()["spec"]).collect();
    let let_go = leases.iter().position(|lease| lease["holderIdentity"].is_null());
    let let_go = let_go.unwrap_or_else(|| panic!("{user} let go of nothing: {leases:#?}"));
    let next = leases.get(let_go + 1).expect("another took it");
    assert!(next["holderIdentity"].is_string(), "{leases:#?}");
    let at = |lease: &Value| {
        let time: MicroTime = serde_json::from_value(lease["renewTime"].clone()).expect("a time");
        time.0.as_microsecond()
    };
    let between = at(next) - at(leases[let_go]);
    Duration::from_micros(u64::try_from(between).expect("in this order"))
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f32())
}

#[test]
fn the_documented_commands_bring_two_pods_whose_rights_suffice_for_all_that_is_declared() {
    let cluster = cluster();
    cluster.ready("Project", None, "shop");
    let region = cluster.ready("Region", None, "eu");
    assert_eq!(region["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm");
    for (kind, name) in [
        ("NetworkPolicy", "default-deny"),
        ("NetworkPolicy", "egress-orders"),
        ("ServiceAccount", "orders-dapr"),
        ("Secret", "orders-dapr-token-1"),
        ("Secret", "database"),
        ("Configuration", "orders-dapr"),
    ] {
        cluster.the(kind, Some("prj-shop"), name);
    }
    never_restarted(&cluster);
}

#[test]
fn an_upgrade_loses_no_edit_and_hands_over_in_less_than_two_seconds() {
    let cluster = cluster();
    let before = steady(&cluster);
    let namespace = cluster.the("Namespace", None, "catalyst-system");
    let standard = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(standard, "restricted", "what starts now has to keep to it");
    cluster.calm();
    let mark = cluster.mark();

    let (count, slowest) = std::thread::scope(|scope| {
        let upgraded = scope.spawn(|| {
            let upgrade = ["upgrade", "catalyst", "charts/catalyst", "-n", "catalyst-system"];
            let changed = ["--reuse-values", "--set", "podAnnotations.upgraded=yes"];
            cluster.helm(&[&upgrade[..], &changed].concat());
            cluster.documented("kubectl rollout status");
            let after = steady(&cluster);
            assert!(after.is_disjoint(&before), "{after:?}");
        });
        edits(&cluster, || !upgraded.is_finished())
    });
    let handovers = handovers(&cluster, mark);
    eprintln!(
        "{count} edits during an upgrade, the slowest took {}; handed over in {handovers:.2?}",
        seconds(slowest)
    );
    assert!(count > 5, "{count} edits");
    assert!(handovers.iter().all(|handover| *handover < HANDOVER), "{handovers:?}");
    rights_were_enough(&cluster, mark);
    never_restarted(&cluster);
    nothing_was_written_twice(&cluster, mark);
}

#[test]
fn helm_waits_for_the_canaries_of_the_image_which_are_ready_where_fences_hold() {
    let cluster = cluster();
    let upgrade = |marked: &str, timeout: &str| {
        let set = format!("podAnnotations.waited={marked}");
        let upgrade = ["upgrade", "catalyst", "charts/catalyst", "-n", "catalyst-system"];
        let waiting = ["--reuse-values", "--set", &set, "--wait", "--timeout", timeout];
        Helm::run(Some(cluster.control_plane.kubeconfig()), &[&upgrade[..], &waiting].concat())
    };
    let node = cluster.control_plane.node();
    node.stop_enforcing().expect("it stops");
    let told = upgrade("in-vain", "20s");
    assert!(!told.succeeded && told.stderr.contains("catalyst-canary"), "{told:?}");
    // The operator works, also there.
    steady(&cluster);
    edit(&cluster, FOLLOWED);

    node.start_enforcing().expect("it starts");
    upgrade("until-they-hold", "2m").success();
    cluster.wait_for(PATIENCE, ("Region", None, "eu"), "says that fences hold", |region| {
        let told = condition(region, "NetworkPolicyEnforced");
        if told["status"] == "True" { Ok(()) } else { Err(told.to_string() + &shown(&cluster)) }
    });
    never_restarted(&cluster);
}

#[test]
fn pods_that_are_deleted_by_force_are_replaced_and_an_edit_meanwhile_takes_effect() {
    let cluster = cluster();
    let before = steady(&cluster);
    cluster.calm();
    let mark = cluster.mark();
    let names = before.iter().cloned().collect::<Vec<_>>().join(" ");
    cluster.kubectl(&format!("delete pod -n catalyst-system --force --grace-period=0 {names}"));
    let took = edit(&cluster, REPLACED);
    let after = steady(&cluster);
    assert!(after.is_disjoint(&before), "{after:?}");
    eprintln!("an edit after both pods were deleted by force took {}", seconds(took));
    never_restarted(&cluster);
    nothing_was_written_twice(&cluster, mark);
}

#[test]
fn a_minute_without_kubelet_stops_no_edit_and_no_process() {
    let cluster = cluster();
    let before = steady(&cluster);
    cluster.calm();
    let mark = cluster.mark();
    let node = cluster.control_plane.node();
    node.stop_kubelet().expect("it stops");
    let since = Instant::now();
    let first = edit(&cluster, FOLLOWED);
    let ready = "get node node -o jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    until(PATIENCE, "the node is missed", || match cluster.kubectl(ready).as_str() {
        "Unknown" => Ok(()),
        other => Err(other.to_owned()),
    });
    let (count, slowest) = edits(&cluster, || since.elapsed() < OUTAGE);
    node.start_kubelet().expect("it starts");
    until(PATIENCE, "the node is back", || match cluster.kubectl(ready).as_str() {
        "True" => Ok(()),
        other => Err(other.to_owned()),
    });
    assert_eq!(steady(&cluster), before);
    edit(&cluster, FOLLOWED);
    let slowest = seconds(slowest.max(first));
    eprintln!("{} edits without kubelet, the slowest took {slowest}", count + 1);
    never_restarted(&cluster);
    nothing_was_written_twice(&cluster, mark);
}

#[test]
fn a_minute_without_an_api_server_ends_no_process_and_the_next_edit_takes_effect() {
    let cluster = cluster();
    let before = steady(&cluster);
    cluster.calm();
    let mark = cluster.mark();
    cluster.control_plane.stop_api_server().expect("it stops");
    std::thread::sleep(OUTAGE);
    cluster.control_plane.start_api_server().expect("it starts");
    let took = edit(&cluster, RECOVERED);
    eprintln!("the first edit after a minute without an API server took {}", seconds(took));
    assert_eq!(steady(&cluster), before);
    never_restarted(&cluster);
    nothing_was_written_twice(&cluster, mark);
    // Kubelet takes up to a minute to see pods come and go again. The next test need not wait for it.
    let node = cluster.control_plane.node();
    node.stop_kubelet().and_then(|()| node.start_kubelet()).expect("it starts anew");
}

#[test]
fn an_uninstall_leaves_what_was_made_and_a_reinstall_goes_on_with_it() {
    let cluster = cluster();
    cluster.calm();
    let made = |kind: &str, name: &str| cluster.the(kind, Some("prj-shop"), name);
    let policy = made("NetworkPolicy", "egress-orders");
    let token = made("Secret", "orders-dapr-token-1");
    cluster.documented("helm uninstall");
    until(PATIENCE, "no pod is left", || {
        let left = cluster.kubectl("get pods -n catalyst-system --no-headers");
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    assert_eq!(made("NetworkPolicy", "egress-orders"), policy);

    let mark = cluster.mark();
    // The definitions may be those of the upgrade, as another test has it.
    cluster.documented("kubectl apply");
    cluster.documented("helm install");
    cluster.documented("kubectl rollout status");
    cluster.ready("Region", None, "eu");
    assert_eq!(made("NetworkPolicy", "egress-orders"), policy);
    assert_eq!(made("Secret", "orders-dapr-token-1"), token);
    // Without its rights the one before could not let go of its Lease.
    let took = edit(&cluster, REPLACED);
    eprintln!("the first edit after a reinstall took {}", seconds(took));
    never_restarted(&cluster);
    nothing_was_written_twice(&cluster, mark);
}
