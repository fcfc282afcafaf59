//! Parses YAML into figment values and records the line and column of each key.
//!
//! A plain scalar becomes a number only when the number is written back as the same text. So task ids such as `0123`,
//! `1e5` or `866900000000000001` keep their spelling.

use std::collections::HashMap;

use figment::value::{Dict, Empty, Map, Value};
use granit_parser::{Event, Parser, ScalarStyle, Span as Marker};
use serde::de::DeserializeOwned;

use super::strict;

/// Most memory that the values of a document need, in bytes, as far as we can tell. A million task ids need a quarter of it.
const MAX_MEMORY: usize = 512 << 20;

/// Most memory of the copies that anchors and aliases make: a few hundred bytes of text can ask for gigabytes.
const MAX_COPIES: usize = 16 << 20;

/// Memory of a value besides its text.
const VALUE_MEMORY: usize = 64;

/// Memory of a mapping: a B-tree has room for eleven entries from its first one.
const MAPPING_MEMORY: usize = 11 * (size_of::<String>() + size_of::<Value>());

/// Most memory of the recorded positions: each one has the path of its key, and a value beyond it is found by its path alone.
const MAX_POSITIONS: usize = 16 << 20;

/// Longest key, in bytes: each value below it has it in its path.
const MAX_KEY: usize = 1024;

/// Maximum nesting depth.
const MAX_DEPTH: usize = 64;

/// Line and column, counted from 1.
pub type LineColumn = (usize, usize);

/// A document, and the position of each key by its path, such as `upstreams.0.name`.
#[derive(Debug, Default)]
pub struct Document {
    /// Its value; `None` for an empty document.
    pub value: Option<Value>,
    /// Positions by path.
    pub positions: HashMap<String, LineColumn>,
}

/// Why a document is invalid, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// Why.
    pub message: String,
    /// Position, if the parser knows it.
    pub at: Option<LineColumn>,
}

/// Parses `text` as a value of type `T`. The error names the line, if known, and the key.
///
/// # Errors
/// When it is not YAML, or does not fit the type. The message contains no value of the text.
pub fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let document = parse(text).map_err(|error| match error.at {
        Some((line, column)) => format!("{line}:{column}: {}", error.message),
        None => error.message,
    })?;
    let value = document.value.unwrap_or_else(|| Value::from(Vec::<Value>::new()));
    strict::from_value(&value).map_err(|error| {
        let path = error.path.join(".");
        let at = document.positions.get(&path).map(|(line, column)| format!("{line}:{column}: ")).unwrap_or_default();
        let key = if path.is_empty() { String::new() } else { format!("{path}: ") };
        format!("{at}{key}{}", super::problem::describe(&error.kind))
    })
}

/// Parses one document.
pub fn parse(text: &str) -> Result<Document, YamlError> {
    parse_within(text, MAX_MEMORY)
}

/// Parses one document whose values may need so much memory, in bytes.
pub fn parse_within(text: &str, max_memory: usize) -> Result<Document, YamlError> {
    let mut loader = Loader::new(text, max_memory);
    let mut value = None;
    while let Some((event, marker)) = loader.next_event()? {
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd | Event::StreamEnd => {}
            _ if value.is_some() => return Err(error_at("the file must contain one YAML document", &marker)),
            event => value = Some(loader.load_value(event, &marker, 0)?),
        }
    }
    let value = value.filter(|value| !matches!(value, Value::Empty(..)));
    Ok(Document { value, positions: loader.positions })
}

struct Loader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    /// Anchored values and their memory.
    anchors: HashMap<usize, (Value, usize)>,
    /// The path of the current value.
    path: String,
    positions: HashMap<String, LineColumn>,
    position_memory: usize,
    /// Memory of all values, copies included.
    memory: usize,
    max_memory: usize,
    /// Memory of copies.
    copies: usize,
}

fn error_at(message: &str, marker: &Marker) -> YamlError {
    YamlError { message: message.to_owned(), at: Some(position_of(marker)) }
}

fn position_of(marker: &Marker) -> LineColumn {
    (marker.start.line(), marker.start.col() + 1)
}

impl<'a> Loader<'a> {
    fn new(text: &'a str, max_memory: usize) -> Self {
        Self {
            parser: Parser::new_from_str(text),
            anchors: HashMap::new(),
            path: String::new(),
            positions: HashMap::new(),
            position_memory: 0,
            memory: 0,
            max_memory,
            copies: 0,
        }
    }

