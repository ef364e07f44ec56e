//! Whether NetworkPolicies are enforced is not guessed: the Region says what the chart's canary pods find on the wire.

#![allow(clippy::panic, reason = "a test fails by it, helpers of one too")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use catalyst_e2e::{Helm, Installation, Mark, Stage, catalyst, condition, is_ready};
use catalyst_testbed::Image;
use serde_json::Value;

static STAGE: Stage = Stage::of(with_a_region);

/// The promise: nobody believes for longer that projects are fenced while they are not.
const MINUTE: Duration = Duration::from_mins(1);

const CONDITION: &str = "NetworkPolicyEnforced";

fn with_a_region() -> Installation {
    let installation = Installation::with_pods();
    installation.apply(
        "{apiVersion: cra.diagrid.io/v1beta1, kind: Region, metadata: {name: eu}, \
         spec: {trust: {domain: eu.example.com}}}",
    );
    let archive = image(installation.control_plane.data_dir());
    installation.control_plane.node().load(&archive).expect("an image");
    installation
}

#[test]
fn a_cluster_that_enforces_nothing_is_told_within_a_minute_and_one_that_does_too() {
    let stage = STAGE.alone();
    let node = stage.control_plane.node();
    says(&stage, "Unknown", "CanaryMissing");

    // As many clusters are: policies are taken, and nothing comes of them.
    node.stop_enforcing().expect("it stops");
    let mark = stage.mark();
    let chart = ["template", "catalyst", "charts/catalyst", "-n", "catalyst-system"];
    let only = ["--show-only", "templates/canary.yaml"];
    stage.apply(&Helm::run(None, &[&chart[..], &only].concat()).success());
    let message = says(&stage, "False", "NotEnforced");
    assert!(message.contains("projects are NOT fenced"), "{message}");
    assert!(!told_since(&stage, mark).contains(&"True".to_owned()), "nothing proved it");
    warned(&stage);
    // The Region itself works.
    is_ready(&stage.the("Region", None, "eu")).unwrap_or_else(|told| panic!("{told}"));

    node.start_enforcing().expect("it starts");
    says(&stage, "True", "Enforced");
    proved_by_both_families(&stage);

    let mark = stage.mark();
    node.stop_enforcing().expect("it stops");
    says(&stage, "False", "NotEnforced");
    assert_eq!(told_since(&stage, mark), ["False"], "nothing in between");
    node.start_enforcing().expect("it starts");
    says(&stage, "True", "Enforced");

    let scale = "scale -n catalyst-system deployment/catalyst-canary-target --replicas";
    stage.kubectl(&format!("{scale}=0"));
    let message = says(&stage, "Unknown", "CanaryNotRunning");
    assert!(message.contains("the canary's target"), "{message}");
    stage.kubectl(&format!("{scale}=1"));
    says(&stage, "True", "Enforced");
}

/// What the agent said of it since a moment, in order.
fn told_since(stage: &Installation, mark: Mark) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for write in stage.writes(mark).iter().filter(|write| write.resource() == "regions/status") {
        let status = condition(write.body(), CONDITION)["status"].as_str().unwrap_or_default();
        if told.last().is_none_or(|last| last != status) {
            told.push(status.to_owned());
        }
    }
    told
}

fn proved_by_both_families(stage: &Installation) {
    stage.until(MINUTE, "the prober has dialled both families", || {
        let log = stage.kubectl("logs -n catalyst-system deployment/catalyst-canary-prober");
        let proofs = log.lines().filter(|line| line.contains("policies are enforced"));
        let both = |line: &str| line.contains("10.244.") && line.contains("[fd00:244:");
        if proofs.into_iter().any(both) { Ok(()) } else { Err(log) }
    });
}

/// Waits until the Region says so, and the metric. Returns the message.
fn says(stage: &Installation, status: &str, reason: &str) -> String {
    let since = Instant::now();
    let place = ("Region", None, "eu");
    let message = stage.wait_for(MINUTE, place, &format!("says {reason}"), |region| {
        let told = condition(region, CONDITION);
        if told["status"] == status && told["reason"] == reason {
            return Ok(told["message"].as_str().unwrap_or_default().to_owned());
        }
        Err(format!("{told}\n{}", canaries(stage)))
    });
    eprintln!("{reason} after {:.1} s", since.elapsed().as_secs_f32());
    let figure = format!(
        "catalyst_conditions{{kind=\"Region\",condition=\"{CONDITION}\",status=\"{status}\"}} 1"
    );
    stage.until(MINUTE, "the metric says so too", || {
        let metrics = stage.agent.metrics();
        if metrics.contains(&figure) { Ok(()) } else { Err(format!("no {figure} in\n{metrics}")) }
    });
    message
}

/// Both pods, as a person would look.
fn canaries(stage: &Installation) -> String {
    stage.kubectl("get pods -n catalyst-system -o wide")
}

/// Waits for the event that people see.
fn warned(stage: &Installation) {
    stage.until(MINUTE, "there is a warning", || {
        let events = stage.list("Event", None, "");
        let warns = |event: &&Value| event["type"] == "Warning" && event["reason"] == "NotEnforced";
        let found = events.iter().find(warns).ok_or_else(|| format!("{} others", events.len()))?;
        assert_eq!(found["regarding"]["kind"], "Region");
        Ok(())
    });
}

/// The image as the chart names it, of the program under test and what it is linked with.
fn image(folder: &Path) -> PathBuf {
    let archive = folder.join("catalyst.tar");
    let linked = Command::new("ldd").arg(catalyst()).output().expect("ldd runs");
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`; of a static program no path at all.
    let text = String::from_utf8_lossy(&linked.stdout).into_owned();
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
    let mut files = vec![("/catalyst".to_owned(), catalyst().to_owned())];
    files.extend(libraries.map(|path| (path.to_owned(), PathBuf::from(path))));
    let image = Image {
        name: format!("localhost/catalyst:{}", env!("CARGO_PKG_VERSION")),
        files,
        entrypoint: vec!["/catalyst".into()],
        user: "65532:65532".into(),
    };
    image.archive(&archive).expect("an archive");
    archive
}
