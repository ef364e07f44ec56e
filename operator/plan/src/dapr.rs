//! Dapr's control plane: Sentry, placement, scheduler, their Services, budgets and fence. No Helm, no injector, no
//! operator of Dapr's own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use catalyst_crds::Region;
use catalyst_crds::dapr::Configuration;
use catalyst_crds::region::{Dapr, Scheduler};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use crate::flows::Party;
use crate::names::DAPR_NAMESPACE;
use crate::network::{ApiServer, control_plane};
use crate::workload::{
    container_security, from_field, pod_security, sentry_token, service, workload,
};
use crate::{Invalid, Object, Owner, Plan, Rollout, region, trust};

/// The concern, as labels and field manager name it.
pub const CONCERN: &str = "dapr";

/// Dapr's own settings, which Sentry reads at its start. The name is Dapr's.
const SYSTEM: &str = "daprsystem";

/// Where Dapr's images lie if nobody says otherwise.
const REGISTRY: &str = "ghcr.io/dapr";

/// The domain of a cluster's DNS if nobody says otherwise.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// How long certificates are valid if nobody says otherwise, as in Dapr's own chart.
const CERTIFICATE: &str = "24h";

/// What the plan of the control plane reads.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Every Region of the cluster.
    pub regions: Vec<Arc<Region>>,
    /// Whether the server knows Dapr's kinds.
    pub dapr: bool,
    /// Whether the trust bundle stands, without which Sentry would make one of its own.
    pub trusted: bool,
    /// How far each workload is, by name.
    pub rollouts: BTreeMap<String, Rollout>,
    /// Cluster IPs of the DNS Service, where they are known.
    pub resolvers: Vec<IpAddr>,
    /// Where the API server answers.
    pub api: ApiServer,
}

/// What a Region's Dapr settings come to.
pub(crate) struct Settings<'a> {
    /// The trust domain.
    pub(crate) domain: &'a str,
    /// The settings as they are.
    pub(crate) dapr: &'a Dapr,
}

impl<'a> Settings<'a> {
    /// `None` where the Region runs no Dapr.
    pub(crate) fn of(region: &'a Region) -> Option<Self> {
        let dapr = region.spec.dapr.as_ref()?;
        Some(Self { domain: &region.spec.trust.domain, dapr })
    }

    /// An image of Dapr's.
    pub(crate) fn image(&self, name: &str) -> String {
        let registry = self.dapr.registry.as_deref().unwrap_or(REGISTRY);
        format!("{registry}/{name}:{}", self.dapr.version)
    }

    pub(crate) fn cluster_domain(&self) -> &str {
        self.dapr.cluster_domain.as_deref().unwrap_or(CLUSTER_DOMAIN)
    }

    /// The address of a Service of the control plane.
    pub(crate) fn address(&self, service: &str, port: u16) -> String {
        format!("{service}.{DAPR_NAMESPACE}.svc.{}:{port}", self.cluster_domain())
    }
}

/// What should exist in the namespace of the control plane.
///
/// # Errors
/// `DaprMissing` and `WaitingForTrust`, which both wait.
pub fn plan(region: &Region, world: &World) -> Result<Plan, Invalid> {
    let one = region::the_one(&world.regions);
    let Some(settings) = Settings::of(region)
        .filter(|_| one.is_some_and(|one| one.metadata.uid == region.metadata.uid))
    else {
        return Ok(Plan::unasked());
    };
    if !world.dapr {
        return Err(Invalid::waits(
            "DaprMissing",
            "the cluster does not know Dapr's kinds: install them, as the chart's crds/ does",
        ));
    }
    if !world.trusted {
        return Err(Invalid::waits(
            "WaitingForTrust",
            format!("ConfigMap {DAPR_NAMESPACE}/{} is not there yet", trust::BUNDLE),
        ));
    }
    let owner = Owner {
        concern: CONCERN,
        project: String::new(),
        uid: region.metadata.uid.clone().unwrap_or_default(),
        reference: None,
    };
    let fence = control_plane(&region.spec, &world.resolvers, &world.api);
    let mut objects: Vec<Object> = fence.iter().map(|policy| owner.owns(policy)).collect();
    objects.push(owner.keeps::<Configuration>(system(region, &settings)));
    let scheduler = settings.dapr.scheduler.clone().unwrap_or_default();
    let workloads = [
        (Party::Sentry, owner.keeps::<Deployment>(sentry(&settings))),
        (Party::Placement, owner.keeps::<StatefulSet>(placement(&settings))),
        (Party::Scheduler, owner.keeps::<StatefulSet>(scheduler_server(&settings, &scheduler))),
    ];
    for (party, workload) in workloads {
        let Some(app) = party.app() else { continue };
        objects.extend(services(party).into_iter().map(|it| owner.keeps::<Service>(it)));
        objects.push(owner.keeps::<PodDisruptionBudget>(budget(app)));
        objects.push(workload);
    }
    Ok(Plan { objects, problem: progress(&world.rollouts), ..Plan::default() })
}

