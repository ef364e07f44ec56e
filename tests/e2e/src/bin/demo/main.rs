//! What Catalyst does, on a real Kubernetes: `make demo`. Each step shows what was done, what came of it and how long
//! it took; one that does not do what it says ends the demo with an error.

mod pods;
mod screen;

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use catalyst_e2e::{Beneath, Installation, declared, region_secrets, repository};
use catalyst_testbed::{Kubernetes, Result};
use serde_json::{Value, json};

use screen::{done, indented, say, title};

/// The longest that anything here may take; a machine that is busy takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens what nobody delegated, beside something that is open anyway.
const BAD_POLICY: &str = "
apiVersion: cra.diagrid.io/v1beta1
kind: EgressPolicy
metadata: {name: too-much, namespace: prj-shop}
spec:
  allowed:
  - {name: partner, cidrs: [10.99.0.0/16], ports: [{port: 443}]}
  - {name: mail, cidrs: [10.20.0.25/32], ports: [{port: 465}]}
";

/// A hole, as a tenant would make it.
const HOLE: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: everything, namespace: prj-shop}
spec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}
";

fn main() -> ExitCode {
    set_hook(Box::new(|panic| {
        say(&format!("\nfailed: {}", panic.payload_as_str().unwrap_or("no reason given")));
    }));
    screen::breathe();
    match catch_unwind(AssertUnwindSafe(demo)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            say(&format!("\nfailed: {error}"));
            ExitCode::FAILURE
        }
        // Told already.
        Err(_) => ExitCode::FAILURE,
    }
}

fn demo() -> Result<()> {
    let kubernetes = Kubernetes::build()?;
    title(&format!("Kubernetes {} with Catalyst in it", kubernetes.version));
    let since = Instant::now();
    let catalyst = Installation::try_with_pods().unwrap_or_else(|error| {
        say(&format!("  without pods: {error}"));
        Installation::start()
    });
    done("two processes are ready, each as a service account of its own", since);

    gitops(&catalyst);
    drift(&catalyst);
    tenants(&catalyst)?;
    if let Beneath::Node(node) = &catalyst.control_plane {
        pods::fenced(&catalyst, node)?;
    }
    if std::env::var_os("KEEP").is_some_and(|keep| !keep.is_empty() && keep != "0") {
        keep(catalyst, &kubernetes.bin)
    } else {
        stop(catalyst);
        Ok(())
    }
}

fn gitops(catalyst: &Installation) {
    title("a platform team applies a region and three projects");
    let since = Instant::now();
    run(catalyst, "apply -R -f gitops-examples/platform");
    ready(catalyst, &["Region", "Project"]);
    done("the projects are ready: namespace, roles, quota, network rules", since);

    title("the region gets its secrets, and the teams apply what is theirs");
    say("  Secrets shop.database and blog.mail in namespace catalyst-secrets, never in Git");
    region_secrets(catalyst);
    let since = Instant::now();
    run(catalyst, "apply -R -f gitops-examples/teams");
    ready(catalyst, &["AppIdentity", "EgressPolicy", "SecretRef"]);
    done("everything is ready: identities, tokens, network rules, secrets", since);
    // What is only a count follows within two seconds.
    catalyst.until(PATIENCE, "apps are counted", || {
        let shown = catalyst.kubectl("get projects");
        if shown.contains("0/0") { Err(shown) } else { Ok(()) }
    });
    run(catalyst, "get projects");
    run(catalyst, "get networkpolicies -n prj-shop");
}

fn drift(catalyst: &Installation) {
    let place = ("NetworkPolicy", Some("prj-shop"), "default-deny");
    let (kind, namespace, name) = place;
    let fence = catalyst.the(kind, namespace, name);

    title("a cluster administrator deletes the fence by hand");
    let since = Instant::now();
    run(catalyst, "delete networkpolicy default-deny -n prj-shop");
    catalyst.wait_for(PATIENCE, place, "is back", |now| {
        let new = now["metadata"]["uid"] != fence["metadata"]["uid"];
        if new && now["spec"] == fence["spec"] { Ok(()) } else { Err(now.to_string()) }
    });
    done("it is back", since);

    title("and opens a hole in it");
    let hole = json!({"spec": {"egress": [{}]}});
    say(&format!(
        "  $ kubectl patch networkpolicy default-deny -n prj-shop --type=merge -p '{hole}'"
    ));
    let since = Instant::now();
    catalyst.edit(kind, namespace, name, &hole);
    catalyst.wait_for(PATIENCE, place, "is closed again", |now| {
        if now["spec"] == fence["spec"] { Ok(()) } else { Err(now["spec"].to_string()) }
    });
    done("the hole is gone", since);
}

