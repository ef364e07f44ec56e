//! The project's namespace: made, or taken with its owner's consent, with our bindings and its quota.

use std::sync::Arc;

use catalyst_crds::project::{DeletionPolicy, NamespacePolicy};
use catalyst_crds::{Project, Region};
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota, ResourceQuotaSpec};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use serde_json::json;

use crate::{Invalid, Keep, Key, Live, Object, Owner, Plan, Tenure, names, region};

/// The concern, as labels and field manager name it.
pub const CONCERN: &str = "namespace";

/// What the namespace plan reads.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The Region, if there is one.
    pub region: Option<Arc<Region>>,
    /// Every Project of the cluster.
    pub projects: Vec<Arc<Project>>,
    /// The namespace `prj-<name>`, if it stands.
    pub namespace: Option<Live>,
    /// The namespace that Catalyst itself runs in.
    pub release: String,
    /// How many children of AppIdentities and SecretRefs stand in the namespace.
    pub children: usize,
    /// How many NetworkPolicies of ours stand in the namespace.
    pub policies: usize,
}

/// What should exist: the namespace unless somebody else brings it, the bindings, the quota.
///
/// # Errors
/// `NamespaceExists` where it stands without its owner's consent, `NamespaceMissing` and `NamespaceTerminating`
/// while that is so, and whatever keeps the region from taking the project in.
pub fn plan(project: &Project, world: &World) -> Result<Plan, Invalid> {
    let name = project.metadata.name.as_deref().unwrap_or_default();
    if project.metadata.deletion_timestamp.is_some() {
        return Ok(farewell(project, world));
    }
    let standing = world.namespace.as_ref();
    let consents = standing.is_some_and(|live| live.label(names::PROJECT) == Some(name));
    if project.spec.suspend {
        // Without the bindings nobody could keep the fence, which suspend never covers.
        let stays = consents && standing.is_some_and(|live| !live.deleting);
        let objects = if stays { bindings(project, world) } else { Vec::new() };
        return Ok(Plan { objects, fence: is_fenced(project), ..Plan::suspended() });
    }
    region::admit(project, world.region.as_deref(), &world.projects, consents)?;

    let namespace = names::namespace_of(name);
    let policy = project.spec.namespace.clone().unwrap_or_default().policy;
    match (policy, standing) {
        (_, Some(live)) if live.deleting => Err(Invalid::waits(
            "NamespaceTerminating",
            format!("namespace {namespace} is being deleted; the project goes on once it is gone"),
        )),
        (NamespacePolicy::External, None) => Err(Invalid::waits(
            "NamespaceMissing",
            format!(
                "spec.namespace.policy is External and there is no namespace {namespace}: create it with the label {}: {name}",
                names::PROJECT
            ),
        )),
        (_, Some(live))
            if !consents && (policy == NamespacePolicy::External || !is_made(project, live)) =>
        {
            Err(Invalid::new(
                "NamespaceExists",
                format!(
                    "namespace {namespace} stands and does not consent: set its label {}: {name}, or name the project otherwise",
                    names::PROJECT
                ),
            ))
        }
        (NamespacePolicy::External, Some(live)) => {
            Ok(furnish(project, world, None, is_made(project, live)))
        }
        (NamespacePolicy::Create, Some(live)) if !is_made(project, live) => {
            let mut plan = furnish(project, world, Some(taken(project, live)), false);
            let level = live.label(names::POD_SECURITY);
            if let Some(level) = level.filter(|level| *level != RESTRICTED) {
                plan.warnings.push(format!(
                    "namespace {namespace} is not Catalyst's and enforces the Pod Security level \"{level}\"; set its label {}: {RESTRICTED}",
                    names::POD_SECURITY
                ));
            }
            Ok(plan)
        }
        (NamespacePolicy::Create, _) => Ok(furnish(project, world, Some(made(project)), true)),
    }
}