/// What is still to come, if anything.
fn progress(rollouts: &BTreeMap<String, Rollout>) -> Option<Invalid> {
    let parts = [Party::Sentry, Party::Placement, Party::Scheduler].into_iter();
    let waiting: Vec<String> = parts
        .filter_map(Party::app)
        .filter_map(|app| {
            let rollout = rollouts.get(app).copied().unwrap_or_default();
            let done = rollouts.contains_key(app) && rollout.is_done();
            (!done).then(|| {
                format!("{app} has {} of {} pods ready", rollout.ready, rollout.wanted.max(1))
            })
        })
        .collect();
    (!waiting.is_empty()).then(|| {
        Invalid::waits(
            "ControlPlaneNotReady",
            format!(
                "{}: see kubectl -n {DAPR_NAMESPACE} get pods, and their events",
                waiting.join(", ")
            ),
        )
    })
}

/// What Sentry reads at its start. The rest of Dapr reads flags.
fn system(region: &Region, settings: &Settings<'_>) -> Value {
    let shown = json!({"enabled": true});
    json!({
        "metadata": {"name": SYSTEM, "namespace": DAPR_NAMESPACE},
        "spec": {
            "mtls": {
                "enabled": true,
                "workloadCertTTL": region.spec.trust.workload_cert_ttl.as_deref().unwrap_or(CERTIFICATE),
                "allowedClockSkew": "15m",
                "controlPlaneTrustDomain": settings.domain,
                "sentryAddress": settings.address("dapr-sentry", 443),
            },
            // Dapr's definition defaults both, so both are written out.
            "metric": shown,
            "metrics": shown,
        },
    })
}

/// Issues certificates to whoever proves by a token of Kubernetes which pod it is.
fn sentry(settings: &Settings<'_>) -> Value {
    let arguments =
        ["--mode=kubernetes".to_string(), format!("--trust-domain={}", settings.domain)];
    let mounts = json!([
        {"name": "credentials", "mountPath": "/var/run/secrets/dapr.io/credentials", "readOnly": true},
    ]);
    let volumes = json!([{"name": "credentials", "secret": {"secretName": trust::BUNDLE}}]);
    let parts = Parts {
        party: Party::Sentry,
        image: settings.image("sentry"),
        id: "sentry",
        // It reads the lifetime of certificates only at its start.
        arguments: arguments.into(),
        ports: vec![50001],
        environment: vec![],
        mounts,
        volumes,
    };
    let mut manifest = deployment(&parts);
    // The API server knows it by its token.
    manifest["spec"]["template"]["spec"]["automountServiceAccountToken"] = json!(true);
    workload(manifest)
}

/// Knows on which Dapr server an actor lives.
fn placement(settings: &Settings<'_>) -> Value {
    let mut arguments = vec![
        "--replicationFactor=100".to_string(),
        "--keepalive-time=2s".into(),
        "--keepalive-timeout=3s".into(),
        "--disseminate-timeout=8s".into(),
    ];
    arguments.extend(secured(settings));
    let (mounts, volumes) = identity();
    let parts = Parts {
        party: Party::Placement,
        image: settings.image("placement"),
        id: "placement",
        arguments,
        ports: vec![50005],
        environment: vec![],
        mounts: json!(mounts),
        volumes: json!(volumes),
    };
    workload(stateful(&parts, 1, &json!({})))
}

