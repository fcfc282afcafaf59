//! Counters on their way from the state into memory.

use super::state_key::StateKey;
use super::zero_hold::ZeroHold;
use crate::domain::{LabelSet, Timestamp};

/// A label set with its numbers, as the state has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterSnapshot {
    /// The labels.
    pub label_set: LabelSet,
    /// When it was created, and whether it is exported.
    pub zero_hold: ZeroHold,
    /// When a tracked task last had it.
    pub used: Timestamp,
    /// Every number that is not 0.
    pub numbers: Vec<(StateKey, u64)>,
}

/// How many tasks a source discovered first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceCounters {
    /// The source's label, such as `file/0`.
    pub source: String,
    /// When it was created, and whether it is exported.
    pub zero_hold: ZeroHold,
    /// How many.
    pub tasks: u64,
}
