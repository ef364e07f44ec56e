//! How manifests are printed: keys in the order that people expect, and never a secret value.

use std::collections::BTreeMap;

use catalyst_plan::{Datum, Object};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Value, json};

/// A manifest as it is shown: for a Secret with what its data would be, values left out.
pub(super) fn manifest(object: &Object) -> Value {
    let mut manifest = object.manifest.clone();
    if !object.data.is_empty() {
        let data: BTreeMap<_, _> =
            object.data.iter().map(|(key, datum)| (key, value(datum))).collect();
        manifest["stringData"] = json!(data);
    }
    manifest
}

fn value(datum: &Datum) -> String {
    match datum {
        Datum::Text(text) => text.clone(),
        Datum::Generated { prefix, .. } => format!("{prefix}<generated>"),
        Datum::CopyOf { secret, key } => format!("<copy of {secret}.{key}>"),
        Datum::Given(_) => "<secret>".into(),
    }
}

/// One YAML document, with the line that opens it.
pub(super) fn yaml(value: &Value) -> Result<String, String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let body = serde_saphyr::to_string_with_options(&Ordered(value), options)
        .map_err(|error| error.to_string())?;
    Ok(format!("---\n{}\n", body.trim_end()))
}

/// All of them as one JSON List, as `kubectl get -o json` has it.
pub(super) fn json_list(items: &[Value]) -> Result<String, String> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let body = serde_json::to_string_pretty(&Ordered(&list)).map_err(|error| error.to_string())?;
    Ok(format!("{body}\n"))
}

/// A value whose keys come in the order that people expect, whatever order they are kept in.
struct Ordered<'a>(&'a Value);

/// What comes first in every map; the rest is sorted.
const FIRST: [&str; 5] = ["apiVersion", "kind", "metadata", "name", "namespace"];

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(map) => {
                let mut out = serializer.serialize_map(Some(map.len()))?;
                for (key, value) in ordered(map) {
                    out.serialize_entry(key, &Ordered(value))?;
                }
                out.end()
            }
            Value::Array(items) => {
                let mut out = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    out.serialize_element(&Ordered(item))?;
                }
                out.end()
            }
            plain => plain.serialize(serializer),
        }
    }
}

fn ordered(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    let rank = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    entries.sort_by(|(a, _), (b, _)| (rank(a), a).cmp(&(rank(b), b)));
    entries
}
