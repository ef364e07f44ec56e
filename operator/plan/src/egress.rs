//! An EgressPolicy on its own: only whether it lies where a Project can take it in. What its rules
//! are worth is said by a finding of the [network plan](crate::network).

use std::sync::Arc;

use catalyst_crds::{EgressPolicy, Project};

use crate::home::home;
use crate::plan::{Invalid, Plan};

/// What an EgressPolicy is judged by.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The Project that the policy's namespace is named after ([`crate::names::project_of`]), if it exists.
    pub project: Option<Arc<Project>>,
}

/// A silent plan where the Project exists, since its network plan speaks for the policy.
///
/// # Errors
/// `NotAProjectNamespace` and `WaitingForProject`, as [`home`] says.
pub fn plan(policy: &EgressPolicy, world: &World) -> Result<Plan, Invalid> {
    let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
    home(namespace, world.project.as_deref())?;
    Ok(Plan { silent: true, ..Plan::default() })
}

#[cfg(test)]
mod tests {
    use catalyst_crds::{EgressPolicySpec, ProjectSpec};

    use super::*;

    fn policy(namespace: &str) -> EgressPolicy {
        let mut policy = EgressPolicy::new("orders", EgressPolicySpec::default());
        policy.metadata.namespace = Some(namespace.into());
        policy
    }

    #[test]
    fn with_a_project_the_network_plan_speaks() {
        let world = World { project: Some(Arc::new(Project::new("shop", ProjectSpec::default()))) };
        let plan = plan(&policy("prj-shop"), &world).unwrap();
        assert!(plan.silent && plan.objects.is_empty());
    }

    #[test]
    fn without_a_project_it_speaks_for_itself() {
        let missing = plan(&policy("prj-shop"), &World::default()).unwrap_err();
        assert_eq!(missing.reason, "WaitingForProject");
        let misplaced = plan(&policy("default"), &World::default()).unwrap_err();
        assert_eq!(misplaced.reason, "NotAProjectNamespace");
    }
}
