//! Keeps the region's root and issuer, and the bundle that Dapr takes from them; renews the issuer before it ends.
//!
//! watches  Region (primary), ConfigMap (ours); looks at Secrets
//! writes   Secret, ConfigMap; condition `TrustReady` on Region

use catalyst_crds::Region;
use catalyst_plan::names::DAPR_NAMESPACE;
use catalyst_plan::trust::{self, AUTHORITY, Authority, World};
use catalyst_plan::{Invalid, Plan};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::all;
use crate::authority::{made, renewed, validity};
use crate::kernel::{Cache, Error, Kernel, Reconcile, Secrets};

struct Controller {
    regions: Cache<Region>,
    secrets: Secrets,
}

pub(super) fn wire(kernel: &mut Kernel) {
    let controller = Controller { regions: kernel.cache(), secrets: kernel.secrets() };
    kernel
        .controller(controller)
        .on_spec::<Region>(|_, regions| all(regions))
        .owns_in::<ConfigMap>(DAPR_NAMESPACE)
        .owns::<Secret>()
        .start();
}

impl Reconcile for Controller {
    type Kind = Region;
    type World = World;
    const CONCERN: &'static str = trust::CONCERN;
    const CONDITION: &'static str = "TrustReady";

    async fn observe(&self, region: &Region) -> Result<World, Error> {
        let regions = self.regions.all().await;
        let world = World { regions, ..World::default() };
        if region.spec.dapr.is_none() || !self.secrets.are_known() {
            return Ok(world);
        }
        let domain = &region.spec.trust.domain;
        let now = Timestamp::now();
        let Some(mut stands) = self.secrets.read(DAPR_NAMESPACE, AUTHORITY).await? else {
            return Ok(World { authority: Some(made(domain, now)?), ..world });
        };
        let unreadable = |fault: String| World { unreadable: Some(fault), ..world.clone() };
        let Some(authority) = Authority::read(|key| stands.remove(key)) else {
            return Ok(unreadable("a key of it is missing".into()));
        };
        let valid = match validity(&authority) {
            Ok(valid) => valid,
            Err(fault) => return Ok(unreadable(fault)),
        };
        let authority = if valid.is_due(now) {
            tracing::info!(until = %valid.until, "issuer renewed");
            renewed(domain, authority, now)?
        } else {
            authority
        };
        Ok(World { authority: Some(authority), ..world })
    }

    fn plan(region: &Region, world: &World) -> Result<Plan, Invalid> {
        trust::plan(region, world)
    }
}
