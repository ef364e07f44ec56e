//! Keeps a project's namespace fenced: what the rules of Region, Project and team open, and nothing else.

mod control_plane;
mod delegation;
mod parts;
mod platform;
mod policies;
mod rules;
mod sums;
mod team;
mod words;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use catalyst_crds::region::{IpFamily, NetworkMode};
use catalyst_crds::schema::MAX_REPORTED;
use catalyst_crds::{EgressPolicy, Project, Region};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use serde_json::{Map, json};

use crate::cidr;
use crate::mutant;
use crate::names::{FENCE, namespace_of};
use crate::plan::{Finding, Invalid, Keep, Key, Live, Owner, Plan};

pub use self::control_plane::ApiServer;
pub(crate) use self::control_plane::control_plane;
use self::delegation::Delegation;
use self::platform::Platform;
pub use self::platform::validate_region;
use self::sums::Blocks;
use self::team::{Team, Teams};

/// The concern: the controller's name, in labels and field managers too.
pub const CONCERN: &str = "network";

/// How many networks the bases of single apps may come to in one project: each app repeats what is blocked for all.
const MAX_SCOPED: usize = 65_536;

/// How many NetworkPolicies of others are named.
const MAX_NAMED: usize = 5;

/// What everybody hears while nothing is enforced.
const OFF: &str = "the Region's spec.network.mode is Off: nothing of this is enforced";

/// What a project's fence is planned from.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The Region; `None` where there is none.
    pub region: Option<Arc<Region>>,
    /// The other Projects of the cluster: what their `ingress.allowed` says counts as consent.
    /// This Project among them does no harm.
    pub projects: Vec<Arc<Project>>,
    /// The EgressPolicies of the project's namespace.
    pub policies: Vec<Arc<EgressPolicy>>,
    /// The names of NetworkPolicies there that are not Catalyst's: NetworkPolicies only add, so that each may open more.
    pub foreign: Vec<String>,
    /// The names of EgressPolicies there that can't be read: what they block is not known.
    pub unreadable: Vec<String>,
    /// The names of the AppIdentities of the project's namespace.
    pub apps: BTreeSet<String>,
    /// The project's namespace, if it stands.
    pub namespace: Option<Live>,
    /// Whether our RoleBinding stands in it.
    pub bound: bool,
    /// The NetworkPolicies that stand in it; only those of this Project are looked at.
    pub standing: Vec<(Key, Live)>,
    /// AppIdentities and SecretRefs of the namespace, and what was made for them: what still needs
    /// the fence while the Project is being deleted.
    pub remaining_children: Vec<Key>,
    /// The namespace that Catalyst itself runs in.
    pub release_namespace: String,
    /// Cluster IPs of the DNS Service (`kube-system/kube-dns`), where they are known. NodeLocal
    /// DNSCache answers on them without a translation to pods.
    pub resolvers: Vec<IpAddr>,
}

/// The NetworkPolicies of a project.
///
/// # Errors
/// `WaitingForNamespace` while the namespace is missing, going, or not yet ours to write in.
pub fn plan(project: &Project, world: &World) -> Result<Plan, Invalid> {
    let name = project.name_any();
    let namespace = namespace_of(&name);
    if project.metadata.deletion_timestamp.is_some() {
        return Ok(leave(project, world));
    }
    let live = world.namespace.as_ref();
    if project.spec.suspend && live.is_none() {
        return Ok(Plan::suspended());
    }
    if !world.bound || live.is_none_or(|namespace| namespace.deleting) {
        return Err(Invalid::waits(
            "WaitingForNamespace",
            format!(
                "namespace {namespace} is not ready to be fenced: see the condition NamespaceReady"
            ),
        ));
    }
    let owner = Owner {
        concern: CONCERN,
        uid: project.uid().unwrap_or_default(),
        project: name,
        reference: None,
    };
    Ok(match region_of(project, world) {
        Ok(region) => fence(project, region, world, &owner),
        Err(problem) => unknown_region(world, &owner, problem),
    })
}

