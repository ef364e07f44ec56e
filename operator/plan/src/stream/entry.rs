//! Makes of one object what servers get of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::decode::undecodable;
use super::inline::{Trouble, inline};
use super::{Body, Content, Entry, Found, Kind, MESSAGE, Rules, Withheld};
use crate::{SecretBytes, identity};

/// What servers get of an object. `find` gives what is found where it names a secret.
///
/// Only what servers read is sent, so that nothing else makes an event of its own.
pub fn render(
    kind: Kind,
    object: &Value,
    rules: &Rules,
    find: &mut dyn FnMut(&str) -> Found,
) -> Entry {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
    let created = text("/metadata/creationTimestamp").parse::<jiff::Timestamp>().ok();

    let mut sent = json!({"metadata": {"name": name, "namespace": namespace}});
    for field in ["spec", "auth", "scopes"] {
        if let Some(value) = object.get(field) {
            sent[field] = value.clone();
        }
    }
    if matches!(kind, Kind::Component | Kind::McpServer) && sent["spec"].is_object() {
        // Without it a server ends when it can't load one of these.
        sent["spec"]["ignoreErrors"] = json!(true);
    }

    let mut secrets = BTreeSet::new();
    let mut audience = audience(kind, name, object);
    let mut seek = |name: &str| {
        let found = find(name);
        secrets.insert(name.to_string());
        if let Found::Values(_, Some(apps)) = &found {
            let narrowed = match &audience {
                Some(audience) => audience & apps,
                None => apps.clone(),
            };
            audience = Some(narrowed);
        }
        found
    };
    let withheld =
        |reason, message| Content::Withheld(Withheld { kind, name: name.into(), reason, message });
    let type_ = text("/spec/type");
    let content = if kind == Kind::Component && rules.refuse(type_) {
        withheld(
            "RefusedType",
            format!("spec.type is \"{type_}\", which this region gives to no server: use another"),
        )
    } else if let Some(message) = undecodable(kind, object) {
        withheld("Unreadable", message)
    } else {
        match inline(kind, &mut sent, &mut seek) {
            Ok(()) => {
                let body = Body { name: name.into(), json: bytes(&sent) };
                if body.size() > MESSAGE {
                    withheld("TooLarge", too_large(body.json.0.len()))
                } else {
                    Content::Sent(Arc::new(body))
                }
            }
            Err(Trouble::Unknown) => Content::Pending,
            Err(Trouble::Missing(message)) => withheld("SecretMissing", message),
            Err(Trouble::NotText(message)) => withheld("SecretNotText", message),
        }
    };
    Entry { audience, secrets, content, age: (created.is_none(), created) }
}

/// Who gets an object. A server takes any Configuration for its own, and any `HTTPEndpoint`, and begins anew.
fn audience(kind: Kind, name: &str, object: &Value) -> Option<BTreeSet<String>> {
    if kind == Kind::Configuration {
        return Some(identity::app_of(name).map(String::from).into_iter().collect());
    }
    let scopes = object.get("scopes").and_then(Value::as_array)?;
    let scopes: BTreeSet<String> =
        scopes.iter().filter_map(Value::as_str).map(String::from).collect();
    (!scopes.is_empty()).then_some(scopes)
}

fn bytes(object: &Value) -> SecretBytes {
    // A Value always has a text.
    SecretBytes(Zeroizing::new(serde_json::to_vec(object).unwrap_or_default()))
}

