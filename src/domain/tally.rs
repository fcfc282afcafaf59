//! What has been counted under one label set, on its way between the state and the page.

use std::sync::Arc;

use crate::domain::Cell;
use crate::domain::Timestamp;
use crate::domain::task::Agg;

/// When a label set came into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// Its creation, which it keeps for as long as the state lives.
    pub created: Timestamp,
    /// Its values may be shown. Until then it is shown at 0; from then on never again.
    pub shown: bool,
}

/// A label set with its counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// What it is counted under.
    pub agg: Agg,
    /// When it was created, and whether it is shown.
    pub birth: Birth,
    /// When a tracked task last had it.
    pub used: Timestamp,
    /// Every number that is not 0.
    pub cells: Vec<(Cell, u64)>,
}

/// How many tasks a source brought first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTally {
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// The source's label, such as `file/0`.
    pub source: String,
    /// When it was created, and whether it is shown.
    pub birth: Birth,
    /// How many.
    pub tasks: u64,
}