/// Whether we made the namespace. Where somebody took the label away that says so, the ownerReference still does.
fn is_made(project: &Project, live: &Live) -> bool {
    let uid = project.metadata.uid.as_deref();
    live.is_managed() || live.owners.iter().any(|owner| Some(owner.uid.as_str()) == uid)
}

/// The Pod Security level of a namespace that we make.
const RESTRICTED: &str = "restricted";

/// The namespace, where we make it. It goes with its Project, unless that one says Retain.
fn made(project: &Project) -> Object {
    let mut owner = owner(project);
    owner.reference = (project.spec.deletion_policy == DeletionPolicy::Delete)
        .then(|| reference(project))
        .flatten();
    let mut namespace = owner.owns(&bare(project));
    namespace.manifest["metadata"]["labels"][names::POD_SECURITY] = json!(RESTRICTED);
    namespace
}

/// Our labels on a namespace that somebody else made, and the Pod Security level if it has none.
fn taken(project: &Project, live: &Live) -> Object {
    let mut namespace = Object { tenure: Tenure::Shared, ..Object::new(&bare(project)) };
    for (label, value) in owner(project).labels() {
        if label != names::MANAGED_BY {
            namespace.manifest["metadata"]["labels"][label] = json!(value);
        }
    }
    // Once applied it is ours to keep there: an apply that no longer named it would take it away.
    if live.label(names::POD_SECURITY).is_none_or(|level| level == RESTRICTED) {
        namespace.manifest["metadata"]["labels"][names::POD_SECURITY] = json!(RESTRICTED);
    }
    namespace
}

/// A namespace of somebody else's without our labels. A Pod Security level stays: it must not fall.
fn released(project: &Project, live: &Live) -> Object {
    let mut namespace = Object { tenure: Tenure::Shared, ..Object::new(&bare(project)) };
    if live.label(names::POD_SECURITY) == Some(RESTRICTED) {
        namespace.manifest["metadata"]["labels"][names::POD_SECURITY] = json!(RESTRICTED);
    }
    namespace
}

fn bare(project: &Project) -> Namespace {
    let name = names::namespace_of(project.metadata.name.as_deref().unwrap_or_default());
    Namespace {
        metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() },
        ..Namespace::default()
    }
}

/// What goes into the namespace, whoever made it.
fn furnish(project: &Project, world: &World, namespace: Option<Object>, ours: bool) -> Plan {
    let mut objects: Vec<Object> = namespace.into_iter().collect();
    // The bindings come next: without them nothing else can be written here.
    objects.extend(bindings(project, world));
    let problem = bad_quota(project);
    let mut keep = Vec::new();
    if problem.is_none() {
        objects.extend(quota(project));
    } else {
        let namespace = names::namespace_of(project.metadata.name.as_deref().unwrap_or_default());
        keep.push(Key::of::<ResourceQuota>(Some(&namespace), QUOTA));
    }
    Plan {
        objects,
        keep: Keep::These(keep),
        problem,
        fence: !ours && project.spec.deletion_policy == DeletionPolicy::Delete,
        ..Plan::default()
    }
}

/// A role in each project namespace, and the account that it is bound to.
struct Binding {
    role: &'static str,
    account: &'static str,
}

/// `catalyst-project` is what the agent may do in a project; `catalyst-project-secrets` what the secret controller may.
const BINDINGS: [Binding; 2] = [
    Binding { role: AGENT_BINDING, account: "catalyst-agent" },
    Binding { role: SECRETS_BINDING, account: "catalyst-secrets" },
];

/// What the configuration stream may do in a project, where the Region runs Dapr: read the secrets that components name.
const STREAM: Binding =
    Binding { role: "catalyst-project-stream", account: "catalyst-config-stream" };

/// The binding without which the agent can write nothing in a project.
pub const AGENT_BINDING: &str = "catalyst-project";

/// The binding without which the secret controller can write nothing in a project.
pub const SECRETS_BINDING: &str = "catalyst-project-secrets";