fn too_large(size: usize) -> String {
    format!(
        "it has {size} bytes with its secrets, and a server takes no more than {MESSAGE} at once: make it smaller"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Values;

    fn values(pairs: &[(&str, &[u8])]) -> Values {
        let pairs = pairs.iter();
        pairs.map(|(key, value)| ((*key).into(), SecretBytes(value.to_vec().into()))).collect()
    }

    fn rendered(kind: Kind, object: &Value) -> Entry {
        let rules = Rules { refused: vec!["secretstores.local.*".into()] };
        render(kind, object, &rules, &mut |name| match name {
            "db" => {
                let binary: &[u8] = &[0xff, 0xfe];
                let pairs: [(&str, &[u8]); 3] = [
                    ("db", b"by name"),
                    ("password", b"a \"b\" \\ \n/\xf0\x9f\x98\x80"),
                    ("binary", binary),
                ];
                Found::Values(values(&pairs), None)
            }
            "theirs" => Found::Values(values(&[("key", b"k")]), Some(["payments".into()].into())),
            "late" => Found::Unknown,
            _ => Found::by_name("prj-shop", name, None),
        })
    }

    fn component(metadata: &Value) -> Value {
        json!({
            "apiVersion": "dapr.io/v1alpha1", "kind": "Component",
            "metadata": {"name": "store", "namespace": "prj-shop", "uid": "1", "labels": {"a": "b"}},
            "spec": {"type": "state.postgresql", "version": "v2", "metadata": metadata},
        })
    }

    fn sent(entry: &Entry) -> Value {
        match &entry.content {
            Content::Sent(body) => serde_json::from_slice(&body.json.0).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn withheld(entry: &Entry) -> (&'static str, String) {
        match &entry.content {
            Content::Withheld(withheld) => (withheld.reason, withheld.message.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_secret_is_put_in_place_as_plain_text_and_its_name_is_gone() {
        let entry = rendered(
            Kind::Component,
            &component(&json!([
                {"name": "host", "value": "db:5432"},
                {"name": "password", "secretKeyRef": {"name": "db", "key": "password"}},
            ])),
        );
        assert_eq!(
            sent(&entry)["spec"]["metadata"],
            json!([
                {"name": "host", "value": "db:5432"},
                {"name": "password", "value": "a \"b\" \\ \n/\u{1f600}"},
            ])
        );
        let Content::Sent(body) = &entry.content else { panic!() };
        let text = String::from_utf8(body.json.0.to_vec()).unwrap();
        assert!(!text.contains("\\/") && !text.contains("\\u"), "Go reads neither: {text}");
        assert!(!format!("{entry:?}").contains("5432"), "what is sent has no Debug");
        assert_eq!(entry.secrets, ["db".to_string()].into());
    }

    #[test]
    fn a_key_that_is_left_out_is_the_name_of_the_secret() {
        let entry = rendered(
            Kind::Component,
            &component(&json!([{"name": "password", "secretKeyRef": {"name": "db"}}])),
        );
        assert_eq!(sent(&entry)["spec"]["metadata"][0]["value"], "by name");
    }

    #[test]
    fn only_what_is_no_text_is_sent_as_base64() {
        let metadata = json!([{"name": "key", "secretKeyRef": {"name": "db", "key": "binary"}}]);
        let entry = rendered(Kind::Component, &component(&metadata));
        assert_eq!(
            sent(&entry)["spec"]["metadata"],
            json!([{"name": "key", "value": "//4=", "secretKeyRef": {"name": "db", "key": "binary"}}])
        );
        // With a reference in it, a server would begin anew at each event, for ever.
        let endpoint = json!({
            "metadata": {"name": "bank", "namespace": "prj-shop"},
            "spec": {"baseUrl": "https://bank", "headers": metadata},
        });
        let (reason, message) = withheld(&rendered(Kind::HttpEndpoint, &endpoint));
        assert_eq!(reason, "SecretNotText");
        assert!(message.contains("spec.headers[0].secretKeyRef.key is \"binary\""), "{message}");
    }

    #[test]
    fn every_place_of_a_kind_that_may_name_a_secret_is_filled() {
        let key = |name: &str| json!({"name": name, "secretKeyRef": {"name": "db", "key": "db"}});
        let tls = json!({"secretKeyRef": {"name": "db", "key": "db"}});
        let places = [
            (
                Kind::HttpEndpoint,
                json!({"headers": [key("a")], "clientTLS": {
                    "rootCA": tls, "certificate": tls, "privateKey": tls}}),
                4,
            ),
            (
                Kind::Configuration,
                json!({"tracing": {"otel": {"headers": [key("a"), key("b")]}}}),
                2,
            ),
            (
                Kind::McpServer,
                json!({"endpoint": {"streamableHTTP": {"url": "https://t", "headers": [key("a")]}}}),
                1,
            ),
            (
                Kind::McpServer,
                json!({"endpoint": {"sse": {"url": "https://t", "headers": [key("a")]}}}),
                1,
            ),
        ];
        for (kind, spec, count) in places {
            let object =
                json!({"metadata": {"name": "orders-dapr", "namespace": "prj-shop"}, "spec": spec});
            let text = sent(&rendered(kind, &object)).to_string();
            assert_eq!(text.matches(r#""value":"by name""#).count(), count, "{text}");
            assert!(!text.contains("secretKeyRef"), "{text}");
        }
    }

    #[test]
    fn a_tool_servers_own_credential_stays_a_reference_which_the_server_itself_follows() {
        let object = json!({"metadata": {"name": "tools", "namespace": "prj-shop"}, "spec": {"endpoint": {
            "streamableHTTP": {"url": "https://t", "auth": {"oauth2": {
                "issuer": "https://i", "secretKeyRef": {"name": "none", "key": "k"}}}}}}});
        let entry = rendered(Kind::McpServer, &object);
        let auth = &sent(&entry)["spec"]["endpoint"]["streamableHTTP"]["auth"];
        assert_eq!(auth["oauth2"]["secretKeyRef"]["name"], "none");
    }

    #[test]
    fn secrets_of_another_store_are_left_to_the_server() {
        let reference =
            json!([{"name": "password", "secretKeyRef": {"name": "vaulted", "key": "k"}}]);
        let mut object = component(&reference);
        object["auth"] = json!({"secretStore": "vault"});
        let entry = rendered(Kind::Component, &object);
        assert_eq!(sent(&entry)["spec"]["metadata"], reference);
        object["auth"] = json!({"secretStore": "kubernetes"});
        assert_eq!(withheld(&rendered(Kind::Component, &object)).0, "SecretMissing");
    }

    #[test]
    fn a_missing_secret_withholds_its_own_component_and_says_which() {
        let metadata = json!([
            {"name": "host", "value": "db"},
            {"name": "password", "secretKeyRef": {"name": "nosuch", "key": "k"}},
        ]);
        let (reason, message) = withheld(&rendered(Kind::Component, &component(&metadata)));
        assert_eq!(reason, "SecretMissing");
        assert_eq!(
            message,
            "spec.metadata[1].secretKeyRef.name is \"nosuch\": there is neither a SecretRef nor a \
             Secret \"nosuch\" in namespace prj-shop: create one"
        );
        let metadata = json!([{"name": "password", "secretKeyRef": {"name": "db", "key": "pass"}}]);
        let (_, message) = withheld(&rendered(Kind::Component, &component(&metadata)));
        assert_eq!(
            message,
            "spec.metadata[0].secretKeyRef.key is \"pass\": the secret \"db\" has the keys binary, db, password"
        );
    }

    #[test]
    fn while_a_secret_is_being_read_nothing_is_said() {
        let metadata = json!([{"name": "password", "secretKeyRef": {"name": "late", "key": "k"}}]);
        assert_eq!(rendered(Kind::Component, &component(&metadata)).content, Content::Pending);
    }

    #[test]
    fn a_component_never_ends_the_server_that_gets_it() {
        let mut object = component(&json!([]));
        object["spec"]["ignoreErrors"] = json!(false);
        assert_eq!(sent(&rendered(Kind::Component, &object))["spec"]["ignoreErrors"], true);
    }

    #[test]
    fn what_servers_do_not_read_is_not_sent() {
        let mut object = component(&json!([]));
        let before = rendered(Kind::Component, &object);
        object["metadata"]["annotations"] = json!({"note": "x"});
        object["metadata"]["generation"] = json!(2);
        object["status"] = json!({"a": 1});
        assert_eq!(rendered(Kind::Component, &object).content, before.content);
    }

    #[test]
    fn an_object_is_for_the_apps_that_its_scopes_name() {
        let mut object = component(&json!([]));
        assert!(rendered(Kind::Component, &object).is_for("orders"));
        object["scopes"] = json!(["payments"]);
        let entry = rendered(Kind::Component, &object);
        assert!(entry.is_for("payments") && !entry.is_for("orders"));
        object["scopes"] = json!([]);
        assert!(rendered(Kind::Component, &object).is_for("orders"));
    }

    #[test]
    fn a_secret_that_only_some_apps_may_have_narrows_who_gets_the_object() {
        let mut object =
            component(&json!([{"name": "key", "secretKeyRef": {"name": "theirs", "key": "key"}}]));
        let entry = rendered(Kind::Component, &object);
        assert!(entry.is_for("payments") && !entry.is_for("orders"));
        object["scopes"] = json!(["orders"]);
        let entry = rendered(Kind::Component, &object);
        assert!(!entry.is_for("payments") && !entry.is_for("orders"));
    }

    #[test]
    fn a_configuration_is_for_the_one_app_that_it_is_named_after() {
        let named =
            |name: &str| json!({"metadata": {"name": name, "namespace": "prj-shop"}, "spec": {}});
        let entry = rendered(Kind::Configuration, &named("orders-dapr"));
        assert!(entry.is_for("orders") && !entry.is_for("payments"));
        let entry = rendered(Kind::Configuration, &named("shared"));
        assert!(!entry.is_for("shared") && !entry.is_for("orders"));
    }

    #[test]
    fn refused_types_and_what_no_server_can_read_are_withheld() {
        let mut object = component(&json!([]));
        object["spec"]["type"] = json!("secretstores.local.file");
        assert_eq!(withheld(&rendered(Kind::Component, &object)).0, "RefusedType");
        let tools = json!({"metadata": {"name": "t"}, "spec": {"endpoint": {"sse": {"url": "https://t", "timeout": "soon"}}}});
        let (reason, message) = withheld(&rendered(Kind::McpServer, &tools));
        assert_eq!(reason, "Unreadable");
        assert!(message.contains("spec.endpoint.sse.timeout is \"soon\""), "{message}");
    }

    #[test]
    fn an_object_that_fits_in_no_message_is_withheld() {
        let entry = rendered(
            Kind::Component,
            &component(&json!([{"name": "blob", "value": "x".repeat(MESSAGE)}])),
        );
        assert_eq!(withheld(&entry).0, "TooLarge");
    }
}
