//! Every request to the API server that is no watch: one gate, one count, one way to say what went wrong.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use catalyst_plan::{Key, Resource, mutant, names};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
};
use kube::{Client, Error as ClientError};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::error::{self, Error};
use super::gate::Gate;
use super::metrics::Metrics;

/// How long authorisation may take to see a RoleBinding that we just wrote.
const SETTLE: Duration = Duration::from_secs(5);
const SETTLE_STEP: Duration = Duration::from_millis(20);

/// Retries of a request that the server was too busy for, each after what it asked for, at most [`RETRY_CAP`].
const RETRIES: u32 = 3;
const RETRY_CAP: Duration = Duration::from_secs(5);

/// How long one answer may take. The client itself would wait for minutes, and with it a lease or a status.
const ANSWER: Duration = Duration::from_secs(10);

/// A client that writes only while the lease is held.
pub struct Cluster {
    client: Client,
    gate: Gate,
    metrics: Metrics,
    /// When we last wrote a RoleBinding in a namespace.
    bound: Mutex<HashMap<String, Instant>>,
}

impl Cluster {
    /// A cluster reached by `client`, with writes behind `gate`.
    pub fn new(client: Client, gate: Gate, metrics: Metrics) -> Self {
        Self { client, gate, metrics, bound: Mutex::default() }
    }

