//! What is applied: projects, apps and a rule for each project, as a GitOps tool would send them.

use std::time::Duration;

use catalyst_e2e::{Installation, is_ready};
use serde_json::{Value, json};

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

/// The files of a load.
pub(crate) struct Load {
    pub(crate) projects: Vec<Value>,
    /// What lies in the projects' namespaces.
    pub(crate) inside: Vec<Value>,
}

impl Load {
    pub(crate) fn new(projects: usize, apps: usize) -> Self {
        let of = |kind: &str, metadata: Value, spec: Value| json!({"apiVersion": "cra.diagrid.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec});
        let project =
            |index: usize| of("Project", json!({"name": format!("load-{index}")}), json!({}));
        let namespace = |index: usize| format!("prj-load-{}", index % projects);
        let app = |index: usize| {
            let metadata = json!({"name": format!("app-{index}"), "namespace": namespace(index)});
            of("AppIdentity", metadata, json!({}))
        };
        let policy = |index: usize| {
            let rule = json!({"name": "out", "cidrs": ["8.8.8.8/32"], "ports": [{"port": 443, "protocol": "TCP"}]});
            let metadata = json!({"name": "out", "namespace": namespace(index)});
            of("EgressPolicy", metadata, json!({"allowed": [rule]}))
        };
        Self {
            projects: (0..projects).map(project).collect(),
            inside: (0..apps).map(app).chain((0..projects).map(policy)).collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.projects.len() + self.inside.len()
    }

    /// Sends every file, again while its namespace is not there, as GitOps tools do.
    pub(crate) fn send(&self, client: &Client) {
        client.apply_all(&self.projects, "git");
        client.apply_all(&self.inside, "git");
    }

    /// Waits until all of it is Ready.
    pub(crate) fn until_ready(&self, client: &Client) {
        for kind in ["Project", "AppIdentity", "EgressPolicy"] {
            let wanted = self
                .projects
                .iter()
                .chain(&self.inside)
                .filter(|object| object["kind"] == kind)
                .count();
            catalyst_e2e::until(Duration::from_mins(5), &format!("all {kind}s are Ready"), || {
                let ready =
                    client.list(kind).iter().filter(|object| is_ready(object).is_ok()).count();
                if ready == wanted { Ok(()) } else { Err(format!("{ready} of {wanted}")) }
            });
        }
    }

    /// What the operator made of it, as manifests that a plain client can apply.
    pub(crate) fn children(installation: &Installation) -> Vec<Value> {
        let list =
            |kind: &&str| installation.list(kind, None, "app.kubernetes.io/managed-by=catalyst");
        CHILDREN.iter().flat_map(list).filter(is_of_load).map(bare).collect()
    }
}

fn is_of_load(object: &Value) -> bool {
    object["metadata"]["labels"]["cra.diagrid.io/project"]
        .as_str()
        .is_some_and(|project| project.starts_with("load-"))
}

/// A manifest without what the server added. Owners stay out: on another cluster they have other UIDs.
fn bare(mut object: Value) -> Value {
    let metadata = &object["metadata"];
    object["metadata"] = json!({
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "labels": metadata["labels"],
    });
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if fields["kind"] == "Namespace" {
            fields.remove("spec");
        }
    }
    object
}
