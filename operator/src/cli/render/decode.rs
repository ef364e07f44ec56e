//! From nodes to types: a wrong type and every field that the type does not have, each by its way.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_ignored::Path;

use super::fault::{MAX_FAULTS, Step};
use super::node::{At, Node, Shape};

/// The value of a node as a type, and the ways of all fields that the type does not know.
pub(super) fn decode<T: DeserializeOwned>(node: &Node) -> (Result<T, Wrong>, Vec<Vec<Step>>) {
    let mut unknown = Vec::new();
    let read = serde_ignored::deserialize(Reader(node), |path| {
        // Among them are apiVersion and kind, which nobody minds.
        if unknown.len() < MAX_FAULTS + 2 {
            unknown.push(steps(&path));
        }
    });
    (read.map_err(|wrong: Wrong| wrong.from(node.at)), unknown)
}

/// What does not fit, and where.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: At,
    pub(super) message: String,
    /// From the inside out while it travels up.
    steps: Vec<Step>,
    placed: bool,
}

impl Wrong {
    /// The way to the field.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.steps.iter().rev().cloned().collect()
    }

    /// The innermost place counts.
    fn from(mut self, at: At) -> Self {
        if !self.placed {
            (self.at, self.placed) = (at, true);
        }
        self
    }

    fn within(self, step: Step, at: At) -> Self {
        let mut wrong = self.from(at);
        wrong.steps.push(step);
        wrong
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { at: At::default(), message: message.to_string(), steps: Vec::new(), placed: false }
    }

    fn invalid_type(found: de::Unexpected<'_>, wanted: &dyn de::Expected) -> Self {
        Self::custom(format!("is the {found}: write {wanted}"))
    }

    fn invalid_value(found: de::Unexpected<'_>, wanted: &dyn de::Expected) -> Self {
        Self::custom(format!("is the {found}: write {wanted}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("lacks {field}: add it"))
    }
}

fn steps(path: &Path<'_>) -> Vec<Step> {
    let (parent, step) = match path {
        Path::Root => return Vec::new(),
        Path::Seq { parent, index } => (parent, Some(Step::Index(*index))),
        Path::Map { parent, key } => (parent, Some(Step::Field(key.clone()))),
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => (parent, None),
    };
    let mut way = steps(parent);
    way.extend(step);
    way
}

struct Reader<'n>(&'n Node);

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.0.shape {
            Shape::Null => visitor.visit_unit(),
            Shape::Bool(value) => visitor.visit_bool(*value),
            Shape::Signed(value) => visitor.visit_i64(*value),
            Shape::Unsigned(value) => visitor.visit_u64(*value),
            Shape::Float(value) => visitor.visit_f64(*value),
            Shape::Text(text) => visitor.visit_str(text),
            Shape::List(items) => visitor.visit_seq(Items { items, index: 0 }),
            Shape::Map(_) => visitor.visit_map(Entries { map: self.0, index: 0 }),
        }
        .map_err(|wrong: Wrong| wrong.from(self.0.at))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0.shape {
            Shape::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let at = self.0.at;
        visitor.visit_enum(self).map_err(|wrong| wrong.from(at))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier
    }
}

/// The enums of our kinds are words.
impl<'de> EnumAccess<'de> for Reader<'_> {
    type Error = Wrong;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Wrong> {
        Ok((seed.deserialize(Reader(self.0))?, self))
    }
}

impl<'de> VariantAccess<'de> for Reader<'_> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Wrong> {
        Err(de::Error::custom("is not a word: write one"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Wrong> {
        Err(de::Error::custom("is not a word: write one"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Wrong> {
        Err(de::Error::custom("is not a word: write one"))
    }
}

struct Items<'n> {
    items: &'n [Node],
    index: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let Some(item) = self.items.get(self.index) else { return Ok(None) };
        let step = Step::Index(self.index);
        self.index += 1;
        seed.deserialize(Reader(item)).map(Some).map_err(|wrong| wrong.within(step, item.at))
    }
}

struct Entries<'n> {
    map: &'n Node,
    index: usize,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        let Some((key, _)) = self.map.entries().get(self.index) else { return Ok(None) };
        let name: StrDeserializer<'_, Wrong> = key.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|wrong| wrong.from(key.at))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let Some((key, node)) = self.map.entries().get(self.index) else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        self.index += 1;
        seed.deserialize(Reader(node))
            .map_err(|wrong| wrong.within(Step::Field(key.name.clone()), node.at))
    }
}
