//! How long tasks took by our own clock, where their upstream does not tell it.

use std::time::Duration;

use crate::domain::policy::Policy;
use crate::domain::reading::ClockSource;
use crate::domain::task::is_possible_span;
use crate::domain::{Status, Task, Timestamp};

/// The shortest time between two readings that is close enough.
const SHORTEST_WINDOW: Duration = Duration::from_mins(1);

/// How long a succeeded task took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencySample {
    /// When it ended, else when that was read.
    pub at: Timestamp,
    /// Milliseconds, by the times that its upstream told, else as it was observed.
    pub millis: u64,
}

impl LatencySample {
    /// Of what an ended task told, else of the seconds that were observed.
    pub fn new(task: &Task, observed: Option<f64>, policy: &Policy<'_>, now: Timestamp) -> Option<Self> {
        let seconds = task.duration().or(observed)?;
        let finish = task.times.finish.filter(|_| !task.finish_is_synthetic);
        let at = finish.map_or(now, |finish| finish.shifted(policy.upstream_skew.saturating_neg()).min(now));
        let millis = u64::try_from(Duration::try_from_secs_f64(seconds).ok()?.as_millis()).ok()?;
        Some(Self { at, millis })
    }
}

/// Seconds from a task's submission to the first reading of its end. `None` where the reading before is too old to know when the task
/// ended, and for what was never seen active.
pub fn observed(before: &Task, task: &Task, policy: &Policy<'_>) -> Option<f64> {
    let (previous, read) = (before.last_poll.filter(|_| before.is_active())?, task.last_poll?);
    let window = policy.max_interval.saturating_mul(2).max(SHORTEST_WINDOW);
    let is_observed = task.status != Status::Lost && read.duration_since(previous) <= window;
    // A source's clock is taken for ours; an upstream's own clock is corrected.
    let skew = if before.times.clock == ClockSource::Mixed { policy.wall_skew } else { policy.upstream_skew };
    let submitted = before.times.submit.or(task.times.submit).map(|submit| submit.shifted(skew.saturating_neg()));
    let submitted = submitted.filter(|submitted| *submitted <= read).unwrap_or(before.first_seen);
    let seconds = read.seconds_since(submitted);
    (is_observed && is_possible_span(seconds)).then_some(seconds)
}
