//! The API server as somebody who may do everything sees it: reading is a call, not a process.

use std::fmt;
use std::path::Path;

pub use kube::api::PatchParams;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Who applies files, as managedFields name it.
const GIT: &str = "git";

/// Who changes what is not theirs.
pub const FOREIGN: &str = "foreign-hand";

/// The kinds that tests name, and where they are served.
const KINDS: [(&str, &str); 24] = [
    ("Region", "cra.diagrid.io/v1beta1"),
    ("Project", "cra.diagrid.io/v1beta1"),
    ("AppIdentity", "cra.diagrid.io/v1beta1"),
    ("EgressPolicy", "cra.diagrid.io/v1beta1"),
    ("SecretRef", "cra.diagrid.io/v1beta1"),
    ("Namespace", "v1"),
    ("ServiceAccount", "v1"),
    ("Secret", "v1"),
    ("ConfigMap", "v1"),
    ("ResourceQuota", "v1"),
    ("LimitRange", "v1"),
    ("Pod", "v1"),
    ("Service", "v1"),
    ("Deployment", "apps/v1"),
    ("StatefulSet", "apps/v1"),
    ("PodDisruptionBudget", "policy/v1"),
    ("Event", "events.k8s.io/v1"),
    ("Lease", "coordination.k8s.io/v1"),
    ("NetworkPolicy", "networking.k8s.io/v1"),
    ("Role", "rbac.authorization.k8s.io/v1"),
    ("RoleBinding", "rbac.authorization.k8s.io/v1"),
    ("Configuration", "dapr.io/v1alpha1"),
    ("Component", "dapr.io/v1alpha1"),
    ("Resiliency", "dapr.io/v1alpha1"),
];

/// What the API server said no with.
#[derive(Debug)]
pub struct Refused {
    /// The status code; 0 if there was no answer.
    pub code: u16,
    /// What it said.
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

impl From<kube::Error> for Refused {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self { code: status.code, message: status.message.clone() },
            other => Self { code: 0, message: other.to_string() },
        }
    }
}

/// A client for any kind, whose calls block.
pub struct Cluster {
    client: Client,
    runtime: Runtime,
}

impl Cluster {
    pub(crate) fn new(kubeconfig: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let client = runtime.block_on(async {
            let file = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(file, &options).await;
            Client::try_from(config.expect("a configuration")).expect("a client")
        });
        Self { client, runtime }
    }

    /// Applies each document of a file as a GitOps tool does: server-side, with force.
    ///
    /// # Errors
    ///
    /// With the first document that is refused; those before it are applied.
    pub fn try_apply(&self, yaml: &str) -> Result<(), Refused> {
        documents(yaml).iter().try_for_each(|document| {
            let params = PatchParams::apply(GIT).force();
            self.apply_as(document, &params).map(drop)
        })
    }

    /// As [`Cluster::try_apply`]; a refusal is a panic.
    pub fn apply(&self, yaml: &str) {
        if let Err(refused) = self.try_apply(yaml) {
            panic!("{refused}\napplied was:\n{yaml}");
        }
    }

    /// One server-side apply, by whom the parameters say.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub fn apply_as(&self, object: &Value, params: &PatchParams) -> Result<Value, Refused> {
        let (api, name) = self.place(object);
        let patch = Patch::Apply(object);
        Ok(value(&self.runtime.block_on(api.patch(&name, params, &patch))?))
    }

    /// As [`Cluster::apply_as`], of the object's status.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub fn apply_status_as(&self, object: &Value, params: &PatchParams) -> Result<Value, Refused> {
        let (api, name) = self.place(object);
        let patch = Patch::Apply(object);
        Ok(value(&self.runtime.block_on(api.patch_status(&name, params, &patch))?))
    }

    /// One object; `None` if it is not there.
    pub fn get(&self, kind: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        let found = self.runtime.block_on(self.of(kind, namespace).get_opt(name));
        let found = found.unwrap_or_else(|error| panic!("get {kind} {name}: {error}"));
        found.as_ref().map(value)
    }

    /// One object that must be there.
    pub fn the(&self, kind: &str, namespace: Option<&str>, name: &str) -> Value {
        let found = self.get(kind, namespace, name);
        found.unwrap_or_else(|| panic!("there is no {kind} {name} in {namespace:?}"))
    }

    /// All of a kind, in a namespace or everywhere, whose labels match; empty selects all.
    pub fn list(&self, kind: &str, namespace: Option<&str>, labels: &str) -> Vec<Value> {
        let params = ListParams::default().labels(labels);
        let list = self.runtime.block_on(self.of(kind, namespace).list(&params));
        let list = list.unwrap_or_else(|error| panic!("list {kind}: {error}"));
        let resource = of_kind(kind);
        let whole = |object: &DynamicObject| {
            let mut object = value(object);
            object["apiVersion"] = resource.api_version.clone().into();
            object["kind"] = kind.into();
            object
        };
        list.items.iter().map(whole).collect()
    }

    /// Changes an object that is not the test's own, by a merge patch.
    pub fn edit(&self, kind: &str, namespace: Option<&str>, name: &str, patch: &Value) -> Value {
        let params = PatchParams { field_manager: Some(FOREIGN.into()), ..PatchParams::default() };
        let api = self.of(kind, namespace);
        let edited = self.runtime.block_on(api.patch(name, &params, &Patch::Merge(patch)));
        let edited = edited.unwrap_or_else(|error| panic!("edit {kind} {name}: {error}"));
        value(&edited)
    }

    /// Deletes an object; one that is not there is fine.
    pub fn delete(&self, kind: &str, namespace: Option<&str>, name: &str) {
        let params = DeleteParams::background();
        let deleted = self.runtime.block_on(self.of(kind, namespace).delete(name, &params));
        match deleted.map_err(Refused::from) {
            Err(refused) if refused.code != 404 => panic!("delete {kind} {name}: {refused}"),
            _ => {}
        }
    }

    fn place(&self, object: &Value) -> (Api<DynamicObject>, String) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let resource = served(&text(&object["apiVersion"]), &text(&object["kind"]));
        let metadata = &object["metadata"];
        (self.api(&resource, metadata["namespace"].as_str()), text(&metadata["name"]))
    }

    fn of(&self, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        self.api(&of_kind(kind), namespace)
    }

    fn api(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }
}

/// The documents of a YAML file, those that hold something.
pub fn documents(yaml: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml)
        .unwrap_or_else(|error| panic!("{error}\nread was:\n{yaml}"));
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

fn of_kind(kind: &str) -> ApiResource {
    let known = KINDS.iter().find(|(known, _)| *known == kind);
    let (_, version) = known.unwrap_or_else(|| panic!("{kind} is not in KINDS: add it there"));
    served(version, kind)
}

fn served(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).expect("JSON")
}
