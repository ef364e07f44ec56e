//! Nobody gets further than they should: the operator's accounts stay within projects and read no Secret outside of
//! them, and who is admin of a project's namespace can neither open its fence nor take an app's identity.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use catalyst_e2e::serves_admission_policies;
use catalyst_testbed::{ControlPlane, Options, Output};
use serde_json::{Value, json};

/// Long enough for a machine that is busy with a build. Nothing here takes a second by itself.
const PATIENCE: Duration = Duration::from_mins(1);

/// The audience that Sentry asks for, as pods name it.
const SENTRY: &str = "spiffe://eu.example.com/ns/catalyst-dapr/dapr-sentry";

/// How a request ends that no role allows, and what the policies say.
const NO_ROLE: &str = " cannot ";
const NAMESPACES: &str = "only namespaces called prj-*";
const LEVEL: &str = "to no other value than restricted";
const VERSION: &str = "to no other value than latest";
const BINDINGS: &str = "only in namespaces called prj-*";
const ROLES: &str = "binds only catalyst-project,";
const HOLDERS: &str = "to nobody but";
const FINALIZER: &str = "nothing of a Project but";
const FENCE: &str = "are written by Catalyst alone";
const MARKED: &str = "mark what Catalyst writes";
const POD_LABEL: &str = "cra.diagrid.io/app is set by Catalyst alone";

/// The one control plane of this file, with the operator's accounts, roles and admission policies.
static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::start);

struct Cluster {
    control_plane: ControlPlane,
    agent: PathBuf,
    secrets: PathBuf,
    tenant: PathBuf,
}

impl Cluster {
    fn start() -> Self {
        let mut options = Options::default();
        options.crds.push(repository("crds"));
        let control_plane = ControlPlane::start(&options).expect("a control plane");
        let user = |user: &str, groups: &[&str]| {
            let name = user.rsplit(':').next().unwrap_or(user);
            control_plane.kubeconfig_for(name, user, groups).expect("a kubeconfig")
        };
        let groups = ["system:serviceaccounts", "system:serviceaccounts:catalyst-system"];
        let cluster = Self {
            agent: user("system:serviceaccount:catalyst-system:catalyst-agent", &groups),
            secrets: user("system:serviceaccount:catalyst-system:catalyst-secrets", &groups),
            tenant: user("tina", &[]),
            control_plane,
        };
        let admin = cluster.admin();
        for file in ["accounts.yaml", "roles.yaml"] {
            allowed(admin.kubectl(&format!("apply -f {}", policies(file))));
        }
        // Without them most of these tests fail: docs/kubernetes.md says which.
        if serves_admission_policies(&cluster.control_plane) {
            allowed(admin.kubectl(&format!("apply -f {}", policies("admission"))));
            // Policies and bindings reach admission in the order they were made, and catalyst-label was the last.
            let wrong = namespace("prj-sentinel", &json!({"cra.diagrid.io/project": "other"}));
            until("the admission policies act", || {
                let output = admin.run("create --dry-run=server -f -", &wrong);
                output.stderr.contains("'catalyst-label'")
            });
        }
        until_may(cluster.agent(), "create namespaces");
        until_may(cluster.secrets(), "list secrets -n catalyst-secrets");
        cluster
    }

    /// A member of `system:masters`.
    fn admin(&self) -> User<'_> {
        self.user(self.control_plane.kubeconfig())
    }

    fn agent(&self) -> User<'_> {
        self.user(&self.agent)
    }

    fn secrets(&self) -> User<'_> {
        self.user(&self.secrets)
    }

    /// Who is admin of the namespaces of [`Cluster::invite`], and nothing else.
    fn tenant(&self) -> User<'_> {
        self.user(&self.tenant)
    }

    fn user<'a>(&'a self, kubeconfig: &'a Path) -> User<'a> {
        User { cluster: self, kubeconfig }
    }

    /// Binds the role `admin` in a namespace to the tenant.
    fn invite(&self, namespace: &str) {
        let tenant = "rolebinding tenant --clusterrole=admin --user=tina";
        allowed(self.admin().kubectl(&format!("create {tenant} -n {namespace}")));
        until_may(self.tenant(), &format!("create deployments.apps -n {namespace}"));
    }

    /// Makes `prj-<name>` the way the agent does, fenced, and invites the tenant.
    fn project(&self, name: &str) -> String {
        let namespace = format!("prj-{name}");
        allowed(self.agent().apply(&project_namespace(name)));
        allowed(self.agent().apply(&binding(&namespace, "catalyst-project", "catalyst-agent")));
        until_may(self.agent(), &format!("patch networkpolicies -n {namespace}"));
        allowed(self.agent().apply(&fence(name)));
        self.invite(&namespace);
        namespace
    }
}

