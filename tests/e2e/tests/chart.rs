//! The chart as it is rendered: each profile is shown in the repository, a wrong value is refused with its path, and a
//! real API server takes every object.

#![allow(clippy::panic, reason = "a test fails by it, helpers of one too")]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../crds/tests/golden/mod.rs"]
mod golden;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use catalyst_e2e::{Helm, documents, repository, serves_admission_policies};
use catalyst_testbed::{ControlPlane, Options, Output, service_monitor_crd};
use serde_json::{Value, json};

/// A way to install the chart: its name, the release namespace, and its values, if they are not the chart's own.
struct Profile {
    name: &'static str,
    namespace: &'static str,
    values: Option<&'static str>,
}

const DEFAULT: Profile = Profile { name: "default", namespace: "catalyst-system", values: None };

const PROFILES: [Profile; 3] = [
    DEFAULT,
    Profile {
        name: "production",
        namespace: "catalyst-system",
        values: Some("charts/catalyst/values-production.yaml"),
    },
    Profile {
        name: "everything",
        namespace: "platform",
        values: Some("charts/snapshots/everything.values.yaml"),
    },
];

/// What is made from `policies/`, where it can be read.
const FROM_POLICIES: &str = "# Source: catalyst/templates/policies/";

impl Profile {
    fn helm(&self, command: &[&str], more: &[&str]) -> Helm {
        let chart = path("charts/catalyst");
        let values = self.values.map(path);
        let mut arguments = command.to_vec();
        arguments.extend([chart.as_str(), "-n", self.namespace]);
        if let Some(values) = &values {
            arguments.extend(["-f", values]);
        }
        arguments.extend(more);
        Helm::run(None, &arguments)
    }

    fn rendered(&self) -> String {
        self.helm(&["template", "catalyst"], &[]).success()
    }

    /// What is installed where there are admission policies, and where there are none.
    fn objects_for(&self, policies: bool) -> Vec<Value> {
        let set = format!("admissionPolicy.enabled={policies}");
        documents(&self.helm(&["template", "catalyst"], &["--set", &set]).success())
    }

    fn objects(&self) -> Vec<Value> {
        documents(&self.rendered())
    }
}

#[test]
fn every_profile_is_as_the_repository_shows_it_and_every_time_the_same() {
    let mut images = BTreeSet::new();
    let mut files = Vec::new();
    for profile in &PROFILES {
        let rendered = profile.rendered();
        assert_eq!(rendered, profile.rendered(), "{}", profile.name);
        let shown = sources(&rendered).filter(|text| !text.starts_with(FROM_POLICIES));
        let head = format!("# {}\n", golden::GENERATED);
        let file = repository("charts/snapshots").join(format!("{}.yaml", profile.name));
        // Helm leaves blanks where a template prints nothing.
        let lines = shown.collect::<Vec<_>>().join("\n---\n");
        let lines: Vec<&str> =
            lines.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        files.push((file, head + &lines.join("\n") + "\n"));
        if profile.name == DEFAULT.name {
            images.extend(profile.objects().iter().flat_map(images_of));
        }
    }
    let images: Vec<String> = images.into_iter().map(|image| image + "\n").collect();
    files.push((repository("charts/catalyst/images.txt"), images.concat()));
    golden::check(&files);
}

#[test]
fn helm_lint_has_nothing_to_say() {
    for profile in &PROFILES {
        let told = profile.helm(&["lint", "--strict"], &[]).success();
        assert!(!told.contains("[WARNING]") && !told.contains("[ERROR]"), "{told}");
    }
}

#[test]
fn what_it_makes_of_the_policies_is_what_tests_load() {
    let files = ["accounts", "roles", "dapr", "people"].map(|name| format!("policies/{name}.yaml"));
    let admission = fs::read_dir(repository("policies/admission")).unwrap();
    let admission = admission.map(|entry| entry.unwrap().path());
    let files = files.into_iter().map(|file| repository(&file)).chain(admission);
    let mut wanted: Vec<Value> =
        files.flat_map(|file| documents(&fs::read_to_string(file).unwrap())).collect();
    // Helm makes the release namespace, or somebody before it.
    wanted.retain(|object| {
        object["kind"] != "Namespace" || object["metadata"]["name"] != "catalyst-system"
    });
    let rendered = DEFAULT.rendered();
    let from_policies = sources(&rendered).filter(|text| text.starts_with(FROM_POLICIES));
    let found: Vec<Value> = from_policies.flat_map(documents).collect();
    assert!(wanted.len() > 30, "{}", wanted.len());
    same(&found, &wanted);
}

