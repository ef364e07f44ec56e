//! Gives every app its identity: account, token, connection Secret, Dapr configuration.
//!
//! watches  AppIdentity (primary), Project, Region, Configuration (of others), and RoleBinding, ServiceAccount, Configuration (ours); looks at Secrets
//! writes   ServiceAccount, Secret, Configuration; condition `IdentityReady` on AppIdentity

use catalyst_crds::dapr::Configuration;
use catalyst_crds::{AppIdentity, Project, Region};
use catalyst_plan::identity::{self, World};
use catalyst_plan::namespace::AGENT_BINDING;
use catalyst_plan::{Invalid, Plan};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;

use super::{Access, all, inside, project_of, the_one, waiting_for_room};
use crate::kernel::{Cache, Child, Error, Kernel, Place, Reconcile, Store};

struct Controller {
    regions: Cache<Region>,
    projects: Cache<Project>,
    apps: Cache<AppIdentity>,
    access: Access,
    configurations: Cache<Child>,
    app_configs: Cache<Configuration>,
}

pub(super) fn wire(kernel: &mut Kernel) {
    let app_configs = kernel.cache_of_others::<Configuration>();
    let controller = Controller {
        regions: kernel.cache(),
        projects: kernel.cache(),
        apps: kernel.cache(),
        access: Access::new(kernel, AGENT_BINDING),
        configurations: kernel.children::<Configuration>(),
        app_configs: app_configs.clone(),
    };
    kernel
        .controller(controller)
        .on_spec::<Region>(|_, apps| all(apps))
        .on_spec::<Project>(inside)
        .on_spec::<AppIdentity>(refused)
        .on_cached(&app_configs, configured)
        .on_child::<RoleBinding>(|place, _, apps| {
            apps.within(&place.namespace).into_iter().map(|(place, _)| place).collect()
        })
        .owns::<ServiceAccount>()
        .owns::<Configuration>()
        .owns::<Secret>()
        .start();
}

impl Reconcile for Controller {
    type Kind = AppIdentity;
    type World = World;
    const CONCERN: &'static str = identity::CONCERN;
    const CONDITION: &'static str = "IdentityReady";

    async fn observe(&self, app: &AppIdentity) -> Result<World, Error> {
        let namespace = app.namespace().unwrap_or_default();
        Ok(World {
            region: the_one(&self.regions).await,
            project: project_of(&self.projects, app.namespace()).await,
            apps: self.apps.all().await,
            bound: self.access.granted(&namespace).await,
            dapr: !self.configurations.is_missing().await,
            app_config: match &app.spec.app_config {
                Some(name) => self.app_configs.get(Some(&namespace), name).await,
                None => None,
            },
        })
    }

    fn plan(app: &AppIdentity, world: &World) -> Result<Plan, Invalid> {
        identity::plan(app, world)
    }
}

/// An app that comes or goes may make room for those that there was no room for.
fn refused(_: &AppIdentity, all: &Store<AppIdentity>) -> Vec<Place> {
    waiting_for_room(all, |app| app.status.as_ref().map_or(&[], |status| &status.conditions))
}

/// The apps whose `appConfig` names a Configuration.
fn configured(configuration: &Configuration, all: &Store<AppIdentity>) -> Vec<Place> {
    let apps = all.within(&configuration.namespace().unwrap_or_default()).into_iter();
    let named = |app: &AppIdentity| app.spec.app_config.as_ref() == Some(&configuration.name_any());
    apps.filter(|(_, app)| named(app)).map(|(place, _)| place).collect()
}
