//! The Dapr server of one app: a standalone daprd with the app's identity, which the app reaches by URL and token.

mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;

use catalyst_crds::app_identity::{AppEndpoint, Protocol};
use catalyst_crds::{AppIdentity, Project, Region};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::Resource as _;
use serde_json::{Map, Value, json};

pub use self::trouble::{Trouble, trouble};
use crate::dapr::Settings;
use crate::home::home;
use crate::identity::{TOKEN_KEY, dapr_name, leave, token_name};
use crate::names::{APP, CATALYST, DAPR_NAMESPACE, MANAGED_BY, PROJECT};
use crate::workload::{
    container_security, from_field, pod_security, quantities, sentry_token, service, workload,
};
use crate::{Invalid, Keep, Key, Live, Owner, Plan};

/// The concern, as labels and field manager name it.
pub const CONCERN: &str = "server";

/// The UID of the token Secret, in the pod template: another token, other pods.
const TOKEN_UID: &str = "cra.diagrid.io/token-uid";

/// Seconds that a pod goes on serving after it was told to stop, longer than DNS remembers its address: daprd itself
/// closes its ports at once.
const DRAIN: i64 = 10;

/// The ports of a Dapr server's pods.
const HTTP: u16 = 3500;
const GRPC: u16 = 50001;

/// What the plan of a server reads.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The Region, if there is one.
    pub region: Option<Arc<Region>>,
    /// The Project whose namespace this is, if there is one.
    pub project: Option<Arc<Project>>,
    /// What `identity` made of the app, as far as it stands: the current token's Secret, account, Configuration.
    pub identity: [Option<Live>; 3],
    /// The trust anchors, as PEM, where they are known.
    pub anchors: Option<String>,
    /// How far the server's pods are, if it stands.
    pub standing: Option<Live>,
    /// What is wrong with its pods.
    pub troubles: Vec<Trouble>,
}

/// The Deployment and the Service of one app.
///
/// # Errors
/// Whatever keeps the server from being planned: see the reasons in the code. What stands runs on.
pub fn plan(app: &AppIdentity, world: &World) -> Result<Plan, Invalid> {
    let namespace = app.metadata.namespace.as_deref().unwrap_or_default();
    home(namespace, world.project.as_deref())?;
    let Some(project) = world.project.as_deref() else { return Ok(Plan::default()) };
    if project.metadata.deletion_timestamp.is_some() {
        return leave(project);
    }
    let Some(region) = world.region.as_deref() else {
        // The identity says so.
        return Ok(Plan { keep: Keep::All, ..Plan::unasked() });
    };
    let Some(settings) = Settings::of(region) else { return Ok(Plan::unasked()) };
    if app.spec.suspend {
        return Ok(Plan::suspended());
    }
    let endpoint = app.spec.app_endpoint.as_ref().map(|it| address(it, app.spec.protocol));
    let endpoint = endpoint.transpose()?;
    let [Some(token), Some(_), Some(_)] = &world.identity else {
        return Err(Invalid::waits(
            "WaitingForIdentity",
            "the app's token, account and Configuration are not there yet: see the condition IdentityReady",
        ));
    };
    let Some(anchors) = &world.anchors else {
        return Err(Invalid::waits(
            "WaitingForTrust",
            "the region's trust anchors are not there yet: see the condition TrustReady of the Region",
        ));
    };
    let owner = owner(app, project);
    let server = Server { app, project, settings, token, anchors, endpoint };
    let rollout = world.standing.as_ref().and_then(|live| live.rollout);
    let problem = match (rollout, world.troubles.first()) {
        (Some(rollout), _) if rollout.is_done() => None,
        (_, Some(Trouble { reason, message })) => Some(Invalid::waits(reason, message)),
        _ => Some(Invalid::waits(
            "ServerNotReady",
            format!(
                "{} of {} pods of the Dapr server are ready: see kubectl -n {namespace} get pods -l {APP}={}",
                rollout.unwrap_or_default().ready,
                replicas(app),
                name(app)
            ),
        )),
    };
    let mut status = endpoints(app, &server.settings);
    status.insert("readyReplicas".into(), json!(rollout.unwrap_or_default().ready));
    Ok(Plan {
        objects: vec![
            owner.keeps::<Service>(server.service()),
            owner.keeps::<Deployment>(server.deployment()),
        ],
        problem,
        status,
        ..Plan::default()
    })
}