#[test]
fn another_release_namespace_takes_the_place_of_the_usual_one_everywhere() {
    let elsewhere = Profile { namespace: "a-namespace-of-ours", ..DEFAULT }.rendered();
    assert!(!elsewhere.contains("catalyst-system"));
    let back = elsewhere.replace("a-namespace-of-ours", "catalyst-system");
    same(&documents(&back), &DEFAULT.objects());
}

#[test]
fn what_is_rendered_depends_on_no_cluster() {
    let mut folders = vec![repository("charts/catalyst/templates")];
    let mut looked_at = 0;
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for word in [".Capabilities", "lookup ", "randAlpha", "genCA", "genSigned", "now |"] {
                assert!(!text.contains(word), "{} has {word}", path.display());
            }
            looked_at += 1;
        }
    }
    assert!(looked_at > 15, "{looked_at}");
}

#[test]
fn a_wrong_value_is_refused_with_its_path() {
    let both = "agent.config.project.disable_network_policies=true,region.name=eu,\
                region.spec.trust.domain=eu.example.com";
    for (values, told) in [
        ("agent.replicas=two", "'/agent/replicas': got string, want integer"),
        ("agent.replicas=0", "'/agent/replicas': minimum"),
        ("agents.replicas=2", "additional properties 'agents' not allowed"),
        ("images.catalyst.digest=sha256:12", "'/images/catalyst/digest'"),
        ("images.registry=https://example.com", "'/images/registry'"),
        ("people=null", "missing property 'people'"),
        ("secrets.resources.limit.memory=1Gi", "'/secrets/resources': additional properties"),
        ("serviceMonitor.interval=often", "'/serviceMonitor/interval'"),
        ("region.name=eu", "'/region/spec': missing property 'trust'"),
        ("region.spec.trust.domian=eu.example.com", "'/region/spec/trust': additional properties"),
        ("agent.config.project.blocked=x", "'/agent/config/project': additional properties"),
        (
            "agent.config.project.blocked_egress[0].name=a",
            "'/agent/config/project/blocked_egress/0': missing property 'cidrs'",
        ),
        (
            "agent.config.project.disable_network_policies=true",
            "agent.config.project.disable_network_policies lands in the Region, and region.name",
        ),
        (
            &format!("{both},region.spec.network.mode=Enforce"),
            "agent.config.project.disable_network_policies is true and \
             region.spec.network.mode is \"Enforce\": keep one of them",
        ),
    ] {
        let helm = DEFAULT.helm(&["template", "catalyst"], &["--set", values]);
        assert!(!helm.succeeded && helm.stderr.contains(told), "{values}: {}", helm.stderr);
    }
    let both = Profile { values: Some("charts/snapshots/everything.values.yaml"), ..DEFAULT };
    let more = [
        "--set-json",
        r#"region.spec.network.egress.blocked=[{"name":"a","cidrs":["10.0.0.0/8"]}]"#,
    ];
    let helm = both.helm(&["template", "catalyst"], &more);
    let told =
        "agent.config.project.blocked_egress and region.spec.network.egress.blocked say the same";
    assert!(!helm.succeeded && helm.stderr.contains(told), "{}", helm.stderr);
    for namespace in ["prj-shop", "catalyst-secrets", "kube-system"] {
        let helm = Profile { namespace, ..DEFAULT }.helm(&["template", "catalyst"], &[]);
        assert!(!helm.succeeded && helm.stderr.contains("install with -n catalyst-system"));
    }
}

