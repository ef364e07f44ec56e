//! Says whether the region takes a Project in, and counts its apps.
//!
//! watches  Project (primary), Region, AppIdentity, Namespace
//! writes   condition `Accepted` on Project

use catalyst_crds::{AppIdentity, Project, Region};
use catalyst_plan::project::{self, World};
use catalyst_plan::{Invalid, Plan, names};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;

use super::{all, place_of_project, project_place, the_one};
use crate::kernel::{Cache, Child, Error, Kernel, Reconcile};

struct Controller {
    regions: Cache<Region>,
    projects: Cache<Project>,
    apps: Cache<AppIdentity>,
    namespaces: Cache<Child>,
}

pub(super) fn wire(kernel: &mut Kernel) {
    let controller = Controller {
        regions: kernel.cache(),
        projects: kernel.cache(),
        apps: kernel.cache(),
        namespaces: kernel.everything::<Namespace>(),
    };
    kernel
        .controller(controller)
        .on_spec::<Region>(|_, projects| all(projects))
        .on_spec::<Project>(super::namespace::refused)
        .on::<AppIdentity>(|app, _| project_place(app))
        .on_child::<Namespace>(|place, _, _| place_of_project(Some(&place.name)))
        .start();
}

impl Reconcile for Controller {
    type Kind = Project;
    type World = World;
    const CONCERN: &'static str = "project";
    const CONDITION: &'static str = "Accepted";

    async fn observe(&self, project: &Project) -> Result<World, Error> {
        let namespace = names::namespace_of(&project.name_any());
        let live = self.namespaces.live(None, &namespace).await;
        Ok(World {
            region: the_one(&self.regions).await,
            projects: self.projects.all().await,
            apps: self.apps.within(&namespace).await,
            standing: live
                .is_some_and(|live| live.label(names::PROJECT) == Some(&project.name_any())),
        })
    }

    fn plan(project: &Project, world: &World) -> Result<Plan, Invalid> {
        project::plan(project, world)
    }
}
