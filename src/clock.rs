//! The only place that reads a clock.

use std::time::{Instant, SystemTime};

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// The monotonic clock, for measuring.
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub fn instant() -> Instant {
    Instant::now()
}
