//! How manifests are printed: keys in the order that people expect, and never a secret value.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};

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

/// All of them as one JSON List, as `kubectl get -o json` has it; each is asked for when its turn comes.
pub(super) fn json_list(out: &mut dyn Write, items: impl Iterator<Item = Value>) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::pretty(&mut *out);
    let mut list = serializer.serialize_map(Some(3))?;
    list.serialize_entry("apiVersion", "v1")?;
    list.serialize_entry("kind", "List")?;
    list.serialize_entry("items", &Items(RefCell::new(items)))?;
    SerializeMap::end(list)?;
    writeln!(out)
}

struct Items<I>(RefCell<I>);

impl<I: Iterator<Item = Value>> Serialize for Items<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.borrow_mut().by_ref().map(Ordered))
    }
}

/// A value whose keys come in the order that people expect, whatever order they are kept in.
struct Ordered<V>(V);

/// What comes first in every map; the rest is sorted.
const FIRST: [&str; 5] = ["apiVersion", "kind", "metadata", "name", "namespace"];

impl<V: Borrow<Value>> Serialize for Ordered<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.borrow() {
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