/// Keeps jobs, reminders and workflows, in an etcd of its own.
fn scheduler_server(settings: &Settings<'_>, scheduler: &Scheduler) -> Value {
    let replicas = scheduler.replicas.unwrap_or(1);
    let domain = settings.cluster_domain();
    let name = Party::Scheduler.app().unwrap_or_default();
    let members: Vec<String> = (0..replicas)
        .map(|member| {
            format!(
                "{name}-{member}=https://{name}-{member}.{name}.{DAPR_NAMESPACE}.svc.{domain}:2380"
            )
        })
        .collect();
    let mut arguments = vec![
        "--listen-address=0.0.0.0".to_string(),
        "--id=$(SCHEDULER_ID)".into(),
        format!("--etcd-initial-cluster={}", members.join(",")),
        "--etcd-embed=true".into(),
        "--etcd-client-port=2379".into(),
        format!("--etcd-data-dir=/var/run/data/dapr-scheduler/{DAPR_NAMESPACE}/$(SCHEDULER_ID)"),
    ];
    arguments.extend(secured(settings));
    let (mut mounts, mut volumes) = identity();
    mounts.push(json!({"name": "data", "mountPath": "/var/run/data/dapr-scheduler"}));
    // It writes its own certificate where Go keeps temporary files.
    mounts.push(json!({"name": "temporary", "mountPath": "/tmp"}));
    volumes
        .push(json!({"name": "temporary", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}));
    let mut claims = json!({});
    match &scheduler.volume {
        Some(volume) => {
            claims = json!({"volumeClaimTemplates": [claim(&volume.size, volume.storage_class_name.as_deref())]});
        }
        None => volumes.push(json!({"name": "data", "emptyDir": {}})),
    }
    let parts = Parts {
        party: Party::Scheduler,
        image: settings.image("scheduler"),
        id: "scheduler",
        arguments,
        ports: vec![50006, 2379, 2380],
        environment: vec![
            from_field("SCHEDULER_ID", "metadata.name"),
            from_field("POD_IP", "status.podIP"),
        ],
        mounts: json!(mounts),
        volumes: json!(volumes),
    };
    let mut manifest = stateful(&parts, replicas, &claims);
    // The API server knows it by its token: it watches namespaces.
    manifest["spec"]["template"]["spec"]["automountServiceAccountToken"] = json!(true);
    workload(manifest)
}

fn claim(size: &str, class: Option<&str>) -> Value {
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            "volumeMode": "Filesystem",
        },
        "status": {"phase": "Pending"},
    });
    if let Some(class) = class {
        claim["spec"]["storageClassName"] = json!(class);
    }
    claim
}

/// How a part finds Sentry, and whom it trusts.
fn secured(settings: &Settings<'_>) -> [String; 5] {
    [
        "--tls-enabled".into(),
        format!("--trust-domain={}", settings.domain),
        "--trust-anchors-file=/var/run/secrets/dapr.io/tls/ca.crt".into(),
        format!("--sentry-address={}", settings.address("dapr-sentry", 443)),
        "--mode=kubernetes".into(),
    ]
}

/// What a part needs to get a certificate from Sentry: mounts and volumes.
fn identity() -> (Vec<Value>, Vec<Value>) {
    let mounts = vec![
        json!({"name": "trust", "mountPath": "/var/run/secrets/dapr.io/tls", "readOnly": true}),
        json!({"name": "token", "mountPath": "/var/run/secrets/dapr.io/sentrytoken", "readOnly": true}),
    ];
    let bundle = json!({"name": "trust", "configMap": {"name": trust::BUNDLE}});
    // The kubelet renews the token long before it ends.
    (mounts, vec![bundle, sentry_token(7200)])
}

/// What the workloads of the control plane differ in.
struct Parts {
    party: Party,
    image: String,
    /// What Sentry calls it, without `dapr-`.
    id: &'static str,
    arguments: Vec<String>,
    ports: Vec<i32>,
    environment: Vec<Value>,
    mounts: Value,
    volumes: Value,
}