/// The keys of what `identity` makes, as a server needs it: the token's Secret first.
pub fn needed(app: &AppIdentity) -> [Key; 3] {
    use catalyst_crds::dapr::Configuration;
    use k8s_openapi::api::core::v1::ServiceAccount;
    let namespace = app.metadata.namespace.as_deref();
    let revision = app.spec.api_token_revision.unwrap_or(1);
    [
        Key::of::<Secret>(namespace, &token_name(name(app), revision)),
        Key::of::<ServiceAccount>(namespace, &dapr_name(name(app))),
        Key::of::<Configuration>(namespace, &dapr_name(name(app))),
    ]
}

/// The URLs of an app's server, by the names that Dapr's SDKs read.
pub(crate) fn urls(app: &AppIdentity, region: &Region) -> Option<[(&'static str, String); 2]> {
    let settings = Settings::of(region)?;
    Some([
        ("DAPR_HTTP_ENDPOINT", url(app, &settings, HTTP)),
        ("DAPR_GRPC_ENDPOINT", url(app, &settings, GRPC)),
    ])
}

fn url(app: &AppIdentity, settings: &Settings<'_>, port: u16) -> String {
    let namespace = app.metadata.namespace.as_deref().unwrap_or_default();
    format!("http://{}.{namespace}.svc.{}:{port}", dapr_name(name(app)), settings.cluster_domain())
}

fn endpoints(app: &AppIdentity, settings: &Settings<'_>) -> Map<String, Value> {
    let endpoints = json!({"http": url(app, settings, HTTP), "grpc": url(app, settings, GRPC)});
    [("endpoints".to_string(), endpoints)].into_iter().collect()
}

/// Where an app listens, as daprd's flags have it.
struct Address {
    host: String,
    port: u16,
    protocol: &'static str,
}

/// Reads `spec.appEndpoint.url`.
fn address(endpoint: &AppEndpoint, protocol: Option<Protocol>) -> Result<Address, Invalid> {
    let url = &endpoint.url;
    let refused = |why: &str| {
        Invalid::new(
            "InvalidAppEndpoint",
            format!("spec.appEndpoint.url is \"{url}\": {why}; write it as http://10.20.0.15:8080"),
        )
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(|| refused("it has no scheme"))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| refused("it has no port"))?;
    let port = port.parse().ok().filter(|port| *port > 0);
    let port =
        port.ok_or_else(|| refused("after its last colon there is no port from 1 to 65535"))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let known = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(fits),
    };
    if !known {
        return Err(refused("it has no host"));
    }
    let protocol = match (scheme, protocol) {
        ("http", None | Some(Protocol::Http)) => "http",
        ("https", None | Some(Protocol::Http)) => "https",
        ("h2c", None | Some(Protocol::Http)) => "h2c",
        ("grpc", None | Some(Protocol::Grpc)) | ("http", Some(Protocol::Grpc)) => "grpc",
        ("grpcs", None | Some(Protocol::Grpc)) | ("https", Some(Protocol::Grpc)) => "grpcs",
        ("grpc" | "grpcs", Some(Protocol::Http)) | ("h2c", Some(Protocol::Grpc)) => {
            return Err(refused("spec.protocol says otherwise"));
        }
        _ => return Err(refused("its scheme is none of http, https, grpc, grpcs, h2c")),
    };
    Ok(Address { host: bare.unwrap_or(host).into(), port, protocol })
}

/// What a server is rendered from.
struct Server<'a> {
    app: &'a AppIdentity,
    project: &'a Project,
    settings: Settings<'a>,
    token: &'a Live,
    anchors: &'a str,
    endpoint: Option<Address>,
}

