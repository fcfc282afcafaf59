//! An upstream that no longer knows most of its active tasks. Then it is the upstream that is wrong, such as after a bad deploy,
//! or with the key of another account: no task is lost for that.

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

    /// Looks at the last answers about the active tasks; exports and logs a change.
    pub fn update(&mut self, rows: &TaskRows, upstream: &str, metrics: &UpstreamMetrics) {
        let (mut active, mut unknown) = (0, 0);
        for task in rows.iter().map(|(_, row)| &row.task).filter(|task| task.is_active()) {
            active += 1;
            unknown += usize::from(task.strikes.is_some());
        }
        let is_present = unknown > FEW_TASKS && unknown * 2 > active;
        if is_present == self.is_present {
            return;
        }
        self.is_present = is_present;
        metrics.amnesia(upstream, is_present);
        if is_present {
            tracing::warn!(upstream.name = %upstream, unknown, active, "upstream does not know most of its tasks; none is lost for that");
        } else {
            tracing::info!(upstream.name = %upstream, unknown, active, "upstream knows most of its tasks again");
        }
    }
}
