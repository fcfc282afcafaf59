//! Born at zero: a new label set is shown at 0 first, so that a scrape sees it there and `increase()` sees its first event.

use std::time::{Duration, Instant};

use crate::domain::{Birth, Timestamp};

/// A label set that is shown at 0 until its time has come, and with its value ever after.
#[derive(Debug, Clone)]
pub struct Hold {
    /// When it was created, by the clock that no one sets.
    since: Instant,
    shown: bool,
}

/// This moment, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// By the wall.
    pub wall: Timestamp,
    /// By the clock that no one sets.
    pub steady: Instant,
}

impl Hold {
    /// Of a set that was born like this, now or before a restart.
    pub fn new(birth: Birth, now: Now) -> Self {
        let since = now.steady.checked_sub(now.wall.duration_since(birth.created));
        Self { since: since.unwrap_or(now.steady), shown: birth.shown }
    }

    /// Its value is shown, not 0.
    pub const fn is_shown(&self) -> bool {
        self.shown
    }

    /// It has been at 0 for long enough.
    pub fn is_due(&self, hold: Duration, now: Instant) -> bool {
        !self.shown && now.saturating_duration_since(self.since) >= hold
    }

    /// Shows its value from now on.
    pub const fn release(&mut self) {
        self.shown = true;
    }
}