    fn next_event(&mut self) -> Result<Option<(Event<'a>, Marker)>, YamlError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(found)) => Ok(Some(found)),
            Some(Err(scan)) => {
                let at = Some((scan.marker().line(), scan.marker().col() + 1));
                Err(YamlError { message: format!("not valid YAML: {}", scan.info()), at })
            }
        }
    }

    fn expect_event(&mut self) -> Result<(Event<'a>, Marker), YamlError> {
        self.next_event()?.ok_or(YamlError { message: "the file ends inside a value".to_owned(), at: None })
    }

    fn add_memory(&mut self, bytes: usize, marker: &Marker) -> Result<(), YamlError> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > self.max_memory {
            let message = format!(
                "the values up to here need more than {} MiB of memory; write many ids as one group, or a file of ids as JSON",
                self.max_memory >> 20
            );
            return Err(error_at(&message, marker));
        }
        Ok(())
    }

    fn add_copy(&mut self, bytes: usize, marker: &Marker) -> Result<(), YamlError> {
        self.copies = self.copies.saturating_add(bytes);
        if self.copies > MAX_COPIES {
            let message = format!("anchors and aliases copy more than {} MiB; write the values out", MAX_COPIES >> 20);
            return Err(error_at(&message, marker));
        }
        self.add_memory(bytes, marker)
    }

    /// Appends a key to the path; returns what [`leave`](Self::leave) needs.
    fn enter(&mut self, key: &str) -> usize {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        length
    }

    fn leave(&mut self, length: usize) {
        self.path.truncate(length);
    }

    /// Records the position of the current path, unless it has one.
    fn record_position(&mut self, marker: &Marker) {
        let memory = self.position_memory + VALUE_MEMORY + self.path.len();
        if memory <= MAX_POSITIONS && !self.positions.contains_key(&self.path) {
            self.position_memory = memory;
            self.positions.insert(self.path.clone(), position_of(marker));
        }
    }

    fn load_value(&mut self, event: Event<'a>, marker: &Marker, depth: usize) -> Result<Value, YamlError> {
        if depth > MAX_DEPTH {
            return Err(error_at(&format!("nested more than {MAX_DEPTH} levels deep"), marker));
        }
        self.record_position(marker);
        let before = self.memory;
        self.add_memory(VALUE_MEMORY, marker)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.add_memory(text.len(), marker)?;
                let plain = style == ScalarStyle::Plain && tag.is_none();
                (if plain { parse_scalar(&text) } else { Value::from(text.into_owned()) }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.load_sequence(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.load_mapping(marker, depth)?, anchor),
            Event::Alias(id) => {
                let known = self.anchors.get(&id).map(|(_, memory)| *memory);
                let memory = known.ok_or_else(|| error_at("no anchor of this name precedes this alias", marker))?;
                // Before it is copied.
                self.add_copy(memory, marker)?;
                (self.anchors[&id].0.clone(), 0)
            }
            _ => return Err(error_at("expected a value here", marker)),
        };
        if anchor > 0 {
            let memory = self.memory - before;
            self.add_copy(memory, marker)?;
            self.anchors.insert(anchor, (value.clone(), memory));
        }
        Ok(value)
    }

    fn load_sequence(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.expect_event()? {
                (Event::SequenceEnd, _) => return Ok(Value::from(items)),
                (event, marker) => {
                    let outer = self.enter(&items.len().to_string());
                    items.push(self.load_value(event, &marker, depth + 1)?);
                    self.leave(outer);
                }
            }
        }
    }

    fn load_mapping(&mut self, marker: &Marker, depth: usize) -> Result<Value, YamlError> {
        self.add_memory(MAPPING_MEMORY, marker)?;
        let mut entries: Dict = Map::new();
        loop {
            let (key, marker) = match self.expect_event()? {
                (Event::MappingEnd, _) => return Ok(Value::from(entries)),
                (Event::Scalar(key, ..), marker) => (key.into_owned(), marker),
                (_, marker) => return Err(error_at("a key must be a string", &marker)),
            };
            if key.len() > MAX_KEY {
                return Err(error_at(&format!("a key must have at most {MAX_KEY} bytes"), &marker));
            }
            self.add_memory(VALUE_MEMORY + key.len(), &marker)?;
            let outer = self.enter(&key);
            if entries.contains_key(&key) {
                return Err(error_at(&format!("{}: this key appears twice", self.path), &marker));
            }
            self.record_position(&marker);
            let (event, marker) = self.expect_event()?;
            let value = self.load_value(event, &marker, depth + 1)?;
            self.leave(outer);
            entries.insert(key, value);
        }
    }
}

