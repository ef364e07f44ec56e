//! Whether the cluster enforces NetworkPolicies: not guessed from the network plugin's name, but shown by two pods.
//!
//! The prober dials the target over and over, where the chart's NetworkPolicies let it and where they do not. The prober
//! is ready while it reaches what it may and nothing else; the target is ready from its start on, until something
//! forbidden reaches it.

use std::sync::Arc;

use catalyst_crds::Region;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::{Invalid, Plan, region};

/// What selects both pods.
pub const CANARIES: &str = "app.kubernetes.io/name=catalyst-canary";

/// Which of the two a pod is.
const ROLE: &str = "app.kubernetes.io/component";

/// The container of each that dials, or is dialled.
const CONTAINER: &str = "canary";

/// What the verdict is read from.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Every Region of the cluster.
    pub regions: Vec<Arc<Region>>,
    /// The canary pods.
    pub canaries: Vec<Arc<Pod>>,
    /// The namespace that they lie in.
    pub namespace: String,
}

/// Says of the Region whether what is planned for it holds on the wire. It makes nothing.
///
/// # Errors
/// Never: what is wrong is the cluster's, and the Region works all the same.
pub fn plan(region: &Region, world: &World) -> Result<Plan, Invalid> {
    let one = region::the_one(&world.regions);
    let silent = one.is_none_or(|one| one.metadata.uid != region.metadata.uid);
    Ok(Plan { problem: problem(&world.canaries, &world.namespace), silent, ..Plan::default() })
}

/// What one canary says by its readiness.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Says {
    /// It does not run, or not for long enough.
    Nothing,
    /// All is as the policies say.
    Well,
    /// It is not, though it was since this container began.
    Amiss,
}

fn problem(canaries: &[Arc<Pod>], namespace: &str) -> Option<Invalid> {
    let staying = || canaries.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let any = |role: &str, wanted: Says| staying().any(|pod| is(pod, role) && says(pod) == wanted);
    if any("target", Says::Amiss) {
        return Some(Invalid::new(
            "NotEnforced",
            "a pod was reached although a NetworkPolicy forbids it: projects are NOT fenced; install a network plugin \
             that enforces NetworkPolicies, such as Calico or Cilium",
        ));
    }
    if any("target", Says::Well) && any("prober", Says::Well) {
        return None;
    }
    if staying().next().is_none() {
        return Some(Invalid::waits(
            "CanaryMissing",
            format!(
                "no pods in namespace {namespace} try whether NetworkPolicies are enforced: install the chart with \
                 canary.enabled=true"
            ),
        ));
    }
    let absent = ["target", "prober"]
        .into_iter()
        .find(|role| !staying().any(|pod| is(pod, role) && container(pod).is_some_and(runs)));
    Some(match absent {
        Some(role) => Invalid::waits(
            "CanaryNotRunning",
            format!(
                "the canary's {role} does not run, so nobody tries whether NetworkPolicies are enforced: \
                 kubectl describe pods -n {namespace} -l {CANARIES},{ROLE}={role}"
            ),
        ),
        None => Invalid::waits(
            "CanaryInconclusive",
            format!(
                "the canary does not reach what NetworkPolicies let it reach, so that it can't tell: \
                 kubectl logs -n {namespace} deployment/catalyst-canary-prober"
            ),
        ),
    })
}

fn is(pod: &Pod, role: &str) -> bool {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(ROLE)).is_some_and(|of| of == role)
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == CONTAINER)
}

fn runs(container: &ContainerStatus) -> bool {
    container.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn says(pod: &Pod) -> Says {
    let Some(container) = container(pod).filter(|container| runs(container)) else {
        return Says::Nothing;
    };
    if container.ready {
        // Where its node is lost only the pod's own condition turns: what it said last is all that is known.
        return if is_true(pod, "Ready") { Says::Well } else { Says::Nothing };
    }
    if fell(pod, container) { Says::Amiss } else { Says::Nothing }
}

fn is_true(pod: &Pod, type_: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == type_ && one.status == "True")
}

