//! What the CRDs promise to GitOps tools, to API servers from 1.25 on, and to people.

use catalyst_crds::definitions;
use serde_json::{Value, json};

/// A value inside a CRD with the way to it, for messages.
type At<'a> = (String, &'a Value);

#[test]
fn one_version_is_served_and_stored() {
    for crd in crds() {
        let versions = crd["spec"]["versions"].as_array().unwrap();
        assert_eq!(versions.len(), 1, "{}", name(&crd));
        assert_eq!(versions[0]["served"], true);
        assert_eq!(versions[0]["storage"], true);
        assert_eq!(versions[0]["subresources"], json!({ "status": {} }));
    }
}

#[test]
fn kinds_scopes_short_names_and_category() {
    let found: Vec<Value> = crds()
        .iter()
        .map(|crd| {
            let names = &crd["spec"]["names"];
            assert_eq!(names["categories"], json!(["catalyst"]));
            json!([names["kind"], names["plural"], names["shortNames"][0], crd["spec"]["scope"]])
        })
        .collect();
    assert_eq!(
        found,
        [
            json!(["Region", "regions", "rgn", "Cluster"]),
            json!(["Project", "projects", "prj", "Cluster"]),
            json!(["AppIdentity", "appidentities", "appid", "Namespaced"]),
            json!(["EgressPolicy", "egresspolicies", "egp", "Namespaced"]),
            json!(["SecretRef", "secretrefs", "sref", "Namespaced"]),
        ]
    );
}

#[test]
fn columns_answer_whether_it_is_ready_and_if_not_why() {
    let found: Vec<String> = crds().iter().map(columns).collect();
    assert_eq!(
        found,
        [
            "Ready Status Domain Age [Message]",
            "Ready Status Namespace Apps Age [Message]",
            "Ready Status [SPIFFE ID] Age [Message]",
            "Ready Status Age [Message]",
            "Ready Status Age [Message]",
        ]
    );
}

