//! An upstream that no longer knows most of its active tasks. Then it is the upstream that is wrong, such as after a bad deploy,
//! or with the key of another account: no task is lost for that.

use crate::domain::{FailureClass, Timestamp};
use crate::metrics::UpstreamMetrics;
use crate::view::TaskRows;

/// An upstream that does not know this many tasks may still be right.
const FEW_TASKS: usize = 20;

/// Whether an upstream is in this condition.
#[derive(Debug, Default)]
pub struct Amnesia {
    is_present: bool,
}

impl Amnesia {
    /// Whether it is.
    pub const fn is_present(&self) -> bool {
        self.is_present
    }

    /// Looks at the answers since the oldest "no such task"; exports and logs a change.
    pub fn update(&mut self, rows: &TaskRows, upstream: &str, metrics: &UpstreamMetrics) {
        let tasks = || rows.iter().map(|(_, row)| &row.task);
        let active = || tasks().filter(|task| task.is_active());
        // Tasks that were not polled since tell nothing.
        let since = active().filter_map(|task| Some(task.strikes?.since)).min();
        let is_recent = |time: Option<Timestamp>| since.is_some_and(|since| time.is_some_and(|time| time >= since));
        let unknown = active().filter(|task| task.strikes.is_some()).count();
        let lost =
            tasks().filter(|task| task.failure == Some(FailureClass::Lost) && is_recent(task.ended_seen)).count();
        let known = active().filter(|task| task.strikes.is_none() && is_recent(task.last_poll)).count();
        let unknown = unknown + lost;
        let is_present = unknown > FEW_TASKS && unknown > known;
        if is_present == self.is_present {
            return;
        }
        self.is_present = is_present;
        metrics.amnesia(upstream, is_present);
        if is_present {
            tracing::warn!(upstream.name = %upstream, unknown, known, "upstream does not know most of its tasks; none is lost for that");
        } else {
            tracing::info!(upstream.name = %upstream, unknown, known, "upstream knows most of its tasks again");
        }
    }
}