/// Whether a container that is not ready has been so since it began. One that has just begun is not ready either.
fn fell(pod: &Pod, container: &ContainerStatus) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let turned = conditions
        .into_iter()
        .find(|one| one.type_ == "ContainersReady" && one.status == "False")
        .and_then(|one| one.last_transition_time.as_ref());
    let running = container.state.as_ref().and_then(|state| state.running.as_ref());
    let began = running.and_then(|running| running.started_at.as_ref());
    turned.zip(began).is_some_and(|(turned, began)| turned.0 > began.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const BEGAN: &str = "2026-01-01T00:00:00Z";
    const LATER: &str = "2026-01-01T00:00:20Z";

    fn pod(role: &str, ready: bool, turned: &str, state: &Value) -> Arc<Pod> {
        let status = if ready { "True" } else { "False" };
        let condition =
            |type_| json!({"type": type_, "status": status, "lastTransitionTime": turned});
        let pod = json!({
            "metadata": {"labels": {ROLE: role}},
            "status": {
                "conditions": [condition("Ready"), condition("ContainersReady")],
                "containerStatuses": [{
                    "name": CONTAINER, "image": "", "imageID": "", "restartCount": 0,
                    "ready": ready, "state": state,
                }],
            },
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn running() -> Value {
        json!({"running": {"startedAt": BEGAN}})
    }

    fn well(role: &str) -> Arc<Pod> {
        pod(role, true, LATER, &running())
    }

    fn fallen(role: &str) -> Arc<Pod> {
        pod(role, false, LATER, &running())
    }

    /// Not ready since before its container began: that is how every container begins.
    fn beginning(role: &str) -> Arc<Pod> {
        pod(role, false, BEGAN, &running())
    }

    fn leaving(pod: &Pod) -> Arc<Pod> {
        let mut pod = serde_json::to_value(pod).unwrap();
        pod["metadata"]["deletionTimestamp"] = json!(LATER);
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    /// On a node that nobody hears of any more: only the pod's own condition turns.
    fn lost(role: &str) -> Arc<Pod> {
        let mut pod = serde_json::to_value(&*well(role)).unwrap();
        pod["status"]["conditions"][0]["status"] = json!("False");
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    /// Status and reason that the condition gets.
    fn verdict(canaries: &[Arc<Pod>]) -> (&'static str, &'static str) {
        match problem(canaries, "catalyst-system") {
            None => ("True", "Enforced"),
            Some(problem) if problem.waits => ("Unknown", problem.reason),
            Some(problem) => ("False", problem.reason),
        }
    }

    #[test]
    fn both_being_ready_is_the_proof() {
        assert_eq!(verdict(&[well("target"), well("prober")]), ("True", "Enforced"));
    }

    #[test]
    fn a_target_that_falls_was_reached_whatever_the_prober_says() {
        for prober in [well("prober"), fallen("prober"), beginning("prober")] {
            let both = [fallen("target"), prober];
            assert_eq!(verdict(&both), ("False", "NotEnforced"));
        }
    }

    #[test]
    fn one_that_has_just_begun_proves_nothing() {
        for (target, prober) in [
            (beginning("target"), well("prober")),
            (beginning("target"), fallen("prober")),
            (beginning("target"), beginning("prober")),
            (well("target"), beginning("prober")),
        ] {
            assert_eq!(verdict(&[target, prober]), ("Unknown", "CanaryInconclusive"));
        }
    }

    #[test]
    fn a_prober_that_reaches_nothing_can_not_tell() {
        let both = [well("target"), fallen("prober")];
        assert_eq!(verdict(&both), ("Unknown", "CanaryInconclusive"));
    }

    #[test]
    fn who_is_not_there_or_does_not_run_is_named() {
        assert_eq!(verdict(&[]), ("Unknown", "CanaryMissing"));
        assert_eq!(verdict(&[leaving(&fallen("target"))]), ("Unknown", "CanaryMissing"));
        let crashed = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        for (canaries, role) in [
            (vec![well("prober")], "target"),
            (vec![leaving(&well("target")), well("prober")], "target"),
            (vec![pod("target", false, LATER, &crashed), well("prober")], "target"),
            (vec![well("target")], "prober"),
        ] {
            let problem = problem(&canaries, "catalyst-system").unwrap();
            assert_eq!((problem.reason, problem.waits), ("CanaryNotRunning", true));
            assert!(
                problem.message.contains(&format!("the canary's {role} does")),
                "{}",
                problem.message
            );
        }
    }

    #[test]
    fn a_lost_node_proves_nothing() {
        let both = [lost("target"), lost("prober")];
        assert_eq!(verdict(&both), ("Unknown", "CanaryInconclusive"));
    }

    #[test]
    fn a_new_pair_takes_over_without_a_word() {
        let rolling = [
            leaving(&fallen("prober")),
            well("target"),
            well("prober"),
            beginning("target"),
            beginning("prober"),
        ];
        assert_eq!(verdict(&rolling), ("True", "Enforced"));
    }

    #[test]
    fn only_the_region_that_counts_is_spoken_of() {
        let region = |uid: &str, created: &str| {
            let region = json!({
                "apiVersion": "cra.diagrid.io/v1beta1", "kind": "Region",
                "metadata": {"name": uid, "uid": uid, "creationTimestamp": created},
                "spec": {"trust": {"domain": "eu.example.com"}},
            });
            Arc::new(serde_json::from_value::<Region>(region).unwrap())
        };
        let (first, second) = (region("a", BEGAN), region("b", LATER));
        let world = World { regions: vec![first.clone(), second.clone()], ..World::default() };
        assert!(!plan(&first, &world).unwrap().silent);
        assert!(plan(&second, &world).unwrap().silent);
    }
}
