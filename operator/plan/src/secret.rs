//! A SecretRef: what a project takes from the region's provider, and a fingerprint that reveals nothing of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter;
use std::sync::Arc;

use catalyst_crds::secret_ref::SecretKey;
use catalyst_crds::{Project, SecretRef};
use hmac::{Hmac, KeyInit, Mac};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use serde_json::json;
use sha2::Sha256;

use crate::home::home;
use crate::identity::leave;
use crate::{Datum, Invalid, Owner, Plan, SecretBytes, names};

/// The concern, as labels and field manager name it.
pub const CONCERN: &str = "secret";

/// What a Secret holds at most.
/// <https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size>
const MAX_BYTES: usize = 1024 * 1024;

/// The values of one secret, by key.
pub type Values = BTreeMap<String, SecretBytes>;

/// What a SecretRef's plan reads.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The Project whose namespace this is, if there is one.
    pub project: Option<Arc<Project>>,
    /// Whether we may write in the namespace.
    pub bound: bool,
    /// The secret in the provider, if it is there.
    pub remote: Option<Values>,
    /// The key under which fingerprints are made; `None` until it is drawn.
    pub fingerprint_key: Option<SecretBytes>,
}

/// The Secret of the region's secret namespace that a reference means: a project reaches only its own,
/// since a project's name has no dot.
pub fn remote_name(project: &str, name: &str) -> String {
    format!("{project}.{name}")
}

/// The project's copy of what it takes.
///
/// # Errors
/// `InvalidKeys` where two keys are called the same, `NotFound` while the provider does not have the secret or one of its keys, which waits.
pub fn plan(reference: &SecretRef, world: &World) -> Result<Plan, Invalid> {
    let namespace = reference.metadata.namespace.as_deref().unwrap_or_default();
    home(namespace, world.project.as_deref())?;
    let Some(project) = world.project.as_deref() else {
        return Ok(Plan::default());
    };
    if project.metadata.deletion_timestamp.is_some() {
        return leave(project);
    }
    let project_name = project.metadata.name.as_deref().unwrap_or_default();
    let values = taken(project_name, reference, world.remote.as_ref())?;
    let size: usize = values.iter().map(|(key, value)| key.len() + value.0.len()).sum();
    if size > MAX_BYTES {
        return Err(Invalid::new(
            "TooLarge",
            format!("spec.keys take {size} bytes, and a Secret holds {MAX_BYTES}: take fewer keys"),
        ));
    }
    if !world.bound {
        return Err(Invalid::waits(
            "WaitingForNamespace",
            format!("namespace {namespace} is not ready: see Project \"{project_name}\""),
        ));
    }
    let target = target(reference);
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(target.into()),
            namespace: Some(namespace.into()),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".into()),
        ..Secret::default()
    };
    let owner = Owner {
        concern: CONCERN,
        project: project_name.into(),
        uid: reference.metadata.uid.clone().unwrap_or_default(),
        reference: reference
            .controller_owner_ref(&())
            .map(|reference| OwnerReference { block_owner_deletion: None, ..reference }),
    };
    let mut object = owner.owns(&secret);
    let print =
        world.fingerprint_key.as_ref().and_then(|key| fingerprint(key, project_name, &values));
    object.data = values.into_iter().map(|(key, value)| (key, Datum::Given(value))).collect();
    Ok(Plan {
        objects: vec![object],
        status: print.map(|print| ("fingerprint".to_string(), json!(print))).into_iter().collect(),
        ..Plan::default()
    })
}

/// What to say where the target stands and is not this SecretRef's.
pub fn target_exists(reference: &SecretRef) -> Invalid {
    let field = match reference.spec.target {
        Some(_) => "spec.target.secretName",
        None => "metadata.name",
    };
    let target = target(reference);
    Invalid::new(
        "TargetExists",
        format!(
            "{field} is \"{target}\": a Secret of that name stands that is not this SecretRef's; write \
             another name into spec.target.secretName, or delete that Secret"
        ),
    )
}

fn target(reference: &SecretRef) -> &str {
    let own = reference.metadata.name.as_deref().unwrap_or_default();
    reference.spec.target.as_ref().map_or(own, |target| target.secret_name.as_str())
}

/// What a project takes by a reference.
pub(crate) fn taken(
    project: &str,
    reference: &SecretRef,
    remote: Option<&Values>,
) -> Result<Values, Invalid> {
    let name = &reference.spec.remote.name;
    let Some(remote) = remote else {
        let secret = remote_name(project, name);
        return Err(Invalid::waits(
            "NotFound",
            format!(
                "spec.remote.name is \"{name}\": the region has no Secret \"{secret}\" in namespace {}; create it there",
                names::SECRETS_NAMESPACE
            ),
        ));
    };
    select(&reference.spec.keys, remote, name)
}

fn select(keys: &[SecretKey], remote: &Values, name: &str) -> Result<Values, Invalid> {
    if keys.is_empty() {
        return Ok(remote.clone());
    }
    let mut values = Values::new();
    for (index, key) in keys.iter().enumerate() {
        let there = key.remote_key.as_ref().unwrap_or(&key.name);
        let Some(value) = remote.get(there) else {
            let field = if key.remote_key.is_some() { "remoteKey" } else { "name" };
            let known: Vec<&str> = remote.keys().map(String::as_str).collect();
            return Err(Invalid::waits(
                "NotFound",
                format!(
                    "spec.keys[{index}].{field} is \"{there}\": the secret \"{name}\" has the keys {}",
                    known.join(", ")
                ),
            ));
        };
        if values.insert(key.name.clone(), value.clone()).is_some() {
            return Err(Invalid::new(
                "InvalidKeys",
                format!(
                    "spec.keys[{index}].name is \"{}\", as that of another entry: call each key otherwise",
                    key.name
                ),
            ));
        }
    }
    Ok(values)
}

/// HMAC-SHA256 over project, keys and values, each with its length before it, so that no two secrets run together
/// and no two projects see that they share one.
fn fingerprint(key: &SecretBytes, project: &str, values: &Values) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).ok()?;
    let parts = values.iter().flat_map(|(key, value)| [key.as_bytes(), &value.0]);
    for part in iter::once(project.as_bytes()).chain(parts) {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    let bytes = mac.finalize().into_bytes();
    Some(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}
