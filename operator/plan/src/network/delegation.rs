//! What a team may open for itself: what the platform delegated, and what is open anyway.

use std::collections::BTreeSet;

use catalyst_crds::Project;
use ipnet::IpNet;
use kube::ResourceExt;

use super::World;
use super::platform::Platform;
use super::rules::Reader;
use super::sums::{Allow, Blocks};
use crate::cidr;
use crate::names::{DAPR_NAMESPACE, SECRETS_NAMESPACE, namespace_of, project_of};

/// The bounds of one project's teams.
pub(super) struct Delegation<'a> {
    project: String,
    platform: &'a Platform,
    /// Namespaces of Projects whose `ingress.allowed` names ours.
    consenting: BTreeSet<String>,
    /// Namespaces that no team may open.
    reserved: [&'a str; 3],
    never: Vec<IpNet>,
}

impl<'a> Delegation<'a> {
    pub(super) fn new(project: &Project, platform: &'a Platform, world: &'a World) -> Self {
        let name = project.name_any();
        let namespace = namespace_of(&name);
        let consents = |other: &&std::sync::Arc<Project>| {
            other.metadata.deletion_timestamp.is_none() && names(other, &namespace, platform)
        };
        Self {
            consenting: world
                .projects
                .iter()
                .filter(consents)
                .map(|other| namespace_of(&other.name_any()))
                .collect(),
            project: name,
            platform,
            reserved: [&world.release_namespace, DAPR_NAMESPACE, SECRETS_NAMESPACE],
            never: cidr::aggregate(cidr::never_delegable()),
        }
    }

    /// Whether a team may open all that an entry names. What it may not is noted with the reader.
    pub(super) fn permits(&self, path: &str, allow: &Allow, reader: &mut Reader) -> bool {
        let before = reader.problems.len();
        let reason = std::mem::replace(&mut reader.reason, "NotDelegated");
        for (index, net) in &allow.cidrs {
            if let Err(problem) = self.cidr(net) {
                reader.refuse(
                    format_args!("{path}.cidrs[{index}]"),
                    format_args!("is \"{net}\": {problem}"),
                );
            }
        }
        for (index, namespace) in &allow.namespaces {
            if let Err(problem) = self.namespace(namespace) {
                reader.refuse(
                    format_args!("{path}.namespaces[{index}]"),
                    format_args!("is \"{namespace}\": {problem}"),
                );
            }
        }
        reader.reason = reason;
        reader.problems.len() == before
    }

    /// A network must be delegated, or open already: in the base, in no block, no `default: None`.
    fn cidr(&self, net: &IpNet) -> Result<(), String> {
        if let Some(never) = cidr::overlap(&self.never, net) {
            return Err(format!(
                "it touches {never}, link-local addresses or a metadata service, which no team may \
                 open; leave it out"
            ));
        }
        let Platform { bounds, base: Blocks { nets, closed }, .. } = self.platform;
        if cidr::contains(&bounds.cidrs, net) {
            return Ok(());
        }
        let why = if *closed {
            "Region or Project leave nothing open by default".to_string()
        } else if let Some(block) = cidr::overlap(nets, net) {
            format!("Region or Project block {block}")
        } else if !cidr::base(cidr::family(net)).contains(net) {
            format!("it lies outside of {}", cidr::base(cidr::family(net)))
        } else {
            return Ok(());
        };
        Err(format!(
            "{why}, and neither delegates it; ask the platform team to add it to \
             spec.network.egress.delegated.cidrs of Project \"{}\"",
            self.project
        ))
    }

    /// A namespace must be delegated, or its Project must consent, or it is the project's own.
    fn namespace(&self, namespace: &str) -> Result<(), String> {
        if self.reserved.contains(&namespace) {
            return Err(
                "it belongs to Catalyst, which opens what apps need of it itself; leave it out"
                    .into(),
            );
        }
        if namespace == namespace_of(&self.project)
            || self.platform.bounds.namespaces.contains(namespace)
            || self.consenting.contains(namespace)
        {
            return Ok(());
        }
        let consent = project_of(namespace)
            .map(|other| {
                format!(
                    ", or the owner of Project \"{other}\" to name {} in spec.network.ingress.allowed",
                    namespace_of(&self.project)
                )
            })
            .unwrap_or_default();
        Err(format!(
            "neither Region nor Project delegates it; ask the platform team to add it to \
             spec.network.egress.delegated.namespaces of Project \"{}\"{consent}",
            self.project
        ))
    }
}

/// Whether a Project lets a namespace in, by an entry that counts.
fn names(project: &Project, namespace: &str, platform: &Platform) -> bool {
    let ingress = project.spec.network.as_ref().and_then(|network| network.ingress.as_ref());
    let rules = ingress.map(|ingress| ingress.allowed.as_slice()).unwrap_or_default();
    // Most Projects name nobody: then there is nothing to read.
    rules.iter().any(|rule| rule.namespaces.iter().any(|name| name == namespace))
        && Reader::new(&platform.families)
            .allowed("spec.network.ingress.allowed", rules)
            .iter()
            .any(|(_, allow)| allow.namespaces.iter().any(|(_, name)| name == namespace))
}
