//! What is applied: projects, apps and a rule for each project, as a GitOps tool would send them; and when all is Ready.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use catalyst_e2e::{Installation, is_ready};
use futures::StreamExt;
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::watcher;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::floor::Client;

pub(crate) const REGION: &str = "{apiVersion: cra.diagrid.io/v1beta1, kind: Region, metadata: {name: eu}, spec: {trust: {domain: eu.example.com}}}";

/// The kinds of what the operator makes.
const CHILDREN: [&str; 7] = [
    "Namespace",
    "RoleBinding",
    "NetworkPolicy",
    "ServiceAccount",
    "Configuration",
    "Secret",
    "ResourceQuota",
];

/// The longest that a load may take to be Ready.
const PATIENCE: Duration = Duration::from_mins(15);

/// The files of a load.
pub(crate) struct Load {
    pub(crate) projects: Vec<Value>,
    /// What lies in the projects' namespaces.
    pub(crate) inside: Vec<Value>,
}

/// The namespace of a project of a load.
pub(crate) fn namespace(index: usize) -> String {
    format!("prj-load-{index}")
}

/// The rule of a project, which opens one network.
pub(crate) fn policy(index: usize, cidr: &str) -> Value {
    let rule = json!({"name": "out", "cidrs": [cidr], "ports": [{"port": 443, "protocol": "TCP"}]});
    let metadata = json!({"name": "out", "namespace": namespace(index)});
    of("EgressPolicy", &metadata, &json!({"allowed": [rule]}))
}

fn of(kind: &str, metadata: &Value, spec: &Value) -> Value {
    json!({"apiVersion": "cra.diagrid.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec})
}

impl Load {
    pub(crate) fn new(projects: usize, apps: usize) -> Self {
        let project = |index: usize| {
            let spec = json!({"quota": {"hard": {"pods": "100"}}});
            of("Project", &json!({"name": format!("load-{index}")}), &spec)
        };
        let app = |index: usize| {
            let metadata =
                json!({"name": format!("app-{index}"), "namespace": namespace(index % projects)});
            of("AppIdentity", &metadata, &json!({}))
        };
        let policies = (0..projects).map(|index| policy(index, "8.8.8.8/32"));
        Self {
            projects: (0..projects).map(project).collect(),
            inside: (0..apps).map(app).chain(policies).collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.projects.len() + self.inside.len()
    }

    /// Sends every file, again while its namespace is not there, as GitOps tools do, until all of it is Ready.
    /// Returns how long it took.
    pub(crate) fn converge(&self, client: &Client) -> Duration {
        let ready = client.runtime.spawn(until_ready(client.inner.clone(), self.len()));
        let began = Instant::now();
        client.apply_all(&self.projects, "git");
        client.apply_all(&self.inside, "git");
        let ended = client.runtime.block_on(join(ready));
        ended.duration_since(began)
    }

    /// What the operator made of it, as manifests that a plain client can apply.
    pub(crate) fn children(installation: &Installation) -> Vec<Value> {
        let list =
            |kind: &&str| installation.list(kind, None, "app.kubernetes.io/managed-by=catalyst");
        CHILDREN.iter().flat_map(list).filter(is_of_load).map(|child| bare(&child)).collect()
    }
}

async fn join(ready: JoinHandle<Instant>) -> Instant {
    let ended = tokio::time::timeout(PATIENCE, ready).await;
    ended.expect("all are Ready in time").expect("the watches go on")
}

/// The moment at which so many objects are Ready. Watched, as a list now and then would take the server's time.
async fn until_ready(client: kube::Client, wanted: usize) -> Instant {
    let watches = ["Project", "AppIdentity", "EgressPolicy"].map(|kind| {
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("cra.diagrid.io", "v1beta1", kind));
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        watcher(api, watcher::Config::default()).boxed()
    });
    let mut events = futures::stream::select_all(watches);
    let mut ready = HashMap::new();
    let mut count = 0;
    while count < wanted {
        let event = events.next().await.expect("a watch does not end").expect("a watch");
        if let watcher::Event::Apply(object) | watcher::Event::InitApply(object) = event {
            let object = json!(object);
            let is = is_ready(&object).is_ok();
            let was = ready.insert(object["metadata"]["uid"].to_string(), is).unwrap_or_default();
            count = count + usize::from(is) - usize::from(was);
        }
    }
    Instant::now()
}

fn is_of_load(object: &Value) -> bool {
    object["metadata"]["labels"]["cra.diagrid.io/project"]
        .as_str()
        .is_some_and(|project| project.starts_with("load-"))
}

/// A manifest without what the server added. Owners stay out: on another cluster they have other UIDs.
pub(crate) fn bare(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut bare = object.clone();
    bare["metadata"] = json!({
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "labels": metadata["labels"],
    });
    if let Some(fields) = bare.as_object_mut() {
        fields.remove("status");
        if fields["kind"] == "Namespace" {
            fields.remove("spec");
        }
    }
    bare
}
