//! The documentation says what is so: its commands are run, its output compared, its links and names looked up.
//!
//! A block marked `console` is run here, in the order of [`DOCUMENTS`], against one installation. Each line that begins
//! with `$ ` is a command, what follows is its output: `...` stands for any lines, a duration for any duration. A block
//! marked `sh` is run elsewhere, as [`ELSEWHERE`] says. Blocks of other languages are no commands.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use catalyst_e2e::{Installation, repository};
use catalyst_testbed::Kubernetes;

/// The examples first: what others show is made there.
const DOCUMENTS: [&str; 12] = [
    "gitops-examples/README.md",
    "README.md",
    "CONTRIBUTING.md",
    "docs/dapr.md",
    "docs/install.md",
    "docs/kubernetes.md",
    "docs/metrics.md",
    "docs/network.md",
    "docs/permissions.md",
    "docs/projects.md",
    "docs/reliability.md",
    "docs/validation.md",
];

/// What `sh` blocks say, and where it is run.
const ELSEWHERE: [(&str, &str); 12] = [
    ("make demo", "a step of .ci/test"),
    ("make image", "a step of .ci/test"),
    ("ctr -n k8s.io images import target/image/catalyst.tar", "tests/in_cluster.rs"),
    (
        "kubectl rollout status -n catalyst-system deployment/catalyst-agent deployment/catalyst-secrets",
        "tests/in_cluster.rs",
    ),
    (INSTALL, "tests/in_cluster.rs"),
    (
        "kubectl label namespace catalyst-system pod-security.kubernetes.io/enforce=restricted",
        "tests/in_cluster.rs",
    ),
    (
        "kubectl create rolebinding shop-team -n prj-shop --clusterrole=catalyst-app-editor --group=shop-team",
        "tests/release.rs",
    ),
    ("helm upgrade catalyst charts/catalyst -n catalyst-system", "tests/release.rs"),
    ("helm rollback catalyst -n catalyst-system", "tests/release.rs"),
    ("helm uninstall catalyst -n catalyst-system", "tests/release.rs"),
    (
        "kubectl apply --server-side --force-conflicts --field-manager=helm -f charts/catalyst/crds",
        "tests/release.rs",
    ),
    ("make test", "what runs this"),
];

const INSTALL: &str = "helm install catalyst charts/catalyst -n catalyst-system --create-namespace --set region.name=eu,\
                       region.spec.trust.domain=eu.example.com";

/// A fenced block: its language and its lines.
struct Block {
    language: String,
    lines: Vec<String>,
}

/// A command and the output that a document shows of it.
struct Shown {
    command: String,
    output: Vec<String>,
}

#[test]
fn every_command_prints_what_the_docs_show_and_every_name_they_give_is_there() {
    let catalyst = Installation::start();
    for document in DOCUMENTS {
        for block in blocks(document).iter().filter(|block| block.language == "console") {
            for shown in commands(block) {
                eprintln!("{document}: $ {}", shown.command);
                run(&catalyst, document, &shown);
            }
        }
    }
    every_network_policy_is_explained(&catalyst);
    every_figure_is_explained(&catalyst);
}

#[test]
fn every_document_is_looked_at() {
    let docs = fs::read_dir(repository("docs")).unwrap();
    for document in docs.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        assert!(DOCUMENTS.contains(&format!("docs/{document}").as_str()), "add docs/{document}");
    }
}

#[test]
fn every_command_that_is_not_run_here_is_run_elsewhere() {
    for document in DOCUMENTS {
        for block in blocks(document).into_iter().filter(|block| block.language == "sh") {
            for line in block.lines {
                let known = ELSEWHERE.iter().any(|(command, _)| *command == line);
                assert!(known, "{document}: where is this run? {line}");
            }
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.contains("://") {
                let path = repository(document).with_file_name(link);
                assert!(path.exists(), "{document} links to {link}, which is not there");
            }
        }
    }
}

/// How long after an object is Ready a count of such objects may lag.
const LAG: Duration = Duration::from_secs(5);

/// Runs a command; one that only reads, again while a count in it may lag.
fn run(catalyst: &Installation, document: &str, shown: &Shown) {
    let lag = if shown.command.starts_with("kubectl get ") { LAG } else { Duration::ZERO };
    let what = format!("{document}: $ {}", shown.command);
    catalyst_e2e::until(lag, &what, || once(catalyst, shown));
}

