//! What the chart has from elsewhere in the repository: definitions, roles, admission policies, and the schema of a
//! Region. One source each, so that what tests load is what users install.

#[allow(dead_code, reason = "other tests use the rest of it")]
mod golden;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The release namespace, as `policies/` calls it.
const RELEASE: &str = "catalyst-system";

/// Files of `policies/`, and the value of the chart that they depend on.
const POLICIES: [(&str, Option<&str>); 8] = [
    ("accounts.yaml", None),
    ("roles.yaml", None),
    ("dapr.yaml", None),
    ("people.yaml", Some("people.enabled")),
    ("admission/agent.yaml", Some("admissionPolicy.enabled")),
    ("admission/fence.yaml", Some("admissionPolicy.enabled")),
    ("admission/identity.yaml", Some("admissionPolicy.enabled")),
    ("admission/label.yaml", Some("admissionPolicy.enabled")),
];

#[test]
fn the_chart_installs_the_definitions_of_the_repository() {
    let crds = catalyst_crds::definitions();
    let files: Vec<(PathBuf, String)> = catalyst_crds::MANIFESTS
        .iter()
        .zip(&crds)
        .map(|(manifest, crd)| {
            let name = crd.spec.names.singular.as_deref().expect("a singular");
            (chart(&format!("crds/{name}.yaml")), (*manifest).to_owned())
        })
        .collect();
    golden::check_folder(&chart("crds"), ".yaml", &files);
}

#[test]
fn the_chart_has_the_roles_and_admission_policies_of_the_repository() {
    let files: Vec<(PathBuf, String)> = POLICIES
        .iter()
        .map(|(file, condition)| {
            let text = read(&root().join("policies").join(file));
            (chart(&format!("templates/policies/{file}")), template(&text, *condition))
        })
        .collect();
    golden::check_folder(&chart("templates/policies"), ".yaml", &files);
    golden::check_folder(&chart("templates/policies/admission"), ".yaml", &files);
    for folder in ["policies", "policies/admission"] {
        let here = std::fs::read_dir(root().join(folder)).expect("a folder");
        let yaml = here.filter(|entry| {
            entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|e| e == "yaml"))
        });
        let parts = Path::new(folder).components().count();
        let known =
            POLICIES.iter().filter(|(file, _)| Path::new(file).components().count() == parts);
        assert_eq!(yaml.count(), known.count(), "add what is in {folder} to POLICIES");
    }
}

/// The rest of the schema is written by hand, in the same file.
#[test]
fn the_schema_of_the_values_knows_what_a_region_is() {
    let file = chart("values.schema.json");
    let mut schema: Value = serde_json::from_str(&read(&file)).expect("JSON");
    let region = read(&root().join("schemas/region_v1beta1.json"));
    let region: Value = serde_json::from_str(&region).expect("JSON");
    let mut spec = region["properties"]["spec"].clone();
    let network = spec["properties"]["network"]["properties"].clone();
    let rules = [
        ("blocked_egress", &network["egress"]["properties"]["blocked"], "egress.blocked"),
        ("allowed_egress", &network["egress"]["properties"]["allowed"], "egress.allowed"),
        ("allowed_ingress", &network["ingress"]["properties"]["allowed"], "ingress.allowed"),
    ];
    let project =
        &mut schema["properties"]["agent"]["properties"]["config"]["properties"]["project"];
    for (name, rule, place) in rules {
        let mut rule = rule.clone();
        rule["description"] = format!("Is spec.network.{place} of the Region.").into();
        // An empty one would not last: a server-side apply that empties a list leaves it absent.
        rule["minItems"] = 1.into();
        rule["type"] = serde_json::json!(["array", "null"]);
        project["properties"][name] = rule;
    }
    // Required only where there is a Region.
    spec.as_object_mut().expect("an object").remove("required");
    describe(&mut spec, "An entry.");
    schema["properties"]["region"]["properties"]["spec"] = spec;
    describe(&mut schema, "An entry.");
    golden::check(&[(file, golden::json(&schema))]);
}

/// The document of a policy as a template. Nothing in it may look like one already.
fn template(text: &str, condition: Option<&str>) -> String {
    assert!(!text.contains("{{"), "a policy can't hold what Helm reads as its own");
    let documents: Vec<String> = text
        .split("\n---\n")
        .filter(|document| !is_namespace(document, RELEASE))
        .map(|document| {
            let mut made = ["secrets", "dapr"].into_iter();
            match made.find(|name| is_namespace(document, &format!("catalyst-{name}"))) {
                Some(name) => guarded(document, &format!("{name}Namespace.create")),
                None => document.to_owned(),
            }
        })
        .collect();
    let text = documents.join("\n---\n").replace(RELEASE, "{{ .Release.Namespace }}");
    let body = match condition {
        Some(condition) => guarded(&text, condition),
        None => text,
    };
    format!("{{{{- /* {} */ -}}}}\n{}\n", golden::GENERATED, body.trim_end())
}

fn guarded(text: &str, condition: &str) -> String {
    format!("{{{{- if .Values.{condition} }}}}\n{}\n{{{{- end }}}}", text.trim_end())
}

fn is_namespace(document: &str, name: &str) -> bool {
    document.contains("\nkind: Namespace\n") && document.contains(&format!("\n  name: {name}\n"))
}

/// Says something of every value that the definitions leave without a word, the entries of lists.
fn describe(schema: &mut Value, words: &str) {
    let Some(keywords) = schema.as_object_mut() else { return };
    for keyword in ["items", "additionalProperties"] {
        if let Some(Value::Object(inner)) = keywords.get_mut(keyword) {
            inner.entry("description").or_insert_with(|| words.into());
        }
    }
    for (keyword, inner) in keywords.iter_mut() {
        match (keyword.as_str(), inner) {
            ("properties", Value::Object(inner)) => {
                inner.values_mut().for_each(|inner| describe(inner, words));
            }
            ("items" | "additionalProperties", inner) => describe(inner, words),
            _ => {}
        }
    }
}

fn chart(path: &str) -> PathBuf {
    root().join("charts/catalyst").join(path)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file of the repository")
}
