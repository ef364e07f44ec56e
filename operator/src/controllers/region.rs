//! Judges the Region and says how much of it is used.
//!
//! watches  Region (primary), Project, AppIdentity
//! writes   condition `Accepted` on Region

use catalyst_crds::{AppIdentity, Project, Region};
use catalyst_plan::region::{self, World};
use catalyst_plan::{Invalid, Plan};

use super::all;
use crate::kernel::{Cache, Error, Kernel, Reconcile};

struct Controller {
    regions: Cache<Region>,
    projects: Cache<Project>,
    apps: Cache<AppIdentity>,
}

pub(super) fn wire(kernel: &mut Kernel) {
    let controller =
        Controller { regions: kernel.cache(), projects: kernel.cache(), apps: kernel.cache() };
    kernel
        .controller(controller)
        .on_spec::<Region>(|_, regions| all(regions))
        .on_spec::<Project>(|_, regions| all(regions))
        .on_spec::<AppIdentity>(|_, regions| all(regions))
        .start();
}

impl Reconcile for Controller {
    type Kind = Region;
    type World = World;
    const CONCERN: &'static str = "region";
    const CONDITION: &'static str = "Accepted";

    async fn observe(&self, _: &Region) -> Result<World, Error> {
        Ok(World {
            regions: self.regions.all().await,
            projects: self.projects.count().await,
            app_identities: self.apps.count().await,
        })
    }

    fn plan(region: &Region, world: &World) -> Result<Plan, Invalid> {
        region::plan(region, world)
    }
}
