//! Least privilege, shown: the rights that roles grant beside those that the operator used, as audit logs tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::audit::Request;

/// How requests of the operator itself begin to name who asks; tests that act with its accounts use other programs.
const OPERATOR: &str = "catalyst/";

/// Verbs that no audit log shows, and the test that shows that they are needed.
const NEVER_LOGGED: [&str; 1] = ["bind"];

/// What is only used in a race: a namespace that somebody makes between a look and our create is read once.
const SELDOM: (&str, &str) = ("get", "namespaces");

/// One verb on one resource that a role grants.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Right {
    role: String,
    group: String,
    resource: String,
    verb: String,
    /// The names that it is restricted to; empty for all.
    names: Vec<String>,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, group, resource, verb, names } = self;
        let group = if group.is_empty() { "core" } else { group };
        write!(f, "{role}: {verb} {resource} ({group})")?;
        if names.is_empty() { Ok(()) } else { write!(f, " named {}", names.join(", ")) }
    }
}

/// A role, and where whom it is bound to may use it.
struct Bound {
    account: String,
    /// A namespace, the beginning of one with a star behind, or everything.
    scope: Scope,
    rights: Vec<Right>,
}

enum Scope {
    Everywhere,
    Namespace(String),
    /// The namespaces of projects, by a binding that the operator makes.
    Projects,
}

impl Scope {
    fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Namespace(only) => only == namespace,
            Self::Projects => namespace.starts_with("prj-"),
        }
    }
}

/// What comes of the comparison.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// How often each right was used.
    pub used: BTreeMap<Right, usize>,
    /// What nobody used.
    pub unused: BTreeSet<Right>,
    /// What was asked for, refused, and granted by no role.
    pub missing: BTreeSet<String>,
}

impl Report {
    /// Whether the roles are exactly what was used.
    pub fn is_exact(&self) -> bool {
        self.unused.is_empty() && self.missing.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (right, times) in &self.used {
            writeln!(f, "{times:>8}  {right}")?;
        }
        for right in &self.unused {
            writeln!(f, "  unused  {right}")?;
        }
        for request in &self.missing {
            writeln!(f, " missing  {request}")?;
        }
        Ok(())
    }
}

/// Compares the roles of a set of manifests with what was asked. `projects` names the account that has each role which
/// the operator binds in the namespaces of projects.
pub fn compare(
    manifests: &[Value],
    projects: &[(&str, &str)],
    requests: impl IntoIterator<Item = Request>,
) -> Report {
    let bound = bound(manifests, projects);
    let mut report = Report::default();
    for request in requests.into_iter().filter(|request| request.agent().starts_with(OPERATOR)) {
        let mut granted = false;
        for right in bound
            .iter()
            .filter(|role| role.account == request.who() && role.scope.covers(request.namespace()))
            .flat_map(|role| role.rights.iter().filter(|right| right.covers(&request)))
        {
            granted = true;
            if request.is_allowed() {
                *report.used.entry(right.clone()).or_default() += 1;
            }
        }
        if !granted && request.is_forbidden() {
            report.missing.insert(format!("{request:?}"));
        }
    }
    let all = bound.into_iter().flat_map(|role| role.rights);
    report.unused = all
        .filter(|right| !report.used.contains_key(right))
        .filter(|right| !NEVER_LOGGED.contains(&right.verb.as_str()))
        .filter(|right| (right.verb.as_str(), right.resource.as_str()) != SELDOM)
        .collect();
    report
}

impl Right {
    fn covers(&self, request: &Request) -> bool {
        let created = self.verb == "create" && request.verb() == "patch" && request.code() == 201;
        self.group == request.group()
            && self.resource == request.resource()
            && (self.verb == request.verb() || created)
            && (self.names.is_empty() || self.names.iter().any(|name| name == request.name()))
    }
}

fn bound(manifests: &[Value], projects: &[(&str, &str)]) -> Vec<Bound> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let role = |kind: &str, namespace: &Value, name: &Value| {
        manifests.iter().find(|role| {
            let metadata = &role["metadata"];
            role["kind"] == kind && metadata["name"] == *name && metadata["namespace"] == *namespace
        })
    };
    let is_binding = |manifest: &&Value| {
        ["ClusterRoleBinding", "RoleBinding"].iter().any(|kind| manifest["kind"] == *kind)
    };
    let mut all = Vec::new();
    for binding in manifests.iter().filter(is_binding) {
        let place = &binding["metadata"]["namespace"];
        let named = &binding["roleRef"]["name"];
        let at = if binding["roleRef"]["kind"] == "Role" { place } else { &Value::Null };
        let Some(role) = role(&text(&binding["roleRef"]["kind"]), at, named) else { continue };
        for subject in binding["subjects"].as_array().into_iter().flatten() {
            let (namespace, name) = (text(&subject["namespace"]), text(&subject["name"]));
            all.push(Bound {
                account: format!("system:serviceaccount:{namespace}:{name}"),
                scope: place.as_str().map_or(Scope::Everywhere, |at| Scope::Namespace(at.into())),
                rights: rights(role),
            });
        }
    }
    for (named, account) in projects {
        if let Some(role) = role("ClusterRole", &Value::Null, &Value::from(*named)) {
            let rights = rights(role);
            all.push(Bound { account: (*account).into(), scope: Scope::Projects, rights });
        }
    }
    all
}

fn rights(role: &Value) -> Vec<Right> {
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(Into::into).collect()
    };
    let metadata = &role["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let role_name = match metadata["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.into(),
    };
    let mut all = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    all.push(Right {
                        role: role_name.clone(),
                        group: group.clone(),
                        resource: resource.clone(),
                        verb,
                        names: texts(&rule["resourceNames"]),
                    });
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AGENT: &str = "system:serviceaccount:catalyst-system:catalyst-agent";

    fn roles() -> Vec<Value> {
        let rules = json!([
            {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create", "patch"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["bind"]},
        ]);
        let subject = json!({"kind": "ServiceAccount", "name": "catalyst-agent", "namespace": "catalyst-system"});
        vec![
            json!({"kind": "ClusterRole", "metadata": {"name": "agent"}, "rules": rules}),
            json!({"kind": "ClusterRoleBinding", "metadata": {"name": "agent"}, "subjects": [subject],
                "roleRef": {"kind": "ClusterRole", "name": "agent"}}),
        ]
    }

    fn request(verb: &str, resource: &str, code: u64, agent: &str) -> Request {
        let decision = if code == 403 { "forbid" } else { "allow" };
        Request::of(json!({"verb": verb, "userAgent": agent, "user": {"username": AGENT},
            "objectRef": {"resource": resource}, "responseStatus": {"code": code},
            "annotations": {"authorization.k8s.io/decision": decision}}))
    }

    #[test]
    fn a_right_that_nobody_used_is_named_and_bind_is_not() {
        let report = compare(&roles(), &[], [request("patch", "namespaces", 201, "catalyst/1")]);
        let unused: Vec<String> = report.unused.iter().map(ToString::to_string).collect();
        assert_eq!(unused, ["agent: list pods (core)"]);
        assert_eq!(report.used.len(), 2, "an apply that made something is a patch and a create");
    }

    #[test]
    fn a_request_that_no_role_grants_is_named_and_what_a_test_tried_as_the_agent_is_not() {
        let tried = [
            request("list", "secrets", 403, "catalyst/1"),
            request("delete", "nodes", 403, "kubectl/1"),
        ];
        let report = compare(&roles(), &[], tried);
        assert_eq!(report.missing.len(), 1);
        assert!(report.missing.first().is_some_and(|request| request.starts_with("list secrets")));
        assert!(!report.is_exact());
    }
}
