//! Problems of a configuration: all of them, each with its place.

use std::fmt;
use std::path::PathBuf;

use figment::error::{Actual, Kind};

/// Where something was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file, at a line and column where the parser knows them.
    File(PathBuf, Option<(usize, usize)>),
    /// In an environment variable.
    Variable(String),
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key, as `upstreams.0.name`; empty for the whole file.
    pub key: String,
    /// What is wrong, without repeating a value that could be a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path, Some((line, column))) => write!(f, "{}:{line}:{column}: ", path.display())?,
            Place::File(path, None) => write!(f, "{}: ", path.display())?,
            Place::Variable(name) => write!(f, "environment variable {name}: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Problems by key, before their places are looked up.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<(String, String)>,
}

impl Problems {
    /// Notes one.
    pub fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.found.push((key.into(), message.into()));
    }

    /// Notes all of `others`, under the keys that `rename` gives them.
    pub fn extend(&mut self, others: Self, rename: impl Fn(&str) -> String) {
        self.found.extend(others.found.into_iter().map(|(key, message)| (rename(&key), message)));
    }

    /// True when something was noted at or below `key`.
    pub fn has_below(&self, key: &str) -> bool {
        self.found
            .iter()
            .any(|(found, _)| found.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    /// How many were noted.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// True when nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them with their places.
    pub fn placed(self, place: impl Fn(&str) -> Place) -> Vec<Problem> {
        self.found.into_iter().map(|(key, message)| Problem { place: place(&key), key, message }).collect()
    }
}

/// What figment found, in words and without the value it found: that could be a secret in the wrong place.
pub fn told(kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(_, known) => format!("unknown key; known are {}", known.join(", ")),
        Kind::UnknownVariant(_, known) => format!("unknown word; known are {}", known.join(", ")),
        Kind::MissingField(name) => format!("the key `{name}` is missing"),
        Kind::DuplicateField(name) => format!("the key `{name}` stands here twice"),
        Kind::InvalidType(actual, expected) => {
            format!("found {}, expected {}", named(actual), wanted(&expected.clone()))
        }
        Kind::InvalidValue(_, expected) => format!("this value will not do, expected {expected}"),
        Kind::InvalidLength(found, expected) => format!("found {found} entries, expected {expected}"),
        Kind::Message(message) => message.clone(),
        other => other.to_string(),
    }
}

/// What was expected, without the names that types have in the code.
fn wanted(expected: &str) -> &str {
    match expected {
        "a sequence" | "sequence" => "a list",
        "a map" | "map" => "a mapping",
        name if name.starts_with("struct ") => "a mapping",
        "u32" | "u64" | "usize" => "a whole number that is not negative",
        other => other,
    }
}

fn named(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) | Actual::Bytes(_) => "a text",
        Actual::Unit | Actual::Option => "nothing",
        Actual::Seq => "a list",
        Actual::Map => "a mapping",
        _ => "something else",
    }
}
