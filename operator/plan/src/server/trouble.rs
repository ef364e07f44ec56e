//! Why a pod of a Dapr server does not run, in words that mend it: from what kubelet and scheduler say of it.

use serde_json::Value;

/// What is wrong with a pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    /// One CamelCase word, such as `ImageUnavailable`.
    pub reason: &'static str,
    /// A sentence that says what to do.
    pub message: String,
}

/// What is wrong with a pod, by its status; `None` for one that runs, or may still come up by itself.
pub fn trouble(status: &Value) -> Option<Trouble> {
    let containers = status["containerStatuses"].as_array();
    containers.into_iter().flatten().find_map(container).or_else(|| unschedulable(status))
}

fn container(of: &Value) -> Option<Trouble> {
    let waiting = &of["state"]["waiting"];
    let said = waiting["message"].as_str().unwrap_or_default();
    let image = of["image"].as_str().unwrap_or_default();
    // The reasons are kubelet's, which has no list of them that it keeps to.
    // <https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/kubelet/images/types.go>
    let (reason, message) = match waiting["reason"].as_str()? {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => (
            "ImageUnavailable",
            format!(
                "image {image} can't be had: see spec.dapr.registry and spec.dapr.version of the Region, and whether the \
                 nodes reach that registry"
            ),
        ),
        "CreateContainerConfigError" => (
            "SecretMissing",
            format!(
                "the server can't start: {said}; create it, or mend spec.appEndpoint.tokenSecretKeyRef"
            ),
        ),
        "CrashLoopBackOff" => {
            let last = &of["lastState"]["terminated"];
            let (code, times) = (&last["exitCode"], &of["restartCount"]);
            (
                "ServerCrashes",
                format!(
                    "the server ended with exit code {code}, {times} times so far: see its log, kubectl logs --previous"
                ),
            )
        }
        "CreateContainerError" | "RunContainerError" => {
            ("ServerCannotStart", format!("the server can't start: {said}"))
        }
        _ => return None,
    };
    Some(Trouble { reason, message })
}

fn unschedulable(status: &Value) -> Option<Trouble> {
    let conditions = status["conditions"].as_array()?;
    let placed = conditions.iter().find(|condition| condition["type"] == "PodScheduled")?;
    (placed["status"] == "False" && placed["reason"] == "Unschedulable").then(|| Trouble {
        reason: "Unschedulable",
        message: format!(
            "no node takes the server: {}; ask for less in spec.resources, or add nodes",
            placed["message"].as_str().unwrap_or_default()
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"containerStatuses": [{
            "image": "ghcr.io/dapr/daprd:1.18.3",
            "restartCount": 3,
            "state": {"waiting": {"reason": reason, "message": message}},
            "lastState": {"terminated": {"exitCode": 1}},
        }]})
    }

    #[test]
    fn each_trouble_has_a_name_and_a_mend() {
        let cases = [
            (waiting("ImagePullBackOff", ""), "ImageUnavailable", "spec.dapr.registry"),
            (
                waiting("CreateContainerConfigError", "secret \"x\" not found"),
                "SecretMissing",
                "secret \"x\" not found",
            ),
            (waiting("CrashLoopBackOff", ""), "ServerCrashes", "exit code 1, 3 times"),
            (waiting("RunContainerError", "no such file"), "ServerCannotStart", "no such file"),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "0/1 nodes are available: 1 Insufficient memory."}]}),
                "Unschedulable",
                "Insufficient memory",
            ),
        ];
        for (status, reason, words) in cases {
            let trouble = trouble(&status).unwrap();
            assert_eq!(trouble.reason, reason);
            assert!(trouble.message.contains(words), "{trouble:?}");
        }
    }

    #[test]
    fn a_pod_that_runs_or_begins_is_in_no_trouble() {
        let running = json!({"containerStatuses": [{"state": {"running": {"startedAt": "now"}}}]});
        for status in [Value::Null, waiting("ContainerCreating", ""), running] {
            assert_eq!(trouble(&status), None);
        }
    }
}
