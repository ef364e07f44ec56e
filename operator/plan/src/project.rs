//! The Project itself: whether the region takes it in, and how its apps are.

use std::sync::Arc;

use catalyst_crds::{AppIdentity, Project, Region};
use serde_json::{Map, json};

use crate::{Invalid, Plan, names, region};

/// What a Project's own verdict reads.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The Region, if there is one.
    pub region: Option<Arc<Region>>,
    /// Every Project of the cluster.
    pub projects: Vec<Arc<Project>>,
    /// The AppIdentities in the project's namespace.
    pub apps: Vec<Arc<AppIdentity>>,
    /// Whether the project has its namespace.
    pub standing: bool,
}

/// Judges a Project and counts its apps. What follows from it, other concerns plan.
///
/// # Errors
/// None: what is wrong is the plan's problem, so that the counts are told all the same.
pub fn plan(project: &Project, world: &World) -> Result<Plan, Invalid> {
    let name = project.metadata.name.as_deref().unwrap_or_default();
    let ready = world.apps.iter().filter(|app| is_ready(app)).count();
    let total = world.apps.iter().filter(|app| is_judged(app)).count();
    let apps = json!({"ready": ready, "total": total, "summary": format!("{ready}/{total}")});
    let problem =
        region::admit(project, world.region.as_deref(), &world.projects, world.standing).err();
    let mut status = Map::from_iter([("apps".to_string(), apps)]);
    // A name that is none has no namespace either, and the schema would refuse the whole status.
    if problem.as_ref().is_none_or(|problem| problem.reason != "InvalidName") {
        status.insert("namespace".into(), json!(names::namespace_of(name)));
    }
    Ok(Plan { problem, status, suspended: project.spec.suspend, ..Plan::default() })
}

/// Whether anybody has looked at it. One that comes and is ready a moment later then counts at once, and not twice.
fn is_judged(app: &AppIdentity) -> bool {
    let seen = app.status.as_ref().and_then(|status| status.observed_generation);
    seen.is_some_and(|generation| generation >= 0)
}

fn is_ready(app: &AppIdentity) -> bool {
    let conditions = app.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
