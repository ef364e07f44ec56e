//! YAML as it was written, with the place of every key and value: what errors point at.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, MessageFormatter, Options, Spanned, UserMessageFormatter};

/// A place in a file, counted from 1.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct At {
    pub line: u64,
    pub column: u64,
}

/// One value and where it begins.
pub(super) struct Node {
    pub at: At,
    pub shape: Shape,
}

/// A key of a map and where it stands.
pub(super) struct Key {
    pub at: At,
    pub name: String,
}

/// What a value is. Maps keep the order of their keys, and keys that are there twice.
pub(super) enum Shape {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Node {
    /// The value under a key of a map.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// The text under a key of a map.
    pub fn text(&self, name: &str) -> Option<&str> {
        match &self.get(name)?.shape {
            Shape::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a map; none of anything else.
    pub fn entries(&self) -> &[(Key, Self)] {
        match &self.shape {
            Shape::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entries of a list; none of anything else.
    pub fn items(&self) -> &[Self] {
        match &self.shape {
            Shape::List(items) => items,
            _ => &[],
        }
    }

    /// Takes a key out of a map.
    pub fn remove(&mut self, name: &str) -> Option<Self> {
        let Shape::Map(entries) = &mut self.shape else { return None };
        let index = entries.iter().position(|(key, _)| key.name == name)?;
        Some(entries.remove(index).1)
    }

    /// Puts an empty map under a key that is absent or null, as the API server does for `spec`.
    pub fn default_map(&mut self, name: &str) {
        if self.get(name).is_some_and(|node| !matches!(node.shape, Shape::Null)) {
            return;
        }
        self.remove(name);
        let at = self.at;
        if let Shape::Map(entries) = &mut self.shape {
            entries.push((Key { at, name: name.into() }, Self { at, shape: Shape::Map(Vec::new()) }));
        }
    }
}

/// What YAML may cost. Files of some ten thousand objects pass; aliases that multiply don't.
fn options() -> Options {
    serde_saphyr::options! {
        // Found by us, all of them and not just the first.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // A snippet would show the line, and with it a secret.
        with_snippet: false,
        emit_comments: false,
        budget: serde_saphyr::budget! {
            max_events: 20_000_000,
            max_nodes: 10_000_000,
            max_aliases: 10_000,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
    }
}

/// The documents of a YAML stream (JSON is YAML), and what is wrong with those that can't be read.
pub(super) fn parse(bytes: &[u8]) -> (Vec<Node>, Vec<(At, String)>) {
    if let Err(error) = std::str::from_utf8(bytes) {
        let before = &bytes[..error.valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count() as u64;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() as u64 + 1;
        return (Vec::new(), vec![(At { line, column }, "this is no UTF-8 text: save the file as UTF-8".into())]);
    }
    let (mut nodes, mut faults) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    for document in serde_saphyr::read_with_options::<_, Node>(&mut rest, options()) {
        match document {
            Ok(node) => nodes.push(node),
            Err(error) => {
                let error = error.without_snippet();
                let at = error.location().map(at).unwrap_or_default();
                faults.push((at, UserMessageFormatter.format_message(error).escape_debug().to_string()));
            }
        }
    }
    (nodes, faults)
}

fn at(location: serde_saphyr::Location) -> At {
    At { line: location.line(), column: location.column() }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Shape>::deserialize(deserializer)?;
        Ok(Self { at: at(spanned.referenced), shape: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        Shape::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Signed(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Shape, E> {
        Ok(i64::try_from(value).map_or(Shape::Unsigned(value), Shape::Signed))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Shape, E> {
        Ok(Shape::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::Text(value.into()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Shape, E> {
        Ok(Shape::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key { at: at(key.referenced), name: key.value };
            entries.push((key, map.next_value()?));
        }
        Ok(Shape::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        let (mut nodes, faults) = parse(text.as_bytes());
        assert!(faults.is_empty(), "{faults:?}");
        nodes.remove(0)
    }

    #[test]
    fn keys_and_values_know_their_place_in_the_file_not_in_the_document() {
        let (nodes, _) = parse(b"a: 1\n---\nb:\n  c: [x, y]\n");
        let (key, list) = &nodes[1].get("b").unwrap().entries()[0];
        assert_eq!(key.at, At { line: 4, column: 3 });
        assert_eq!(list.items()[1].at, At { line: 4, column: 10 });
    }

    #[test]
    fn keys_that_are_there_twice_are_kept_for_whoever_reports_them() {
        assert_eq!(one("a: 1\na: 2\n").entries().len(), 2);
    }

    #[test]
    fn one_bad_document_does_not_hide_the_others() {
        let (nodes, faults) = parse(b"a: *nowhere\n---\nb: 1\n");
        assert_eq!((nodes.len(), faults.len()), (1, 1));
        assert_eq!(faults[0].0, At { line: 1, column: 4 });
    }

    #[test]
    fn bytes_that_are_no_text_are_pointed_at() {
        let (_, faults) = parse(b"a: 1\nb: \xff\n");
        assert_eq!(faults[0].0, At { line: 2, column: 4 });
    }

    #[test]
    fn aliases_that_multiply_are_refused_at_once() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        let began = std::time::Instant::now();
        let (nodes, faults) = parse(bomb.as_bytes());
        assert!(nodes.is_empty() && faults.len() == 1, "{faults:?}");
        assert!(began.elapsed().as_secs() < 5);
    }
}