fn deployment(parts: &Parts) -> Value {
    let name = parts.party.app().unwrap_or_default();
    json!({
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": DAPR_NAMESPACE},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template(parts)},
    })
}

fn stateful(parts: &Parts, replicas: i32, more: &Value) -> Value {
    let name = parts.party.app().unwrap_or_default();
    let mut manifest = json!({
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": DAPR_NAMESPACE},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": name}},
            "template": template(parts),
        },
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        manifest["spec"][field] = value.clone();
    }
    manifest
}

fn template(part: &Parts) -> Value {
    let name = part.party.app().unwrap_or_default();
    let mut environment = vec![from_field("NAMESPACE", "metadata.namespace")];
    environment.extend(part.environment.iter().cloned());
    let mut arguments = part.arguments.clone();
    let shown = ["--log-level=info", "--log-as-json", "--enable-metrics", "--metrics-port=9090"];
    arguments.extend(shown.map(Into::into));
    let ports = part.ports.iter().chain(&[8080, 9090]);
    let ports: Vec<Value> = ports.map(|port| json!({"containerPort": port})).collect();
    let healthy = json!({"path": "/healthz", "port": 8080});
    json!({
        "metadata": {
            "labels": {"app": name, "app.kubernetes.io/part-of": "catalyst"},
            // By this Sentry knows it, in its own namespace alone.
            "annotations": {"dapr.io/control-plane": part.id},
        },
        "spec": {
            "serviceAccountName": format!("dapr-{}", part.id),
            "automountServiceAccountToken": false,
            "securityContext": pod_security(),
            "containers": [{
                "name": name,
                "image": part.image,
                "command": [format!("/{}", part.id)],
                "args": arguments,
                "env": environment,
                "ports": ports,
                "readinessProbe": {"httpGet": healthy, "initialDelaySeconds": 1, "periodSeconds": 1},
                // What starts before its way to DNS or Sentry is open hangs without a word, and does not try again.
                "startupProbe": {"httpGet": healthy, "periodSeconds": 2, "failureThreshold": 20},
                "livenessProbe": {"httpGet": healthy, "failureThreshold": 5},
                "resources": {
                    "requests": {"cpu": "20m", "memory": "64Mi"},
                    "limits": {"memory": "512Mi"},
                },
                "securityContext": container_security(),
                "volumeMounts": part.mounts,
            }],
            "volumes": part.volumes,
        },
    })
}

/// The Services by which a part is found. Dapr knows these names.
fn services(party: Party) -> Vec<Value> {
    let app = party.app().unwrap_or_default();
    let made = |name: &str, more: Value| {
        let mut manifest = json!({
            "metadata": {"name": name, "namespace": DAPR_NAMESPACE},
            "spec": {"selector": {"app": app}},
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            manifest["spec"][field] = value.clone();
        }
        service(manifest)
    };
    let headless = |ports: Value| json!({"clusterIP": "None", "publishNotReadyAddresses": true, "ports": ports});
    match party {
        Party::Sentry => {
            vec![made(app, json!({"ports": [{"name": "grpc", "port": 443, "targetPort": 50001}]}))]
        }
        Party::Placement => vec![made(app, headless(json!([{"name": "api", "port": 50005}])))],
        Party::Scheduler => vec![
            made(
                app,
                headless(json!([
                    {"name": "api", "port": 50006},
                    {"name": "etcd-client", "port": 2379},
                    {"name": "etcd-peer", "port": 2380},
                ])),
            ),
            made(
                "dapr-scheduler-server-a",
                json!({
                    "publishNotReadyAddresses": true,
                    "ports": [{"name": "api", "port": 443, "targetPort": 50006}],
                }),
            ),
        ],
        Party::Server | Party::Stream | Party::ApiServer => vec![],
    }
}

/// One pod of a part at a time may be drained away.
fn budget(app: &str) -> Value {
    json!({
        "metadata": {"name": app, "namespace": DAPR_NAMESPACE},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": app}}},
    })
}
