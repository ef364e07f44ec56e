//! The life of a release: installed by the commands that the docs show, upgraded from an older chart, rolled back, taken
//! away and installed again, while teams' objects live through all of it.
//!
//! The control plane runs no pods. The operator's two processes run beside it, by the arguments and with the accounts of
//! the chart's Deployments; the pod of the upgrade's Job is played by a program of the same arguments and account.

#![allow(clippy::panic, reason = "a test fails by it, helpers of one too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use catalyst_e2e::{
    Helm, Installation, catalyst, documents, repository, serves_admission_policies, serves_cel,
    until,
};
use serde_json::{Value, json};

/// A machine may be busy.
const SOON: Duration = Duration::from_secs(30);

/// The promise: nothing is stuck for longer.
const MINUTE: Duration = Duration::from_mins(1);

/// Two clusters at once would take the machine from each other.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn an_uninstall_takes_nothing_of_the_users_and_a_reinstall_finds_it_as_it_was() {
    let _turn = turn();
    let mut cluster = Installation::empty();
    cluster.documented("helm install");
    cluster.documented("kubectl label namespace");
    the_processes_run_here_are_those_of_the_chart(&cluster);
    cluster.mend();
    cluster.a_team_is_ready();
    whoever_may_view_a_namespace_sees_what_is_declared_in_it(&cluster);
    cluster.calm();
    let before = of_the_users(&cluster);
    assert!(before.len() > 15, "{before:#?}");

    let since = Instant::now();
    cluster.documented("helm uninstall");
    nothing_is_stuck(&cluster);
    assert!(since.elapsed() < MINUTE, "{:?}", since.elapsed());
    // Both ran on, without a right to anything.
    for process in [&mut cluster.agent, &mut cluster.secrets] {
        process.term(SOON);
    }
    assert_eq!(of_the_users(&cluster), before);
    let policies = serves_admission_policies(&cluster.control_plane);
    let policies = if policies { ",validatingadmissionpolicies" } else { "" };
    let left = cluster.kubectl(&format!(
        "get clusterroles,clusterrolebindings,deployments,jobs,networkpolicies{policies} -A -o name"
    ));
    let left: Vec<&str> = left.lines().filter(|name| name.contains("/catalyst")).collect();
    assert!(left.is_empty(), "{left:?}");

    cluster.documented("kubectl apply");
    cluster.documented("helm install");
    cluster.mend();
    cluster.a_team_is_ready();
    cluster.calm();
    assert_eq!(of_the_users(&cluster), before);
}

#[test]
fn an_upgrade_from_an_older_chart_brings_all_up_to_date_and_a_rollback_takes_it_back() {
    let _turn = turn();
    let mut cluster = Installation::empty();
    let older = Older::packaged();
    let install = ["install", "catalyst", older.package.as_str(), "-f", &older.values];
    cluster.helm(&[&install[..], &["-n", "catalyst-system", "--create-namespace"]].concat());
    let project = |cluster: &Installation| {
        let crd = cluster.kubectl("get crd projects.cra.diagrid.io -o json");
        serde_json::from_str::<Value>(&crd).unwrap()["spec"]["versions"][0]["schema"].clone()
    };
    assert!(project(&cluster).to_string().contains("formerName"));
    cluster.mend();
    cluster.a_team_is_ready();
    let roles = "get clusterroles -o name";
    assert!(!cluster.kubectl(roles).contains("catalyst-view"));
    let before = of_the_users(&cluster);

    std::thread::scope(|scope| {
        scope.spawn(|| the_job_s_pod(&cluster));
        cluster.documented("helm upgrade");
    });
    let wanted = fs::read_to_string(repository("crds/project.yaml")).unwrap();
    let mut wanted = documents(&wanted)[0]["spec"]["versions"][0]["schema"].clone();
    let found = project(&cluster);
    if !serves_cel(&cluster.control_plane) {
        without_rules(&mut wanted);
    }
    assert_eq!(found, wanted);
    let roles_now = cluster.kubectl(roles);
    assert!(roles_now.contains("catalyst-view"), "{roles_now}");
    assert!(
        !roles_now.contains("catalyst-crds"),
        "a right that nobody needs any more: {roles_now}"
    );
    // What was set with the older chart.
    assert_eq!(replicas(&cluster), "2");
    cluster.a_team_is_ready();
    cluster.calm();
    assert_eq!(of_the_users(&cluster), before);

    cluster.documented("helm rollback");
    assert!(!cluster.kubectl(roles).contains("catalyst-view"));
    cluster.a_team_is_ready();
    let edited = json!({"spec": {"allowed": [{"name": "app", "cidrs": ["10.20.0.16/32"]}]}});
    cluster.edit("EgressPolicy", Some("prj-shop"), "orders", &edited);
    let policy = ("NetworkPolicy", Some("prj-shop"), "egress-orders");
    cluster.wait_for(SOON, policy, "follows its EgressPolicy", |policy| {
        let text = policy.to_string();
        if text.contains("10.20.0.16/32") { Ok(()) } else { Err(text) }
    });
}

