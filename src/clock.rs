//! The only place that reads a clock.

use std::time::{Instant, SystemTime};

use crate::domain::time::Now;

/// Wall clock.
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub fn instant() -> Instant {
    Instant::now()
}

/// A clock as an argument: that of the system, or one that a test sets.
#[derive(Clone)]
pub enum Clock {
    /// The system's.
    System,
    /// A test's.
    #[cfg(test)]
    Manual(std::sync::Arc<std::sync::Mutex<Now>>),
}

impl Clock {
    /// This moment.
    pub fn now(&self) -> Now {
        match self {
            Self::System => Now { wall: now().into(), monotonic: instant() },
            #[cfg(test)]
            Self::Manual(now) => *now.lock().expect("no test panics while it sets the clock"),
        }
    }
}