/// The Region, if it is there and the one that the Project means.
fn region_of<'a>(project: &Project, world: &'a World) -> Result<&'a Region, Invalid> {
    let Some(region) = &world.region else {
        return Err(Invalid::waits(
            "UnknownRegion",
            "there is no Region yet, so that the namespace is closed, or stays as it was: create one",
        ));
    };
    let name = region.name_any();
    match &project.spec.region {
        Some(wanted) if *wanted != name => Err(Invalid::waits(
            "UnknownRegion",
            format!(
                "spec.region is \"{wanted}\", but the Region here is \"{name}\": write {name}, or leave it out"
            ),
        )),
        _ => Ok(region),
    }
}

/// Closed, with whatever stands beside: the rules are not known.
fn unknown_region(world: &World, owner: &Owner, problem: Invalid) -> Plan {
    let namespace = namespace_of(&owner.project);
    let findings =
        world.policies.iter().filter(|policy| policy.metadata.deletion_timestamp.is_none()).map(
            |policy| Finding {
                object: Key::of::<EgressPolicy>(Some(&namespace), &policy.name_any()),
                objects: Vec::new(),
                generation: policy.metadata.generation.unwrap_or_default(),
                problem: Some(problem.clone()),
                warnings: Vec::new(),
                status: Map::new(),
            },
        );
    Plan {
        objects: vec![owner.owns(&policies::default_deny(&namespace))],
        keep: Keep::All,
        findings: findings.collect(),
        problem: Some(problem),
        ..Plan::default()
    }
}

/// Everything that the rules come to.
fn fence(project: &Project, region: &Region, world: &World, owner: &Owner) -> Plan {
    let platform = Platform::new(&region.spec, project);
    let delegation = Delegation::new(project, &platform, world);
    let teams = Teams::new(&platform, &delegation, world);
    let namespace = namespace_of(&owner.project);
    let mut warnings = platform.warnings.clone();
    warnings.extend(world.unreadable.iter().map(|policy| {
        format!(
            "EgressPolicy {policy} can't be read, so that nothing is open by default: write it anew"
        )
    }));
    warnings.extend(world.foreign.iter().take(MAX_NAMED).map(|policy| {
        format!(
            "NetworkPolicy {policy} in {namespace} is not Catalyst's and may open more than the rules say: delete it, and \
             declare what is needed in an EgressPolicy"
        )
    }));
    let policies = match platform.mode {
        NetworkMode::Enforce => all(&namespace, &platform, &teams, world, owner, &mut warnings),
        NetworkMode::Off => {
            warnings.push(OFF.into());
            Vec::new()
        }
    };
    let findings =
        teams.each.iter().map(|team| finding(&namespace, team, platform.mode, &policies));
    Plan {
        findings: findings.collect(),
        objects: policies.iter().map(|policy| owner.owns(policy)).collect(),
        problem: platform.problem.clone(),
        warnings,
        ..Plan::default()
    }
}

