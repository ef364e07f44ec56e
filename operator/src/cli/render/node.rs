//! YAML as it was written, with the place of every key and value: what errors point at.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// A place in a file, counted from 1.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct At {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// One value and where it begins.
pub(super) struct Node {
    pub(super) at: At,
    pub(super) shape: Shape,
}

/// A key of a map and where it stands.
pub(super) struct Key {
    pub(super) at: At,
    pub(super) name: String,
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
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// The text under a key of a map.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match &self.get(name)?.shape {
            Shape::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a map; none of anything else.
    pub(super) fn entries(&self) -> &[(Key, Self)] {
        match &self.shape {
            Shape::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entries of a list; none of anything else.
    pub(super) fn items(&self) -> &[Self] {
        match &self.shape {
            Shape::List(items) => items,
            _ => &[],
        }
    }

    /// Takes a key out of a map.
    pub(super) fn remove(&mut self, name: &str) -> Option<Self> {
        let Shape::Map(entries) = &mut self.shape else { return None };
        let index = entries.iter().position(|(key, _)| key.name == name)?;
        Some(entries.remove(index).1)
    }

    /// Moves everything down by some lines.
    pub(super) fn moved(&mut self, lines: u64) {
        self.at.line += lines;
        match &mut self.shape {
            Shape::List(items) => items.iter_mut().for_each(|item| item.moved(lines)),
            Shape::Map(entries) => entries.iter_mut().for_each(|(key, node)| {
                key.at.line += lines;
                node.moved(lines);
            }),
            _ => {}
        }
    }

    /// Puts an empty map under a key that is absent or null, as the API server does for `spec`.
    pub(super) fn default_map(&mut self, name: &str) {
        if self.get(name).is_some_and(|node| !matches!(node.shape, Shape::Null)) {
            return;
        }
        self.remove(name);
        let at = self.at;
        if let Shape::Map(entries) = &mut self.shape {
            entries
                .push((Key { at, name: name.into() }, Self { at, shape: Shape::Map(Vec::new()) }));
        }
    }
}

/// No longer than an implicit key may be: messages name the keys that lead to a value.
/// <https://yaml.org/spec/1.2.2/#742-flow-mappings>
const MAX_KEY: usize = 1024;

pub(super) fn at(location: Location) -> At {
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
        // Most lists and maps are small, and a vector that grows reserves for more.
        items.shrink_to_fit();
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key { at: at(key.referenced), name: key.value };
            if key.name.len() > MAX_KEY {
                return Err(de::Error::custom(format!(
                    "a key is longer than {MAX_KEY} bytes: shorten it"
                )));
            }
            entries.push((key, map.next_value()?));
        }
        entries.shrink_to_fit();
        Ok(Shape::Map(entries))
    }
}
