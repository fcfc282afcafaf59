//! `state:` — the state store.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::problem::Problems;
use super::scalars::Text;

/// The state store: exactly one of these.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// An SQLite database, which survives a restart.
    #[serde(default)]
    pub sqlite: Option<SqliteConfig>,
    /// Nothing survives a restart. It has no keys: `memory: {}`.
    #[serde(default)]
    pub memory: Option<MemoryConfig>,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { sqlite: Some(SqliteConfig::default()), memory: None }
    }
}

/// An SQLite database.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SqliteConfig {
    /// The database file; created if it does not exist. A relative path is relative to `$STATE_DIRECTORY` of systemd where that
    /// is set, and to the configuration file elsewhere.
    pub path: Text,
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self { path: Text("videogen-exporter.db".to_owned()) }
    }
}

/// Nothing survives a restart.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {}

/// The checked section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// In an SQLite file.
    Sqlite(PathBuf),
    /// In memory; lost when the process stops.
    Memory,
}

/// The first folder of `$STATE_DIRECTORY`, which systemd sets for `StateDirectory=` (systemd.exec(5)).
fn state_directory() -> Option<PathBuf> {
    let folders = std::env::var_os("STATE_DIRECTORY")?;
    std::env::split_paths(&folders).next().filter(|folder| folder.is_absolute())
}

impl StateConfig {
    pub(super) fn check(&self, folder: &Path, problems: &mut Problems) -> State {
        match (&self.sqlite, &self.memory) {
            (Some(_), Some(_)) => {
                problems.add("state", "set either `sqlite` or `memory`, not both");
                State::Memory
            }
            (None, Some(_)) => State::Memory,
            (sqlite, None) => {
                let sqlite = sqlite.clone().unwrap_or_default();
                let state_folder = state_directory();
                let path = state_folder.as_deref().unwrap_or(folder).join(&sqlite.path.0);
                let before = folder.join(&sqlite.path.0);
                if path != before && !path.exists() && before.is_file() {
                    let message = "there is a state beside the configuration, and it is not used: a relative path is relative to \
                                   $STATE_DIRECTORY; move it there, or write its whole path";
                    problems.warn("state.sqlite.path", message);
                }
                if sqlite.path.0.is_empty() || path.is_dir() {
                    problems.add("state.sqlite.path", "must be the name of a file");
                } else if !path.parent().is_some_and(|parent| parent.as_os_str().is_empty() || parent.is_dir()) {
                    problems.add("state.sqlite.path", "the folder of this file does not exist; create it");
                }
                State::Sqlite(path)
            }
        }
    }
}
