//! Workloads as the API server keeps them: what it would add is written out, so that what stands equals what is planned.
//!
//! The defaults are those of Kubernetes' `pkg/apis/{core,apps}/v1/defaults.go`.

use serde_json::{Map, Value, json};

/// The user and group that Dapr's images run as.
/// <https://github.com/dapr/dapr/blob/v1.18.3/docker/Dockerfile>
pub(crate) const USER: i64 = 65532;

/// What `restricted` of Pod Security asks of a pod.
pub(crate) fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// What `restricted` of Pod Security asks of a container, and a file system that nobody writes to.
pub(crate) fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

/// A field of the pod as a variable.
pub(crate) fn from_field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}

/// A token for Sentry, which tells by it who a pod is.
pub(crate) fn sentry_token(seconds: i64) -> Value {
    json!({"name": "token", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": seconds, "audience": "dapr.io/sentry"}},
    ]}})
}

/// A `Deployment` or `StatefulSet` with the defaults of its kind and of its pods.
pub(crate) fn workload(mut manifest: Value) -> Value {
    let stateful = manifest["kind"] == "StatefulSet";
    let spec = &mut manifest["spec"];
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    if stateful {
        default(
            spec,
            "updateStrategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
        );
        let retain = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
        default(spec, "persistentVolumeClaimRetentionPolicy", retain);
    } else {
        default(spec, "progressDeadlineSeconds", 600);
        let parts = json!({"maxSurge": "25%", "maxUnavailable": "25%"});
        default(spec, "strategy", json!({"type": "RollingUpdate", "rollingUpdate": parts}));
    }
    pod(&mut spec["template"]["spec"]);
    manifest
}

/// A Service with the defaults of its kind.
pub(crate) fn service(mut manifest: Value) -> Value {
    let spec = &mut manifest["spec"];
    default(spec, "type", "ClusterIP");
    default(spec, "sessionAffinity", "None");
    default(spec, "internalTrafficPolicy", "Cluster");
    for port in each(spec, "ports") {
        default(port, "protocol", "TCP");
        let number = port["port"].clone();
        default(port, "targetPort", number);
    }
    manifest
}

fn pod(spec: &mut Value) {
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "schedulerName", "default-scheduler");
    let account = spec["serviceAccountName"].clone();
    default(spec, "serviceAccount", account);
    for container in each(spec, "containers") {
        default(container, "terminationMessagePath", "/dev/termination-log");
        default(container, "terminationMessagePolicy", "File");
        default(container, "imagePullPolicy", "IfNotPresent");
        for port in each(container, "ports") {
            default(port, "protocol", "TCP");
        }
        for variable in each(container, "env") {
            if let Some(field) = variable.pointer_mut("/valueFrom/fieldRef") {
                default(field, "apiVersion", "v1");
            }
        }
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let Some(probe) = container.get_mut(probe) else { continue };
            default(probe, "timeoutSeconds", 1);
            default(probe, "periodSeconds", 10);
            default(probe, "successThreshold", 1);
            default(probe, "failureThreshold", 3);
            if let Some(get) = probe.get_mut("httpGet") {
                default(get, "scheme", "HTTP");
            }
        }
    }
    for volume in each(spec, "volumes") {
        for source in ["configMap", "secret", "projected"] {
            if let Some(source) = volume.get_mut(source) {
                default(source, "defaultMode", 420);
            }
        }
    }
}

fn default(of: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(fields) = of.as_object_mut() {
        fields.entry(field).or_insert_with(|| value.into());
    }
}

fn each<'a>(of: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    of.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Quantities as a manifest has them, or nothing where there are none.
pub(crate) fn quantities<'a>(
    of: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Option<Value> {
    let quantities: Map<String, Value> =
        of.into_iter().map(|(name, quantity)| (name.clone(), json!(quantity))).collect();
    (!quantities.is_empty()).then_some(Value::Object(quantities))
}
