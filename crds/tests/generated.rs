//! The generated files of this crate, crds/*.yaml and schemas/*: they show what the code means today.

mod golden;

use std::path::PathBuf;

use catalyst_crds::definitions;
use serde_json::{Map, Value, json};

const MERGE_KEY: &str = "x-kubernetes-patch-merge-key";
const MERGE_STRATEGY: &str = "x-kubernetes-patch-strategy";
const GROUP_VERSION_KIND: &str = "x-kubernetes-group-version-kind";

#[test]
fn the_crds_lie_beside_their_sources() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<(PathBuf, String)> = crds()
        .iter()
        .map(|crd| (folder.join(format!("{}.yaml", singular(crd))), golden::yaml(crd)))
        .collect();
    let dapr: Vec<String> = catalyst_crds::dapr::definitions()
        .iter()
        .map(|crd| golden::yaml(&serde_json::to_value(crd).unwrap()))
        .collect();
    assert_eq!(dapr.len(), 7, "a definition of Dapr's is none");
    let all = files.iter().cloned().chain([(folder.join("dapr.yaml"), dapr.join("---\n"))]);
    golden::check_folder(&folder, ".yaml", &all.collect::<Vec<_>>());
    for ((_, yaml), crd) in files.iter().zip(crds()) {
        let read: Value = serde_saphyr::from_str(yaml).unwrap();
        assert_eq!(golden::json(&read), golden::json(&crd));
    }
    for (manifest, crd) in catalyst_crds::MANIFESTS.iter().zip(crds()) {
        let name = text(&crd["metadata"]["name"]);
        assert!(manifest.contains(&format!("\n  name: {name}\n")), "{name}");
    }
}

/// For editors, and for `kubeconform -strict -schema-location
/// 'schemas/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json'`.
#[test]
fn each_kind_has_a_json_schema() {
    let folder = schemas();
    let files: Vec<(PathBuf, String)> = crds()
        .iter()
        .map(|crd| {
            let name = format!("{}_{}.json", singular(crd), text(&version(crd)["name"]));
            (folder.join(name), golden::json(&json_schema(crd)))
        })
        .collect();
    golden::check_folder(&folder, "_v1beta1.json", &files);
}

/// For the field `openapi.path` of a kustomization: overlays then merge rules by name.
#[test]
fn kustomize_knows_scopes_and_merge_keys() {
    let content = golden::json(&kustomize_openapi());
    golden::check(&[(schemas().join("kustomize-openapi.json"), content)]);
}

/// For the field `configurations` of a kustomization: references then follow prefixes and suffixes.
/// They can't reach the namespace of a project, `prj-<name>`: a kustomization that renames should
/// hold no Project.
#[test]
fn kustomize_knows_what_refers_to_what() {
    let reference = |of: &str, to: &str, from: &str, path: &str| {
        let group = catalyst_crds::GROUP;
        json!({
            "group": of,
            "kind": to,
            "fieldSpecs": [{ "group": group, "kind": from, "path": path }],
        })
    };
    let config = json!({
        "nameReference": [
            reference(catalyst_crds::GROUP, "AppIdentity", "EgressPolicy", "spec/appIds"),
            reference(catalyst_crds::GROUP, "Region", "Project", "spec/region"),
            reference("dapr.io", "Configuration", "AppIdentity", "spec/appConfig"),
        ],
    });
    golden::check(&[(schemas().join("kustomizeconfig.yaml"), golden::yaml(&config))]);
}

fn schemas() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas")
}

fn crds() -> Vec<Value> {
    let crds = definitions();
    crds.iter().map(|crd| serde_json::to_value(crd).expect("a CRD is JSON")).collect()
}