/// Parses a plain scalar as null, boolean or number if that is written back as the same text; otherwise as a string.
fn parse_scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" => return Value::from(Empty::None),
        "true" => return Value::from(true),
        "false" => return Value::from(false),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>()
        && number.to_string() == text
    {
        return Value::from(number);
    }
    if let Ok(number) = text.parse::<u64>()
        && number.to_string() == text
    {
        return Value::from(number);
    }
    if let Ok(number) = text.parse::<f64>()
        && number.is_finite()
        && format!("{number:?}") == text
    {
        return Value::from(number);
    }
    Value::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_look_like_numbers_keep_their_spelling() {
        let text = "[0123, 1e5, 866900000000000001, 0x10, 1.50, yes, true, '7', -0]";
        let ids: Vec<crate::config::Text> = from_text(text).unwrap();
        let ids: Vec<_> = ids.iter().map(|id| id.0.as_str()).collect();
        assert_eq!(ids, ["0123", "1e5", "866900000000000001", "0x10", "1.50", "yes", "true", "7", "-0"]);
    }

    #[test]
    fn positions_aliases_and_errors_are_found() {
        let document = parse("a: &x\n  b: 1\nc:\n  - *x\n").unwrap();
        assert_eq!(document.positions["a.b"], (2, 3));
        assert_eq!(document.positions["c.0"], (4, 5));
        for (text, message) in [
            ("a: 1\na: 2\n", "a: this key appears twice"),
            ("a: [1\n", "not valid YAML"),
            ("a: 1\n---\nb: 2\n", "the file must contain one"),
            ("? [a]\n: 1\n", "a key must be a string"),
            ("a: *nothing\n", ""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.starts_with(message), "{text:?}: {}", error.message);
        }
        assert_eq!(
            parse(&("[".repeat(100) + &"]".repeat(100))).unwrap_err().message,
            "nested more than 64 levels deep"
        );
    }

    #[test]
    fn a_small_file_cannot_ask_for_much_memory() {
        let exponential = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
            let alias = vec![format!("*a{}", n - 1); 10].join(", ");
            text + &format!("a{n}: &a{n} [{alias}]\n")
        });
        let long_text = format!("a: &a {}\nb: [{}]\n", "x".repeat(80_000), "*a, ".repeat(20_000));
        let mappings = format!("a: &a [{}]\nb: [{}]\n", "{b: c}, ".repeat(100), "*a, ".repeat(10_000));
        // Each anchor keeps a copy of all that is below it.
        let nested = (0..60).fold(format!("'{}'", "x".repeat(400_000)), |inner, n| format!("&a{n} [{inner}]"));
        for text in [exponential, long_text, mappings, nested] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.message, "anchors and aliases copy more than 16 MiB; write the values out");
        }
        let long_key = format!("? {}\n: 1\n", "k".repeat(1025));
        assert_eq!(parse(&long_key).unwrap_err().message, "a key must have at most 1024 bytes");
        let many = "[{a: b},".to_owned() + &"{a: b},".repeat(1_000_000) + "]";
        assert_eq!(
            parse(&many).unwrap_err().message,
            "the values up to here need more than 512 MiB of memory; write many ids as one group, or a file of ids as JSON"
        );
    }

    #[test]
    fn a_million_ids_are_read_and_their_positions_are_bounded() {
        let id = "0123456789abcdef0123456789abcdef0123456789";
        let text = format!("- targets: [{}]\n  labels: {{team: x}}\n", format!("task-{id}, ").repeat(1_000_000));
        let document = parse(&text).unwrap();
        let ids = document.value.as_ref().and_then(|value| value.as_array()?[0].as_dict()?["targets"].as_array());
        assert_eq!(ids.map(<[_]>::len), Some(1_000_000));
        assert!(document.positions.contains_key("0.targets.9"));
        let memory: usize = document.positions.keys().map(|path| path.len() + VALUE_MEMORY).sum();
        assert!(memory <= MAX_POSITIONS, "{memory}");
    }
}
