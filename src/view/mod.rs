//! What an upstream's actor publishes: its tasks and counters, all of one moment. Readers take it and never wait.

mod rows;

use std::sync::Arc;
use std::time::Duration;

use crate::counters::UpstreamCounters;
use crate::domain::Task;

pub use rows::{RowSlot, TaskChunk, TaskRow, TaskRows};

/// An upstream at one moment: a task that has ended here is counted here.
#[derive(Debug, Clone)]
pub struct UpstreamView {
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// Its provider.
    pub provider: &'static str,
    /// Its tasks, in chunks.
    pub chunks: Vec<Arc<TaskChunk>>,
    /// How many tasks there are.
    pub task_count: usize,
    /// Rows of its state that could not be read and were set aside.
    pub skipped_rows: usize,
    /// What was counted.
    pub counters: Arc<UpstreamCounters>,
    /// Every source was read at least once.
    pub is_ready: bool,
}

impl UpstreamView {
    /// Of an upstream without tasks.
    pub fn empty(upstream: Arc<str>, provider: &'static str) -> Self {
        let counters = Arc::new(UpstreamCounters::new(Duration::ZERO, Vec::new()));
        Self { upstream, provider, chunks: Vec::new(), task_count: 0, skipped_rows: 0, counters, is_ready: false }
    }

    /// The tasks, without those that are only polled.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        let rows = self.chunks.iter().flat_map(|chunk| chunk.iter().flatten());
        rows.filter(|row| !row.is_past).map(|row| &row.task)
    }
}
