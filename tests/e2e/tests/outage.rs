//! An API server that is gone for a minute, and with it every version that a watch could go on from: the operator lives,
//! sees what was done meanwhile, mends that and nothing else, and comes back without a burst.

use std::time::{Duration, Instant};

use catalyst_e2e::{Installation, Mark, Stage, settle, state};
use serde_json::json;

static STAGE: Stage = Stage::new();

/// The promise: an outage as long as this is survived, and caught up with this soon after it.
const OUTAGE: Duration = Duration::from_mins(1);
const CAUGHT_UP: Duration = Duration::from_secs(15);

/// What the API server says to who watches from a version that etcd has forgotten.
fn is_too_old(stage: &Installation, version: &str) -> bool {
    let kind = "/apis/networking.k8s.io/v1/networkpolicies";
    let watch = format!("{kind}?watch=true&timeoutSeconds=1&resourceVersion={version}");
    stage.kubectl(&format!("get --raw {watch}")).contains("too old resource version")
}

#[test]
fn after_a_minute_without_an_api_server_everything_is_as_before_within_15_s() {
    let mut stage = STAGE.alone();
    settle(&stage);
    let converging = stage.peak(Mark::BEGINNING);
    let before = state(&stage);
    let pids = (stage.agent.pid(), stage.secrets.pid());
    let fence = stage.the("NetworkPolicy", Some("prj-shop"), "default-deny");
    let seen = fence["metadata"]["resourceVersion"].as_str().expect("a version");

    stage.control_plane.stop_api_server().expect("it stops");
    std::thread::sleep(OUTAGE);
    // They see nothing of what is done until all that they could go on from is forgotten.
    stage.agent.signal("STOP");
    stage.secrets.signal("STOP");
    stage.control_plane.start_api_server().expect("it starts");
    let (back, mark) = (Instant::now(), stage.mark());
    stage.delete("NetworkPolicy", Some("prj-shop"), "default-deny");
    let hole = json!({"spec": {"egress": [{}]}});
    stage.edit("NetworkPolicy", Some("prj-blog"), "default-deny", &hole);
    let account = json!({"automountServiceAccountToken": true});
    stage.edit("ServiceAccount", Some("prj-shop"), "orders-dapr", &account);
    stage.control_plane.compact().expect("etcd forgets");
    assert!(is_too_old(&stage, seen), "a watch could go on from before the outage");
    stage.agent.signal("CONT");
    stage.secrets.signal("CONT");

    let left = CAUGHT_UP.saturating_sub(back.elapsed());
    stage.until(left, "everything is as before the outage", || {
        let now = state(&stage);
        let differs = before.iter().find(|(place, object)| now.get(*place) != Some(*object));
        differs.map_or(Ok(()), |(place, object)| Err(format!("{place} is not\n{object:#}")))
    });
    stage.calm();
    let writes = stage.writes(mark);
    let mended = |kind: &str| writes.iter().filter(|write| write.resource() == kind).count();
    let (policies, accounts) = (mended("networkpolicies"), mended("serviceaccounts"));
    assert_eq!(policies + accounts, writes.len(), "nothing else needed mending: {writes:#?}");
    assert!(
        policies <= 3 && accounts <= 2,
        "one write for what was deleted, two for what was added to: {writes:#?}"
    );
    let burst = stage.peak(mark);
    assert!(burst <= converging, "{burst} requests in one second, at first {converging}");
    assert!(stage.agent.runs() && stage.secrets.runs());
    assert_eq!((stage.agent.pid(), stage.secrets.pid()), pids, "no process was started again");
}
