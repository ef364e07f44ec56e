//! What a team says: its EgressPolicies, read one by one, and what each is worth.

use std::collections::{BTreeMap, BTreeSet};

use catalyst_crds::EgressPolicy;
use kube::ResourceExt;

use super::World;
use super::delegation::Delegation;
use super::platform::Platform;
use super::rules::{CLOSED, Reader};
use super::sums::{Allow, Blocks, MAX_NETWORKS};
use super::words;
use crate::cidr;
use crate::plan::Invalid;

/// The longest name for which the NetworkPolicy's name is one too.
const LONGEST_NAME: usize = 240;

/// One EgressPolicy, as far as it counts.
pub(super) struct Team {
    pub(super) policy: String,
    pub(super) generation: i64,
    /// The apps it speaks of; `None` for every app of the project.
    pub(super) apps: Option<BTreeSet<String>>,
    pub(super) allowed: Vec<Allow>,
    /// Whether it blocks anything.
    pub(super) blocks: bool,
    pub(super) problem: Option<Invalid>,
    pub(super) warnings: Vec<String>,
}

/// What the EgressPolicies of a project come to.
#[derive(Default)]
pub(super) struct Teams {
    pub(super) each: Vec<Team>,
    /// What is blocked for every app.
    pub(super) blocks: Blocks,
    /// What is blocked for some apps beside.
    pub(super) scoped: BTreeMap<String, Blocks>,
}

impl Teams {
    /// Reads the EgressPolicies in the order of their names. One that is being deleted is gone already.
    pub(super) fn new(platform: &Platform, delegation: &Delegation, world: &World) -> Self {
        let standing =
            |policy: &&std::sync::Arc<EgressPolicy>| policy.metadata.deletion_timestamp.is_none();
        let mut policies: Vec<_> = world.policies.iter().filter(standing).collect();
        policies.sort_by_key(|policy| policy.name_any());
        let mut teams = Self::default();
        // Nobody knows what one blocks that can't be read.
        teams.blocks.closed = !world.unreadable.is_empty();
        for policy in policies {
            teams.take_in(policy, platform, delegation, world);
        }
        teams
    }

    fn take_in(
        &mut self,
        policy: &EgressPolicy,
        platform: &Platform,
        delegation: &Delegation,
        world: &World,
    ) {
        let name = policy.name_any();
        let mut reader = Reader::new(&platform.families);
        let apps = policy.spec.app_ids.as_ref().map(|ids| apps(ids, world, &mut reader));
        let named = name.len() <= LONGEST_NAME;
        if !named {
            reader.refuse(
                "metadata.name",
                format_args!(
                    "is longer than {LONGEST_NAME}: choose a shorter name to allow anything"
                ),
            );
        }
        // Whom a policy without a valid app means nobody knows: its blocks then hold for all.
        let nobody = apps.as_ref().is_some_and(BTreeSet::is_empty);
        let blocked = reader.blocked("spec.blocked", &policy.spec.blocked);
        self.block(apps.as_ref().filter(|_| !nobody), &blocked, &mut reader);

        let mut allowed = Vec::new();
        for (path, allow) in reader.allowed("spec.allowed", &policy.spec.allowed) {
            if delegation.permits(&path, &allow, &mut reader) && named && !nobody {
                warn_of_service_ports(&path, &allow, &mut reader);
                allowed.push(allow);
            }
        }
        warn_of_idle_blocks(&blocked, allowed.iter().chain(&platform.allowed), &mut reader);
        let (problem, warnings) = reader.finish();
        self.each.push(Team {
            policy: name,
            generation: policy.metadata.generation.unwrap_or_default(),
            apps,
            allowed,
            blocks: !policy.spec.blocked.is_empty(),
            problem,
            warnings,
        });
    }

    /// Adds blocks to those of the apps, or of all.
    fn block(&mut self, apps: Option<&BTreeSet<String>>, blocked: &Blocks, reader: &mut Reader) {
        let mut fits = true;
        if blocked.closed || !blocked.nets.is_empty() {
            match apps {
                None => fits = self.blocks.add(blocked),
                Some(apps) => {
                    for app in apps {
                        fits &= self.scoped.entry(app.clone()).or_default().add(blocked);
                    }
                }
            }
        }
        if !fits {
            reader.refuse(
                "spec.blocked",
                format_args!(
                    "brings what EgressPolicies block for one app to more than {MAX_NETWORKS} \
                     networks: join them; {CLOSED}"
                ),
            );
        }
    }
}

/// The valid names of `appIds`.
fn apps(ids: &[String], world: &World, reader: &mut Reader) -> BTreeSet<String> {
    if ids.is_empty() {
        reader.refuse(
            "spec.appIds",
            "is empty: name the apps, or remove the field to mean every app; until then blocked \
             holds for every app and allowed for none",
        );
    }
    let mut apps = BTreeSet::new();
    for (index, id) in ids.iter().enumerate() {
        if !words::is_app_name(id) {
            reader.refuse(
                format_args!("spec.appIds[{index}]"),
                format_args!(
                    "is \"{id}\", which no AppIdentity can be called: write the app's name"
                ),
            );
            continue;
        }
        if !world.apps.contains(id) {
            reader.warnings.push(format!(
                "spec.appIds[{index}] is \"{id}\": there is no AppIdentity of that name"
            ));
        }
        apps.insert(id.clone());
    }
    apps
}

/// NetworkPolicies see the pod's port, after service translation.
fn warn_of_service_ports(path: &str, allow: &Allow, reader: &mut Reader) {
    if allow.namespaces.is_empty() {
        return;
    }
    for (index, range) in allow.ports.iter().enumerate() {
        if range.end_port.is_none() && matches!(range.port, 80 | 443) {
            reader.warnings.push(format!(
                "{path}.ports[{index}].port is {}: ports are those of the pods, not of their Service; \
                 make sure that the pods listen on it",
                range.port
            ));
        }
    }
}

/// Allow wins: a block that lies within what is allowed on all ports does nothing.
fn warn_of_idle_blocks<'a>(
    blocked: &Blocks,
    allowed: impl Iterator<Item = &'a Allow>,
    reader: &mut Reader,
) {
    let free = cidr::aggregate(
        allowed
            .filter(|allow| allow.ports.is_empty())
            .flat_map(|allow| allow.cidrs.iter().map(|(_, net)| *net)),
    );
    for net in blocked.nets.iter().filter(|net| cidr::contains(&free, net)) {
        reader.warnings.push(format!(
            "spec.blocked holds {net}, which is allowed on all ports: allow wins, so that it stays open"
        ));
    }
}
