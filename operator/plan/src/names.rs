//! Every name that Catalyst gives: labels, annotations, namespaces, finalizer. All derive from the API group.

use catalyst_crds::GROUP;

/// Prefix of a project's namespace: project `shop` lives in `prj-shop`.
pub const NAMESPACE_PREFIX: &str = "prj-";

/// The namespace of the region's secrets and of its fingerprint key. The chart fixes it.
pub const SECRETS_NAMESPACE: &str = "catalyst-secrets";

/// The namespace of the Dapr control plane.
pub const DAPR_NAMESPACE: &str = "catalyst-dapr";

/// Marks what Catalyst made and keeps. Never set on a namespace that somebody else made.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The value of [`MANAGED_BY`].
pub const CATALYST: &str = "catalyst";

/// The project that an object belongs to. On a Namespace it is the owner's consent.
pub const PROJECT: &str = "cra.diagrid.io/project";

/// The concern that planned an object, such as `network`.
pub const CONTROLLER: &str = "cra.diagrid.io/controller";

/// The UID of the object that an object was planned for.
pub const OWNER_UID: &str = "cra.diagrid.io/owner-uid";

/// The app that a pod belongs to. Catalyst alone sets it.
pub const APP: &str = "cra.diagrid.io/app";

/// Keeps a deleted Project until what Catalyst put into a namespace of somebody else's is gone.
pub const FENCE: &str = "cra.diagrid.io/fence";

/// The label that Kubernetes sets on every namespace to its name.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name>
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The Pod Security level that a namespace enforces.
/// <https://kubernetes.io/docs/concepts/security/pod-security-admission/#pod-security-admission-labels-for-namespaces>
pub const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";

/// The namespace of a project.
pub fn namespace_of(project: &str) -> String {
    format!("{NAMESPACE_PREFIX}{project}")
}

/// The project that a namespace is meant for, by its name. `None` where it is not a project namespace.
pub fn project_of(namespace: &str) -> Option<&str> {
    namespace.strip_prefix(NAMESPACE_PREFIX).filter(|project| !project.is_empty())
}

/// The stable field manager of a concern: `network.cra.diagrid.io`.
pub fn field_manager(concern: &str) -> String {
    format!("{concern}.{GROUP}")
}