fn singular(crd: &Value) -> &str {
    text(&crd["spec"]["names"]["singular"])
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn version(crd: &Value) -> &Value {
    &crd["spec"]["versions"][0]
}

fn group_version_kind(crd: &Value) -> Value {
    json!({
        "group": crd["spec"]["group"],
        "version": version(crd)["name"],
        "kind": crd["spec"]["names"]["kind"],
    })
}

/// The schema of a whole manifest, as strict as a file in Git deserves: a field that nobody knows is a fault.
fn json_schema(crd: &Value) -> Value {
    let mut schema = version(crd)["schema"]["openAPIV3Schema"].clone();
    let gvk = group_version_kind(crd);
    let api_version = format!("{}/{}", catalyst_crds::GROUP, catalyst_crds::VERSION);
    schema["properties"]["apiVersion"] = json!({ "type": "string", "enum": [api_version] });
    schema["properties"]["kind"] = json!({ "type": "string", "enum": [gvk["kind"]] });
    schema["properties"]["metadata"] = json!({ "type": "object" });
    schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
    strict(&mut schema);
    schema["properties"]["metadata"]["additionalProperties"] = true.into();
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema
}

fn strict(schema: &mut Value) {
    let Some(keywords) = schema.as_object_mut() else {
        return;
    };
    if keywords.get("type") == Some(&json!("object"))
        && !keywords.contains_key("additionalProperties")
    {
        keywords.insert("additionalProperties".into(), false.into());
    }
    if keywords.get("x-kubernetes-list-type") == Some(&json!("set")) {
        keywords.insert("uniqueItems".into(), true.into());
    }
    if keywords.contains_key("x-kubernetes-int-or-string") {
        keywords.insert("type".into(), json!(["integer", "string"]));
    }
    if let Some(Value::Array(rules)) = keywords.remove("x-kubernetes-validations") {
        for rule in &rules {
            translate(text(&rule["rule"]), keywords);
        }
    }
    let unknown = ["default", "nullable"];
    keywords.retain(|keyword, _| {
        !keyword.starts_with("x-kubernetes-") && !unknown.contains(&keyword.as_str())
    });
    for_each_child(keywords, strict);
}

/// A rule for an API server (CEL) in the words of JSON Schema, where they suffice.
fn translate(rule: &str, keywords: &mut Map<String, Value>) {
    if let Some(pattern) =
        rule.strip_prefix("self.metadata.name.matches('").and_then(|rest| rest.strip_suffix("')"))
    {
        let name = json!({ "name": { "type": "string", "pattern": pattern } });
        keywords["properties"]["metadata"]["properties"] = name;
    } else if rule.contains("size(self.cidrs) > 0") {
        let one =
            |list: &str| json!({ "required": [list], "properties": { list: { "minItems": 1 } } });
        keywords.insert("anyOf".into(), json!([one("cidrs"), one("namespaces")]));
    } else if rule.starts_with("!has(self.podLabels)") {
        keywords.insert("dependencies".into(), json!({ "podLabels": ["namespaces"] }));
    } else {
        let beyond = ["oldSelf", "self.endPort >= self.port", "has(self.volume)"];
        let beyond = beyond.iter().any(|part| rule.contains(part));
        assert!(beyond, "say how JSON Schema expresses this rule, or that it can't: {rule}");
    }
}

fn for_each_child(keywords: &mut Map<String, Value>, mut act: impl FnMut(&mut Value)) {
    if let Some(Value::Object(properties)) = keywords.get_mut("properties") {
        properties.values_mut().for_each(&mut act);
    }
    for keyword in ["items", "additionalProperties"] {
        keywords.get_mut(keyword).into_iter().for_each(&mut act);
    }
}

fn kustomize_openapi() -> Value {
    let mut definitions = built_in_definitions();
    let mut paths = Map::new();
    for crd in &crds() {
        let gvk = group_version_kind(crd);
        let mut schema = version(crd)["schema"]["openAPIV3Schema"].clone();
        mergeable(&mut schema);
        let (group, version, kind) = (&gvk["group"], &gvk["version"], &gvk["kind"]);
        let (group, version, kind) = (text(group), text(version), text(kind));
        let namespace = match crd["spec"]["scope"].as_str() {
            Some("Namespaced") => "namespaces/{namespace}/",
            _ => "",
        };
        let plural = text(&crd["spec"]["names"]["plural"]);
        paths.insert(
            format!("/apis/{group}/{version}/{namespace}{plural}/{{name}}"),
            json!({ "get": { "x-kubernetes-action": "get", GROUP_VERSION_KIND: gvk } }),
        );
        definitions.insert(format!("{group}.{version}.{kind}"), top(schema, &gvk));
    }
    json!({
        "swagger": "2.0",
        "info": { "title": catalyst_crds::GROUP, "version": catalyst_crds::VERSION },
        "definitions": definitions,
        "paths": paths,
    })
}

/// A file that `openapi.path` names replaces what kustomize knows of Kubernetes itself: without
/// these, a patch for one container of a Deployment would drop the others, without a word.
/// The merge keys are those of `patchMergeKey` in <https://github.com/kubernetes/api>.
fn built_in_definitions() -> Map<String, Value> {
    let pod = object(&[("metadata", meta()), ("spec", pod_spec())]);
    let workload = object(&[("template", pod.clone())]);
    let job = object(&[("spec", workload.clone())]);
    let service = object(&[("ports", merged(&["port", "protocol"], &object(&[])))]);
    let named = merged(&["name"], &object(&[]));
    let account = [("imagePullSecrets", named.clone()), ("secrets", named.clone())];
    let hook = object(&[("matchConditions", named.clone())]);
    let hooks = object(&[("webhooks", merged(&["name"], &hook))]);
    let policy = object(&[("matchConditions", named.clone()), ("variables", named)]);

    let spec = |spec: &Value| object(&[("spec", spec.clone())]);
    let kinds = [
        ("", "Pod", pod),
        ("", "PodTemplate", workload.clone()),
        ("", "ReplicationController", spec(&workload)),
        ("", "Service", spec(&service)),
        ("", "ServiceAccount", object(&account)),
        ("apps", "DaemonSet", spec(&workload)),
        ("apps", "Deployment", spec(&workload)),
        ("apps", "ReplicaSet", spec(&workload)),
        ("apps", "StatefulSet", spec(&workload)),
        ("batch", "CronJob", spec(&object(&[("jobTemplate", job)]))),
        ("batch", "Job", spec(&workload)),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", hooks.clone()),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", hooks),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", spec(&policy)),
    ];
    let named = kinds.into_iter().map(|(group, kind, schema)| {
        let gvk = json!({ "group": group, "version": "v1", "kind": kind });
        (format!("{group}.v1.{kind}"), top(schema, &gvk))
    });
    named.collect()
}

