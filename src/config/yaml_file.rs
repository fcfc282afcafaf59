//! Another file in YAML whose problems name line and key, such as that of `--web.config.file`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::load::ConfigError;
use super::problem::{Origin, Problem, Problems, describe};
use super::yaml::{self, LineColumn};

/// A file that was read, with the place of each key.
pub struct YamlFile<T> {
    /// Its value.
    pub value: T,
    path: PathBuf,
    positions: HashMap<String, LineColumn>,
}

impl<T: DeserializeOwned> YamlFile<T> {
    /// Parses `text`, a mapping or nothing; `path` is for messages.
    ///
    /// # Errors
    /// When it is not YAML, or does not fit the type. The message contains no value of the text.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let error = |at, key: &str, message| {
            let origin = Origin::File(path.to_owned(), at);
            ConfigError(vec![Problem { origin, key: key.to_owned(), message }])
        };
        let document = yaml::parse(text).map_err(|wrong| error(wrong.at, "", wrong.message))?;
        let value = match document.value {
            None | Some(Value::Empty(..)) => Value::from(Dict::new()),
            Some(value @ Value::Dict(..)) => value,
            Some(_) => return Err(error(None, "", "the file must be a YAML mapping".to_owned())),
        };
        let positions = document.positions;
        match value.deserialize() {
            Ok(value) => Ok(Self { value, path: path.to_owned(), positions }),
            Err(wrong) => {
                let key = wrong.path.join(".");
                Err(error(position(&positions, &key), &key, describe(&wrong.kind)))
            }
        }
    }
}

impl<T> YamlFile<T> {
    /// These problems, each with its line.
    pub fn error(&self, problems: Problems) -> ConfigError {
        let origin = |key: &str| Origin::File(self.path.clone(), position(&self.positions, key));
        ConfigError(problems.with_origins(origin))
    }
}

/// The place of a key, or of what it is in.
fn position(positions: &HashMap<String, LineColumn>, key: &str) -> Option<LineColumn> {
    positions.get(key).copied().or_else(|| position(positions, key.rsplit_once('.')?.0))
}
