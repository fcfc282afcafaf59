//! Another file in YAML whose problems name line and key, such as that of `--web.config.file`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::lenient::{self, RemovedItems};
use super::load::ConfigError;
use super::problem::{Origin, Problem, Problems};
use super::yaml::{self, LineColumn};

/// A file that was read, with the place of each key.
pub struct YamlFile<T> {
    /// Its value, without what does not fit.
    pub value: T,
    path: PathBuf,
    positions: HashMap<String, LineColumn>,
    removed: RemovedItems,
}

impl<T: DeserializeOwned + Default> YamlFile<T> {
    /// Parses `text`, a mapping or nothing; `path` is for messages. Returns the file, and what does not fit the type.
    ///
    /// # Errors
    /// When it is not YAML. No message contains a value of the text.
    pub fn parse(text: &str, path: &Path) -> Result<(Self, Problems), ConfigError> {
        let error = |at, message| {
            let origin = Origin::File(path.to_owned(), at);
            ConfigError(vec![Problem { origin, key: String::new(), message }])
        };
        let document = yaml::parse(text).map_err(|wrong| error(wrong.at, wrong.message))?;
        let value = match document.value {
            None | Some(Value::Empty(..)) => Value::from(Dict::new()),
            Some(value @ Value::Dict(..)) => value,
            Some(_) => return Err(error(None, "the file must be a YAML mapping".to_owned())),
        };
        let mut problems = Problems::default();
        let (value, removed) = lenient::deserialize(value, &mut problems);
        Ok((Self { value, path: path.to_owned(), positions: document.positions, removed }, problems))
    }
}

impl<T> YamlFile<T> {
    /// What does not fit the type, and what was found later, each with its line.
    pub fn error(&self, mut problems: Problems, later: Problems) -> ConfigError {
        problems.extend(later, |key| self.removed.original_key(key));
        let origin = |key: &str| Origin::File(self.path.clone(), position(&self.positions, key));
        ConfigError(problems.with_origins(origin))
    }
}

/// The place of a key, or of what it is in.
fn position(positions: &HashMap<String, LineColumn>, key: &str) -> Option<LineColumn> {
    positions.get(key).copied().or_else(|| position(positions, key.rsplit_once('.')?.0))
}