fn pod_spec() -> Value {
    let plain = object(&[]);
    let container = object(&[
        ("env", merged(&["name"], &plain)),
        ("ports", merged(&["containerPort", "protocol"], &plain)),
        ("volumeDevices", merged(&["devicePath"], &plain)),
        ("volumeMounts", merged(&["mountPath"], &plain)),
    ]);
    object(&[
        ("containers", merged(&["name"], &container)),
        ("ephemeralContainers", merged(&["name"], &container)),
        ("hostAliases", merged(&["ip"], &plain)),
        ("imagePullSecrets", merged(&["name"], &plain)),
        ("initContainers", merged(&["name"], &container)),
        ("resourceClaims", merged(&["name"], &plain)),
        ("schedulingGates", merged(&["name"], &plain)),
        ("topologySpreadConstraints", merged(&["topologyKey", "whenUnsatisfiable"], &plain)),
        ("volumes", merged(&["name"], &plain)),
    ])
}

fn meta() -> Value {
    object(&[("ownerReferences", merged(&["uid"], &object(&[])))])
}

fn object(properties: &[(&str, Value)]) -> Value {
    let properties = properties.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone()));
    json!({ "type": "object", "properties": properties.collect::<Map<_, _>>() })
}

/// A list whose entries are told apart by `keys`.
fn merged(keys: &[&str], items: &Value) -> Value {
    json!({
        "type": "array",
        "items": items,
        "x-kubernetes-list-map-keys": keys,
        "x-kubernetes-list-type": "map",
        MERGE_KEY: keys[0],
        MERGE_STRATEGY: "merge",
    })
}

/// The schema of a whole manifest.
fn top(mut schema: Value, gvk: &Value) -> Value {
    schema["properties"]["apiVersion"] = json!({ "type": "string" });
    schema["properties"]["kind"] = json!({ "type": "string" });
    schema["properties"]["metadata"] = meta();
    schema[GROUP_VERSION_KIND] = json!([gvk]);
    schema
}

/// Only the shape and the merge keys: kustomize validates nothing.
fn mergeable(schema: &mut Value) {
    let Some(keywords) = schema.as_object_mut() else {
        return;
    };
    if let Some(key) = keywords.get("x-kubernetes-list-map-keys").map(|keys| keys[0].clone()) {
        keywords.insert(MERGE_KEY.into(), key);
        keywords.insert(MERGE_STRATEGY.into(), "merge".into());
    }
    let kept = ["type", "properties", "items", "additionalProperties", MERGE_KEY, MERGE_STRATEGY];
    keywords.retain(|keyword, _| kept.contains(&keyword.as_str()));
    for_each_child(keywords, mergeable);
}