/// Beside their identities, which are the pods' names in a cluster.
fn the_processes_run_here_are_those_of_the_chart(cluster: &Installation) {
    for (name, arguments) in [
        ("catalyst-agent", json!(["agent"])),
        ("catalyst-secrets", json!(["agent", "--controllers=secret", "--lease=catalyst-secrets"])),
    ] {
        let text = cluster.kubectl(&format!("get deployment {name} -n catalyst-system -o json"));
        let deployment: Value = serde_json::from_str(&text).expect("JSON");
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], name);
        assert_eq!(pod["containers"][0]["args"], arguments);
    }
}

fn whoever_may_view_a_namespace_sees_what_is_declared_in_it(cluster: &Installation) {
    cluster.kubectl("create rolebinding guest -n prj-shop --clusterrole=view --user=guest");
    cluster.documented("kubectl create rolebinding");
    let may = |who: &str, what: &str| {
        let line = format!("auth can-i {what} -n prj-shop --as={who}");
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = cluster.control_plane.kubectl(&words).expect("kubectl");
        let answer = output.stdout.trim().to_owned() + output.stderr.trim();
        if answer == "yes" { Ok(()) } else { Err(format!("{line}: {answer}")) }
    };
    until(SOON, "the guest sees what is declared", || {
        ["appidentities", "egresspolicies", "secretrefs"]
            .iter()
            .try_for_each(|kind| may("guest", &format!("list {kind}.cra.diagrid.io")))
    });
    let team = "somebody --as-group=shop-team";
    until(SOON, "the team may write its apps", || may(team, "create appidentities.cra.diagrid.io"));
    may(team, "create egresspolicies.cra.diagrid.io").expect_err("not bound to it");
    may("guest", "create appidentities.cra.diagrid.io").expect_err("not bound to it");
}

/// As a server stores it that knows no CEL.
fn without_rules(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("x-kubernetes-validations");
        fields.values_mut().for_each(without_rules);
    }
}

/// What people declared and what came of it, each with its UID.
fn of_the_users(cluster: &Installation) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let lines = |line: &str| cluster.kubectl(line).lines().map(str::to_owned).collect::<Vec<_>>();
    let columns = "-o custom-columns=:.kind,:.metadata.namespace,:.metadata.name,:.metadata.uid";
    let everywhere = "crds,regions,projects,namespaces";
    let of_a_project = "appidentities,egresspolicies,secretrefs,secrets,serviceaccounts,\
                        networkpolicies,rolebindings,resourcequotas,configurations.dapr.io";
    let mut all = lines(&format!("get {everywhere} --no-headers {columns}"));
    all.extend(lines(&format!("get {of_a_project} -n prj-shop --no-headers {columns}")));
    all.extend(lines(&format!("get secrets -n catalyst-secrets --no-headers {columns}")));
    for line in all.iter().filter(|line| !line.trim().is_empty()) {
        let (object, uid) = line.trim().rsplit_once(' ').expect("columns");
        found.insert(object.split_whitespace().collect::<Vec<_>>().join(" "), uid.to_owned());
    }
    found
}

