//! Parts of the JSON Schema that types with their own `Deserialize` share.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// One of these words.
pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Schema {
    json_schema!({ "type": "string", "enum": words.into_iter().collect::<Vec<_>>() })
}

/// One of these words, or nothing.
pub fn optional_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Schema {
    let words: Vec<_> = words.into_iter().map(Value::from).chain([Value::Null]).collect();
    json_schema!({ "type": ["string", "null"], "enum": words })
}

/// A mapping with at most these keys.
pub fn closed_map<'a, V: JsonSchema>(
    keys: impl IntoIterator<Item = &'a str>,
    generator: &mut SchemaGenerator,
) -> Schema {
    let value = generator.subschema_for::<V>();
    let keys: Map<String, Value> = keys.into_iter().map(|key| (key.to_owned(), json!(value))).collect();
    json_schema!({ "type": "object", "properties": keys, "additionalProperties": false })
}

/// Shows a default in the description of a key.
pub fn set_default(schema: &mut Schema, key: &str, default: Value) {
    if let Some(property) = schema.pointer_mut(&format!("/properties/{key}")).and_then(Value::as_object_mut) {
        property.insert("default".to_owned(), default);
    }
}