/// Somebody with a kubectl.
#[derive(Clone, Copy)]
struct User<'a> {
    cluster: &'a Cluster,
    kubeconfig: &'a Path,
}

impl User<'_> {
    fn run(self, words: &str, input: &Value) -> Output {
        let kubeconfig = self.kubeconfig.to_string_lossy();
        let mut arguments = vec!["--kubeconfig", &*kubeconfig];
        arguments.extend(words.split_whitespace());
        let input = input.to_string();
        self.cluster.control_plane.kubectl_with(&arguments, &input).expect("a kubectl that runs")
    }

    fn kubectl(self, words: &str) -> Output {
        self.run(words, &Value::Null)
    }

    /// Applies on the server's side, as the operator does.
    fn apply(self, manifest: &Value) -> Output {
        let manager = "--field-manager=test.cra.diagrid.io";
        self.run(&format!("apply --server-side --force-conflicts {manager} -f -"), manifest)
    }

    fn create(self, manifest: &Value) -> Output {
        self.run("create -f -", manifest)
    }

    /// Merges a patch into an object, named as kubectl does: `<kind>/<name> -n <namespace>`.
    fn merge(self, object: &str, patch: &Value) -> Output {
        self.run(&format!("patch {object} --type=merge --patch-file=/dev/stdin"), patch)
    }

    fn label(self, object: &str, label: &str) -> Output {
        self.kubectl(&format!("label --overwrite {object} {label}"))
    }

    fn delete(self, object: &str) -> Output {
        self.kubectl(&format!("delete --wait=false {object}"))
    }

    fn may(self, what: &str) -> bool {
        self.kubectl(&format!("auth can-i --quiet {what}")).status.success()
    }
}

