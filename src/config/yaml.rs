//! Parses YAML into figment values and records the line and column of each key.
//!
//! A plain scalar becomes a number only when the number is written back as the same text. So task ids such as `0123`,
//! `1e5` or `866900000000000001` keep their spelling.

use std::collections::HashMap;

use figment::value::{Dict, Empty, Map, Value};
use granit_parser::{Event, Parser, ScalarStyle, Span as Marker};
use serde::de::DeserializeOwned;

/// Maximum number of values in a document; prevents alias bombs.
const MAX_NODES: usize = 1_000_000;

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
    value.deserialize().map_err(|error| {
        let path = error.path.join(".");
        let at = document.positions.get(&path).map(|(line, column)| format!("{line}:{column}: ")).unwrap_or_default();
        let key = if path.is_empty() { String::new() } else { format!("{path}: ") };
        format!("{at}{key}{}", super::problem::describe(&error.kind))
    })
}

/// Parses one document.
pub fn parse(text: &str) -> Result<Document, YamlError> {
    let mut loader =
        Loader { parser: Parser::new_from_str(text), anchors: HashMap::new(), positions: HashMap::new(), nodes: 0 };
    let mut value = None;
    while let Some((event, marker)) = loader.next_event()? {
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd | Event::StreamEnd => {}
            _ if value.is_some() => return Err(error_at("the file must contain one YAML document", &marker)),
            event => value = Some(loader.load_value(event, &marker, "", 0)?),
        }
    }
    let value = value.filter(|value| !matches!(value, Value::Empty(..)));
    Ok(Document { value, positions: loader.positions })
}

struct Loader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, (Value, usize)>,
    positions: HashMap<String, LineColumn>,
    nodes: usize,
}

fn error_at(message: &str, marker: &Marker) -> YamlError {
    YamlError { message: message.to_owned(), at: Some(position_of(marker)) }
}

fn position_of(marker: &Marker) -> LineColumn {
    (marker.start.line(), marker.start.col() + 1)
}

fn join_path(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl<'a> Loader<'a> {
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

    fn count_nodes(&mut self, nodes: usize, marker: &Marker) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            Err(error_at(&format!("the file contains more than {MAX_NODES} values"), marker))
        } else {
            Ok(())
        }
    }

    fn load_value(&mut self, event: Event<'a>, marker: &Marker, path: &str, depth: usize) -> Result<Value, YamlError> {
        self.count_nodes(1, marker)?;
        if depth > MAX_DEPTH {
            return Err(error_at(&format!("nested more than {MAX_DEPTH} levels deep"), marker));
        }
        self.positions.entry(path.to_owned()).or_insert_with(|| position_of(marker));
        let before = self.nodes;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                (if plain { parse_scalar(&text) } else { Value::from(text.into_owned()) }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.load_sequence(path, depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.load_mapping(path, depth)?, anchor),
            Event::Alias(id) => {
                let (value, size) = self
                    .anchors
                    .get(&id)
                    .cloned()
                    .ok_or_else(|| error_at("no anchor of this name precedes this alias", marker))?;
                self.count_nodes(size, marker)?;
                (value, 0)
            }
            _ => return Err(error_at("expected a value here", marker)),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), self.nodes - before + 1));
        }
        Ok(value)
    }

    fn load_sequence(&mut self, path: &str, depth: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.expect_event()? {
                (Event::SequenceEnd, _) => return Ok(Value::from(items)),
                (event, marker) => {
                    let at = join_path(path, &items.len().to_string());
                    items.push(self.load_value(event, &marker, &at, depth + 1)?);
                }
            }
        }
    }

    fn load_mapping(&mut self, path: &str, depth: usize) -> Result<Value, YamlError> {
        let mut entries: Dict = Map::new();
        loop {
            let (key, marker) = match self.expect_event()? {
                (Event::MappingEnd, _) => return Ok(Value::from(entries)),
                (Event::Scalar(key, ..), marker) => (key.into_owned(), marker),
                (_, marker) => return Err(error_at("a key must be a string", &marker)),
            };
            let at = join_path(path, &key);
            if entries.contains_key(&key) {
                return Err(error_at(&format!("{at}: this key appears twice"), &marker));
            }
            self.positions.insert(at.clone(), position_of(&marker));
            let (event, marker) = self.expect_event()?;
            let value = self.load_value(event, &marker, &at, depth + 1)?;
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
        let bomb = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
            let alias = vec![format!("*a{}", n - 1); 10].join(", ");
            text + &format!("a{n}: &a{n} [{alias}]\n")
        });
        assert_eq!(parse(&bomb).unwrap_err().message, "the file contains more than 1000000 values");
        assert_eq!(
            parse(&("[".repeat(100) + &"]".repeat(100))).unwrap_err().message,
            "nested more than 64 levels deep"
        );
    }
}