/// Waits until nothing anywhere is on its way out.
fn nothing_is_stuck(cluster: &Installation) {
    let kinds = cluster.kubectl("api-resources --verbs=list,delete -o name");
    let kinds = kinds.split_whitespace().filter(|kind| !kind.starts_with("events"));
    let kinds = kinds.collect::<Vec<_>>().join(",");
    until(MINUTE, "nothing is stuck", || {
        let path = "{range .items[?(@.metadata.deletionTimestamp)]}{.kind} {.metadata.name}\n{end}";
        let words = ["get", &kinds, "-A", "-o", &format!("jsonpath={path}")];
        let output = cluster.control_plane.kubectl(&words).expect("kubectl");
        let stuck = output.success().expect("a list");
        if stuck.trim().is_empty() { Ok(()) } else { Err(stuck) }
    });
}

fn replicas(cluster: &Installation) -> String {
    let line = "get deployment catalyst-agent -n catalyst-system -o jsonpath={.spec.replicas}";
    cluster.kubectl(line)
}

/// Does what the pod of the upgrade's Job does, with the rights of its account, and reports that it is done.
fn the_job_s_pod(cluster: &Installation) {
    let pod = until(MINUTE, "the Job makes its pod", || {
        let line = "get pods -n catalyst-system -l app.kubernetes.io/component=crds -o json";
        let pods: Value = serde_json::from_str(&cluster.kubectl(line)).expect("JSON");
        pods["items"].get(0).cloned().ok_or_else(|| "none yet".to_owned())
    });
    let account = pod["spec"]["serviceAccountName"].as_str().expect("an account");
    let arguments: Vec<&str> = pod["spec"]["containers"][0]["args"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let kubeconfig = cluster
        .control_plane
        .kubeconfig_for(
            account,
            &format!("system:serviceaccount:catalyst-system:{account}"),
            &["system:serviceaccounts", "system:serviceaccounts:catalyst-system"],
        )
        .expect("a kubeconfig");
    // A role takes a moment until it holds; the Job would try again.
    until(SOON, "the definitions are applied", || {
        let output = Command::new(catalyst())
            .args(&arguments)
            .env("KUBECONFIG", &kubeconfig)
            .output()
            .expect("catalyst runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(told) }
    });
    let name = pod["metadata"]["name"].as_str().expect("a name");
    let done = r#"{"status":{"phase":"Succeeded"}}"#;
    cluster.kubectl(&format!(
        "patch pod {name} -n catalyst-system --subresource=status --type=merge -p {done}"
    ));
}

/// A chart as it was before: another version, fewer roles and values, and a definition with one field more and one less.
struct Older {
    package: String,
    values: String,
    folder: PathBuf,
}

impl Older {
    fn packaged() -> Self {
        let folder = std::env::temp_dir().join(format!("older-chart-{}", std::process::id()));
        let chart = folder.join("catalyst");
        copy(&repository("charts/catalyst"), &chart);
        edit(&chart.join("Chart.yaml"), |text| text.replace("0.1.0", "0.0.9"));
        edit(&chart.join("crds/project.yaml"), |text| {
            text.replace("              displayName:\n", "              formerName:\n")
        });
        fs::remove_file(chart.join("templates/policies/people.yaml")).expect("a file");
        edit(&chart.join("values.yaml"), |text| text.replace("people:\n  enabled: true\n", ""));
        edit(&chart.join("values.schema.json"), |text| {
            let mut schema: Value = serde_json::from_str(&text).expect("JSON");
            let required = schema["required"].as_array_mut().expect("a list");
            required.retain(|name| name != "people");
            schema["properties"].as_object_mut().expect("a map").remove("people");
            schema.to_string()
        });
        let values = folder.join("values.yaml");
        let text =
            "{agent: {replicas: 2}, region: {name: eu, spec: {trust: {domain: eu.example.com}}}}";
        fs::write(&values, text).expect("a file");
        let (from, to) = (chart.display().to_string(), folder.display().to_string());
        Helm::run(None, &["package", &from, "-d", &to]).success();
        let package = folder.join("catalyst-0.0.9.tgz").display().to_string();
        Self { package, values: values.display().to_string(), folder }
    }
}

impl Drop for Older {
    fn drop(&mut self) {
        // A folder in the system's own place for what nobody needs.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Changes a file. One that stays as it was is no older.
fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(path).expect("a file");
    let changed = change(text.clone());
    assert_ne!(text, changed, "{}", path.display());
    fs::write(path, changed).expect("a file");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a file");
    for entry in fs::read_dir(from).expect("a file").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file");
        }
    }
}
