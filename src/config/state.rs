//! `state:` — the state store.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::problem::Problems;
use super::scalars::Text;

/// The section. It has one key, which is the kind of store; the default is `sqlite`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// `sqlite: {path: …}`.
    #[serde(default)]
    pub sqlite: Option<SqliteConfig>,
    /// `memory: {}`.
    #[serde(default)]
    pub memory: Option<MemoryConfig>,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { sqlite: Some(SqliteConfig::default()), memory: None }
    }
}

/// `state.sqlite:`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqliteConfig {
    /// The database file; created if it does not exist.
    pub path: Text,
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self { path: Text("videogen-exporter.db".to_owned()) }
    }
}

/// `state.memory:` has no keys.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
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
                let path = folder.join(&sqlite.path.0);
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