/// All policies, in the order in which they take effect without a gap. A new namespace is closed
/// before anything is opened; one that was fenced before is opened where it should be before it
/// closes, and an app has a base of its own before it leaves the shared one.
fn all(
    namespace: &str,
    platform: &Platform,
    teams: &Teams,
    world: &World,
    owner: &Owner,
    warnings: &mut Vec<String>,
) -> Vec<NetworkPolicy> {
    let shared = platform.base.and(&teams.blocks);
    let families = &platform.families;
    let addresses =
        platform.dns.addresses.iter().chain(&world.resolvers).map(|address| cidr::host(*address));
    let addresses = addresses.filter(|net| families.contains(&cidr::family(net))).collect();
    let floor = [
        policies::dns(namespace, &platform.dns, addresses),
        policies::control_plane(namespace),
        policies::same_project(namespace),
        policies::release(namespace, &world.release_namespace),
        policies::monitoring(namespace, &platform.monitoring),
        policies::allowed_ingress(namespace, &platform.ingress),
        policies::allowed_egress(namespace, &platform.allowed),
    ];
    let of_teams = teams.each.iter().map(|team| {
        policies::team_egress(namespace, &team.policy, team.apps.as_ref(), &team.allowed)
    });
    let of_apps = bases_of_apps(namespace, &shared, teams, world, families, warnings);
    let base = policies::base(namespace, &shared, families, teams.scoped.keys());
    let mut policies: Vec<_> =
        floor.into_iter().chain(of_teams).chain(of_apps).chain([base]).flatten().collect();
    let fenced = world.standing.iter().any(|(key, live)| {
        key.name == policies::DEFAULT_DENY && live.belongs_to(&owner.uid) && !live.deleting
    });
    let deny = policies::default_deny(namespace);
    if fenced {
        policies.push(deny);
    } else {
        policies.insert(0, deny);
    }
    policies
}

/// The bases of apps with blocks of their own. An app that is not there has no pods, and needs none: all it means is
/// that the shared base does not hold for it.
fn bases_of_apps(
    namespace: &str,
    shared: &Blocks,
    teams: &Teams,
    world: &World,
    families: &[IpFamily],
    warnings: &mut Vec<String>,
) -> Vec<Option<NetworkPolicy>> {
    let mut left = MAX_SCOPED;
    let mut bases = Vec::new();
    for (app, blocks) in teams.scoped.iter().filter(|(app, _)| world.apps.contains(*app)) {
        let blocks = shared.and(blocks);
        match left.checked_sub(blocks.nets.len()) {
            Some(rest) => {
                left = rest;
                bases.push(policies::base_of_app(namespace, app, &blocks, families));
            }
            None => warnings.push(format!(
                "what EgressPolicies block for single apps comes to more than {MAX_SCOPED} networks, so that nothing is \
                 open by default for \"{app}\": block it for every app, or join networks"
            )),
        }
    }
    bases
}

/// What there is to say of an EgressPolicy: what is wrong, and which NetworkPolicies carry it.
fn finding(namespace: &str, team: &Team, mode: NetworkMode, policies: &[NetworkPolicy]) -> Finding {
    let mut warnings = team.warnings.clone();
    if mode == NetworkMode::Off {
        warnings.push(OFF.into());
    }
    let carrying: Vec<_> = policies
        .iter()
        .filter_map(|policy| policy.metadata.name.as_deref())
        .filter(|name| policies::carries(name, team))
        .take(MAX_REPORTED)
        .collect();
    let mut status = Map::new();
    if !carrying.is_empty() {
        status.insert("networkPolicies".into(), json!(carrying));
    }
    if !warnings.is_empty() {
        let shown: Vec<_> = warnings.iter().take(MAX_REPORTED).collect();
        status.insert("warnings".into(), json!(shown));
    }
    Finding {
        object: Key::of::<EgressPolicy>(Some(namespace), &team.policy),
        objects: carrying
            .iter()
            .map(|name| Key::of::<NetworkPolicy>(Some(namespace), name))
            .collect(),
        generation: team.generation,
        problem: team.problem.clone(),
        warnings,
        status,
    }
}

/// The fence of a Project that is being deleted. It outlives the apps inside; then, in a namespace
/// that stays, it goes too, unless all is to be retained.
fn leave(project: &Project, world: &World) -> Plan {
    let goes = project.finalizers().iter().any(|finalizer| finalizer == FENCE);
    let child = world.remaining_children.first().filter(|_| !mutant("unfence-first"));
    if goes && child.is_none() {
        return Plan::default();
    }
    Plan {
        keep: Keep::All,
        problem: child.filter(|_| goes).map(|child| {
            let message = format!("{child} still stands, and so does the fence around it");
            Invalid::waits("Deleting", message)
        }),
        ..Plan::default()
    }
}