fn tenants(catalyst: &Installation) -> Result<()> {
    title("tina, who is admin of the namespace and of nothing else, tries the same");
    catalyst.kubectl("create rolebinding tina --clusterrole=admin --user=tina -n prj-shop");
    let tina = catalyst.control_plane.kubeconfig_for("tina", "tina", &[])?;
    let since = Instant::now();
    say("  tina$ kubectl create -f everything.yaml    # a NetworkPolicy with egress: [{}]");
    let words = ["--kubeconfig".as_ref(), tina.as_os_str(), "create".as_ref(), "-f-".as_ref()];
    // Authorisation takes a moment to see a new binding.
    let refused = catalyst.until(PATIENCE, "tina is refused by admission", || {
        let answer = catalyst.control_plane.kubectl_with(&words, HOLE);
        let answer = answer.map_err(|error| error.to_string())?;
        let told = answer.stderr.split_once("denied request: ");
        told.map(|(_, told)| told.trim().to_owned()).ok_or(answer.stderr)
    });
    say(&indented(&refused));
    done("nothing was opened", since);

    title("a team's file asks for more than it may have");
    say("  EgressPolicy too-much:");
    say(&indented(BAD_POLICY.split_once("spec:\n").map_or("", |(_, spec)| spec).trim_end()));
    let since = Instant::now();
    catalyst.apply(BAD_POLICY);
    let place = ("EgressPolicy", Some("prj-shop"), "too-much");
    let message = catalyst.told(PATIENCE, place, "Stalled", "NotDelegated");
    say("  its condition Ready is False:");
    say(&indented(&format!("NotDelegated: {message}")));
    done("it was told", since);
    let policy = catalyst.the("EgressPolicy", Some("prj-shop"), "too-much");
    assert!(!policy["status"]["networkPolicies"].is_null(), "its other entry holds: {policy:#}");
    catalyst.ready("Project", None, "shop");
    say("  its other entry holds all the same, and the project stays ready");
    catalyst.delete("EgressPolicy", Some("prj-shop"), "too-much");
    Ok(())
}

fn stop(mut catalyst: Installation) {
    title("the end");
    let since = Instant::now();
    for operator in [&mut catalyst.agent, &mut catalyst.secrets] {
        let ended = operator.term(PATIENCE);
        assert!(ended.success(), "after SIGTERM it ended with {ended}");
    }
    drop(catalyst);
    done("both processes let go of their leases, and the cluster is gone", since);
}

fn keep(catalyst: Installation, programs: &Path) -> Result<()> {
    let Installation { agent, secrets, control_plane, .. } = catalyst;
    // Dropped, they would be killed.
    std::mem::forget((agent, secrets));
    let kubeconfig = control_plane.keep()?;
    title("it runs on");
    say(&format!("  export KUBECONFIG={}", kubeconfig.display()));
    say(&format!("  export PATH={}:$PATH", programs.display()));
    say("  make down    # stops it");
    Ok(())
}

/// Waits until every object of the examples of these kinds is Ready.
fn ready(catalyst: &Installation, kinds: &[&str]) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for object in declared() {
        let (kind, metadata) = (text(&object["kind"]), &object["metadata"]);
        if kinds.contains(&kind.as_str()) {
            catalyst.ready(&kind, metadata["namespace"].as_str(), &text(&metadata["name"]));
        }
    }
}

/// Runs kubectl as a cluster administrator, in front of the audience.
fn run(catalyst: &Installation, line: &str) {
    say(&format!("  $ kubectl {line}"));
    let line = line.replace("gitops-examples", &repository("gitops-examples").to_string_lossy());
    say(&indented(catalyst.kubectl(&line).trim_end()));
}
