//! The clocks: no other file reads one.

use std::time::{Instant, SystemTime};

use crate::domain::time::Now;

/// Reads the wall clock.
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Reads the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub fn instant() -> Instant {
    Instant::now()
}

/// A clock that tests can replace.
#[derive(Clone)]
pub enum Clock {
    /// The clocks of the system.
    System,
    /// A clock that a test sets.
    #[cfg(test)]
    Manual(std::sync::Arc<std::sync::Mutex<Now>>),
}

impl Clock {
    /// Reads both clocks.
    pub fn now(&self) -> Now {
        match self {
            Self::System => Now { wall: now().into(), monotonic: instant() },
            #[cfg(test)]
            Self::Manual(now) => *now.lock().expect("no test panics while it sets the clock"),
        }
    }
}