#[test]
fn every_value_is_described_and_nothing_else_is_taken() {
    let schema = fs::read_to_string(repository("charts/catalyst/values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut faults = Vec::new();
    look(&schema, "", &mut faults);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Names what has no description, and objects that take any key.
fn look(schema: &Value, path: &str, faults: &mut Vec<String>) {
    // Helm's own; and what is a pod's, which the API server checks.
    let open = ["/global", "/nodeAffinity", "/podAffinity", "/podAntiAffinity"];
    if schema["description"].as_str().is_none_or(str::is_empty) {
        faults.push(format!("{path} has no description"));
    }
    let closed = schema.get("additionalProperties").is_some();
    if schema["type"] == "object" && !closed && !open.iter().any(|end| path.ends_with(end)) {
        faults.push(format!("{path} takes any key: write additionalProperties"));
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        look(inner, &format!("{path}/{name}"), faults);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            look(&schema[inner], &format!("{path}/{inner}"), faults);
        }
    }
}

#[test]
fn the_product_s_own_rules_land_in_the_region() {
    let everything = PROFILES[2].objects();
    let region = everything.iter().find(|object| object["kind"] == "Region").unwrap();
    assert_eq!(region["metadata"]["annotations"], json!({"helm.sh/resource-policy": "keep"}));
    let network = &region["spec"]["network"];
    assert_eq!(network["mode"], "Enforce");
    assert_eq!(network["egress"]["blocked"][0]["name"], "private");
    assert_eq!(network["egress"]["allowed"][0]["ports"], json!([{"port": 443, "protocol": "TCP"}]));
    assert_eq!(
        network["ingress"]["allowed"],
        json!([{"name": "gateway", "namespaces": ["ingress"]}])
    );
    // Beside what the Region says by itself.
    assert_eq!(network["egress"]["delegated"], json!({"cidrs": ["10.20.0.0/16"]}));
}

/// Nothing that the chart is told is secret, and what is stays in Secrets that others make.
#[test]
fn no_value_ends_up_in_a_config_map_or_a_secret() {
    for profile in &PROFILES {
        let objects = profile.objects();
        let kinds = objects.iter().map(|object| object["kind"].as_str().unwrap_or_default());
        let held: Vec<_> = kinds.filter(|kind| ["ConfigMap", "Secret"].contains(kind)).collect();
        assert!(held.is_empty(), "{}: {held:?}", profile.name);
    }
}

/// The strictest check that there is: the API server's own, with every rule of its admission.
#[test]
fn a_real_api_server_takes_every_object() {
    let monitoring = service_monitor_crd().expect("the definition of ServiceMonitor");
    let options = Options { crds: vec![repository("crds"), monitoring], ..Options::default() };
    let cluster = ControlPlane::start(&options).expect("a control plane");
    let policies = serves_admission_policies(&cluster);
    let kubectl = |arguments: &[&str], input: &str| {
        cluster
            .kubectl_with(arguments, input)
            .and_then(Output::success)
            .unwrap_or_else(|e| panic!("{e}"))
    };
    for namespace in ["catalyst-system", "platform", "catalyst-secrets", "catalyst-dapr"] {
        kubectl(&["create", "namespace", namespace], "");
        let level = "pod-security.kubernetes.io/enforce=restricted";
        kubectl(&["label", "namespace", namespace, level], "");
    }
    let class = r#"{"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "platform"}, "value": 1000}"#;
    kubectl(&["create", "-f", "-"], class);
    for profile in &PROFILES {
        let mut objects = profile.objects_for(policies);
        // A Deployment is taken with any pod; a pod is looked at.
        let pods: Vec<Value> = objects.iter().filter_map(pod_of).collect();
        assert_eq!(pods.len(), 6, "{}", profile.name);
        let count = objects.len() + pods.len();
        objects.extend(pods);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let dry = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
        let told = kubectl(&dry, &list);
        assert_eq!(told.lines().count(), count, "{told}");
    }
}

/// What each template made.
fn sources(rendered: &str) -> impl Iterator<Item = &str> {
    rendered.trim_start_matches("---\n").split("\n---\n")
}

/// Holds two sets of objects against each other, whatever their order.
fn same(found: &[Value], wanted: &[Value]) {
    let by_name = |objects: &[Value]| -> BTreeMap<String, Value> {
        let name = |object: &Value| {
            let (kind, metadata) = (&object["kind"], &object["metadata"]);
            format!("{kind} {} {}", metadata["namespace"], metadata["name"])
        };
        objects.iter().map(|object| (name(object), object.clone())).collect()
    };
    let (found, wanted) = (by_name(found), by_name(wanted));
    let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&wanted));
    for (name, object) in &wanted {
        assert_eq!(&found[name], object, "{name}");
    }
}

/// The pod that a workload would make.
fn pod_of(workload: &Value) -> Option<Value> {
    let template = workload["spec"].get("template")?;
    let mut pod = template.clone();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = workload["metadata"]["name"].clone();
    pod["metadata"]["namespace"] = workload["metadata"]["namespace"].clone();
    // A dry run makes no accounts for it.
    pod["spec"].as_object_mut()?.remove("serviceAccountName");
    Some(pod)
}

fn images_of(object: &Value) -> Vec<String> {
    let containers = object["spec"]["template"]["spec"]["containers"].as_array();
    let images = containers.into_iter().flatten().map(|container| &container["image"]);
    images.map(|image| image.as_str().expect("an image").to_owned()).collect()
}

fn path(path: &str) -> String {
    repository(path).display().to_string()
}
