//! Every world under `snapshots/` and what is planned for it: shown as it is, and held to laws that all plans keep.

#![allow(clippy::panic, reason = "a test fails by it, helpers of one too")]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../crds/tests/golden/mod.rs"]
mod golden;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use catalyst::cli::render::{Snapshot, snapshot, uid};
use catalyst_plan::{Object, Tenure, names};
use serde_json::Value;

/// One folder of `snapshots/<concern>/`.
struct Case {
    concern: String,
    folder: PathBuf,
    world: String,
    snapshot: Snapshot,
}

/// All cases, planned.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots");
    let mut cases = Vec::new();
    for concern in folders(&root) {
        for folder in folders(&concern) {
            let concern = concern.file_name().expect("a name").to_string_lossy().into_owned();
            let path = folder.join("world.yaml");
            let world = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let snapshot = planned(&folder, &world, &concern);
            cases.push(Case { concern, folder, world, snapshot });
        }
    }
    assert!(cases.len() >= 40, "only {} cases", cases.len());
    cases
});

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn planned(folder: &Path, world: &str, concern: &str) -> Snapshot {
    snapshot(world, concern).unwrap_or_else(|faults| panic!("{}: {faults:#?}", folder.display()))
}

/// Checks a law on every case, and names all that break it.
fn law(check: impl Fn(&Case) -> Result<(), String>) {
    let broken: Vec<String> = CASES
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case.folder.display(), check(case).err()?)))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Checks a law on every planned object of every case.
fn law_of_objects(check: impl Fn(&Case, &Object) -> Result<(), String>) {
    law(|case| {
        let mut objects = case.snapshot.objects.iter();
        objects.try_for_each(|object| {
            check(case, object).map_err(|error| format!("{}: {error}", object.key))
        })
    });
}

fn holds(condition: bool, otherwise: impl Into<String>) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise.into()) }
}

#[test]
fn every_plan_is_as_the_repository_shows_it() {
    let files: Vec<(PathBuf, String)> = CASES
        .iter()
        .map(|case| {
            let text = format!("# {}\n#\n{}", golden::GENERATED, case.snapshot.text);
            (case.folder.join("plan.yaml"), text)
        })
        .collect();
    golden::check(&files);
}

#[test]
fn every_world_says_what_it_teaches() {
    law(|case| {
        holds(case.world.starts_with("# "), "world.yaml does not open with a comment")?;
        let name = case.folder.file_name().expect("a name").to_string_lossy();
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        holds(name.bytes().all(fits), "the folder is not named by words and dashes")?;
        let files = std::fs::read_dir(&case.folder).expect("a folder").count();
        holds(files <= 2, "the folder holds more than world.yaml and plan.yaml")
    });
}

#[test]
fn the_same_world_is_planned_the_same_in_whatever_order_it_is_read() {
    law(|case| {
        let mut documents: Vec<&str> = case.world.trim_end().split("\n---\n").collect();
        for _ in 0..documents.len() {
            documents.rotate_left(1);
            let turned = planned(&case.folder, &documents.join("\n---\n"), &case.concern);
            holds(turned.text == case.snapshot.text, "another order, another plan")?;
        }
        documents.reverse();
        let reversed = planned(&case.folder, &documents.join("\n---\n"), &case.concern);
        holds(reversed.text == case.snapshot.text, "reversed, another plan")
    });
}

#[test]
fn no_object_is_planned_twice() {
    law(|case| {
        let keys: BTreeSet<_> = case.snapshot.objects.iter().map(|object| &object.key).collect();
        holds(keys.len() == case.snapshot.objects.len(), "two objects have one key")
    });
}

#[test]
fn what_is_ours_says_so_and_whose_it_is() {
    law_of_objects(|case, object| {
        let label = |name: &str| object.manifest["metadata"]["labels"][name].as_str();
        let project = label(names::PROJECT);
        holds(project == project_of(object)?, "the project label names another one")?;
        holds(label(names::CONTROLLER).is_some(), "it has no controller label")?;
        let managed = (object.tenure == Tenure::Ours).then_some(names::CATALYST);
        holds(label(names::MANAGED_BY) == managed, "managed-by is for what we made, all of it")?;
        let owner = label(names::OWNER_UID).unwrap_or_default();
        let primaries = case.snapshot.judged.iter().map(|judged| &judged.key);
        let mut uids =
            primaries.map(|key| uid(&key.resource.kind, key.namespace.as_deref(), &key.name));
        holds(uids.any(|uid| uid == owner), "its owner is none of the world")
    });
}