    /// The client, for watches.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The figures that this process shows.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether this process may write.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// An untyped handle on a kind.
    pub fn api(&self, resource: &Resource, namespace: Option<&str>) -> Api<DynamicObject> {
        let kind = api_resource(resource);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind),
            None => Api::all_with(self.client.clone(), &kind),
        }
    }

    /// Server-side apply. `Ok(None)`: with `create_only`, something stands there already.
    pub async fn apply(
        &self,
        key: &Key,
        manager: &str,
        manifest: &Value,
        mode: Mode,
    ) -> Result<Option<DynamicObject>, Error> {
        let mut params = PatchParams::apply(manager).validation_strict();
        params.force = mode != Mode::Polite;
        let mut manifest = manifest.clone();
        if mode == Mode::CreateOnly && !mutant("take-over") {
            // Any version that no object has: 201 where nothing stands, 409 where something does, in one call.
            manifest["metadata"]["resourceVersion"] = json!("1");
        }
        if key.resource.kind == "RoleBinding" {
            // Before the call: its watch event may wake others before its answer is here.
            self.note_binding(key);
        }
        let verb = if mode == Mode::CreateOnly { "create" } else { "apply" };
        match self
            .write(verb, key, |api| {
                let (params, manifest) = (params.clone(), manifest.clone());
                async move { api.patch(&key.name, &params, &Patch::Apply(&manifest)).await }
            })
            .await
        {
            Ok(object) => Ok(Some(object)),
            Err(Error::Api { source, .. })
                if mode == Mode::CreateOnly && error::code(&source) == 409 =>
            {
                Ok(None)
            }
            Err(Error::Api { source, .. })
                if mode == Mode::Polite && error::code(&source) == 409 =>
            {
                Err(Error::Held(key.clone(), source.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// A JSON patch, refused if the object is no longer at `version`.
    pub async fn patch(
        &self,
        key: &Key,
        manager: &str,
        version: &str,
        patch: json_patch::Patch,
    ) -> Result<DynamicObject, Error> {
        let mut operations =
            vec![json!({"op": "test", "path": "/metadata/resourceVersion", "value": version})];
        operations.extend(patch.0.iter().map(|operation| json!(operation)));
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations))
            .map_err(|error| failed("patch", key, ClientError::SerdeError(error)))?;
        let params = PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() };
        self.write("patch", key, |api| {
            let (params, patch) = (params.clone(), patch.clone());
            async move { api.patch(&key.name, &params, &Patch::Json::<()>(patch)).await }
        })
        .await
    }

    /// Server-side apply of an object's status.
    pub async fn apply_status(
        &self,
        key: &Key,
        manager: &str,
        manifest: &Value,
    ) -> Result<DynamicObject, Error> {
        let params = PatchParams::apply(manager).force();
        self.write("status", key, |api| {
            let params = params.clone();
            async move { api.patch_status(&key.name, &params, &Patch::Apply(manifest)).await }
        })
        .await
    }

    /// Server-side apply that does not pass the gate: only for the Lease, which opens it.
    pub async fn apply_ungated(
        &self,
        key: &Key,
        manager: &str,
        manifest: &Value,
    ) -> Result<DynamicObject, Error> {
        let params = PatchParams::apply(manager).force();
        let api = self.api(&key.resource, key.namespace.as_deref());
        let done = in_time(api.patch(&key.name, &params, &Patch::Apply(manifest))).await?;
        done.map_err(|error| failed("apply", key, error))
    }

    /// Deletes the object of this UID, not a successor of its name. One that is gone is a success.
    pub async fn delete(&self, key: &Key, uid: &str) -> Result<(), Error> {
        let params = DeleteParams::background()
            .preconditions(Preconditions { uid: Some(uid.into()), resource_version: None });
        let deleted = self
            .write("delete", key, |api| {
                let params = params.clone();
                async move { api.delete(&key.name, &params).await.map(drop) }
            })
            .await;
        match deleted {
            Err(error) if matches!(error.code(), 404 | 409) => Ok(()),
            other => other,
        }
    }

    /// Reads one object; `None` if it is not there.
    pub async fn get(&self, key: &Key) -> Result<Option<DynamicObject>, Error> {
        let api = self.api(&key.resource, key.namespace.as_deref());
        in_time(api.get_opt(&key.name)).await?.map_err(|error| failed("get", key, error))
    }

    /// Lists what carries our label in a namespace, whole objects.
    pub async fn list_ours(
        &self,
        resource: &Resource,
        namespace: &str,
    ) -> Result<Vec<DynamicObject>, Error> {
        let key = Key {
            resource: resource.clone(),
            namespace: Some(namespace.into()),
            name: String::new(),
        };
        let list = in_time(self.api(resource, Some(namespace)).list(&ours())).await?;
        list.map(|list| list.items).map_err(|error| failed("list", &key, error))
    }

    async fn write<T, F, Fut>(&self, verb: &'static str, key: &Key, call: F) -> Result<T, Error>
    where
        F: Fn(Api<DynamicObject>) -> Fut,
        Fut: Future<Output = Result<T, ClientError>>,
    {
        let mut retries = 0;
        loop {
            // Right before each request, by the monotonic clock: a process that slept must not write.
            if !self.gate.is_open() {
                return Err(Error::NotHolder);
            }
            let api = self.api(&key.resource, key.namespace.as_deref());
            let error = match in_time(call(api)).await? {
                Ok(done) => {
                    self.metrics.wrote(&key.resource.kind, verb);
                    return Ok(done);
                }
                Err(error) => error,
            };
            let wait = match error::code(&error) {
                403 if error::is_terminating(&error) => {
                    return Err(Error::Terminating(key.clone()));
                }
                403 if self.settles(key) && !error::is_policy(&error) => SETTLE_STEP,
                429 | 503 if retries < RETRIES => {
                    retries += 1;
                    asked_to_wait(&error)
                }
                _ => return Err(failed(verb, key, error)),
            };
            tokio::time::sleep(wait).await;
        }
    }

    fn note_binding(&self, key: &Key) {
        if let Some(namespace) = &key.namespace {
            let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
            bound.retain(|_, at| at.elapsed() < SETTLE);
            bound.insert(namespace.clone(), Instant::now());
        }
    }

    /// Whether a refusal may be only that authorisation has not seen our new RoleBinding yet.
    fn settles(&self, key: &Key) -> bool {
        let Some(namespace) = &key.namespace else { return false };
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.get(namespace).is_some_and(|at| at.elapsed() < SETTLE)
    }
}

/// How an apply treats what stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Only where nothing stands.
    CreateOnly,
    /// Takes over fields that others set.
    Force,
    /// Leaves alone what others set, and says so.
    Polite,
}

/// Selects what Catalyst made.
pub(super) fn ours() -> ListParams {
    ListParams::default().labels(&format!("{}={}", names::MANAGED_BY, names::CATALYST))
}

/// What the client needs to know of a kind.
pub(super) fn api_resource(resource: &Resource) -> ApiResource {
    ApiResource {
        group: resource.group.to_string(),
        version: resource.version.to_string(),
        api_version: resource.api_version(),
        kind: resource.kind.to_string(),
        plural: resource.plural.to_string(),
    }
}

async fn in_time<T>(call: impl Future<Output = T>) -> Result<T, Error> {
    let answer = tokio::time::timeout(ANSWER, call).await;
    answer.map_err(|_| Error::Timeout(ANSWER.as_secs()))
}

fn failed(verb: &'static str, key: &Key, source: ClientError) -> Error {
    Error::Api { verb, key: key.clone(), source: Box::new(source) }
}

fn asked_to_wait(error: &ClientError) -> Duration {
    let seconds = match error {
        ClientError::Api(status) => {
            status.details.as_ref().map_or(0, |details| details.retry_after_seconds)
        }
        _ => 0,
    };
    Duration::from_secs(u64::from(seconds)).clamp(Duration::from_millis(200), RETRY_CAP)
}
