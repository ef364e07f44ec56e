//! The identity of one app: its account, its token, the Secret it connects by, and its Dapr configuration.

use std::sync::Arc;

use catalyst_crds::dapr::{Configuration, ConfigurationSpec};
use catalyst_crds::{AppIdentity, Project, Region};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use serde_json::{Map, Value, json};

use crate::home::home;
use crate::{Datum, Invalid, Keep, Key, Object, Owner, Plan, names, region, server};

/// The concern, as labels and field manager name it.
pub const CONCERN: &str = "identity";

/// The key of the token in its Secret.
pub const TOKEN_KEY: &str = "token";

/// Random bytes of an API token: 43 characters in base64url.
const TOKEN_BYTES: usize = 32;

/// What the identity plan reads.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The Region, if there is one.
    pub region: Option<Arc<Region>>,
    /// The Project whose namespace this is, if there is one.
    pub project: Option<Arc<Project>>,
    /// Every AppIdentity of the cluster.
    pub apps: Vec<Arc<AppIdentity>>,
    /// Whether we may write in the namespace.
    pub bound: bool,
    /// Whether the server knows Dapr's kinds.
    pub dapr: bool,
    /// The Configuration that the app's `appConfig` names, if there is one.
    pub app_config: Option<Arc<Configuration>>,
}

/// What should exist for one app.
///
/// # Errors
/// Whatever keeps the app from being planned: see the reasons in the code.
pub fn plan(app: &AppIdentity, world: &World) -> Result<Plan, Invalid> {
    let namespace = app.metadata.namespace.as_deref().unwrap_or_default();
    let name = app.metadata.name.as_deref().unwrap_or_default();
    home(namespace, world.project.as_deref())?;
    let Some(project) = world.project.as_deref() else {
        return Ok(Plan::default());
    };
    if project.metadata.deletion_timestamp.is_some() {
        return leave(project);
    }
    if app.spec.suspend {
        return Ok(Plan::suspended());
    }
    app_id(name)?;
    let revision = app.spec.api_token_revision.unwrap_or(1);
    if revision < 1 {
        return Err(Invalid::new(
            "InvalidRevision",
            format!(
                "spec.apiTokenRevision is {revision}: write 1 or more; raise it by one for a new token"
            ),
        ));
    }
    let Some(region) = world.region.as_deref() else {
        return Err(Invalid::waits(
            "UnknownRegion",
            "there is no Region yet: create one, such as the chart does from its values",
        ));
    };
    admit(app, project, region, world)?;
    if !world.bound {
        return Err(Invalid::waits(
            "WaitingForNamespace",
            format!(
                "namespace {namespace} is not ready: see Project \"{}\"",
                project_name(project)
            ),
        ));
    }

    let domain = &region.spec.trust.domain;
    let token = token_name(name, revision);
    let mut objects = vec![
        service_account(app, project),
        token_secret(app, project, revision),
        connection(app, project, region, &token),
    ];
    let before = revision.checked_sub(1).filter(|before| *before > 0);
    let before = before.map(|before| Key::of::<Secret>(Some(namespace), &token_name(name, before)));
    let mut keep: Vec<Key> = before.into_iter().collect();
    let mut problem = None;
    if world.dapr {
        match configured(app, domain, world.app_config.as_deref()) {
            Ok(spec) => objects.push(configuration(app, project, spec)),
            Err(invalid) => {
                // Its server runs on with the one that stands.
                keep.push(Key::of::<Configuration>(Some(namespace), &dapr_name(name)));
                problem = Some(invalid);
            }
        }
    } else {
        problem = Some(Invalid::waits(
            "DaprMissing",
            "the cluster does not know Dapr's kinds: install the CRDs of Dapr (configurations.dapr.io)",
        ));
    }
    Ok(Plan {
        objects,
        keep: Keep::These(keep),
        problem,
        status: status(domain, namespace, name, &token),
        ..Plan::default()
    })
}

/// What to do in a project that is being deleted: where its namespace stays, what the app needed goes.
pub(crate) fn leave(project: &Project) -> Result<Plan, Invalid> {
    if project.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == names::FENCE) {
        return Ok(Plan { problem: Some(deleted(project)), ..Plan::default() });
    }
    Err(deleted(project))
}