/// Authorisation takes a moment to see a new binding.
#[track_caller]
fn until_may(user: User<'_>, what: &str) {
    until(&format!("may {what}"), || user.may(what));
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[track_caller]
fn allowed(output: Output) -> String {
    assert!(output.status.success(), "was to be allowed: {output:?}");
    output.stdout
}

/// Refused, and for this reason: part of a policy's message, or [`NO_ROLE`].
#[track_caller]
fn refused(output: &Output, reason: &str) {
    assert!(!output.status.success(), "was to be refused, as {reason}: {output:?}");
    assert!(output.stderr.contains(reason), "was to be refused, as {reason}: {output:?}");
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn policies(file: &str) -> String {
    repository("policies").join(file).to_string_lossy().into_owned()
}

/// Puts the fields of the second value into the first, at any depth.
fn with(mut base: Value, more: &Value) -> Value {
    let (Some(fields), Some(more_fields)) = (base.as_object_mut(), more.as_object()) else {
        return more.clone();
    };
    for (name, value) in more_fields {
        let field = fields.remove(name).unwrap_or_default();
        fields.insert(name.clone(), with(field, value));
    }
    base
}

fn object(version: &str, kind: &str, namespace: &str, name: &str) -> Value {
    let metadata = json!({"name": name, "namespace": namespace});
    json!({"apiVersion": version, "kind": kind, "metadata": metadata})
}

fn labels(labels: &Value) -> Value {
    json!({"metadata": {"labels": labels}})
}

fn annotation(name: &str) -> Value {
    json!({"metadata": {"annotations": {name: "orders"}}})
}

fn finalizers(names: &[&str]) -> Value {
    json!({"metadata": {"finalizers": names}})
}

fn namespace(name: &str, with_labels: &Value) -> Value {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    with(namespace, &labels(with_labels))
}

fn project_namespace(project: &str) -> Value {
    let labels = json!({
        "cra.diagrid.io/project": project,
        "app.kubernetes.io/managed-by": "catalyst",
        "pod-security.kubernetes.io/enforce": "restricted",
    });
    namespace(&format!("prj-{project}"), &labels)
}

fn project(name: &str) -> Value {
    let version = "cra.diagrid.io/v1beta1";
    json!({"apiVersion": version, "kind": "Project", "metadata": {"name": name}})
}

fn account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
}

/// One of the operator's ways into a project.
fn binding(namespace: &str, role: &str, holder: &str) -> Value {
    let version = "rbac.authorization.k8s.io/v1";
    let role_ref = json!({
        "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role,
    });
    let rest = json!({
        "metadata": {"labels": {"cra.diagrid.io/controller": "namespace"}},
        "roleRef": role_ref,
        "subjects": [account("catalyst-system", holder)],
    });
    with(object(version, "RoleBinding", namespace, role), &rest)
}

fn network_policy(namespace: &str, name: &str) -> Value {
    let policy = object("networking.k8s.io/v1", "NetworkPolicy", namespace, name);
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
    with(policy, &json!({"spec": spec}))
}

/// The NetworkPolicy of ours in every project.
fn fence(project: &str) -> Value {
    let ours = json!({"cra.diagrid.io/project": project, "cra.diagrid.io/owner-uid": "3f8e"});
    with(network_policy(&format!("prj-{project}"), "default-deny"), &labels(&ours))
}

fn secret(namespace: &str, name: &str) -> Value {
    object("v1", "Secret", namespace, name)
}

fn config_map(namespace: &str, name: &str) -> Value {
    object("v1", "ConfigMap", namespace, name)
}

/// A pod, or its template, that Pod Security `restricted` lets pass.
fn pod(more: &Value) -> Value {
    let security = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let container = json!({"name": "app", "image": "app", "securityContext": security});
    let security = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    let spec = json!({"containers": [container], "securityContext": security});
    with(json!({"metadata": {"labels": {"app": "app"}}, "spec": spec}), more)
}

/// How many kinds run pods, the pod itself included.
const WORKLOADS: usize = 8;

/// One of each kind that runs pods, called `name`, with this in its pods.
fn workloads(namespace: &str, name: &str, more: &Value) -> Value {
    let template = pod(more);
    let once = with(template.clone(), &json!({"spec": {"restartPolicy": "Never"}}));
    let job = json!({"template": once});
    let cron_job = json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}});
    let controller = json!({"selector": {"app": "app"}, "template": template});
    let spec = json!({"selector": {"matchLabels": {"app": "app"}}, "template": template});
    let kinds: [(&str, &str, Value); WORKLOADS - 1] = [
        ("apps/v1", "Deployment", spec.clone()),
        ("apps/v1", "ReplicaSet", spec.clone()),
        ("apps/v1", "DaemonSet", spec.clone()),
        ("apps/v1", "StatefulSet", with(spec, &json!({"serviceName": "app"}))),
        ("v1", "ReplicationController", controller),
        ("batch/v1", "Job", job),
        ("batch/v1", "CronJob", cron_job),
    ];
    let mut items = vec![with(object("v1", "Pod", namespace, name), &pod(more))];
    for (version, kind, spec) in kinds {
        items.push(with(object(version, kind, namespace, name), &json!({"spec": spec})));
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// What makes Sentry believe a pod.
fn sentry_token() -> Value {
    let token = json!({"serviceAccountToken": {"path": "token", "audience": SENTRY}});
    json!({"spec": {"volumes": [{"name": "identity", "projected": {"sources": [token]}}]}})
}

/// Deletes a namespace as the administrator, and waits until it is gone with all in it.
fn delete_whole(namespace: &str) {
    allowed(CLUSTER.admin().delete(&format!("namespace/{namespace}")));
    let find = format!("get namespace/{namespace} --ignore-not-found -o name");
    until(&format!("{namespace} is gone"), || allowed(CLUSTER.admin().kubectl(&find)).is_empty());
}

#[test]
fn the_server_has_no_complaint_about_a_policy() {
    let mut policies = Value::Null;
    until("the policies are type-checked", || {
        let found = allowed(CLUSTER.admin().kubectl("get validatingadmissionpolicies -o json"));
        policies = serde_json::from_str::<Value>(&found).expect("JSON")["items"].take();
        let policies = policies.as_array().expect("a list");
        policies.len() == 8 && policies.iter().all(|it| it["status"].get("typeChecking").is_some())
    });
    for policy in policies.as_array().expect("a list") {
        let warnings = &policy["status"]["typeChecking"]["expressionWarnings"];
        assert!(warnings.is_null(), "{}: {warnings}", policy["metadata"]["name"]);
    }
}

#[test]
fn applying_the_files_again_changes_nothing() {
    for file in ["accounts.yaml", "roles.yaml", "admission"] {
        let output = CLUSTER.admin().kubectl(&format!("apply -f {}", policies(file)));
        for line in allowed(output).lines() {
            assert!(line.ends_with(" unchanged"), "{line}");
        }
    }
}

#[test]
fn the_agent_reads_no_secret_outside_of_projects() {
    let agent = CLUSTER.agent();
    refused(&agent.kubectl("get secrets -n kube-system"), NO_ROLE);
    refused(&agent.kubectl("get secrets -n catalyst-secrets"), NO_ROLE);
    refused(&agent.kubectl("get secrets --all-namespaces"), NO_ROLE);
    for what in [
        "get secrets/token -n kube-system",
        "watch secrets --all-namespaces",
        "create serviceaccounts --subresource=token -n kube-system",
        "create pods --subresource=exec -n kube-system",
        "impersonate users",
        "escalate clusterroles",
        "bind clusterroles/cluster-admin",
        "create clusterrolebindings",
        "delete namespaces",
        "create projects.cra.diagrid.io",
        "patch secretrefs.cra.diagrid.io --subresource=status",
    ] {
        assert!(!agent.may(what), "{what}");
    }
}

#[test]
fn the_secrets_account_reads_the_regions_secrets_and_no_others() {
    let secrets = CLUSTER.secrets();
    allowed(secrets.kubectl("get secrets -n catalyst-secrets"));
    refused(&secrets.kubectl("get secrets -n kube-system"), NO_ROLE);
    refused(&secrets.kubectl("get secrets --all-namespaces"), NO_ROLE);

    // It writes one there, by an apply: its URL holds the name, so roles restrict the create too.
    allowed(secrets.apply(&secret("catalyst-secrets", "fingerprint-key")));
    refused(&secrets.apply(&secret("catalyst-secrets", "shop.database")), NO_ROLE);
    refused(&secrets.delete("secret/fingerprint-key -n catalyst-secrets"), NO_ROLE);
    for what in ["create namespaces", "create rolebindings", "patch projects.cra.diagrid.io"] {
        assert!(!secrets.may(what), "{what}");
    }
}

#[test]
fn each_account_holds_its_own_lease() {
    let (agent, secrets) = (CLUSTER.agent(), CLUSTER.secrets());
    let lease = |name| object("coordination.k8s.io/v1", "Lease", "catalyst-system", name);
    for (user, own, other) in [
        (agent, "catalyst-agent", "catalyst-secrets"),
        (secrets, "catalyst-secrets", "catalyst-agent"),
    ] {
        allowed(user.apply(&lease(own)));
        refused(&user.apply(&lease(other)), NO_ROLE);
        let read = |name: &str| user.kubectl(&format!("get lease/{name} -n catalyst-system"));
        allowed(read(own));
        refused(&read(other), NO_ROLE);
    }
}

#[test]
fn the_agent_makes_a_project_and_all_in_it() {
    let (agent, secrets) = (CLUSTER.agent(), CLUSTER.secrets());
    let namespace = CLUSTER.project("made");
    allowed(agent.apply(&binding(&namespace, "catalyst-project-secrets", "catalyst-secrets")));
    until_may(secrets, &format!("patch secrets -n {namespace}"));

    let quota = json!({"spec": {"hard": {"pods": "10"}}});
    allowed(agent.apply(&with(object("v1", "ResourceQuota", &namespace, "project"), &quota)));
    allowed(agent.apply(&object("v1", "ServiceAccount", &namespace, "orders-dapr")));
    allowed(agent.apply(&secret(&namespace, "orders-dapr")));
    allowed(secrets.apply(&secret(&namespace, "database")));
    for object in ["resourcequota/project", "serviceaccount/orders-dapr", "secret/orders-dapr"] {
        allowed(agent.delete(&format!("{object} -n {namespace}")));
    }
    allowed(secrets.delete(&format!("secret/database -n {namespace}")));
    allowed(agent.delete(&format!("rolebinding/catalyst-project-secrets -n {namespace}")));

    let find = "get project made -o jsonpath={.metadata.finalizers}";
    allowed(CLUSTER.admin().create(&project("made")));
    allowed(agent.apply(&with(project("made"), &finalizers(&["cra.diagrid.io/fence"]))));
    assert_eq!(allowed(CLUSTER.admin().kubectl(find)), r#"["cra.diagrid.io/fence"]"#);
    allowed(agent.apply(&project("made")));
    assert_eq!(allowed(CLUSTER.admin().kubectl(find)), "");

    let status = with(project("made"), &json!({"status": {"namespace": namespace}}));
    allowed(agent.run("apply --server-side --subresource=status -f -", &status));
    let event = json!({
        "action": "Apply",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reason": "Ready",
        "reportingController": "cra.diagrid.io/catalyst",
        "reportingInstance": "agent-0",
        "type": "Normal",
    });
    allowed(agent.apply(&with(object("events.k8s.io/v1", "Event", "default", "made.1"), &event)));
}

#[test]
fn the_agent_writes_no_other_namespace_and_no_weaker_one() {
    let agent = CLUSTER.agent();
    let level = |level: &str| json!({"pod-security.kubernetes.io/enforce": level});
    let old = json!({"pod-security.kubernetes.io/enforce-version": "v1.30"});
    refused(&agent.apply(&namespace("elsewhere", &level("restricted"))), NAMESPACES);
    refused(&agent.label("namespace/kube-system", "a=b"), NAMESPACES);
    refused(&agent.apply(&namespace("prj-weak", &level("privileged"))), LEVEL);
    refused(&agent.apply(&namespace("prj-weak", &json!({}))), LEVEL);
    refused(&agent.apply(&namespace("prj-weak", &with(level("restricted"), &old))), VERSION);

    allowed(agent.apply(&namespace("prj-strong", &level("restricted"))));
    let strong = "namespace/prj-strong";
    refused(&agent.apply(&namespace("prj-strong", &level("baseline"))), LEVEL);
    refused(&agent.label(strong, "pod-security.kubernetes.io/enforce=privileged"), LEVEL);
    refused(&agent.label(strong, "pod-security.kubernetes.io/enforce-"), LEVEL);
    refused(&agent.label(strong, "pod-security.kubernetes.io/enforce-version=v1.30"), VERSION);
    refused(&agent.delete(strong), NO_ROLE);

    // One of somebody else's has what its owner chose: the agent leaves that, or asks for more.
    let theirs = with(level("baseline"), &old);
    allowed(CLUSTER.admin().create(&namespace("prj-taken", &theirs)));
    let taken = "namespace/prj-taken";
    allowed(agent.label(taken, "cra.diagrid.io/project=taken"));
    refused(&agent.label(taken, "pod-security.kubernetes.io/enforce=privileged"), LEVEL);
    refused(&agent.label(taken, "pod-security.kubernetes.io/enforce-version=v1.24"), VERSION);
    allowed(agent.label(taken, "pod-security.kubernetes.io/enforce=restricted"));
    allowed(agent.label(taken, "pod-security.kubernetes.io/enforce-version=latest"));

    // An owner that is not there would have it deleted, and a finalizer would keep it for ever.
    let owner = json!([{"apiVersion": "cra.diagrid.io/v1beta1", "kind": "Project", "name": "gone",
        "uid": "11111111-1111-1111-1111-111111111111"}]);
    let adopted = json!({"metadata": {"ownerReferences": owner}});
    refused(&agent.merge(taken, &adopted), "gives no owner");
    refused(&agent.label(taken, "app.kubernetes.io/managed-by=catalyst"), "gives no owner");
    let kept = json!({"metadata": {"finalizers": ["cra.diagrid.io/fence"]}});
    refused(&agent.merge(taken, &kept), "no finalizer");
}

#[test]
fn the_agent_binds_nothing_but_its_roles_to_their_holders() {
    let (admin, agent) = (CLUSTER.admin(), CLUSTER.agent());
    let namespace = &CLUSTER.project("bound");
    let own = |namespace: &str| binding(namespace, "catalyst-project", "catalyst-agent");
    refused(&agent.apply(&own("kube-system")), BINDINGS);
    refused(&agent.apply(&own("catalyst-secrets")), BINDINGS);

    let crossed = binding(namespace, "catalyst-project-secrets", "catalyst-agent");
    refused(&agent.apply(&crossed), HOLDERS);
    refused(&agent.apply(&binding(namespace, "catalyst-project", "catalyst-secrets")), HOLDERS);
    let double = json!({"subjects": [account("default", "catalyst-agent")]});
    refused(&agent.apply(&with(own(namespace), &double)), HOLDERS);
    let company = account("catalyst-system", "catalyst-agent");
    let company = json!({"subjects": [company, account("default", "mallory")]});
    refused(&agent.apply(&with(own(namespace), &company)), HOLDERS);

    // As far as roles go, it could hand on the rights that it holds itself.
    refused(&agent.apply(&binding(namespace, "catalyst-agent", "catalyst-agent")), ROLES);
    let everything = binding(namespace, "cluster-admin", "catalyst-agent");
    refused(&agent.apply(&everything), "not currently held");
    refused(&agent.delete(&format!("rolebinding/tenant -n {namespace}")), ROLES);

    // What somebody added to a binding of ours keeps it neither from being mended nor from going.
    allowed(admin.apply(&with(own(namespace), &company)));
    allowed(agent.apply(&own(namespace)));
    allowed(admin.apply(&with(own(namespace), &company)));
    allowed(agent.delete(&format!("rolebinding/catalyst-project -n {namespace}")));
}

#[test]
fn the_agent_changes_nothing_of_a_project_but_its_finalizer() {
    let (admin, agent) = (CLUSTER.admin(), CLUSTER.agent());
    let kept = with(project("kept"), &finalizers(&["example.com/theirs"]));
    let kept = with(kept, &labels(&json!({"team": "a"})));
    let spec = json!({"displayName": "Kept", "network": {"egress": {"default": "None"}}});
    allowed(admin.create(&with(kept, &json!({"spec": spec}))));
    // kubectl reads before it patches, which the agent never does.
    let rule =
        json!({"apiGroups": ["cra.diagrid.io"], "resources": ["projects"], "verbs": ["get"]});
    let version = "rbac.authorization.k8s.io/v1";
    allowed(admin.create(&json!({"apiVersion": version, "kind": "ClusterRole",
        "metadata": {"name": "reads-projects"}, "rules": [rule]})));
    allowed(admin.create(&json!({"apiVersion": version, "kind": "ClusterRoleBinding",
        "metadata": {"name": "reads-projects"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reads-projects"},
        "subjects": [{"kind": "ServiceAccount", "name": "catalyst-agent", "namespace": "catalyst-system"}]})));
    until_may(agent, "get projects");

    let owner = json!({"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "gone"});
    for change in [
        json!({"spec": {"displayName": "Taken"}}),
        json!({"spec": {"network": null}}),
        json!({"spec": {"suspend": true}}),
        labels(&json!({"team": "b"})),
        annotation("note"),
        finalizers(&[]),
        finalizers(&["example.com/theirs", "example.com/another"]),
        json!({"metadata": {"ownerReferences": [owner]}}),
    ] {
        refused(&agent.merge("project/kept", &change), FINALIZER);
    }
    let taken = with(project("kept"), &json!({"spec": {"displayName": "Taken"}}));
    refused(&agent.apply(&taken), FINALIZER);
    refused(&agent.delete("project/kept"), NO_ROLE);
    let both = finalizers(&["example.com/theirs", "cra.diagrid.io/fence"]);
    allowed(agent.merge("project/kept", &both));
}

#[test]
fn the_operator_makes_no_secret_that_would_be_filled_with_a_token() {
    let namespace = CLUSTER.project("plain");
    let token = json!({
        "metadata": {"annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
    });
    let token = with(secret(&namespace, "token"), &token);
    refused(&CLUSTER.agent().apply(&token), "only Secrets of type Opaque");
    allowed(CLUSTER.tenant().apply(&token));
}

#[test]
fn a_tenant_writes_no_network_policy() {
    let tenant = CLUSTER.tenant();
    let namespace = CLUSTER.project("walled");
    refused(&tenant.create(&network_policy(&namespace, "allow-all")), FENCE);
    refused(&tenant.apply(&network_policy(&namespace, "allow-all")), FENCE);

    let ours = &format!("networkpolicy/default-deny -n {namespace}");
    refused(&tenant.merge(ours, &json!({"spec": {"egress": [{}]}})), FENCE);
    refused(&tenant.label(ours, "cra.diagrid.io/owner-uid-"), FENCE);
    refused(&tenant.label(ours, "note=mine"), FENCE);
    refused(&tenant.delete(ours), FENCE);
    let all = format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies");
    refused(&tenant.kubectl(&format!("delete --raw {all}")), FENCE);
    allowed(tenant.kubectl(&format!("get {ours}")));
}

#[test]
fn a_tenant_writes_nothing_that_carries_our_labels() {
    let (agent, tenant) = (CLUSTER.agent(), CLUSTER.tenant());
    let namespace = CLUSTER.project("marked");
    let (own, own_pod) =
        (format!("configmap/own -n {namespace}"), format!("pod/own -n {namespace}"));
    allowed(tenant.create(&config_map(&namespace, "own")));
    allowed(tenant.create(&with(object("v1", "Pod", &namespace, "own"), &pod(&json!({})))));

    for (name, value) in
        [("project", "marked"), ("controller", "network"), ("owner-uid", "3f8e"), ("app", "orders")]
    {
        let label = format!("cra.diagrid.io/{name}");
        refused(&tenant.label(&own, &format!("{label}={value}")), MARKED);
        refused(&tenant.label(&own_pod, &format!("{label}={value}")), "Catalyst");
        let marked = labels(&json!({label.as_str(): value}));
        refused(&tenant.create(&with(config_map(&namespace, "new"), &marked)), MARKED);

        allowed(agent.apply(&with(secret(&namespace, name), &marked)));
        let ours = &format!("secret/{name} -n {namespace}");
        refused(&tenant.label(ours, &format!("{label}-")), MARKED);
        refused(&tenant.merge(ours, &json!({"stringData": {"key": "mine"}})), MARKED);
        refused(&tenant.delete(ours), MARKED);
    }
    // The operator's way in is one of them, and an admin may delete RoleBindings.
    refused(&tenant.delete(&format!("rolebinding/catalyst-project -n {namespace}")), MARKED);
    allowed(tenant.label(&own, "note=mine"));
    allowed(tenant.delete(&own));
    allowed(tenant.delete(&own_pod));
}

#[test]
fn a_tenant_runs_nothing_as_somebody_elses_app() {
    let tenant = CLUSTER.tenant();
    let namespace = CLUSTER.project("posed");
    for (posing, reason) in [
        (annotation("dapr.io/app-id"), "annotation dapr.io/app-id would give"),
        (annotation("dapr.io/config"), "annotation dapr.io/config would give"),
        (sentry_token(), "volume identity holds a token for Sentry"),
    ] {
        let output = tenant.create(&workloads(&namespace, "posing", &posing));
        refused(&output, reason);
        assert_eq!(output.stderr.matches(reason).count(), WORKLOADS, "{}", output.stderr);
    }
    let app = labels(&json!({"cra.diagrid.io/app": "orders"}));
    let output = tenant.create(&workloads(&namespace, "posing", &app));
    // Pods carry the label themselves, Jobs take it over from their pods: then two policies refuse, and either may speak.
    let denied = output.stderr.matches("denied request").count();
    assert_eq!(denied, WORKLOADS, "{}", output.stderr);
    assert!(output.stderr.contains(POD_LABEL), "{}", output.stderr);
    let found = format!("get all,cronjobs -n {namespace} -o name");
    assert_eq!(allowed(tenant.kubectl(&found)), "", "nothing was made");

    // Its own run, and stay its own when they change.
    allowed(tenant.create(&workloads(&namespace, "own", &annotation("example.com/app-id"))));
    let replicas = "-o jsonpath={.status.replicas}";
    let replicas = format!("get replicaset/own -n {namespace} {replicas}");
    until("the controller made a pod", || allowed(tenant.kubectl(&replicas)) == "1");
    let app_id = annotation("dapr.io/app-id");
    for (object, patch) in [
        ("pod", app_id.clone()),
        ("deployment", json!({"spec": {"template": app_id}})),
        ("cronjob", json!({"spec": {"jobTemplate": {"spec": {"template": app_id}}}})),
    ] {
        let own = format!("{object}/own -n {namespace}");
        refused(&tenant.merge(&own, &patch), "annotation dapr.io/app-id would give");
        allowed(tenant.merge(&own, &annotation("note")));
    }
    allowed(tenant.kubectl(&format!("scale deployment/own -n {namespace} --replicas=2")));
    allowed(tenant.delete(&format!("deployment/own -n {namespace}")));

    let token = format!("create token default -n {namespace} --audience");
    refused(&tenant.kubectl(&format!("{token} {SENTRY}")), "a token for Sentry");
    refused(&tenant.kubectl(&format!("{token} dapr.io/sentry")), "a token for Sentry");
    allowed(tenant.kubectl(&format!("{token} vault")));
}

#[test]
fn a_cluster_administrator_and_kubernetes_itself_may_do_all_of_it() {
    let (admin, tenant) = (CLUSTER.admin(), CLUSTER.tenant());
    let namespace = CLUSTER.project("free");
    allowed(admin.create(&network_policy(&namespace, "allow-all")));
    let ours = format!("networkpolicy/default-deny -n {namespace}");
    allowed(admin.label(&ours, "cra.diagrid.io/owner-uid-"));
    allowed(admin.delete(&ours));
    allowed(admin.kubectl(&format!("create token default -n {namespace} --audience {SENTRY}")));

    // An app's server: controllers make its ReplicaSet and its pods.
    let server = json!({"cra.diagrid.io/app": "orders", "cra.diagrid.io/project": "free"});
    let server = with(with(labels(&server), &annotation("dapr.io/app-id")), &sentry_token());
    let selector = json!({"matchLabels": {"cra.diagrid.io/app": "orders"}});
    let spec = json!({"spec": {"selector": selector, "template": pod(&server)}});
    let deployment = object("apps/v1", "Deployment", &namespace, "orders-dapr");
    allowed(admin.create(&with(deployment, &spec)));
    let find = format!("get pods -n {namespace} -l cra.diagrid.io/app=orders -o name");
    let pods = || allowed(admin.kubectl(&find)).lines().map(String::from).collect::<Vec<_>>();
    until("the server has a pod", || pods().len() == 1);

    // This Deployment has no label of ours, but its Scale says which pods it counts.
    let scale = format!("scale deployment/orders-dapr -n {namespace} --replicas");
    refused(&tenant.kubectl(&format!("{scale} 0")), MARKED);
    allowed(admin.kubectl(&format!("{scale} 2")));
    until("the server has two pods", || pods().len() == 2);
    let pod = &format!("{} -n {namespace}", pods()[0]);
    refused(&tenant.delete(pod), MARKED);
    refused(&tenant.label(pod, "cra.diagrid.io/app-"), "denied request");

    // A container put into its pod would read its token. The role admin lacks this, but others may be bound too.
    let role = format!("-n {namespace} debug");
    let verbs = "--verb=get,patch --resource=pods,pods/ephemeralcontainers";
    allowed(admin.kubectl(&format!("create role {role} {verbs}")));
    allowed(admin.kubectl(&format!("create rolebinding {role} --role=debug --user=tina")));
    until_may(tenant, &format!("patch pods --subresource=ephemeralcontainers -n {namespace}"));
    let security = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let container = json!({"name": "spy", "image": "spy", "securityContext": security});
    let spy = json!({"spec": {"ephemeralContainers": [container]}});
    let put = format!("{pod} --subresource=ephemeralcontainers");
    refused(&tenant.merge(&put, &spy), MARKED);
    allowed(admin.merge(&put, &spy));

    allowed(admin.create(&workloads(&namespace, "more", &server)));
    delete_whole(&namespace);
}

#[test]
fn what_an_app_owned_goes_with_it() {
    let (admin, agent) = (CLUSTER.admin(), CLUSTER.agent());
    let namespace = CLUSTER.project("owned");
    let (version, kind) = ("cra.diagrid.io/v1beta1", "AppIdentity");
    let app = with(object(version, kind, &namespace, "orders"), &json!({"spec": {}}));
    allowed(admin.create(&app));
    let app = format!("appidentity/orders -n {namespace}");
    let uid = allowed(admin.kubectl(&format!("get {app} -o jsonpath={{.metadata.uid}}")));
    let owner = json!({"apiVersion": version, "kind": kind, "name": "orders", "uid": uid});
    let child = json!({"metadata": {"name": "orders-dapr", "ownerReferences": [owner]}});
    allowed(agent.apply(&with(fence("owned"), &child)));
    allowed(admin.delete(&app));
    let find = format!("get networkpolicies -n {namespace} -o name");
    until("garbage collection took what the app owned", || {
        !allowed(agent.kubectl(&find)).contains("orders-dapr")
    });
    delete_whole(&namespace);
}

#[test]
fn override_can_be_granted_for_one_project() {
    let (admin, tenant) = (CLUSTER.admin(), CLUSTER.tenant());
    let (trusted, other) = (CLUSTER.project("trusted"), CLUSTER.project("other"));
    let rule = json!({
        "apiGroups": ["cra.diagrid.io"],
        "resources": ["projects"],
        "resourceNames": ["trusted"],
        "verbs": ["override"],
    });
    allowed(admin.create(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "override-trusted"},
        "rules": [rule],
    })));
    let grant = "clusterrolebinding override-trusted --clusterrole=override-trusted --user=tina";
    allowed(admin.kubectl(&format!("create {grant}")));
    until_may(tenant, "override projects.cra.diagrid.io/trusted");
    allowed(tenant.create(&network_policy(&trusted, "allow-all")));
    refused(&tenant.create(&network_policy(&other, "allow-all")), FENCE);
}

#[test]
fn the_project_label_names_the_namespace_it_is_in() {
    let (admin, agent) = (CLUSTER.admin(), CLUSTER.agent());
    let shop = json!({"cra.diagrid.io/project": "shop"});
    let belongs = "belongs to namespace prj-shop";
    refused(&admin.create(&namespace("shop", &shop)), belongs);
    refused(&admin.create(&namespace("prj-blog", &shop)), belongs);
    refused(&admin.label("namespace/default", "cra.diagrid.io/project=shop"), belongs);
    allowed(admin.create(&namespace("prj-shop", &shop)));
    allowed(admin.label("namespace/prj-shop", "cra.diagrid.io/project-"));

    let place = CLUSTER.project("named");
    refused(&admin.create(&with(config_map(&place, "wrong"), &labels(&shop))), belongs);
    refused(&agent.apply(&with(fence("named"), &labels(&shop))), belongs);
    let named = json!({"cra.diagrid.io/project": "named"});
    allowed(admin.create(&with(config_map(&place, "right"), &labels(&named))));
    allowed(admin.create(&with(config_map("default", "theirs"), &labels(&shop))));
}

#[test]
fn elsewhere_a_tenant_is_as_free_as_ever() {
    let (admin, tenant) = (CLUSTER.admin(), CLUSTER.tenant());
    allowed(admin.create(&namespace("team", &json!({}))));
    CLUSTER.invite("team");
    allowed(tenant.create(&network_policy("team", "allow-all")));
    allowed(tenant.delete("networkpolicy/allow-all -n team"));
    let marked = json!({"cra.diagrid.io/app": "orders", "cra.diagrid.io/owner-uid": "3f8e"});
    allowed(tenant.create(&with(config_map("team", "own"), &labels(&marked))));
    let server = with(with(labels(&marked), &annotation("dapr.io/app-id")), &sentry_token());
    allowed(tenant.create(&workloads("team", "own", &server)));
    allowed(tenant.kubectl(&format!("create token default -n team --audience {SENTRY}")));
}
