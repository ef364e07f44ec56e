//! However a control plane's owner ends, neither process nor folder is left.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use catalyst_testbed::{ControlPlane, Options};

fn testbed(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs `testbed up` until it says where the cluster is: the process, and the cluster's folder.
fn up(command: &mut Command) -> (Child, PathBuf) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("testbed runs");
    let stdout = child.stdout.take().expect("a pipe");
    let line = BufReader::new(stdout).lines().next().expect("a line").expect("in UTF-8");
    let kubeconfig = line.strip_prefix("KUBECONFIG=").expect("a KUBECONFIG line");
    let folder = Path::new(kubeconfig).ancestors().nth(2).expect("a folder").to_owned();
    assert!(running(&folder).len() >= 3, "{:?}", running(&folder));
    (child, folder)
}

/// The processes whose command line names the folder. One that has ended has no command line.
fn running(folder: &Path) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if let Ok(pid) = entry.file_name().to_string_lossy().parse()
            && command.contains(&folder.display().to_string())
        {
            found.push((pid, command));
        }
    }
    found
}

/// Waits until nothing is left of a cluster; a busy machine takes its time.
fn is_gone(folder: &Path) {
    let since = Instant::now();
    while folder.exists() || !running(folder).is_empty() {
        let left = running(folder);
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "left of {}: {left:?}",
            folder.display()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_test_that_ends_leaves_nothing() {
    let cluster = ControlPlane::start(&Options::default()).unwrap();
    let folder = cluster.data_dir().to_owned();
    let agent = cluster.spawn("agent", Command::new("sleep").arg("1000")).unwrap();
    let agent = PathBuf::from(format!("/proc/{}/exe", agent.id()));
    drop(cluster);
    assert!(!folder.exists() && running(&folder).is_empty(), "{:?}", running(&folder));
    assert!(!agent.exists(), "a program that was spawned still runs");
}

#[test]
fn a_test_that_is_killed_leaves_nothing() {
    let (mut child, folder) = up(&mut testbed(&["up"]));
    child.kill().unwrap();
    child.wait().unwrap();
    is_gone(&folder);
}

#[test]
fn what_is_left_when_the_janitor_is_killed_too_goes_with_the_next_start() {
    let (mut child, folder) = up(&mut testbed(&["up"]));
    let all = running(&folder);
    let (janitor, _) = all.iter().find(|(_, command)| command.contains("testbed-janitor")).unwrap();
    let killed = Command::new("sh").args(["-c", &format!("kill -KILL {janitor}")]).status();
    assert!(killed.unwrap().success());
    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(folder.exists(), "something else removed {}", folder.display());

    drop(ControlPlane::start(&Options::default()).unwrap());
    is_gone(&folder);
}

#[test]
fn what_is_kept_outlives_its_command_and_the_next_start_until_it_is_stopped() {
    // A cache of its own: `down` stops what is kept, and someone may keep one while the tests run.
    let cache = std::env::temp_dir().join(format!("testbed-kept-{}", std::process::id()));
    let peers = catalyst_testbed::Kubernetes::build().unwrap().bin.parent().unwrap().to_owned();
    fs::create_dir_all(cache.join("catalyst")).unwrap();
    std::os::unix::fs::symlink(peers, cache.join("catalyst/peers")).unwrap();

    let (mut child, folder) = up(testbed(&["up", "--keep"]).env("XDG_CACHE_HOME", &cache));
    assert!(child.wait().unwrap().success());
    let (mut next, _) = up(testbed(&["up"]).env("XDG_CACHE_HOME", &cache));
    next.kill().unwrap();
    next.wait().unwrap();
    assert!(folder.exists() && running(&folder).len() == 3, "{:?}", running(&folder));

    assert!(testbed(&["down"]).env("XDG_CACHE_HOME", &cache).status().unwrap().success());
    is_gone(&folder);
    fs::remove_dir_all(cache).unwrap();
}
