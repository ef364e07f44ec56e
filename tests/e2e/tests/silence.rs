//! At rest nothing is written but the leases, a restart writes nothing either, and no manifest of ours is one that the
//! API server stores differently from how it is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use catalyst_e2e::{
    AGENT, Installation, Mark, PatchParams, Request, SECRETS, Stage, declared, settle,
};
use serde_json::Value;

static STAGE: Stage = Stage::new();

/// The promise: as long as this.
const REST: Duration = Duration::from_mins(1);

/// A controller that was silent for 5 s after a start would show by then.
const RESTARTED: Duration = Duration::from_secs(8);

/// A machine may be busy.
const SOON: Duration = Duration::from_secs(20);

/// An object's resourceVersion and generation, by place.
type Versions = BTreeMap<String, (Value, Value)>;

fn versions(stage: &Installation) -> Versions {
    let ours = [
        "Namespace",
        "RoleBinding",
        "ResourceQuota",
        "NetworkPolicy",
        "ServiceAccount",
        "Configuration",
        "Secret",
    ];
    let kinds = ["Region", "Project", "AppIdentity", "EgressPolicy", "SecretRef"];
    let ours = ours.iter().map(|kind| (kind, "app.kubernetes.io/managed-by=catalyst"));
    let kinds = kinds.iter().map(|kind| (kind, ""));
    let objects = ours.chain(kinds).flat_map(|(kind, labels)| stage.list(kind, None, labels));
    objects
        .map(|object| {
            let metadata = &object["metadata"];
            let place =
                format!("{} {} {}", object["kind"], metadata["namespace"], metadata["name"]);
            (place, (metadata["resourceVersion"].clone(), metadata["generation"].clone()))
        })
        .collect()
}

/// Waits until every controller has looked at every object that it is for.
fn looked(stage: &Installation) {
    let declared = declared();
    let count = |kind: &str| declared.iter().filter(|object| object["kind"] == kind).count();
    let controllers = [
        ("region", "Region"),
        ("project", "Project"),
        ("namespace", "Project"),
        ("network", "Project"),
        ("egress", "EgressPolicy"),
        ("identity", "AppIdentity"),
        ("secret", "SecretRef"),
    ];
    stage.until(SOON, "every controller has looked at all of its objects", || {
        let metrics = stage.agent.metrics() + &stage.secrets.metrics();
        for (controller, kind) in controllers {
            let label = format!("controller=\"{controller}\"");
            let lines = metrics.lines().filter(|line| {
                line.starts_with("catalyst_reconciles_total") && line.contains(&label)
            });
            let turns: usize =
                lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum();
            if turns < count(kind) {
                return Err(format!("{controller}: {turns} turns for {} of {kind}", count(kind)));
            }
        }
        Ok(())
    });
}

#[test]
fn sixty_seconds_of_rest_write_nothing_but_the_leases() {
    let stage = STAGE.alone();
    settle(&stage);
    let (mark, before) = (stage.mark(), versions(&stage));
    std::thread::sleep(REST);
    let writes = stage.writes(mark);
    assert!(writes.is_empty(), "{writes:#?}");
    assert_eq!(versions(&stage), before);
    let leases = stage.requests(mark);
    for user in [AGENT, SECRETS] {
        let kept = leases.iter().any(|write| write.user() == user && write.is_lease());
        assert!(kept, "{user} did not keep its lease, so this shows nothing");
    }
}

#[test]
fn a_restart_after_sigkill_writes_nothing_but_the_leases() {
    let mut stage = STAGE.alone();
    settle(&stage);
    let (mark, before) = (stage.mark(), versions(&stage));
    stage.kill();
    stage.mend();
    looked(&stage);
    std::thread::sleep(RESTARTED);
    let writes = stage.writes(mark);
    assert!(writes.is_empty(), "{writes:#?}");
    assert_eq!(versions(&stage), before);
}

#[test]
fn a_change_writes_what_follows_from_it_once() {
    let stage = STAGE.alone();
    settle(&stage);
    let mark = stage.mark();
    let policy = ("EgressPolicy", Some("prj-shop"), "no-public-resolvers");
    let blocked = serde_json::json!([{"name": "public-resolvers", "cidrs": ["9.9.9.0/24"]}]);
    let spec = serde_json::json!({"spec": {"blocked": blocked}});
    let changed = stage.edit(policy.0, policy.1, policy.2, &spec);
    assert_eq!(changed["metadata"]["generation"], 2);
    stage.ready(policy.0, policy.1, policy.2);
    stage.calm();
    // Its own status, and the one NetworkPolicy that all apps share.
    let writes = stage.writes(mark);
    let mut touched: Vec<_> =
        writes.iter().map(|write| format!("{} {}", write.resource(), write.name())).collect();
    touched.sort();
    touched.dedup();
    assert_eq!(touched.len(), writes.len(), "something was written twice: {writes:#?}");
    let wanted = ["egresspolicies/status no-public-resolvers", "networkpolicies base-egress"];
    assert_eq!(touched, wanted, "{writes:#?}");
    settle(&stage);
}

/// The last manifest that the operator applied to each place, and how it was applied.
fn applied(requests: &[Request]) -> Vec<(Value, PatchParams, bool)> {
    let mut last = BTreeMap::new();
    for request in requests {
        let uri = request.uri();
        let manager = uri.split(['?', '&']).find_map(|part| part.strip_prefix("fieldManager="));
        // A JSON patch is a list; a Project itself gets nothing but its finalizer.
        let whole = request.body().is_object() && request.resource() != "projects";
        if request.verb() == "patch" && request.code() < 300 && whole {
            let mut body = request.body().clone();
            body["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
            let params = PatchParams::apply(manager.expect("a field manager")).force();
            let status = request.resource().ends_with("/status");
            last.insert((request.resource(), body["metadata"].to_string()), (body, params, status));
        }
    }
    last.into_values().collect()
}

#[test]
fn every_manifest_applied_twice_more_leaves_version_and_generation_as_they_were() {
    let stage = STAGE.alone();
    settle(&stage);
    let mut requests = stage.writes(Mark::BEGINNING);
    requests.retain(|request| request.resource() != "events");
    let manifests = applied(&requests);
    let kinds: std::collections::BTreeSet<_> =
        manifests.iter().map(|(manifest, ..)| manifest["kind"].to_string()).collect();
    assert_eq!(kinds.len(), 12, "{kinds:?}");

    let before = versions(&stage);
    let apply = || {
        for (manifest, params, status) in &manifests {
            let done = if *status {
                stage.apply_status_as(manifest, params)
            } else {
                stage.apply_as(manifest, params)
            };
            done.unwrap_or_else(|refused| panic!("{refused}: {manifest:#}"));
        }
    };
    apply();
    // A second later the managedFields would get another time, if anything made the server write.
    std::thread::sleep(Duration::from_millis(1200));
    apply();
    let after = versions(&stage);
    let moved: Vec<_> =
        before.iter().filter(|(place, seen)| after.get(*place) != Some(seen)).collect();
    assert!(moved.is_empty(), "{moved:#?}");
}
