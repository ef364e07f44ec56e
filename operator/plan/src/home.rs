//! Whether one of our namespaced objects lies in the namespace of a Project.

use catalyst_crds::Project;

use crate::names::{NAMESPACE_PREFIX, project_of};
use crate::plan::Invalid;

/// Judges where an AppIdentity, EgressPolicy or SecretRef lies. `project` is the Project that the
/// namespace is named after ([`project_of`]), if it exists.
///
/// # Errors
/// `NotAProjectNamespace` outside of `prj-*`, which only moving the object mends, and
/// `WaitingForProject` where the Project is missing, which its creation mends.
pub fn home(namespace: &str, project: Option<&Project>) -> Result<(), Invalid> {
    let Some(name) = project_of(namespace) else {
        return Err(Invalid::new(
            "NotAProjectNamespace",
            format!(
                "metadata.namespace is \"{namespace}\", which belongs to no Project: move it to the \
                 namespace of its Project, {NAMESPACE_PREFIX}<project>"
            ),
        ));
    };
    match project {
        Some(_) => Ok(()),
        None => Err(Invalid::waits(
            "WaitingForProject",
            format!(
                "namespace {namespace} waits for the Project \"{name}\": create it, or move this \
                 object to the namespace of another Project"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_of_project_namespaces_it_names_the_right_one() {
        let invalid = home("default", None).unwrap_err();
        assert_eq!(invalid.reason, "NotAProjectNamespace");
        assert!(!invalid.waits);
        assert!(invalid.message.contains("prj-<project>"), "{invalid:?}");
    }

    #[test]
    fn a_missing_project_is_waited_for_by_name() {
        let invalid = home("prj-shop", None).unwrap_err();
        assert_eq!(invalid.reason, "WaitingForProject");
        assert!(invalid.waits && invalid.message.contains("\"shop\""), "{invalid:?}");
    }

    #[test]
    fn where_the_project_exists_it_is_home() {
        let project = Project::new("shop", catalyst_crds::ProjectSpec::default());
        assert_eq!(home("prj-shop", Some(&project)), Ok(()));
    }
}
