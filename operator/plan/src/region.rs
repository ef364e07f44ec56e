//! The Region: which one counts, whether its spec can work, how much of it is used.

use std::sync::Arc;

use catalyst_crds::{Project, Region};
use serde_json::json;

use crate::{Invalid, Plan, network};

/// What a Region's plan reads.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Every Region of the cluster.
    pub regions: Vec<Arc<Region>>,
    /// How many Projects there are.
    pub projects: usize,
    /// How many AppIdentities there are.
    pub app_identities: usize,
}

/// The Region of this cluster: the oldest, and of equally old ones the first by name.
pub fn the_one(regions: &[Arc<Region>]) -> Option<Arc<Region>> {
    regions.iter().min_by_key(|region| age(region.as_ref())).cloned()
}

/// Sorts the oldest first. An object that no server has seen counts as the youngest.
pub(crate) fn age<K: kube::Resource>(object: &K) -> (bool, Option<jiff::Timestamp>, String) {
    let meta = object.meta();
    let created = meta.creation_timestamp.as_ref().map(|time| time.0);
    (created.is_none(), created, meta.name.clone().unwrap_or_default())
}

/// Whether fewer than `limit` of `others` are older than `object`.
pub(crate) fn within<K: kube::Resource>(limit: Option<i32>, object: &K, others: &[Arc<K>]) -> bool {
    let Some(limit) = limit else { return true };
    let own = (age(object), object.meta().namespace.clone());
    let older = others
        .iter()
        .filter(|other| (age(other.as_ref()), other.meta().namespace.clone()) < own)
        .count();
    usize::try_from(limit).is_ok_and(|limit| older < limit)
}

/// Judges a Region. It makes nothing: what follows from it is planned for each Project.
///
/// # Errors
/// `SecondRegion` for any but the oldest, `InvalidTrustDomain` for a domain that no identity could carry.
pub fn plan(region: &Region, world: &World) -> Result<Plan, Invalid> {
    if let Some(one) = the_one(&world.regions).filter(|one| one.metadata.uid != region.metadata.uid)
    {
        let name = one.metadata.name.as_deref().unwrap_or_default();
        return Err(Invalid::new(
            "SecondRegion",
            format!(
                "the Region of this cluster is \"{name}\", the oldest one: delete this one, or that one first"
            ),
        ));
    }
    trust_domain(&region.spec.trust.domain)?;
    let (problem, warnings) = network::validate_region(&region.spec);
    let used = json!({"projects": world.projects, "appIdentities": world.app_identities});
    Ok(Plan {
        problem: capacity(region).or(problem),
        warnings,
        status: [("capacity".to_string(), used)].into_iter().collect(),
        ..Plan::default()
    })
}

fn capacity(region: &Region) -> Option<Invalid> {
    let capacity = region.spec.capacity.as_ref()?;
    let limits =
        [("maxProjects", capacity.max_projects), ("maxAppIdentities", capacity.max_app_identities)];
    let (field, limit) = limits
        .into_iter()
        .find_map(|(field, limit)| Some((field, limit.filter(|limit| *limit < 0)?)))?;
    Some(Invalid::new(
        "InvalidCapacity",
        format!("spec.capacity.{field} is {limit}: write 0 or more, or leave it out for no limit"),
    ))
}

/// A trust domain is narrowed from what SPIFFE allows to a DNS name, so that it can be one some day.
/// <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#21-trust-domain>
fn trust_domain(domain: &str) -> Result<(), Invalid> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |label: &str| {
        let ends = !label.starts_with('-') && !label.ends_with('-');
        !label.is_empty() && ends && label.bytes().all(fits)
    };
    if domain.len() <= 253 && domain.split('.').all(label) {
        return Ok(());
    }
    Err(Invalid::new(
        "InvalidTrustDomain",
        format!(
            "spec.trust.domain is \"{domain}\": write a DNS name of lowercase letters, digits, dashes \
             and dots, such as \"eu.example.com\""
        ),
    ))
}

/// Why a Project can't be taken in: no Region, another one's, or the region is full.
///
/// `standing` is whether the Project has its namespace already: lowering a limit evicts nobody.
///
/// # Errors
/// `UnknownRegion` and `OverCapacity`, which both wait, and `InvalidName`.
pub fn admit(
    project: &Project,
    region: Option<&Region>,
    projects: &[Arc<Project>],
    standing: bool,
) -> Result<(), Invalid> {
    let name = project.metadata.name.as_deref().unwrap_or_default();
    if name.len() > 59 || name.contains('.') {
        return Err(Invalid::new(
            "InvalidName",
            format!(
                "metadata.name is \"{name}\": write at most 59 lowercase letters, digits and dashes, since the namespace is prj-<name>"
            ),
        ));
    }
    let Some(region) = region else {
        return Err(Invalid::waits(
            "UnknownRegion",
            "there is no Region yet: create one, such as the chart does from its values",
        ));
    };
    let of = region.metadata.name.as_deref().unwrap_or_default();
    if let Some(wanted) = project.spec.region.as_deref().filter(|wanted| *wanted != of) {
        return Err(Invalid::waits(
            "UnknownRegion",
            format!(
                "spec.region is \"{wanted}\": the Region of this cluster is \"{of}\"; apply this Project to the cluster of \"{wanted}\", or make a new one without the field"
            ),
        ));
    }
    let limit = region.spec.capacity.as_ref().and_then(|capacity| capacity.max_projects);
    if !standing && !within(limit, project, projects) {
        let limit = limit.unwrap_or_default();
        return Err(Invalid::waits(
            "OverCapacity",
            format!(
                "the Region takes no more than {limit} Projects and has older ones: raise spec.capacity.maxProjects of Region \"{of}\", or delete a Project"
            ),
        ));
    }
    Ok(())
}
