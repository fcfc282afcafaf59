//! Limits how often something is logged that clients can cause at will.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Least time between two log lines.
const INTERVAL: Duration = Duration::from_mins(1);

/// When the line was last logged.
#[derive(Default)]
pub struct LogInterval(Mutex<Option<Instant>>);

impl LogInterval {
    /// Whether to log now.
    pub fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.duration_since(last) >= INTERVAL);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_line_is_logged_at_most_once_a_minute() {
        let (interval, now) = (LogInterval::default(), clock::instant());
        let due = |seconds| interval.is_due(now + Duration::from_secs(seconds));
        assert_eq!([0, 1, 59, 60, 61].map(due), [true, false, false, true, false]);
    }
}
