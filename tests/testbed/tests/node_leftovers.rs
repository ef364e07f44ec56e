//! However the owner of a cluster with pods ends, nothing of it is left: no process, mount, network or control group.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends by panicking with what it saw, and an error's words say what to do"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use catalyst_testbed::{Node, Options};

/// One cluster with pods at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `testbed up --pods` until the cluster is there: the process, and the cluster's folder.
fn up() -> (Child, PathBuf) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.args(["up", "--pods"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("testbed runs");
    let stdout = child.stdout.take().expect("a pipe");
    let line = BufReader::new(stdout).lines().next().expect("a line").expect("in UTF-8");
    let kubeconfig = line.strip_prefix("KUBECONFIG=").expect("a KUBECONFIG line");
    let folder = Path::new(kubeconfig).ancestors().nth(2).expect("a folder").to_owned();
    (child, folder)
}

/// What there is of a cluster, each in a line.
#[derive(Debug, Default, PartialEq)]
struct Traces {
    processes: Vec<String>,
    mounts: Vec<String>,
    networks: Vec<String>,
    groups: Vec<PathBuf>,
}

/// Looks for them by the folder, whose path or name is in each, and by the containers that it had.
fn traces(folder: &Path, containers: &[String]) -> Traces {
    let path = folder.display().to_string();
    let name = folder.file_name().unwrap().to_string_lossy();
    let mut traces = Traces::default();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(&path) {
            traces.processes.push(command);
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    traces.mounts = mounts.lines().filter(|line| line.contains(&path)).map(str::to_owned).collect();
    let networks = fs::read_dir("/run/netns").unwrap().flatten();
    let networks = networks.map(|entry| entry.file_name().to_string_lossy().into_owned());
    traces.networks = networks.filter(|network| network.contains(&*name)).collect();
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]) {
        let groups = containers.iter().map(|container| hierarchy.join("k8s.io").join(container));
        traces.groups.extend(groups.filter(|group| group.exists()));
    }
    traces
}

/// The containers that run in a cluster.
fn containers(folder: &Path) -> Vec<String> {
    let tasks = folder.join("cd/state/io.containerd.runtime.v2.task/k8s.io");
    let tasks = fs::read_dir(tasks).unwrap().flatten();
    tasks.map(|task| task.file_name().to_string_lossy().into_owned()).collect()
}

/// Waits until nothing is left; a busy machine takes its time.
fn is_gone(folder: &Path, containers: &[String]) {
    let since = Instant::now();
    loop {
        let left = traces(folder, containers);
        if !folder.exists() && left == Traces::default() {
            eprintln!("gone after {:.1} s", since.elapsed().as_secs_f32());
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "{} left: {left:#?}", folder.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All kinds of traces are there, or their absence afterwards would prove nothing.
fn is_whole(folder: &Path) -> Vec<String> {
    let containers = containers(folder);
    let there = traces(folder, &containers);
    assert!(there.processes.len() >= 10, "{there:#?}");
    let Traces { mounts, networks, groups, .. } = &there;
    assert!(![mounts.len(), networks.len(), groups.len()].contains(&0), "{there:#?}");
    containers
}

#[test]
fn one_that_ends_leaves_nothing() {
    let _alone = alone();
    let node = Node::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let folder = node.data_dir().to_owned();
    node.outside("internet", &["198.51.100.7"], &[80]).unwrap();
    node.stores().unwrap_or_else(|error| panic!("{error}"));
    let containers = is_whole(&folder);
    drop(node);
    assert!(!folder.exists());
    assert_eq!(traces(&folder, &containers), Traces::default());
}

#[test]
fn one_whose_owner_is_killed_leaves_nothing() {
    let _alone = alone();
    let (mut child, folder) = up();
    let containers = is_whole(&folder);
    child.kill().unwrap();
    child.wait().unwrap();
    is_gone(&folder, &containers);
}

#[test]
fn what_is_left_when_everything_is_killed_goes_with_the_next_start() {
    let _alone = alone();
    let (mut child, folder) = up();
    let containers = is_whole(&folder);

    // The janitor first, then its parts, each by its id; their folder, mounts, networks, and the pods stay.
    let janitor = folder.display().to_string();
    let pids = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
    let mut killed = Vec::new();
    for pid in pids.map(|pid| pid.to_string_lossy().into_owned()) {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        if command.contains("testbed-janitor") && command.contains(&janitor) {
            killed.push(pid);
        }
    }
    let processes = fs::read_to_string(folder.join("processes")).unwrap();
    killed.extend(processes.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())));
    let kill = Command::new("sh").args(["-c", r#"kill -s KILL "$@""#, "sh"]).args(&killed).status();
    assert!(kill.unwrap().success());
    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let left = traces(&folder, &containers);
    assert!(folder.exists() && !left.processes.is_empty() && !left.mounts.is_empty(), "{left:#?}");

    let next = Node::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"));
    is_gone(&folder, &containers);
    next.check().unwrap();
}

#[test]
fn without_root_it_says_how_to_run_it() {
    // In a user namespace without a mapping every user is nobody, and owns nothing.
    let mut command = Command::new("unshare");
    command.args(["--user", env!("CARGO_BIN_EXE_testbed"), "up", "--pods"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(r#"sudo -E env PATH="$PATH" make test"#), "{told}");
}