fn deleted(project: &Project) -> Invalid {
    Invalid::waits(
        "WaitingForProject",
        format!("the Project \"{}\" is being deleted", project_name(project)),
    )
}

fn status(domain: &str, namespace: &str, app: &str, token: &str) -> Map<String, Value> {
    [
        ("spiffeIds", json!([format!("spiffe://{domain}/ns/{namespace}/{app}")])),
        ("apiTokenSecretRef", json!({"name": token, "key": TOKEN_KEY})),
        ("connectionSecretRef", json!({"name": dapr_name(app)})),
    ]
    .into_iter()
    .map(|(field, value)| (field.to_string(), value))
    .collect()
}

fn admit(
    app: &AppIdentity,
    project: &Project,
    region: &Region,
    world: &World,
) -> Result<(), Invalid> {
    let limit = region.spec.capacity.as_ref().and_then(|capacity| capacity.max_app_identities);
    // Lowering evicts nobody: one that has its token stays.
    let standing = app.status.as_ref().is_some_and(|status| status.api_token_secret_ref.is_some());
    if standing {
        return Ok(());
    }
    if !region::within(limit, app, &world.apps) {
        return Err(Invalid::waits(
            "OverCapacity",
            format!(
                "the Region takes no more than {} AppIdentities and has older ones: raise spec.capacity.maxAppIdentities of the Region, or delete an AppIdentity",
                limit.unwrap_or_default()
            ),
        ));
    }
    let limit = project.spec.quota.as_ref().and_then(|quota| quota.max_app_identities);
    let same = |other: &&Arc<AppIdentity>| other.metadata.namespace == app.metadata.namespace;
    let siblings: Vec<Arc<AppIdentity>> = world.apps.iter().filter(same).cloned().collect();
    if !region::within(limit, app, &siblings) {
        return Err(Invalid::waits(
            "OverCapacity",
            format!(
                "the Project takes no more than {} AppIdentities and has older ones: raise spec.quota.maxAppIdentities of Project \"{}\", or delete an AppIdentity",
                limit.unwrap_or_default(),
                project_name(project)
            ),
        ));
    }
    Ok(())
}

/// An app id has at most 58 characters, so that `<app>-dapr` is a DNS label.
fn app_id(name: &str) -> Result<(), Invalid> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    if starts && name.len() <= 58 && !name.ends_with('-') && name.bytes().all(fits) {
        return Ok(());
    }
    Err(Invalid::new(
        "InvalidName",
        format!(
            "metadata.name is \"{name}\": write at most 58 lowercase letters, digits and dashes, beginning with a letter, as the Dapr app id; a renamed app is a new identity"
        ),
    ))
}

/// What every child of an app is called: never as the app itself, which could be the tenant's own.
pub(crate) fn dapr_name(app: &str) -> String {
    format!("{app}-dapr")
}

/// The app whose child bears a name.
pub(crate) fn app_of(name: &str) -> Option<&str> {
    name.strip_suffix("-dapr").filter(|app| !app.is_empty())
}

/// The token Secret of a revision.
pub(crate) fn token_name(app: &str, revision: i32) -> String {
    format!("{app}-dapr-token-{revision}")
}

