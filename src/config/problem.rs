//! Problems of a configuration, each with its origin.

use std::fmt;
use std::path::PathBuf;

use figment::error::{Actual, Kind};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file; line and column if they are known.
    File(PathBuf, Option<(usize, usize)>),
    /// An environment variable.
    Variable(String),
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where its value comes from.
    pub origin: Origin,
    /// The key, such as `upstreams.0.name`; empty for the whole file.
    pub key: String,
    /// The message. It contains no value, which could be a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File(path, Some((line, column))) => write!(f, "{}:{line}:{column}: ", path.display())?,
            Origin::File(path, None) => write!(f, "{}: ", path.display())?,
            Origin::Variable(name) => write!(f, "environment variable {name}: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Problems by key, before their origins are known.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<(String, String)>,
    warnings: Vec<(String, String)>,
    allows_hidden_credentials: bool,
}

impl Problems {
    /// For a check that sends nothing: a credential that systemd hides from this process is a warning.
    pub fn with_hidden_credentials_allowed() -> Self {
        Self { allows_hidden_credentials: true, ..Self::default() }
    }

    /// Whether such a credential is a warning.
    pub const fn allows_hidden_credentials(&self) -> bool {
        self.allows_hidden_credentials
    }

    /// Adds a problem.
    pub fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.found.push((key.into(), message.into()));
    }

    /// Adds a warning, which does not make the configuration invalid.
    pub fn warn(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.warnings.push((key.into(), message.into()));
    }

    /// The warnings, each with its key.
    pub fn warnings(&self) -> Vec<String> {
        let line = |(key, message): &(String, String)| {
            if key.is_empty() { message.clone() } else { format!("{key}: {message}") }
        };
        self.warnings.iter().map(line).collect()
    }

    /// Adds all of `others`; `rename` maps their keys.
    pub fn extend(&mut self, others: Self, rename: impl Fn(&str) -> String) {
        self.found.extend(others.found.into_iter().map(|(key, message)| (rename(&key), message)));
        self.warnings.extend(others.warnings.into_iter().map(|(key, message)| (rename(&key), message)));
    }

    /// Whether there is a problem at or below `key`.
    pub fn has_at_or_below(&self, key: &str) -> bool {
        self.found
            .iter()
            .any(|(found, _)| found.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    /// The number of problems.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether there are no problems.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Adds the origins. That a key is missing is left out where another problem says that it is there, but wrong.
    pub fn with_origins(self, origin: impl Fn(&str) -> Origin) -> Vec<Problem> {
        let is_consequence = |key: &str, message: &str| {
            let name = message.strip_prefix("the key `").and_then(|rest| rest.split_once("` is missing"));
            let missing = name.map(|(name, _)| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") });
            missing.is_some_and(|missing| self.has_at_or_below(&missing))
        };
        let found = self.found.iter().filter(|(key, message)| !is_consequence(key, message));
        found
            .map(|(key, message)| Problem { origin: origin(key), key: key.clone(), message: message.clone() })
            .collect()
    }
}

/// Describes an error of figment without the value, which could be a misplaced secret.
pub fn describe(kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(_, known) => format!("unknown key; known keys: {}", known.join(", ")),
        Kind::UnknownVariant(_, known) => format!("unknown value; known values: {}", known.join(", ")),
        Kind::MissingField(name) => format!("the key `{name}` is missing"),
        Kind::DuplicateField(name) => format!("the key `{name}` appears twice"),
        Kind::InvalidType(actual, expected) => {
            format!("found {}, expected {}", describe_actual(actual), describe_expected(&expected.clone()))
        }
        Kind::InvalidValue(_, expected) => format!("invalid value; expected {expected}"),
        Kind::InvalidLength(found, expected) => format!("found {found} entries, expected {expected}"),
        Kind::Message(message) => message.clone(),
        other => other.to_string(),
    }
}

/// Replaces Rust type names, which users do not know.
fn describe_expected(expected: &str) -> &str {
    match expected {
        "a sequence" | "sequence" => "a list",
        "a map" | "map" => "a mapping",
        name if name.starts_with("struct ") => "a mapping",
        "u32" | "u64" | "usize" => "a whole number that is not negative",
        other => other,
    }
}

fn describe_actual(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) | Actual::Bytes(_) => "a string",
        Actual::Unit | Actual::Option => "nothing",
        Actual::Seq => "a list",
        Actual::Map => "a mapping",
        _ => "something else",
    }
}
