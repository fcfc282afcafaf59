//! The limit of requests below `/api`, as new-api has it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time over which new-api counts the requests below `/api`.
const WINDOW: Duration = Duration::from_mins(3);

/// The requests below `/api` that are counted.
#[derive(Debug, Default)]
pub struct RequestWindow {
    requests: VecDeque<Instant>,
}

impl RequestWindow {
    /// Counts a request; false when there are too many. 0 is no limit.
    pub fn admit(&mut self, limit: usize, now: Instant) -> bool {
        while self.requests.front().is_some_and(|at| now.saturating_duration_since(*at) >= WINDOW) {
            self.requests.pop_front();
        }
        if limit > 0 && self.requests.len() >= limit {
            return false;
        }
        self.requests.push_back(now);
        true
    }
}