/// The account that the app's Dapr server runs as.
fn service_account(app: &AppIdentity, project: &Project) -> Object {
    let annotations = app.spec.service_account.as_ref().map(|account| account.annotations.clone());
    let metadata = ObjectMeta {
        annotations: annotations.filter(|annotations| !annotations.is_empty()),
        ..inside(app, &dapr_name(app_name(app)))
    };
    owner(app, project).owns(&ServiceAccount {
        metadata,
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

/// The API token, which its server reads. Scanners and gateways know it by its prefix.
fn token_secret(app: &AppIdentity, project: &Project, revision: i32) -> Object {
    let mut object = secret(app, project, &token_name(app_name(app), revision));
    object.manifest["immutable"] = json!(true);
    let prefix = format!("cat1_{}_{}_{revision}_", project_name(project), app_name(app));
    object.data.insert(TOKEN_KEY.into(), Datum::Generated { prefix, bytes: TOKEN_BYTES });
    object
}

/// The Secret that an application uses, always with the current values.
fn connection(app: &AppIdentity, project: &Project, region: &Region, token: &str) -> Object {
    let mut object = secret(app, project, &dapr_name(app_name(app)));
    let current = Datum::CopyOf { secret: token.into(), key: TOKEN_KEY.into() };
    object.data.insert("DAPR_API_TOKEN".into(), current);
    for (variable, url) in server::urls(app, region).into_iter().flatten() {
        object.data.insert(variable.into(), Datum::Text(url));
    }
    object
}

fn secret(app: &AppIdentity, project: &Project, name: &str) -> Object {
    let secret =
        Secret { metadata: inside(app, name), type_: Some("Opaque".into()), ..Secret::default() };
    owner(app, project).owns(&secret)
}

/// The Dapr configuration, whose trust domain Sentry puts into the app's SVID.
fn configuration(app: &AppIdentity, project: &Project, spec: Map<String, Value>) -> Object {
    let name = dapr_name(app_name(app));
    let mut configuration = Configuration::new(&name, ConfigurationSpec { fields: spec });
    configuration.metadata = inside(app, &name);
    owner(app, project).owns(&configuration)
}

/// What `spec.appConfig` says, with the region's trust domain in it.
fn configured(
    app: &AppIdentity,
    domain: &str,
    theirs: Option<&Configuration>,
) -> Result<Map<String, Value>, Invalid> {
    let mut spec = match (&app.spec.app_config, theirs) {
        (None, _) => Map::new(),
        (Some(_), Some(theirs)) => theirs.spec.fields.clone(),
        (Some(wanted), None) => {
            let namespace = app.metadata.namespace.as_deref().unwrap_or_default();
            return Err(Invalid::waits(
                "AppConfigMissing",
                format!(
                    "spec.appConfig is \"{wanted}\": there is no Configuration (dapr.io) of that name in {namespace} that is \
                     not Catalyst's; create it, or leave the field out"
                ),
            ));
        }
    };
    let refused = |message: String| Invalid::new("InvalidAppConfig", message);
    let named = app.spec.app_config.as_deref().unwrap_or_default();
    if spec.contains_key("mtls") {
        return Err(refused(format!(
            "spec.mtls of Configuration \"{named}\" is the control plane's to say: leave it out"
        )));
    }
    let access = spec.entry("accessControl").or_insert_with(|| json!({}));
    let Some(access) = access.as_object_mut() else {
        return Err(refused(format!(
            "spec.accessControl of Configuration \"{named}\" is no object: write one, or leave it out"
        )));
    };
    if let Some(other) = access.get("trustDomain").filter(|other| *other != domain) {
        return Err(refused(format!(
            "spec.accessControl.trustDomain of Configuration \"{named}\" is {other}: the region's is \"{domain}\"; write that, \
             or leave it out"
        )));
    }
    access.insert("trustDomain".into(), json!(domain));
    access.entry("defaultAction").or_insert_with(|| json!("allow"));
    // Dapr's definition defaults both, so both are written out.
    let shown = spec.entry("metrics").or_insert_with(|| json!({"enabled": true})).clone();
    spec.entry("metric").or_insert(shown);
    Ok(spec)
}

fn app_name(app: &AppIdentity) -> &str {
    app.metadata.name.as_deref().unwrap_or_default()
}

fn project_name(project: &Project) -> &str {
    project.metadata.name.as_deref().unwrap_or_default()
}

fn owner(app: &AppIdentity, project: &Project) -> Owner {
    let reference = app
        .controller_owner_ref(&())
        .map(|reference| OwnerReference { block_owner_deletion: None, ..reference });
    Owner {
        concern: CONCERN,
        project: project_name(project).into(),
        uid: app.metadata.uid.clone().unwrap_or_default(),
        reference,
    }
}

fn inside(app: &AppIdentity, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: app.metadata.namespace.clone(),
        ..ObjectMeta::default()
    }
}