fn once(catalyst: &Installation, shown: &Shown) -> Result<(), String> {
    let kubernetes = Kubernetes::build().expect("kubectl");
    let test = std::env::current_exe().expect("the path of this test");
    let programs = [test.ancestors().nth(2).expect("cargo's folder"), &kubernetes.bin];
    let system = std::env::var("PATH").unwrap_or_default();
    let path = programs.map(|path| path.display().to_string()).join(":") + ":" + &system;
    let output = Command::new("bash")
        .args(["-c", &format!("exec 2>&1; {}", shown.command)])
        .current_dir(repository("."))
        .env("PATH", path)
        .env("KUBECONFIG", catalyst.control_plane.kubeconfig())
        // By default by address, where the next cluster on this port would be taken for this one.
        .env("KUBECACHEDIR", catalyst.control_plane.data_dir().join("kubectl"))
        .env("KUBERC", "off")
        .output()
        .expect("bash");
    let printed = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<String> = printed.lines().map(normal).collect();
    let wanted: Vec<String> = shown.output.iter().map(|line| normal(line)).collect();
    // A command whose output shows that something is wrong may say so by its exit code, too.
    let shows_all = !wanted.iter().any(|line| line == "...");
    if matches(&wanted, &lines) && (shows_all || output.status.success()) {
        return Ok(());
    }
    Err(format!("printed ({}):\n{printed}\nand not:\n{}", output.status, shown.output.join("\n")))
}

/// Whether lines are as they are shown, where `...` stands for any number of lines.
fn matches(shown: &[String], lines: &[String]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..]))
        }
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, others)| first == line && matches(rest, others))
        }
    }
}

/// A line with single spaces, and durations such as `3s` or `1m5s` alike.
fn normal(line: &str) -> String {
    let is_duration = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_digit())
            && word.ends_with(['s', 'm', 'h', 'd'])
            && word.chars().all(|c| c.is_ascii_digit() || "smhd".contains(c))
    };
    let words = line.split_whitespace();
    words.map(|word| if is_duration(word) { "1s" } else { word }).collect::<Vec<_>>().join(" ")
}

fn every_network_policy_is_explained(catalyst: &Installation) {
    let explained = first_column("docs/network.md");
    let policies = catalyst.list("NetworkPolicy", None, "app.kubernetes.io/managed-by=catalyst");
    assert!(!policies.is_empty(), "the examples stand");
    for policy in policies {
        let name = policy["metadata"]["name"].as_str().expect("a name");
        let is = |row: &&String| match row.split_once('<') {
            Some((prefix, _)) => name.starts_with(prefix),
            None => *row == name,
        };
        assert!(explained.iter().any(|row| is(&row)), "docs/network.md does not explain {name}");
    }
}

fn every_figure_is_explained(catalyst: &Installation) {
    let pages = [catalyst.agent.metrics(), catalyst.secrets.metrics()].concat();
    // What never happened has no samples yet.
    let seldom = ["catalyst_undecodable_objects_total", "catalyst_watch_restarts_total"];
    // `# TYPE name kind`; a counter's samples end in _total.
    let figures = pages
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| name.to_owned() + if kind == "counter" { "_total" } else { "" });
    let figures: BTreeSet<String> = figures.chain(seldom.map(Into::into)).collect();
    assert_eq!(first_column("docs/metrics.md"), figures, "docs/metrics.md, and /metrics");
}

/// What the tables of a document have between backticks in their first column.
fn first_column(document: &str) -> BTreeSet<String> {
    let text = read(document);
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(ToOwned::to_owned).collect()
}

fn commands(block: &Block) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    for line in &block.lines {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push(Shown { command: command.into(), output: Vec::new() });
        } else if let Some(last) = commands.last_mut() {
            last.output.push(line.clone());
        }
    }
    assert!(!commands.is_empty(), "a console block without a command: {:?}", block.lines);
    commands
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in read(document).lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                open = Some(Block { language: language.into(), lines: Vec::new() });
            }
            (None, Some(block)) => block.lines.push(line.into()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{document}: a block does not end");
    blocks
}

fn read(document: &str) -> String {
    fs::read_to_string(repository(document)).expect(document)
}