impl Server<'_> {
    /// By this name other servers find it, and so do applications.
    fn service(&self) -> Value {
        service(json!({
            "metadata": self.metadata(),
            "spec": {
                "clusterIP": "None",
                "selector": self.pods(),
                "ports": [
                    {"name": "http", "port": HTTP},
                    {"name": "grpc", "port": GRPC},
                    {"name": "internal", "port": 50002},
                    {"name": "metrics", "port": 9090},
                ],
            },
        }))
    }

    fn deployment(&self) -> Value {
        workload(json!({
            "kind": "Deployment",
            "metadata": self.metadata(),
            "spec": {
                "replicas": replicas(self.app),
                "selector": {"matchLabels": self.pods()},
                // One more before one less: an app has no server to spare.
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": self.template(),
            },
        }))
    }

    fn metadata(&self) -> Value {
        json!({"name": dapr_name(name(self.app)), "namespace": self.app.metadata.namespace})
    }

    /// The labels by which its pods are known, to the fence too.
    fn pods(&self) -> Value {
        json!({(APP): name(self.app), (MANAGED_BY): CATALYST, (PROJECT): self.project.metadata.name})
    }

    fn template(&self) -> Value {
        let mut labels = self.pods();
        // Dapr's own operator, where a cluster has one, deletes what looks like an app without its server.
        labels["dapr.io/sidecar-injected"] = json!("true");
        labels["dapr.io/app-id"] = json!(name(self.app));
        let mut security = pod_security();
        // Else a configuration stream that went without a word is missed only after a quarter of an hour.
        security["sysctls"] = json!([
            {"name": "net.ipv4.tcp_keepalive_time", "value": "15"},
            {"name": "net.ipv4.tcp_keepalive_intvl", "value": "5"},
            {"name": "net.ipv4.tcp_keepalive_probes", "value": "3"},
        ]);
        json!({
            "metadata": {
                "labels": labels,
                "annotations": {
                    // By these Sentry knows the app and its trust domain.
                    "dapr.io/app-id": name(self.app),
                    "dapr.io/config": dapr_name(name(self.app)),
                    (TOKEN_UID): self.token.uid,
                },
            },
            "spec": {
                "serviceAccountName": dapr_name(name(self.app)),
                "automountServiceAccountToken": false,
                "securityContext": security,
                "containers": [self.container()],
                "volumes": [sentry_token(7200)],
            },
        })
    }

    fn container(&self) -> Value {
        let named = [
            ("dapr-http", HTTP),
            ("dapr-grpc", GRPC),
            ("dapr-internal", 50002),
            ("dapr-public", 3501),
            ("dapr-metrics", 9090),
        ];
        let ports: Vec<Value> =
            named.iter().map(|(name, port)| json!({"name": name, "containerPort": port})).collect();
        json!({
            // Injectors leave a pod alone that has a container of this name.
            "name": "daprd",
            "image": self.settings.image("daprd"),
            "command": ["/daprd"],
            "args": self.arguments(),
            "env": self.environment(),
            "ports": ports,
            "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN}}},
            // Dapr's own /v1.0/healthz waits for the app, which runs elsewhere and may need this server to start.
            "readinessProbe": {
                "httpGet": {"path": "/v1.0/healthz/outbound", "port": 3501},
                "initialDelaySeconds": 1,
                "periodSeconds": 1,
                "failureThreshold": 5,
            },
            // What starts before its way to DNS or Sentry is open hangs without a word, and does not try again.
            "startupProbe": {
                "httpGet": {"path": "/v1.0/healthz/outbound", "port": 3501},
                "periodSeconds": 2,
                "failureThreshold": 60,
            },
            "livenessProbe": {"tcpSocket": {"port": 3501}, "failureThreshold": 5, "timeoutSeconds": 3},
            "resources": self.resources(),
            "securityContext": container_security(),
            "volumeMounts": [{
                "name": "token",
                "mountPath": "/var/run/secrets/dapr.io/sentrytoken",
                "readOnly": true,
            }],
        })
    }

    /// <https://docs.dapr.io/reference/arguments-annotations-overview/>
    fn arguments(&self) -> Vec<String> {
        let (settings, app) = (&self.settings, self.app);
        let mut arguments = vec![
            "--mode=kubernetes".to_string(),
            format!("--app-id={}", name(app)),
            format!("--config={}", dapr_name(name(app))),
            format!("--dapr-http-port={HTTP}"),
            format!("--dapr-grpc-port={GRPC}"),
            "--dapr-internal-grpc-port=50002".into(),
            "--dapr-public-port=3501".into(),
            format!("--control-plane-address={}", settings.address("dapr-api", 443)),
            format!("--sentry-address={}", settings.address("dapr-sentry", 443)),
            format!(
                "--placement-host-address={}",
                settings.address("dapr-placement-server", 50005)
            ),
            format!(
                "--scheduler-host-address={}",
                settings.address("dapr-scheduler-server-a", 443)
            ),
            "--enable-mtls".into(),
            "--enable-metrics".into(),
            "--metrics-port=9090".into(),
            "--log-level=info".into(),
            "--log-as-json".into(),
            "--dapr-graceful-shutdown-seconds=5".into(),
            // Its pods hold no token of Kubernetes that it could read Secrets with.
            "--disable-builtin-k8s-secret-store".into(),
        ];
        let size =
            |flag: &str, size: &Option<String>| size.as_ref().map(|size| format!("{flag}={size}"));
        arguments.extend(size("--max-body-size", &app.spec.max_body_size));
        arguments.extend(size("--read-buffer-size", &app.spec.read_buffer_size));
        let Some(Address { host, port, protocol }) = &self.endpoint else { return arguments };
        arguments.extend([
            format!("--app-channel-address={host}"),
            format!("--app-port={port}"),
            format!("--app-protocol={protocol}"),
        ]);
        let Some(check) = &app.spec.health_check else { return arguments };
        let probe = check.probe.clone().unwrap_or_default();
        if probe.enabled.unwrap_or(true) {
            arguments.extend([
                "--enable-app-health-check".into(),
                format!("--app-health-check-path={}", check.path.as_deref().unwrap_or("/healthz")),
                format!("--app-health-probe-interval={}", probe.interval_in_sec.unwrap_or(5)),
                format!("--app-health-probe-timeout={}", probe.timeout_in_ms.unwrap_or(500)),
                format!("--app-health-threshold={}", probe.failure_threshold.unwrap_or(3)),
            ]);
        }
        arguments
    }

    fn environment(&self) -> Vec<Value> {
        let of_secret = |variable: &str, secret: &str, key: &str| json!({"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}});
        let revision = self.app.spec.api_token_revision.unwrap_or(1);
        let token = token_name(name(self.app), revision);
        let mut environment = vec![
            from_field("NAMESPACE", "metadata.namespace"),
            from_field("POD_NAME", "metadata.name"),
            from_field("DAPR_HOST_IP", "status.podIP"),
            // It reads them once, so that other anchors are other pods.
            json!({"name": "DAPR_TRUST_ANCHORS", "value": self.anchors}),
            json!({"name": "DAPR_CONTROLPLANE_NAMESPACE", "value": DAPR_NAMESPACE}),
            json!({"name": "DAPR_CONTROLPLANE_TRUST_DOMAIN", "value": self.settings.domain}),
            of_secret("DAPR_API_TOKEN", &token, TOKEN_KEY),
        ];
        let key =
            self.app.spec.app_endpoint.as_ref().and_then(|it| it.token_secret_key_ref.as_ref());
        environment.extend(key.map(|key| of_secret("APP_API_TOKEN", &key.name, &key.key)));
        environment
    }

    fn resources(&self) -> Value {
        let Some(wanted) = &self.app.spec.resources else {
            return json!({
                "requests": {"cpu": "50m", "memory": "96Mi"},
                "limits": {"memory": "512Mi"},
            });
        };
        let parts = [("requests", &wanted.requests), ("limits", &wanted.limits)];
        let parts = parts.into_iter().filter_map(|(part, of)| Some((part, quantities(of)?)));
        json!(parts.collect::<BTreeMap<_, _>>())
    }
}

fn replicas(app: &AppIdentity) -> i32 {
    app.spec.scaling.as_ref().and_then(|scaling| scaling.replicas).unwrap_or(1)
}

fn name(app: &AppIdentity) -> &str {
    app.metadata.name.as_deref().unwrap_or_default()
}

fn owner(app: &AppIdentity, project: &Project) -> Owner {
    Owner {
        concern: CONCERN,
        project: project.metadata.name.clone().unwrap_or_default(),
        uid: app.metadata.uid.clone().unwrap_or_default(),
        reference: app.controller_owner_ref(&()).map(|reference| {
            k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
                block_owner_deletion: None,
                ..reference
            }
        }),
    }
}
