//! The zero hold: a new series is exported at 0 first, so that a scrape sees it there and `increase()` sees its first event.

use std::time::{Duration, Instant};

use crate::domain::Timestamp;
use crate::domain::time::Now;

/// When a series was created, and whether its value may be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZeroHold {
    /// Its creation, which stays the same for as long as the state lives.
    pub created: Timestamp,
    /// Its value is exported. Until then it is exported as 0; once released it is never held again.
    pub released: bool,
}

/// What may end a zero hold.
#[derive(Debug, Clone, Copy)]
pub struct HoldEnd {
    /// A hold is over after so long.
    pub longest: Duration,
    /// The current time.
    pub now: Instant,
    /// What was published then, or before, was read by every Prometheus; `None` when that is not known.
    pub read: Option<Instant>,
}

/// A zero hold with the monotonic time at which it began.
#[derive(Debug, Clone)]
pub struct HoldTimer {
    since: Instant,
    /// Every view since then has the series.
    published: Instant,
    released: bool,
}

impl HoldTimer {
    /// For a series created now or before a restart.
    pub fn new(hold: ZeroHold, now: Now) -> Self {
        let since = now.monotonic.checked_sub(now.steady.duration_since(hold.created));
        Self { since: since.unwrap_or(now.monotonic), published: now.monotonic, released: hold.released }
    }

    /// The value is exported.
    pub const fn is_released(&self) -> bool {
        self.released
    }

    /// The series has been exported as 0 for long enough, or its 0 was read.
    pub fn is_due(&self, end: HoldEnd) -> bool {
        let is_read = end.read.is_some_and(|read| read >= self.published);
        !self.released && (is_read || end.now.saturating_duration_since(self.since) >= end.longest)
    }

    /// Exports the value from now on.
    pub const fn release(&mut self) {
        self.released = true;
    }
}