#[test]
fn who_owns_what_follows_one_rule() {
    law_of_objects(|case, object| {
        let metadata = &object.manifest["metadata"];
        let owners = metadata["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
        let is_kept = case.world.contains("deletionPolicy: Retain");
        let is_owned =
            match (&*object.key.resource.kind, metadata["labels"][names::CONTROLLER].as_str()) {
                ("Namespace", _) => object.tenure == Tenure::Ours && !is_kept,
                // Nothing inside a project namespace is owned by the Project: there the labels count.
                (_, concern) => matches!(concern, Some("identity" | "server" | "secret")),
            };
        holds(owners.len() == usize::from(is_owned), "it has an owner too many, or lacks one")?;
        for owner in owners {
            holds(owner["uid"] == metadata["labels"][names::OWNER_UID], "owner and label differ")?;
            holds(
                owner.get("blockOwnerDeletion").is_none(),
                "it would hold up its owner's deletion",
            )?;
        }
        Ok(())
    });
}

#[test]
fn nothing_lies_outside_of_a_project_but_its_namespace_and_the_control_plane_of_dapr() {
    law_of_objects(|_, object| project_of(object).map(drop));
}

/// The project of an object by where it lies; `None` for Dapr's control plane.
fn project_of(object: &Object) -> Result<Option<&str>, String> {
    let namespace = match &object.key.namespace {
        Some(namespace) => namespace,
        None if object.key.resource.kind == "Namespace" => &object.key.name,
        None => return Err("it is cluster-scoped".into()),
    };
    match names::project_of(namespace) {
        None if namespace == names::DAPR_NAMESPACE => Ok(None),
        None => Err(format!("it lies in {namespace}")),
        project => Ok(project),
    }
}

#[test]
fn every_namespace_that_we_may_write_in_is_closed_first() {
    fn namespace_of(object: &Object) -> &str {
        object.key.namespace.as_deref().unwrap_or_default()
    }
    law(|case| {
        if case.concern != "network" {
            return Ok(());
        }
        let made = planned(&case.folder, &case.world, "namespace");
        let bindings = made.objects.iter().filter(|object| object.key.name == "catalyst-project");
        let bound: BTreeSet<&str> = bindings.map(namespace_of).collect();
        let policies = &case.snapshot.objects;
        for namespace in &bound {
            let first = policies.iter().find(|object| namespace_of(object) == *namespace);
            if case.world.contains("mode: \"Off\"") {
                holds(first.is_none(), "mode is Off, and yet there are policies")?;
                continue;
            }
            let first = first.ok_or_else(|| format!("{namespace} has no fence"))?;
            let shut = serde_json::json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
            let is_shut = first.manifest["spec"] == shut && first.key.name == "default-deny";
            holds(is_shut, format!("{namespace} is opened before it is closed"))?;
        }
        let inside = policies.iter().all(|object| bound.contains(namespace_of(object)));
        holds(inside, "a policy where we may not write")
    });
}

#[test]
fn no_list_or_map_is_empty() {
    // The API server drops them, so every apply would write again, for ever. Selectors and volumes are structs, not maps.
    fn empty(value: &Value, at: &str) -> Option<String> {
        let is_selector =
            ["podSelector", "namespaceSelector", "emptyDir"].iter().any(|one| at.ends_with(one));
        match value {
            Value::Null => Some(at.into()),
            Value::Array(items) if items.is_empty() => Some(at.into()),
            Value::Object(fields) if fields.is_empty() => (!is_selector).then(|| at.into()),
            Value::Array(items) => items.iter().find_map(|item| empty(item, at)),
            Value::Object(fields) => {
                fields.iter().find_map(|(name, value)| empty(value, &format!("{at}.{name}")))
            }
            _ => None,
        }
    }
    law_of_objects(|_, object| {
        empty(&object.manifest, "").map_or(Ok(()), |at| Err(format!("{at} is empty")))
    });
}

#[test]
fn names_are_such_as_the_api_server_takes() {
    let is_label = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let ends = !name.starts_with('-') && !name.ends_with('-');
        !name.is_empty() && name.len() <= 63 && name.bytes().all(fits) && ends
    };
    law_of_objects(|_, object| {
        let key = &object.key;
        holds(
            key.name.len() <= 253 && key.name.split('.').all(is_label),
            "the name is no DNS name",
        )?;
        holds(key.namespace.as_deref().is_none_or(is_label), "the namespace is no DNS label")?;
        for (_, value) in object.manifest["metadata"]["labels"].as_object().into_iter().flatten() {
            holds(value.as_str().is_some_and(|value| value.len() <= 63), "a label is too long")?;
        }
        Ok(())
    });
}

#[test]
fn network_policies_leave_nothing_to_the_defaults_of_the_api_server() {
    law_of_objects(|_, object| {
        if object.key.resource.kind != "NetworkPolicy" {
            return Ok(());
        }
        let spec = &object.manifest["spec"];
        let types = spec["policyTypes"].as_array().ok_or("it has no policyTypes")?;
        for (direction, rules) in [("Ingress", &spec["ingress"]), ("Egress", &spec["egress"])] {
            let is_typed = rules.is_null() || types.contains(&direction.into());
            holds(is_typed, format!("{direction} is not among its types"))?;
            for rule in rules.as_array().into_iter().flatten() {
                holds(rule.get("to").or(rule.get("from")).is_some(), "a rule means everywhere")?;
                for port in rule["ports"].as_array().into_iter().flatten() {
                    let is_whole = port["port"].is_i64() && port["protocol"].is_string();
                    holds(is_whole, "a port is not written out")?;
                }
            }
        }
        Ok(())
    });
}

#[test]
fn everything_of_ours_is_judged_and_told_why() {
    law(|case| {
        for judged in &case.snapshot.judged {
            let ready = catalyst_plan::readiness::standing(&judged.status, "Ready");
            let ready = ready.ok_or_else(|| format!("{} has no Ready", judged.key))?;
            let is_told = ready.status == "True" || !ready.message.is_empty();
            holds(is_told, format!("{} is not told why", judged.key))?;
        }
        Ok(())
    });
}

#[test]
fn secret_values_are_never_shown() {
    for value in ["correct-horse-battery", "a-key-that-the-agent-draws-once"] {
        assert!(CASES.iter().any(|case| case.world.contains(value)), "no world holds {value}");
        law(|case| holds(!case.snapshot.text.contains(value), "a secret is shown"));
    }
}
