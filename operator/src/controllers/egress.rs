//! Speaks for EgressPolicies that no Project takes in; for all others the network controller does.
//!
//! watches  EgressPolicy (primary), Project
//! writes   condition `NetworkReady` on EgressPolicy

use catalyst_crds::{EgressPolicy, Project};
use catalyst_plan::egress::{self, World};
use catalyst_plan::{Invalid, Plan};
use kube::ResourceExt;

use super::{inside, project_of};
use crate::kernel::{Cache, Error, Kernel, Reconcile};

struct Controller {
    projects: Cache<Project>,
}

pub(super) fn wire(kernel: &mut Kernel) {
    let controller = Controller { projects: kernel.cache() };
    kernel.controller(controller).on_spec::<Project>(inside).start();
}

impl Reconcile for Controller {
    type Kind = EgressPolicy;
    type World = World;
    const CONCERN: &'static str = "egress";
    const CONDITION: &'static str = "NetworkReady";

    async fn observe(&self, policy: &EgressPolicy) -> Result<World, Error> {
        Ok(World { project: project_of(&self.projects, policy.namespace()).await })
    }

    fn plan(policy: &EgressPolicy, world: &World) -> Result<Plan, Invalid> {
        egress::plan(policy, world)
    }
}
