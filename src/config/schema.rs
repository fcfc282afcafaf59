//! The JSON Schema of the configuration file, for editors: what they complete, show and mark as wrong.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use serde_json::{Value, json};

use super::File;

/// Where it is published.
const ID: &str = "https://github.com/videogen-exporter/videogen-exporter/raw/main/docs/videogen-exporter.schema.json";

/// The schema (draft 2020-12). It accepts whatever [`parse`](super::parse) accepts, and refuses unknown keys, wrong types and unknown
/// words. What depends on several keys, on files or on the environment is left to `check`.
pub fn json_schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>();
    RecursiveTransform(simplify).transform(&mut schema);
    if let Some(sections) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        sections.values_mut().for_each(allow_null);
    }
    schema.insert("$id".to_owned(), ID.into());
    schema.insert("title".to_owned(), "videogen-exporter".into());
    schema.to_value()
}

/// Removes what tells an editor nothing: Rust's names of number types, and defaults that mean "not set" or repeat those of keys.
fn simplify(schema: &mut Schema) {
    schema.remove("format");
    let says_nothing = |default: &Value| default.is_null() || default == "" || default.is_object();
    if schema.get("default").is_some_and(says_nothing) {
        schema.remove("default");
    }
}

/// An empty section means its defaults.
fn allow_null(section: &mut Value) {
    let Some(section) = section.as_object_mut() else { return };
    let description = section.remove("description");
    let own = std::mem::take(section);
    let is_optional = own.get("anyOf").is_some();
    *section =
        if is_optional { own } else { [("anyOf".to_owned(), json!([own, { "type": "null" }]))].into_iter().collect() };
    section.extend(description.map(|description| ("description".to_owned(), description)));
}
