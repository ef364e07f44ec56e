//! Says whether the cluster enforces NetworkPolicies, as the canary pods of the release show it.
//!
//! watches  Region (primary), Pod (the canaries)
//! writes   condition `NetworkPolicyEnforced` on Region

use catalyst_crds::Region;
use catalyst_plan::enforcement::{self, CANARIES, World};
use catalyst_plan::{Invalid, Plan};
use k8s_openapi::api::core::v1::Pod;

use super::{Settings, all};
use crate::kernel::{Cache, Error, Kernel, Reconcile};

struct Controller {
    regions: Cache<Region>,
    canaries: Cache<Pod>,
    release: String,
}

pub(super) fn wire(kernel: &mut Kernel, settings: &Settings) {
    let canaries = canaries(kernel, &settings.release);
    let controller = Controller {
        regions: kernel.cache(),
        canaries: canaries.clone(),
        release: settings.release.clone(),
    };
    kernel
        .controller(controller)
        .on_spec::<Region>(|_, regions| all(regions))
        .on_cached(&canaries, |_, regions| all(regions))
        .start();
}

/// The canaries of a release.
pub(crate) fn canaries(kernel: &mut Kernel, release: &str) -> Cache<Pod> {
    kernel.cache_labelled(release, CANARIES)
}

impl Reconcile for Controller {
    type Kind = Region;
    type World = World;
    const CONCERN: &'static str = "enforcement";
    const CONDITION: &'static str = "NetworkPolicyEnforced";

    async fn observe(&self, _: &Region) -> Result<World, Error> {
        Ok(World {
            regions: self.regions.all().await,
            canaries: self.canaries.all().await,
            namespace: self.release.clone(),
        })
    }

    fn plan(region: &Region, world: &World) -> Result<Plan, Invalid> {
        enforcement::plan(region, world)
    }
}