/// Columns in brackets show with `-o wide`.
fn columns(crd: &Value) -> String {
    let columns =
        crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array().expect("columns");
    let names = columns.iter().map(|column| {
        let name = text(&column["name"]);
        if column["priority"] == 1 { format!("[{name}]") } else { name.to_owned() }
    });
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_fresh_object_has_not_been_looked_at() {
    for crd in crds() {
        let status = &root(&crd)["properties"]["status"];
        assert_eq!(status["default"], json!({ "observedGeneration": -1 }), "{}", name(&crd));
        assert_eq!(status["properties"]["observedGeneration"]["type"], "integer");
    }
}

/// Argo CD would show each of them as a difference for ever, or as one from Git.
#[test]
fn nothing_that_the_api_server_drops_or_adds() {
    for crd in crds() {
        for (at, value) in everything(&crd) {
            assert_ne!(value, &json!([]), "{at}: an empty list");
            assert!(!value.is_null(), "{at}: null");
            let Some(keywords) = value.as_object() else {
                continue;
            };
            if at.ends_with(".properties") {
                continue; // names of fields, and one is called `default`
            }
            let kept = [".properties.status", ".properties.spec"];
            let root = at.matches(".properties").count() == 1;
            assert!(
                !keywords.contains_key("default")
                    || root && kept.iter().any(|end| at.ends_with(end)),
                "{at}: a default"
            );
            for keyword in ["x-kubernetes-preserve-unknown-fields", "preserveUnknownFields"] {
                assert!(!keywords.contains_key(keyword), "{at}: {keyword}");
            }
        }
    }
}

/// A server-side apply that leaves an object without fields makes it null: refused, it would stop
/// a GitOps tool at `suspend: true` being taken back.
#[test]
fn an_object_may_lose_its_last_field() {
    for crd in crds() {
        let spec = &root(&crd)["properties"]["spec"];
        assert_eq!(spec.get("default").is_some(), spec.get("required").is_none(), "{}", name(&crd));
        for (at, schema) in schemas(&crd) {
            let (parent, field) = at.rsplit_once(".properties.").unwrap_or_default();
            let inner = !parent.contains(".properties.spec") || field.contains('.');
            if inner || schema["type"] != "object" {
                continue;
            }
            let parent = schemas(&crd).into_iter().find(|(known, _)| known == parent);
            let required = parent.expect("a field lies in an object").1["required"]
                .as_array()
                .is_some_and(|names| names.contains(&json!(field)));
            let refused_anyway = schema["minProperties"] == 1;
            assert_eq!(schema["nullable"] == true, !required && !refused_anyway, "{at}");
        }
    }
}

#[test]
fn everything_is_bounded() {
    for crd in crds() {
        for (at, schema) in schemas(&crd) {
            let bound = match schema["type"].as_str() {
                Some("array") => "maxItems",
                Some("object") if schema.get("properties").is_none() => "maxProperties",
                Some("string")
                    if schema.get("enum").is_none() && schema["format"] != "date-time" =>
                {
                    "maxLength"
                }
                None if schema["x-kubernetes-int-or-string"] == true => "maxLength",
                Some("integer") if !at.contains(".status") => "minimum",
                _ => continue,
            };
            assert!(schema.get(bound).is_some(), "{at}: no {bound}");
        }
    }
}

#[test]
fn every_field_is_described() {
    for crd in crds() {
        for (at, schema) in schemas(&crd) {
            let field =
                at.rsplit('.').nth(1) == Some("properties") || at.ends_with("openAPIV3Schema");
            // kube gives no way to describe it; kubectl shows the type's own lines above the fields
            if field && !at.ends_with("openAPIV3Schema.properties.status") {
                let text = schema["description"].as_str().unwrap_or_default();
                assert!(text.ends_with(['.', ':', ')']), "{at}: {text:?} is no sentence");
                assert!(!text.contains("CustomResource"), "{at}: {text}");
            }
        }
    }
}

#[test]
fn lists_merge_by_what_names_their_entries() {
    for crd in crds() {
        for (at, schema) in schemas(&crd) {
            let kind = match at.rsplit('.').next().unwrap() {
                "allowed" | "blocked" => json!(["map", ["name"]]),
                "conditions" => json!(["map", ["type"]]),
                "cidrs" | "namespaces" | "addresses" | "ipFamilies" => {
                    json!(["set", null])
                }
                // Emptied by a server-side apply they would be absent, and so mean more.
                "monitoringNamespaces" | "appIds" | "keys" => json!(["atomic", null]),
                _ => continue,
            };
            let found =
                json!([schema["x-kubernetes-list-type"], schema["x-kubernetes-list-map-keys"]]);
            assert_eq!(found, kind, "{at}");
        }
    }
}

/// What is absent means all; a template that renders an empty list must not widen by accident.
#[test]
fn where_absent_means_all_an_empty_list_is_refused() {
    for crd in crds() {
        for (at, schema) in schemas(&crd) {
            match at.rsplit('.').next().unwrap() {
                "appIds" | "ports" | "keys" | "ipFamilies" => {
                    assert_eq!(schema["minItems"], 1.0, "{at}");
                }
                "podLabels" => assert_eq!(schema["minProperties"], 1.0, "{at}"),
                _ => {}
            }
        }
    }
}

/// On the field itself a rule is not asked when the field goes, and again not when it comes back.
#[test]
fn what_may_not_change_is_guarded_by_its_parent() {
    let crds = crds();
    let guards = |crd: usize, path: &str| {
        let rules = root(&crds[crd]).pointer(path).unwrap()["x-kubernetes-validations"].to_string();
        (rules.contains("has(self."), rules.contains("has(oldSelf."))
    };
    assert_eq!(guards(0, "/properties/spec/properties/trust"), (true, true));
    assert_eq!(guards(1, "/properties/spec"), (true, true));
    assert_eq!(guards(2, "/properties/spec"), (true, true));
    for crd in &crds {
        for (at, rule) in rules(crd) {
            let text = rule["rule"].as_str().unwrap();
            assert!(!text.contains("self == oldSelf"), "{at}: {text}");
        }
        // Else the whole parent could go and come back: one with a default never goes.
        let stays = root(crd)["properties"]["spec"].get("default").is_some();
        let required = if stays { json!(null) } else { json!(["spec"]) };
        assert_eq!(root(crd)["required"], required);
    }
    assert_eq!(root(&crds[0]).pointer("/properties/spec/required"), Some(&json!(["trust"])));
}

/// Older servers refuse the whole CRD for one word they don't know.
#[test]
fn rules_use_only_what_1_25_knows_and_say_how_to_mend() {
    const LATER: [&str; 8] =
        ["isCIDR", "cidr(", "isIP", "ip(", "optional", "quantity(", "format.", ".sortBy("];
    for crd in crds() {
        for (at, rule) in rules(&crd) {
            let keys: Vec<&String> = rule.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["message", "rule"], "{at}");
            let text = rule["rule"].as_str().unwrap();
            assert!(LATER.iter().all(|word| !text.contains(word)), "{at}: {text}");
            let message = rule["message"].as_str().unwrap();
            assert!(message.contains(": "), "{at}: {message:?} names no mend");
            assert!(message.len() <= 2048 && !message.contains('\n'), "{at}");
        }
    }
}

fn crds() -> Vec<Value> {
    let crds = definitions();
    crds.iter().map(|crd| serde_json::to_value(crd).expect("a CRD is JSON")).collect()
}

fn name(crd: &Value) -> &str {
    text(&crd["metadata"]["name"])
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn root(crd: &Value) -> &Value {
    &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn everything(crd: &Value) -> Vec<At<'_>> {
    let mut found = vec![(name(crd).to_owned(), crd)];
    let mut next = 0;
    while let Some((at, value)) = found.get(next).cloned() {
        match value {
            Value::Object(map) => found.extend(map.iter().map(|(k, v)| (format!("{at}.{k}"), v))),
            Value::Array(list) => {
                found.extend(list.iter().enumerate().map(|(k, v)| (format!("{at}[{k}]"), v)));
            }
            _ => {}
        }
        next += 1;
    }
    found
}

/// Every schema of a value in a manifest.
fn schemas(crd: &Value) -> Vec<At<'_>> {
    let mut found = everything(crd);
    found.retain(|(at, value)| {
        let (parent, last) = at.rsplit_once('.').unwrap_or_default();
        value.is_object()
            && at.contains("openAPIV3Schema")
            && (parent.ends_with("properties")
                || ["items", "additionalProperties", "openAPIV3Schema"].contains(&last))
    });
    found
}

fn rules(crd: &Value) -> Vec<At<'_>> {
    let mut found = everything(crd);
    found.retain(|(at, value)| {
        let (parent, _) = at.rsplit_once('[').unwrap_or_default();
        value.is_object() && parent.ends_with("x-kubernetes-validations")
    });
    found
}
