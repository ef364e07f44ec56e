//! What `catalyst render` prints, and so every snapshot, is what the controllers send to a real API server: each request
//! body, as JSON, and each verdict. Of Secrets the keys are compared; a UID stands for the same object on both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use catalyst_e2e::{
    Installation, Mark, REGION_SECRETS, Stage, catalyst_render, condition, documents, examples,
    repository, serves_cel,
};
use serde_json::{Map, Value, json};

static STAGE: Stage = Stage::new();

/// From the last file to the last request; a machine may be busy.
const SENT: Duration = Duration::from_secs(15);

/// Kubernetes takes 5 s for a namespace, and a Project that must clear one waits for that.
const GONE: Duration = Duration::from_mins(1);

/// The objects that the API server does not take in, and whether it needs CEL for that. The rest of their worlds is
/// compared.
const REFUSED: [(&str, bool); 3] = [
    ("identity/a-name-that-is-too-long: AppIdentity", true),
    ("project/apps-are-counted: AppIdentity", true),
    ("region/a-trust-domain-in-capitals: Region", false),
];

/// Drawn by the operator before any world comes.
const FINGERPRINT_KEY: &str = "fingerprint-key";

/// The order in which documents are sent: what others lie in or refer to comes first.
const FIRST: [&str; 4] = ["Namespace", "Region", "Secret", "Project"];

/// The worlds of all snapshots, by `<concern>/<case>`.
fn snapshots() -> Vec<(String, String)> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).expect("a folder of snapshots");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.retain(|path| path.is_dir());
        paths.sort();
        paths
    };
    let root = repository("snapshots");
    let cases = folders(&root).into_iter().flat_map(|concern| folders(&concern));
    cases
        .map(|case| {
            let name = case.strip_prefix(&root).expect("below it").to_string_lossy().into_owned();
            (name, fs::read_to_string(case.join("world.yaml")).expect("a world"))
        })
        .collect()
}

/// The documents of a world with its projects renamed, so that one world does not wait until the last one is gone.
fn renamed(world: &str, suffix: &str) -> Vec<Value> {
    let mut objects = documents(world);
    for object in &mut objects {
        rename(object, suffix);
    }
    objects.sort_by_key(|object| {
        let kind = object["kind"].as_str().unwrap_or_default();
        let rank = FIRST.iter().position(|first| *first == kind).unwrap_or(FIRST.len());
        // Of equally old ones the first by name counts: so the first one is never younger.
        (rank, text(&object["metadata"]["name"]), text(&object["metadata"]["namespace"]))
    });
    objects
}

fn rename(object: &mut Value, suffix: &str) {
    let kind = text(&object["kind"]);
    let metadata = &mut object["metadata"];
    let name = text(&metadata["name"]);
    if kind == "Project" {
        metadata["name"] = json!(format!("{name}{suffix}"));
    }
    if let Some((project, rest)) = name.split_once('.').filter(|_| kind == "Secret") {
        metadata["name"] = json!(format!("{project}{suffix}.{rest}"));
    }
    let label = &mut metadata["labels"]["cra.diagrid.io/project"];
    if let Some(project) = label.as_str() {
        *label = json!(format!("{project}{suffix}"));
    }
    if metadata["labels"]["cra.diagrid.io/project"].is_null() {
        // Asking for it made it.
        let labels = metadata["labels"].as_object_mut().expect("a map");
        labels.remove("cra.diagrid.io/project");
        if labels.is_empty() {
            metadata.as_object_mut().expect("a map").remove("labels");
        }
    }
    namespaces(object, suffix);
}