fn bindings(project: &Project, world: &World) -> Vec<Object> {
    let release = world.release.as_str();
    let streams = world.region.as_ref().is_some_and(|region| region.spec.dapr.is_some());
    let stream = streams.then(|| role_binding(project, names::DAPR_NAMESPACE, &STREAM));
    let bindings = BINDINGS.iter().map(|binding| role_binding(project, release, binding));
    bindings.chain(stream).collect()
}

fn role_binding(project: &Project, namespace: &str, binding: &Binding) -> Object {
    owner(project).owns(&RoleBinding {
        metadata: inside(project, binding.role),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "ClusterRole".into(),
            name: binding.role.into(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: binding.account.into(),
            namespace: Some(namespace.into()),
            api_group: None,
        }]),
    })
}

/// The quota of a project, as its owner wrote it.
const QUOTA: &str = "project";

fn quota(project: &Project) -> Option<Object> {
    let hard = &project.spec.quota.as_ref()?.hard;
    if hard.is_empty() {
        return None;
    }
    let hard = hard.iter().map(|(name, amount)| (name.clone(), Quantity(amount.clone()))).collect();
    let spec = ResourceQuotaSpec { hard: Some(hard), ..ResourceQuotaSpec::default() };
    let metadata = inside(project, QUOTA);
    Some(owner(project).owns(&ResourceQuota {
        metadata,
        spec: Some(spec),
        ..ResourceQuota::default()
    }))
}

/// An amount that Kubernetes could not read. The quota then stays as it was.
fn bad_quota(project: &Project) -> Option<Invalid> {
    let mut hard = project.spec.quota.as_ref()?.hard.iter();
    let (name, amount) = hard.find(|(_, amount)| !is_quantity(amount))?;
    Some(Invalid::new(
        "InvalidQuota",
        format!(
            "spec.quota.hard[{name}] is \"{amount}\": write a quantity, such as 10, 500m or 4Gi"
        ),
    ))
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
fn is_quantity(amount: &str) -> bool {
    const SUFFIXES: [&str; 16] =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let unsigned = amount.strip_prefix(['+', '-']).unwrap_or(amount);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let exponent =
        suffix.strip_prefix(['e', 'E']).is_some_and(|digits| digits.parse::<i32>().is_ok());
    number.parse::<f64>().is_ok() && (exponent || SUFFIXES.contains(&suffix))
}

/// What is left of a project that is being deleted, where the namespace is not ours and so stays:
/// first what its apps need goes, then the fence, then the bindings, then the finalizer.
fn farewell(project: &Project, world: &World) -> Plan {
    let retained = project.spec.deletion_policy == DeletionPolicy::Retain;
    let goes_anyway = world.namespace.as_ref().is_none_or(|live| live.deleting);
    if retained || goes_anyway {
        return Plan { keep: Keep::All, ..Plan::default() };
    }
    let left = match (world.children, world.policies) {
        (0, 0) => {
            return Plan {
                objects: world.namespace.iter().map(|live| released(project, live)).collect(),
                ..Plan::default()
            };
        }
        (0, policies) => format!("{policies} NetworkPolicies"),
        (children, _) => format!("{children} objects of AppIdentities and SecretRefs"),
    };
    Plan {
        keep: Keep::All,
        fence: true,
        problem: Some(Invalid::waits("Deleting", format!("waiting for {left} to go"))),
        ..Plan::default()
    }
}

fn is_fenced(project: &Project) -> bool {
    project.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == names::FENCE)
}

fn owner(project: &Project) -> Owner {
    Owner {
        concern: CONCERN,
        project: project.metadata.name.clone().unwrap_or_default(),
        uid: project.metadata.uid.clone().unwrap_or_default(),
        reference: None,
    }
}

fn reference(project: &Project) -> Option<OwnerReference> {
    project
        .controller_owner_ref(&())
        .map(|reference| OwnerReference { block_owner_deletion: None, ..reference })
}

fn inside(project: &Project, name: &str) -> ObjectMeta {
    let namespace = names::namespace_of(project.metadata.name.as_deref().unwrap_or_default());
    ObjectMeta { name: Some(name.into()), namespace: Some(namespace), ..ObjectMeta::default() }
}
