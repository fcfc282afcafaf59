//! What an upstream's actor publishes: its tasks and counters, all of one moment. Readers take it and never wait.

mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::counters::UpstreamCounters;
use crate::domain::Task;
use crate::domain::outlook::{Outlook, StuckRules};
use crate::domain::pricing::Currency;

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
    /// What is expected of active tasks.
    pub outlook: Arc<Outlook>,
    /// What was spent of budgets.
    pub spent: Arc<Spent>,
    /// Every source was read at least once.
    pub is_ready: bool,
    /// When it was published; `None` of an upstream that has published nothing.
    pub published: Option<Instant>,
}

/// What was spent, in micro-units, by the name of a budget and currency, and by period.
pub type Spent = BTreeMap<(Arc<str>, Currency), BTreeMap<String, u64>>;

impl UpstreamView {
    /// Of an upstream without tasks.
    pub fn empty(upstream: Arc<str>, provider: &'static str) -> Self {
        let counters = Arc::new(UpstreamCounters::new(Duration::ZERO, Vec::new()));
        let outlook = Outlook::new(StuckRules { factor: 1.0, floor: Duration::MAX });
        Self {
            upstream,
            provider,
            chunks: Vec::new(),
            task_count: 0,
            skipped_rows: 0,
            counters,
            outlook: Arc::new(outlook),
            spent: Arc::default(),
            is_ready: false,
            published: None,
        }
    }

    /// The tasks, without those that are only polled.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        let rows = self.chunks.iter().flat_map(|chunk| chunk.iter().flatten());
        rows.filter(|row| !row.is_past).map(|row| &row.task)
    }
}