/// Every mention of a project's namespace.
fn namespaces(value: &mut Value, suffix: &str) {
    match value {
        Value::String(text) if text.starts_with("prj-") => text.push_str(suffix),
        Value::Array(items) => items.iter_mut().for_each(|item| namespaces(item, suffix)),
        Value::Object(fields) => fields.values_mut().for_each(|field| namespaces(field, suffix)),
        _ => {}
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

fn place(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!(
        "{} {}/{}",
        text(&object["kind"]),
        text(&metadata["namespace"]),
        text(&metadata["name"])
    )
}

/// What `catalyst render` prints for these objects: manifests by place, and verdicts by kind and name.
fn render(objects: &[Value]) -> (BTreeMap<String, Value>, BTreeMap<String, String>) {
    let files: Vec<String> = objects.iter().map(Value::to_string).collect();
    let (out, err) = catalyst_render(&files.join("\n---\n"));
    let list: Value = serde_json::from_str(&out).unwrap_or_else(|_| json!({"items": []}));
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let manifests = items.into_iter().map(|item| (place(&item), keys_only(item))).collect();
    let verdicts = err
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(object, verdict)| (object.to_owned(), verdict.to_owned()));
    (manifests, verdicts.collect())
}

/// A manifest with the keys of a Secret, and without its values.
fn keys_only(mut manifest: Value) -> Value {
    if manifest["kind"] == "Secret" {
        let fields = manifest.as_object_mut().expect("a manifest");
        let data = fields.remove("stringData").or_else(|| fields.remove("data"));
        let keys: BTreeSet<String> =
            data.iter().filter_map(Value::as_object).flat_map(Map::keys).cloned().collect();
        fields.insert("data".into(), json!(keys));
    }
    manifest
}

/// The last manifest that the operator sent for each place, of what it did not delete after.
fn sent(stage: &Installation, since: Mark, suffix: &str) -> BTreeMap<String, Value> {
    let mut sent = BTreeMap::new();
    for write in stage.writes(since) {
        let ours = write.namespace().ends_with(suffix)
            || (write.resource() == "namespaces" && write.name().ends_with(suffix));
        // The finalizer, statuses and events are no manifests. A create-only apply that found something is none either.
        let manifest = !write.resource().contains('/') && write.resource() != "events";
        if !ours || !manifest || write.code() >= 300 {
            continue;
        }
        if write.verb() == "delete" {
            let at = format!(" {}/{}", write.namespace(), write.name());
            sent.retain(|place: &String, _| !place.ends_with(&at));
            continue;
        }
        let mut body = write.body().clone();
        assert!(body.is_object(), "{write:?} is no apply: {body}");
        // A create-only apply names a version that nothing has.
        body["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
        sent.insert(place(&body), keys_only(body));
    }
    sent
}

/// Compares two values whose UIDs differ, but stand for the same objects.
fn equal(printed: &Value, sent: &Value, uids: &mut BTreeMap<String, String>) -> bool {
    let is_uid = |text: &str| text.len() == 36 && text.split('-').count() == 5;
    match (printed, sent) {
        (Value::String(one), Value::String(other)) if is_uid(one) && is_uid(other) => {
            uids.entry(one.clone()).or_insert_with(|| other.clone()) == other
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| equal(a, b, uids))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.keys().eq(other.keys())
                && one.iter().all(|(key, value)| equal(value, &other[key], uids))
        }
        _ => printed == sent,
    }
}

/// What differs between print and wire.
fn difference(printed: &BTreeMap<String, Value>, sent: &BTreeMap<String, Value>) -> Option<String> {
    let mut uids = BTreeMap::new();
    let places: BTreeSet<&String> = printed.keys().chain(sent.keys()).collect();
    for place in places {
        let (one, other) = (&printed.get(place), &sent.get(place));
        match (one, other) {
            (Some(one), Some(other)) if equal(one, other, &mut uids) => {}
            (Some(one), Some(other)) => {
                return Some(format!("{place} is printed as\n{one:#}\nand sent as\n{other:#}"));
            }
            (Some(_), None) => return Some(format!("{place} is printed and not sent")),
            _ => return Some(format!("{place} is sent and not printed")),
        }
    }
    let others: BTreeSet<&String> = uids.values().collect();
    (others.len() < uids.len()).then(|| format!("one UID stands for two: {uids:#?}"))
}

/// What an object says, as `render` prints it.
fn verdict(object: &Value) -> String {
    let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
    if !current {
        return "nothing yet".into();
    }
    let ready = condition(object, "Ready");
    let (reason, message) = (text(&ready["reason"]), text(&ready["message"]));
    if message.is_empty() { reason } else { format!("{reason}: {message}") }
}

/// Sends a world, waits until the operator has sent what is printed for it, and says what is printed. What the API
/// server refuses is taken out of the world and returned.
fn compare(
    stage: &Installation,
    name: &str,
    objects: &mut Vec<Value>,
    suffix: &str,
) -> Vec<String> {
    let mark = stage.mark();
    let mut refused = Vec::new();
    let projects: Vec<String> = objects
        .iter()
        .filter(|object| object["kind"] == "Project")
        .map(|project| format!("prj-{}", text(&project["metadata"]["name"])))
        .collect();
    objects.retain(|object| {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        // One that no Project makes: what lies in it says that it waits for one.
        if namespace.starts_with("prj-") && !projects.iter().any(|one| one == namespace) {
            stage.apply(&format!(
                "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"
            ));
        }
        let taken = object["metadata"]["name"] == FINGERPRINT_KEY || takes(stage, name, object);
        if !taken {
            refused.push(format!("{name}: {}", text(&object["kind"])));
        }
        taken
    });
    let (printed, verdicts) = render(objects);
    stage.until(SENT, &format!("{name}: what is sent is what is printed"), || {
        let difference = difference(&printed, &sent(stage, mark, suffix));
        difference.map_or(Ok(()), Err)
    });
    for object in objects.iter().filter(|object| is_ours(object)) {
        let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
        let namespace = object["metadata"]["namespace"].as_str();
        let called = namespace.map_or(name.clone(), |namespace| format!("{namespace}/{name}"));
        let wanted = &verdicts[&format!("{kind} {called}")];
        stage.wait_for(SENT, (&kind, namespace, &name), &format!("says {wanted}"), |now| {
            let said = verdict(now);
            if said == *wanted { Ok(()) } else { Err(said) }
        });
    }
    // Nothing else came while the verdicts did.
    assert_eq!(difference(&printed, &sent(stage, mark, suffix)), None, "{name}");
    refused
}

/// Whether the API server takes an object in, once there is a namespace for it.
fn takes(stage: &Installation, name: &str, object: &Value) -> bool {
    let what = format!("{name}: {} is taken in", place(object));
    let applied = stage.until(SENT, &what, || match stage.try_apply(&object.to_string()) {
        Err(refused) if refused.code == 404 => Err(refused.to_string()),
        other => Ok(other),
    });
    if let Err(refused) = &applied {
        assert_eq!(refused.code, 422, "{name}: {refused}");
    }
    applied.is_ok()
}

fn runs_dapr(world: &str) -> bool {
    documents(world)
        .iter()
        .any(|object| object["kind"] == "Region" && object["spec"]["dapr"].is_object())
}

fn is_ours(object: &Value) -> bool {
    text(&object["apiVersion"]).starts_with("cra.diagrid.io/")
}

/// Deletes what counts in the next world; namespaces go by themselves.
fn clear(stage: &Installation, objects: &[Value]) {
    for object in objects.iter().rev().filter(|object| object["kind"] != "Secret") {
        let namespace = object["metadata"]["namespace"].as_str();
        stage.delete(&text(&object["kind"]), namespace, &text(&object["metadata"]["name"]));
    }
    for object in objects.iter().filter(|object| is_ours(object)) {
        let namespace = object["metadata"]["namespace"].as_str();
        let name = text(&object["metadata"]["name"]);
        stage.gone(GONE, &text(&object["kind"]), namespace, &name);
    }
}

#[test]
fn every_snapshot_is_what_the_controllers_send_and_say() {
    let stage = STAGE.alone();
    let mut refused = Vec::new();
    let mut worlds = snapshots();
    // With Dapr a world is Ready only where pods run, and its root is drawn: tests/dapr_objects.rs holds those.
    worlds.retain(|(_, world)| !runs_dapr(world));
    assert!(worlds.len() >= 40, "only {} snapshots", worlds.len());
    for (number, (name, world)) in worlds.iter().enumerate() {
        let suffix = format!("-{number}x");
        let mut objects = renamed(world, &suffix);
        refused.extend(compare(&stage, name, &mut objects, &suffix));
        clear(&stage, &objects);
    }
    let cel = serves_cel(&stage.control_plane);
    let wanted = REFUSED.into_iter().filter(|(_, by_cel)| cel || !by_cel);
    assert_eq!(refused, wanted.map(|(object, _)| object).collect::<Vec<_>>());
}

#[test]
fn the_examples_are_sent_as_they_are_printed() {
    let stage = STAGE.alone();
    let mut texts: Vec<String> = examples().into_iter().map(|(_, text)| text).collect();
    texts.push(REGION_SECRETS.into());
    let mut objects = renamed(&texts.join("\n---\n"), "-examples");
    let refused = compare(&stage, "gitops-examples", &mut objects, "-examples");
    assert!(refused.is_empty(), "{refused:?}");
    clear(&stage, &objects);
}
