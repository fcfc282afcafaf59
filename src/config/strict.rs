//! Reads a value as a type. A list is no mapping: serde itself reads its items as the values of the keys, in their order.

use std::collections::btree_map;
use std::iter::Enumerate;
use std::slice;

use figment::error::Error;
use figment::value::Value;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, Unexpected, Visitor};

/// Deserializes `value`.
///
/// # Errors
/// With the path of what does not fit the type.
pub fn from_value<'de, T: Deserialize<'de>>(value: &Value) -> Result<T, Box<Error>> {
    T::deserialize(StrictValue(value)).map_err(Box::new)
}

struct StrictValue<'v>(&'v Value);

impl<'de> Deserializer<'de> for StrictValue<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Dict(_, entries) => visitor.visit_map(Entries { rest: entries.iter(), current: None }),
            Value::Array(_, items) => visitor.visit_seq(Items(items.iter().enumerate())),
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(..) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Empty(..) => self.0.deserialize_option(visitor),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 char str string seq bytes byte_buf map unit ignored_any unit_struct
        tuple_struct tuple identifier
    }
}

/// The error of a value below this key.
fn below(key: &str) -> impl FnOnce(Error) -> Error {
    move |mut error| {
        error.path.insert(0, key.to_owned());
        error
    }
}

struct Entries<'v> {
    rest: btree_map::Iter<'v, String, Value>,
    current: Option<(&'v str, &'v Value)>,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.rest.next().map(|(key, value)| (key.as_str(), value));
        let Some((key, _)) = self.current else { return Ok(None) };
        seed.deserialize(key.into_deserializer()).map(Some).map_err(below(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, value) = self.current.take().expect("a value is read after its key");
        seed.deserialize(StrictValue(value)).map_err(below(key))
    }
}

struct Items<'v>(Enumerate<slice::Iter<'v, Value>>);

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((n, item)) = self.0.next() else { return Ok(None) };
        seed.deserialize(StrictValue(item)).map(Some).map_err(below(&n.to_string()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}
