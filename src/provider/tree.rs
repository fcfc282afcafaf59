//! JSON as it lies in an answer: a tree of what is there, whose texts stay where they are. Only one with an escape in it is copied.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// A value, with the names and the kinds that `serde_json` gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    String(Cow<'a, str>),
    /// A list.
    Array(Vec<Self>),
    /// An object.
    Object(Fields<'a>),
}

/// The fields of an object. There are few of them: to look at each is sooner done than to keep them in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields<'a>(Vec<(Name<'a>, Value<'a>)>);

/// The name of a field.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    /// The field of this name; of several the last one, as most readers have it.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().rfind(|(known, _)| known.0 == name).map(|(_, value)| value)
    }
}

impl<'a> Value<'a> {
    /// Of an object the field of this name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields.get(name),
            _ => None,
        }
    }

    /// The text that it is.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The list that it is.
    pub fn as_array(&self) -> Option<&[Value<'a>]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The whole number of 0 or more that it is.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// The boolean that it is.
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// True for `null`.
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// True for `true` and `false`.
    pub const fn is_boolean(&self) -> bool {
        matches!(self, Self::Bool(_))
    }

    /// True for a number.
    pub const fn is_number(&self) -> bool {
        matches!(self, Self::Number(_))
    }

    /// True for a text.
    pub const fn is_string(&self) -> bool {
        matches!(self, Self::String(_))
    }

    /// True for a list.
    pub const fn is_array(&self) -> bool {
        matches!(self, Self::Array(_))
    }

    /// True for an object.
    pub const fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a serde_json::Value> for Value<'a> {
    /// The same, its texts where they are.
    fn from(value: &'a serde_json::Value) -> Self {
        use serde_json::Value as Other;
        match value {
            Other::Null => Self::Null,
            Other::Bool(value) => Self::Bool(*value),
            Other::Number(number) => Self::Number(number.clone()),
            Other::String(text) => Self::String(Cow::Borrowed(text)),
            Other::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Other::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (Name(Cow::Borrowed(name)), value.into()));
                Self::Object(Fields(fields.collect()))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value<'de>, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element()? {
            found.push(item);
        }
        Ok(Value::Array(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value<'de>, A::Error> {
        let mut found = Vec::new();
        while let Some(field) = fields.next_entry()? {
            found.push(field);
        }
        Ok(Value::Object(Fields(found)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Any JSON, names that come twice in an object aside.
    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|value| json!(value)),
            any::<i64>().prop_map(|value| json!(value)),
            any::<u64>().prop_map(|value| json!(value)),
            any::<f64>().prop_map(|value| json!(value)),
            any::<String>().prop_map(|value| json!(value)),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(|items| json!(items)),
                proptest::collection::btree_map(any::<String>(), inner, 0..8).prop_map(|fields| json!(fields)),
            ]
        })
    }

    #[test]
    fn texts_stay_where_they_are_unless_something_is_escaped_in_them() {
        let body = br#"{"plain": "as it is", "esc\u0061ped": "a \"quote\""}"#;
        let value: Value<'_> = serde_json::from_slice(body).unwrap();
        assert!(matches!(value.get("plain"), Some(Value::String(Cow::Borrowed("as it is")))));
        assert!(matches!(value.get("escaped"), Some(Value::String(Cow::Owned(text))) if text == "a \"quote\""));
    }

    #[test]
    fn of_two_fields_of_one_name_the_last_one_counts() {
        let body = r#"{"status": "running", "id": 1, "status": "failed"}"#;
        let value: Value<'_> = serde_json::from_str(body).unwrap();
        assert_eq!(value.get("status").and_then(Value::as_str), Some("failed"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["status"], "failed", "as elsewhere");
    }

    #[test]
    fn what_is_no_json_is_refused_as_elsewhere() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for body in [&b"{"[..], b"{} x", b"\"\xff\"", b"{\"\xff\": 1}", b"{1: 2}", b"nul", b"", deep.as_bytes()] {
            assert!(serde_json::from_slice::<serde_json::Value>(body).is_err());
            assert!(serde_json::from_slice::<Value<'_>>(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_as_it_is_elsewhere(json in any_json()) {
            let body = json.to_string();
            let elsewhere: serde_json::Value = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value<'_>>(&body).unwrap(), Value::from(&elsewhere));
        }
    }
}
