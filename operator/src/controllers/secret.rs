//! Brings a project the secrets that it refers to, and follows their rotation.
//!
//! watches  SecretRef (primary), Project, RoleBinding (ours), Secret in the region's secret namespace; looks at its targets
//! writes   Secret; condition `Resolved` on SecretRef

use catalyst_crds::{Project, SecretRef};
use catalyst_plan::namespace::SECRETS_BINDING;
use catalyst_plan::secret::{self, Values, World};
use catalyst_plan::{Invalid, Key, Plan, SecretBytes, names};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;

use super::{Access, all, inside, project_of};
use crate::kernel::{Cache, Error, Kernel, Place, Reconcile, Store};

/// The Secret that holds the key of all fingerprints, drawn once.
const FINGERPRINT_KEY: &str = "fingerprint-key";

struct Controller {
    projects: Cache<Project>,
    access: Access,
    remote: Cache<Secret>,
}

pub(super) fn wire(kernel: &mut Kernel) {
    kernel.draw_once(names::SECRETS_NAMESPACE, FINGERPRINT_KEY, secret::CONCERN);
    let remote = kernel.cache_in(names::SECRETS_NAMESPACE);
    let controller = Controller {
        projects: kernel.cache(),
        access: Access::new(kernel, SECRETS_BINDING),
        remote: remote.clone(),
    };
    kernel
        .controller(controller)
        .on_spec::<Project>(inside)
        .on_child::<RoleBinding>(|place, _, references| {
            references.within(&place.namespace).into_iter().map(|(place, _)| place).collect()
        })
        .on_cached(&remote, referring)
        .owns::<Secret>()
        .start();
}

impl Reconcile for Controller {
    type Kind = SecretRef;
    type World = World;
    const CONCERN: &'static str = secret::CONCERN;
    const CONDITION: &'static str = "Resolved";

    async fn observe(&self, reference: &SecretRef) -> Result<World, Error> {
        let namespace = reference.namespace().unwrap_or_default();
        let project = project_of(&self.projects, reference.namespace()).await;
        let remote = match &project {
            Some(project) => {
                self.read(&secret::remote_name(&project.name_any(), &reference.spec.remote.name))
                    .await
            }
            None => None,
        };
        let key = self.read(FINGERPRINT_KEY).await;
        Ok(World {
            bound: self.access.granted(&namespace).await,
            project,
            remote,
            fingerprint_key: key.and_then(|mut key| key.remove("key")),
        })
    }

    fn taken(reference: &SecretRef, _: &Key) -> Invalid {
        secret::target_exists(reference)
    }

    fn plan(reference: &SecretRef, world: &World) -> Result<Plan, Invalid> {
        secret::plan(reference, world)
    }
}

impl Controller {
    /// The values of a Secret of the region's secret namespace.
    async fn read(&self, name: &str) -> Option<Values> {
        let secret = self.remote.get(Some(names::SECRETS_NAMESPACE), name).await?;
        let data = secret.data.iter().flatten();
        Some(data.map(|(key, value)| (key.clone(), SecretBytes(value.0.clone().into()))).collect())
    }
}

/// The SecretRefs that mean a Secret of the region's secret namespace: `<project>.<name>`, or all for the key.
fn referring(secret: &Secret, references: &Store<SecretRef>) -> Vec<Place> {
    let name = secret.name_any();
    let Some((project, remote)) = name.split_once('.') else {
        return if name == FINGERPRINT_KEY { all(references) } else { Vec::new() };
    };
    let inside = references.within(&names::namespace_of(project)).into_iter();
    inside
        .filter(|(_, reference)| reference.spec.remote.name == remote)
        .map(|(place, _)| place)
        .collect()
}

#[cfg(test)]
mod tests {
    use catalyst_crds::SecretRefSpec;

    use super::*;

    #[test]
    fn a_secret_of_the_region_wakes_the_references_of_its_own_project_only() {
        let references = Store::<SecretRef>::default();
        for project in ["prj-shop", "prj-blog"] {
            let mut reference = SecretRef::new("db", SecretRefSpec::default());
            reference.spec.remote.name = "database".into();
            reference.metadata.namespace = Some(project.into());
            reference.metadata.uid = Some(project.into());
            references.put(&Place::new(Some(project), "db"), reference);
        }
        let mut secret = Secret::default();
        secret.metadata.name = Some("shop.database".into());
        assert_eq!(referring(&secret, &references), vec![Place::new(Some("prj-shop"), "db")]);
    }
}
