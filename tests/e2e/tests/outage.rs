//! An API server that is gone for a minute: the operator lives, writes nothing without need, and catches up.

use std::time::{Duration, Instant};

use catalyst_e2e::{Stage, settle, state};
use serde_json::json;

static STAGE: Stage = Stage::new();

/// The promise: an outage as long as this is survived, and caught up with this soon after it.
const OUTAGE: Duration = Duration::from_mins(1);
const CAUGHT_UP: Duration = Duration::from_secs(15);

#[test]
fn after_a_minute_without_an_api_server_everything_is_as_before_within_15_s() {
    let mut stage = STAGE.alone();
    settle(&stage);
    let before = state(&stage);
    let pids = (stage.agent.pid(), stage.secrets.pid());

    stage.control_plane.stop_api_server().expect("it stops");
    std::thread::sleep(OUTAGE);
    stage.control_plane.start_api_server().expect("it starts");
    let back = Instant::now();
    let mark = stage.mark();
    stage.delete("NetworkPolicy", Some("prj-shop"), "default-deny");
    stage.edit(
        "NetworkPolicy",
        Some("prj-blog"),
        "default-deny",
        &json!({"spec": {"egress": [{}]}}),
    );

    let left = CAUGHT_UP.saturating_sub(back.elapsed());
    stage.until(left, "everything is as before the outage", || {
        let now = state(&stage);
        let differs = before.iter().find(|(place, object)| now.get(*place) != Some(*object));
        differs.map_or(Ok(()), |(place, object)| Err(format!("{place} is not\n{object:#}")))
    });
    let writes = stage.writes(mark);
    let beside: Vec<_> =
        writes.iter().filter(|write| write.resource() != "networkpolicies").collect();
    assert!(beside.is_empty(), "nothing but the fence needed mending: {beside:#?}");
    assert!(
        writes.len() <= 3,
        "one write for what was deleted, two for what was added to: {writes:#?}"
    );
    assert!(stage.agent.runs() && stage.secrets.runs());
    assert_eq!((stage.agent.pid(), stage.secrets.pid()), pids, "no process was started again");
}
