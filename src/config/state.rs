//! `state:` — what survives a restart.

use serde::{Deserialize, Serialize};

/// The section; in this version everything is kept in memory and nothing survives.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// `memory: {}`.
    pub memory: MemoryConfig,
}

/// `state.memory:` has no keys.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {}
