//! What survives: rows of tasks and which of their ends are counted. Nothing is shown that was not committed here first.

mod memory;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Task, TaskId, Timestamp, Transition};

pub use memory::Memory;

/// Why something was not committed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said no; what was to be committed must not be counted, and is tried again.
    #[error("the state cannot be written: {0}")]
    Unavailable(String),
}

/// The kinds of state. An `enum`, because the set is closed and its functions wait.
pub enum Store {
    /// Nothing survives: for demos and tests.
    Memory(Memory),
}

impl Store {
    /// When this state was started for the first time.
    pub fn first_start(&self) -> Timestamp {
        match self {
            Self::Memory(memory) => memory.first_start(),
        }
    }

    /// Notes that a source names these tasks, and gives back the ones that have no row yet; they have one now.
    ///
    /// # Errors
    /// When the rows are not durable; none of the tasks must be tracked then.
    #[expect(clippy::unused_async, reason = "the seam: the other kinds of state wait here")]
    pub async fn add(&self, tasks: Vec<Task>) -> Result<Vec<Task>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.add(tasks)),
        }
    }

    /// Notes that a source no longer names these tasks of an upstream.
    ///
    /// # Errors
    /// When it is not durable.
    #[expect(clippy::unused_async, reason = "the seam: the other kinds of state wait here")]
    pub async fn unname(&self, upstream: &Arc<str>, ids: &HashSet<TaskId>, now: Timestamp) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => memory.unname(upstream, ids, now),
        }
        Ok(())
    }

    /// Makes transitions durable, all or none.
    ///
    /// # Errors
    /// When they are not; nothing of them must be counted then.
    #[expect(clippy::unused_async, reason = "the seam: the other kinds of state wait here")]
    pub async fn commit(&self, transitions: &[Transition]) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => memory.commit(transitions),
        }
        Ok(())
    }

    /// True while this source was never loaded well in the life of this state.
    ///
    /// # Errors
    /// When the state cannot tell.
    #[expect(clippy::unused_async, reason = "the seam: the other kinds of state wait here")]
    pub async fn is_first_load(&self, upstream: &Arc<str>, source: &str) -> Result<bool, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.is_first_load(upstream, source)),
        }
    }

    /// Notes that this source was loaded well.
    ///
    /// # Errors
    /// When it is not durable.
    #[expect(clippy::unused_async, reason = "the seam: the other kinds of state wait here")]
    pub async fn loaded(&self, upstream: &Arc<str>, source: &str) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => memory.loaded(upstream, source),
        }
        Ok(())
    }

    /// Before sources are read anew: what none of them names from now on is unnamed.
    pub fn unname_all(&self, now: Timestamp) {
        match self {
            Self::Memory(memory) => memory.unname_all(now),
        }
    }

    /// Drops rows of ended tasks that no source has named for `after`, and says how many.
    pub fn forget(&self, after: Duration, now: Timestamp) -> usize {
        match self {
            Self::Memory(memory) => memory.forget(after, now),
        }
    }

    /// Drops the rows of upstreams that are not among these.
    pub fn keep_upstreams(&self, names: &HashSet<Arc<str>>) {
        match self {
            Self::Memory(memory) => memory.keep_upstreams(names),
        }
    }
}
