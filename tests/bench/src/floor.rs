//! The floor: a plain client without a rate limit that does the fewest server-side applies that give the same result.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Config};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::load::{Load, REGION};

/// A client that keeps so many requests in flight.
pub(crate) struct Client {
    pub(crate) runtime: Runtime,
    pub(crate) inner: kube::Client,
    pub(crate) connections: usize,
}

impl Client {
    pub(crate) fn new(kubeconfig: &Path, connections: usize) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let client = runtime.block_on(async {
            let file = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
            let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
            let mut config = config.expect("a configuration");
            config.default_retry = false;
            kube::Client::try_from(config).expect("a client")
        });
        Self { runtime, inner: client, connections }
    }

    /// Applies manifests, the next one as soon as a connection is free. A namespace that is not there is waited for.
    pub(crate) fn apply_all(&self, manifests: &[Value], manager: &str) {
        let params = PatchParams::apply(manager).force();
        let sent = stream::iter(manifests).map(Ok::<_, kube::Error>);
        let done = sent.try_for_each_concurrent(self.connections, |manifest| {
            self.apply(manifest, &params, false)
        });
        self.runtime.block_on(done).expect("every manifest is accepted");
    }

    /// Applies one manifest and waits for the answer.
    pub(crate) async fn apply_one(&self, manifest: &Value) {
        let params = PatchParams::apply("floor").force();
        self.apply(manifest, &params, false).await.expect("it is accepted");
    }

    /// Lists kinds, all at once, and of each namespace its Secrets, as many at once as there are connections.
    pub(crate) fn list_all(&self, kinds: &[(&str, &str)], namespaces: &[String]) {
        let lists = kinds.iter().map(|(version, kind)| (*version, *kind, None)).collect::<Vec<_>>();
        let secrets = namespaces.iter().map(|namespace| ("v1", "Secret", Some(namespace.as_str())));
        let read = async |(version, kind, namespace): (&str, &str, Option<&str>)| {
            let api = api(&self.inner, version, kind, namespace);
            api.list(&ListParams::default()).await.map(drop)
        };
        let (whole, each) = (lists.len(), self.connections);
        let done = async {
            stream::iter(lists).map(Ok).try_for_each_concurrent(whole, read).await?;
            stream::iter(secrets).map(Ok).try_for_each_concurrent(each, read).await
        };
        let done: kube::Result<()> = self.runtime.block_on(done);
        done.expect("lists");
    }

    /// Seconds for the files, their children and one status each.
    pub(crate) fn measure(&self, load: &Load, children: &[Value]) -> f64 {
        let region = catalyst_e2e::documents(REGION);
        self.apply_all(&region, "git");
        let (namespaces, rest): (Vec<Value>, Vec<Value>) =
            children.iter().cloned().partition(|child| child["kind"] == "Namespace");
        let statuses: Vec<Value> = load.projects.iter().chain(&load.inside).map(ready).collect();
        let began = Instant::now();
        self.apply_all(&load.projects, "git");
        self.apply_all(&namespaces, "floor");
        self.apply_all(&load.inside, "git");
        self.apply_all(&rest, "floor");
        let params = PatchParams::apply("floor").force();
        let sent = stream::iter(&statuses).map(Ok::<_, kube::Error>);
        let done = sent
            .try_for_each_concurrent(self.connections, |status| self.apply(status, &params, true));
        self.runtime.block_on(done).expect("every status is accepted");
        began.elapsed().as_secs_f64()
    }

    async fn apply(
        &self,
        manifest: &Value,
        params: &PatchParams,
        status: bool,
    ) -> kube::Result<()> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
        let api = api(&self.inner, &version, &kind, manifest["metadata"]["namespace"].as_str());
        let name = text(&manifest["metadata"]["name"]);
        loop {
            let patch = Patch::Apply(manifest);
            let done = if status {
                api.patch_status(&name, params, &patch).await
            } else {
                api.patch(&name, params, &patch).await
            };
            match done {
                Err(kube::Error::Api(refused)) if refused.code == 404 => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                other => return other.map(drop),
            }
        }
    }
}

/// A handle on a kind.
pub(crate) fn api(
    client: &kube::Client,
    version: &str,
    kind: &str,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// A status of the size that the operator writes.
fn ready(object: &Value) -> Value {
    let condition = |type_: &str| {
        json!({"type": type_, "status": "True", "reason": "Ready", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let types: &[&str] = match object["kind"].as_str() {
        Some("Project") => &["Accepted", "NamespaceReady", "NetworkReady", "Ready"],
        Some("AppIdentity") => &["IdentityReady", "Ready"],
        _ => &["NetworkReady", "Ready"],
    };
    let conditions: Vec<Value> = types.iter().map(|type_| condition(type_)).collect();
    json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "metadata": object["metadata"],
        "status": {"observedGeneration": 1, "conditions": conditions},
    })
}
