//! YAML into figment's values, remembering where each key stands.
//!
//! Interner keep their exact spelling: a plain scalar becomes a number only when the number is written back the same way,
//! so that task ids such as `0123`, `1e5` or `866900000000000001` stay what they are.

use std::collections::HashMap;

use figment::value::{Dict, Empty, Map, Value};
use granit_parser::{Event, Parser, ScalarStyle, Span as Mark};
use serde::de::DeserializeOwned;

/// Most values in one document: stops alias bombs.
const MAX_NODES: usize = 1_000_000;

/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// Line and column, from 1.
pub type LineColumn = (usize, usize);

/// A document and the places of its keys, by path (`upstreams.0.name`).
#[derive(Debug, Default)]
pub struct Document {
    /// What it says.
    pub value: Option<Value>,
    /// Where.
    pub places: HashMap<String, LineColumn>,
}

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// In words.
    pub message: String,
    /// Line and column, where the parser knows them.
    pub at: Option<LineColumn>,
}

/// Reads `text` as one value of type `T`; the error names the line where the parser knows it, and the key.
///
/// # Errors
/// When it is no YAML, or not of that shape. No value of the text is repeated.
pub fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let document = parse(text).map_err(|error| match error.at {
        Some((line, column)) => format!("{line}:{column}: {}", error.message),
        None => error.message,
    })?;
    let value = document.value.unwrap_or_else(|| Value::from(Vec::<Value>::new()));
    value.deserialize().map_err(|error| {
        let path = error.path.join(".");
        let at = document.places.get(&path).map(|(line, column)| format!("{line}:{column}: ")).unwrap_or_default();
        let key = if path.is_empty() { String::new() } else { format!("{path}: ") };
        format!("{at}{key}{}", super::problem::told(&error.kind))
    })
}

/// Reads one document.
pub fn parse(text: &str) -> Result<Document, YamlError> {
    let mut loader =
        Loader { parser: Parser::new_from_str(text), anchors: HashMap::new(), places: HashMap::new(), nodes: 0 };
    let mut value = None;
    while let Some((event, mark)) = loader.next()? {
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd | Event::StreamEnd => {}
            _ if value.is_some() => return Err(error("there must be one document in the file", &mark)),
            event => value = Some(loader.value(event, &mark, "", 0)?),
        }
    }
    let value = value.filter(|value| !matches!(value, Value::Empty(..)));
    Ok(Document { value, places: loader.places })
}

struct Loader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, (Value, usize)>,
    places: HashMap<String, LineColumn>,
    nodes: usize,
}

fn error(message: &str, mark: &Mark) -> YamlError {
    YamlError { message: message.to_owned(), at: Some(place(mark)) }
}

fn place(mark: &Mark) -> LineColumn {
    (mark.start.line(), mark.start.col() + 1)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl<'a> Loader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Mark)>, YamlError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(found)) => Ok(Some(found)),
            Some(Err(scan)) => {
                let at = Some((scan.marker().line(), scan.marker().col() + 1));
                Err(YamlError { message: format!("this is not YAML: {}", scan.info()), at })
            }
        }
    }

    fn expect_next(&mut self) -> Result<(Event<'a>, Mark), YamlError> {
        self.next()?.ok_or(YamlError { message: "the file ends in the middle".to_owned(), at: None })
    }

    fn count(&mut self, nodes: usize, mark: &Mark) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES { Err(error("there is too much in this file", mark)) } else { Ok(()) }
    }

    fn value(&mut self, event: Event<'a>, mark: &Mark, path: &str, depth: usize) -> Result<Value, YamlError> {
        self.count(1, mark)?;
        if depth > MAX_DEPTH {
            return Err(error("this is nested too deeply", mark));
        }
        self.places.entry(path.to_owned()).or_insert_with(|| place(mark));
        let before = self.nodes;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                (if plain { scalar(&text) } else { Value::from(text.into_owned()) }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.sequence(path, depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(path, depth)?, anchor),
            Event::Alias(id) => {
                let (value, size) = self
                    .anchors
                    .get(&id)
                    .cloned()
                    .ok_or_else(|| error("this alias names no anchor before it", mark))?;
                self.count(size, mark)?;
                (value, 0)
            }
            _ => return Err(error("a value was expected here", mark)),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), self.nodes - before + 1));
        }
        Ok(value)
    }

    fn sequence(&mut self, path: &str, depth: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.expect_next()? {
                (Event::SequenceEnd, _) => return Ok(Value::from(items)),
                (event, mark) => {
                    let at = join(path, &items.len().to_string());
                    items.push(self.value(event, &mark, &at, depth + 1)?);
                }
            }
        }
    }

    fn mapping(&mut self, path: &str, depth: usize) -> Result<Value, YamlError> {
        let mut entries: Dict = Map::new();
        loop {
            let (key, mark) = match self.expect_next()? {
                (Event::MappingEnd, _) => return Ok(Value::from(entries)),
                (Event::Scalar(key, ..), mark) => (key.into_owned(), mark),
                (_, mark) => return Err(error("a key must be a text", &mark)),
            };
            let at = join(path, &key);
            if entries.contains_key(&key) {
                return Err(error(&format!("{at}: this key stands here twice"), &mark));
            }
            self.places.insert(at.clone(), place(&mark));
            let (event, mark) = self.expect_next()?;
            let value = self.value(event, &mark, &at, depth + 1)?;
            entries.insert(key, value);
        }
    }
}

/// A plain scalar: null, boolean or number where writing it back gives the same text, else the text.
fn scalar(text: &str) -> Value {
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
    fn places_aliases_and_mistakes_are_found() {
        let document = parse("a: &x\n  b: 1\nc:\n  - *x\n").unwrap();
        assert_eq!(document.places["a.b"], (2, 3));
        assert_eq!(document.places["c.0"], (4, 5));
        for (text, message) in [
            ("a: 1\na: 2\n", "a: this key stands here twice"),
            ("a: [1\n", "this is not YAML"),
            ("a: 1\n---\nb: 2\n", "there must be one document"),
            ("? [a]\n: 1\n", "a key must be a text"),
            ("a: *nothing\n", ""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.starts_with(message), "{text:?}: {}", error.message);
        }
        let bomb = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
            let alias = vec![format!("*a{}", n - 1); 10].join(", ");
            text + &format!("a{n}: &a{n} [{alias}]\n")
        });
        assert_eq!(parse(&bomb).unwrap_err().message, "there is too much in this file");
        assert_eq!(parse(&("[".repeat(100) + &"]".repeat(100))).unwrap_err().message, "this is nested too deeply");
    }
}
