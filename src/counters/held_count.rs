//! A single count with a zero hold.

use super::zero_hold::{HoldEnd, HoldTimer, ZeroHold};
use crate::domain::Timestamp;
use crate::domain::time::Now;

/// One count with a zero hold.
#[derive(Debug, Clone)]
pub struct HeldCount {
    hold: HoldTimer,
    created: Timestamp,
    count: u64,
}

impl HeldCount {
    /// With what was counted so far.
    pub fn new(hold: ZeroHold, count: u64, now: Now) -> Self {
        Self { hold: HoldTimer::new(hold, now), created: hold.created, count }
    }

    /// Counts so many more.
    pub const fn add(&mut self, more: u64) {
        self.count += more;
    }

    /// What is exported now.
    pub fn exported(&self) -> u64 {
        if self.hold.is_released() { self.count } else { 0 }
    }

    /// When it was created.
    pub const fn created(&self) -> Timestamp {
        self.created
    }

    /// Whether its zero hold is over.
    pub fn is_due(&self, end: HoldEnd) -> bool {
        self.hold.is_due(end)
    }

    /// Exports its value from now on.
    pub const fn release(&mut self) {
        self.hold.release();
    }
}
