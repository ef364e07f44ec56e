//! Runs the Dapr server of every app.
//!
//! watches  AppIdentity (primary), Project, Region (its anchors too), and ServiceAccount, Secret, Configuration (of the
//!          identity), Deployment, Service, Pod (ours)
//! writes   Deployment, Service; condition `ServerReady` on AppIdentity

use catalyst_crds::dapr::Configuration;
use catalyst_crds::{AppIdentity, Project, Region};
use catalyst_plan::names::{APP, CATALYST, MANAGED_BY};
use catalyst_plan::server::{self, Trouble, World, needed};
use catalyst_plan::{Invalid, Live, Plan};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service, ServiceAccount};
use kube::ResourceExt;

use super::pods::ServerPod;
use super::{all, inside, project_of, the_one};
use crate::kernel::{Cache, Child, Error, Kernel, Place, Reconcile, Store};

struct Controller {
    regions: Cache<Region>,
    projects: Cache<Project>,
    secrets: Cache<Child>,
    accounts: Cache<Child>,
    configurations: Cache<Child>,
    deployments: Cache<Child>,
    pods: Cache<ServerPod>,
}

pub(super) fn wire(kernel: &mut Kernel) {
    let pods = pods(kernel);
    let controller = Controller {
        regions: kernel.cache(),
        projects: kernel.cache(),
        secrets: kernel.children::<Secret>(),
        accounts: kernel.children::<ServiceAccount>(),
        configurations: kernel.children::<Configuration>(),
        deployments: kernel.children::<Deployment>(),
        pods: pods.clone(),
    };
    kernel
        .controller(controller)
        .on_spec::<Region>(|_, apps| all(apps))
        .on_spec::<Project>(inside)
        .on_field(anchors, |_: &Region, apps| all(apps))
        .on_child::<Secret>(|_, live, apps| of(live, apps))
        .on_child::<ServiceAccount>(|_, live, apps| of(live, apps))
        .on_child::<Configuration>(|_, live, apps| of(live, apps))
        .on_cached(&pods, |pod, _| vec![Place::new(pod.namespace().as_deref(), &app_of(pod))])
        .owns::<Deployment>()
        .owns::<Service>()
        .start();
}

/// The pods of Dapr servers.
pub(crate) fn pods(kernel: &mut Kernel) -> Cache<ServerPod> {
    kernel.cache_everywhere(&format!("{MANAGED_BY}={CATALYST},{APP}"))
}

impl Reconcile for Controller {
    type Kind = AppIdentity;
    type World = World;
    const CONCERN: &'static str = server::CONCERN;
    const CONDITION: &'static str = "ServerReady";

    async fn observe(&self, app: &AppIdentity) -> Result<World, Error> {
        let namespace = app.namespace();
        let [token, account, configuration] = needed(app);
        let [secrets, accounts, configurations] =
            [&self.secrets, &self.accounts, &self.configurations];
        let uid = app.uid().unwrap_or_default();
        let ours = |live: Option<Live>| live.filter(|live| live.belongs_to(&uid) && !live.deleting);
        let region = the_one(&self.regions).await;
        Ok(World {
            anchors: region.as_deref().and_then(anchors),
            region,
            project: project_of(&self.projects, namespace.clone()).await,
            identity: [
                ours(secrets.live(namespace.as_deref(), &token.name).await),
                ours(accounts.live(namespace.as_deref(), &account.name).await),
                ours(configurations.live(namespace.as_deref(), &configuration.name).await),
            ],
            troubles: self.troubles(app).await,
            // Both are called `<app>-dapr`.
            standing: self.deployments.live(namespace.as_deref(), &account.name).await,
        })
    }

    fn plan(app: &AppIdentity, world: &World) -> Result<Plan, Invalid> {
        server::plan(app, world)
    }
}

impl Controller {
    async fn troubles(&self, app: &AppIdentity) -> Vec<Trouble> {
        let pods = self.pods.within(&app.namespace().unwrap_or_default()).await;
        let own = pods.iter().filter(|pod| app_of(pod) == app.name_any());
        own.filter_map(|pod| pod.trouble.clone()).collect()
    }
}

/// The app that a pod serves.
fn app_of(pod: &ServerPod) -> String {
    pod.labels().get(APP).cloned().unwrap_or_default()
}

/// Whom the region's identities end in.
fn anchors(region: &Region) -> Option<String> {
    region.status.as_ref()?.trust_anchors.clone()
}

/// The app that something was made for.
fn of(live: &Live, apps: &Store<AppIdentity>) -> Vec<Place> {
    live.owners.iter().filter_map(|owner| apps.find(&owner.uid)).collect()
}
