//! `matrix`: runs tests on each Kubernetes that counts, and those of the chart with helm 3 too. It writes what came of it
//! into the table of docs/kubernetes.md, and fails where that page does not say what is lost.

use std::fs;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::time::Instant;

use catalyst_e2e::matrix::{Lost, Matrix, Outcome, Version};
use catalyst_e2e::repository;
use catalyst_testbed::Kubernetes;

/// The files of tests that need no pods, and that a server of another version could break.
const FILES: [&str; 14] = [
    "admission",
    "bad_input",
    "blast_radius",
    "chart",
    "deletion",
    "drift",
    "invalid",
    "kstatus",
    "lease",
    "orders",
    "release",
    "secrets",
    "silence",
    "wire",
];

/// Those that helm takes part in.
const WITH_HELM: [&str; 2] = ["chart", "release"];

const PAGE: &str = "docs/kubernetes.md";

/// How many files are run at once: most of them wait most of the time.
const AT_ONCE: usize = 2;

/// One file of tests, on one version of Kubernetes, with one helm.
struct Job {
    version: String,
    file: &'static str,
    helm: &'static str,
}

fn main() -> ExitCode {
    let versions = Kubernetes::versions().expect("the pins of tests/peers");
    let mut jobs = Vec::new();
    for version in &versions {
        build(version);
        let job = |file: &&'static str, helm| Job { version: version.clone(), file, helm };
        jobs.extend(FILES.iter().map(|file| job(file, "4")));
        jobs.extend(WITH_HELM.iter().map(|file| job(file, "3")));
    }
    let (jobs, matrix) = (Mutex::new(jobs.into_iter()), Mutex::new(Matrix::default()));
    let next = || jobs.lock().expect("no job panics here").next();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(job) = next() {
                    let outcome = run(&job);
                    let version = Version::parse(&job.version).expect("a version");
                    let mut matrix = matrix.lock().expect("no job panics here");
                    matrix.0.entry(version).or_default().insert(row(&job), outcome);
                }
            });
        }
    });

    let matrix = matrix.into_inner().expect("no job panicked");
    let page = repository(PAGE);
    let text = fs::read_to_string(&page).expect("the page");
    fs::write(&page, matrix.shown_in(&text)).expect("the page");
    let differences = matrix.differences(&Lost::read(&text));
    for difference in &differences {
        eprintln!("{difference}");
    }
    if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Builds a version, and says so: what tests say is only shown when they fail.
fn build(version: &str) {
    let testbed = std::env::current_exe().expect("the path of this program");
    let built = Command::new(testbed.with_file_name("testbed"))
        .arg("build")
        .env("CATALYST_KUBERNETES", version)
        .status()
        .expect("testbed runs");
    assert!(built.success(), "Kubernetes {version} can't be had");
}

/// As the page names it.
fn row(Job { file, helm, .. }: &Job) -> String {
    if *helm == "3" { format!("{file} with helm 3") } else { (*file).to_owned() }
}

/// Runs a file of tests, and shows what those said that failed.
fn run(Job { version, file, helm }: &Job) -> Outcome {
    let since = Instant::now();
    let output = Command::new("cargo")
        .args(["test", "-p", "catalyst", "-p", "catalyst-e2e", "--test", file])
        .current_dir(repository("."))
        .env("CATALYST_KUBERNETES", version)
        .env("CATALYST_HELM", helm)
        .output()
        .expect("cargo runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    let outcome = Outcome::read(&printed);
    assert!(!outcome.passed.is_empty() || !outcome.failed.is_empty(), "{output:?}");
    if !outcome.failed.is_empty() {
        eprintln!("{printed}");
    }
    eprintln!(
        "Kubernetes {version}, helm {helm}, {file}: {} hold, {} do not, {} s",
        outcome.passed.len(),
        outcome.failed.len(),
        since.elapsed().as_secs()
    );
    outcome
}
