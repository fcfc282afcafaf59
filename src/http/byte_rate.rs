//! Bounds how fast the bodies of one upstream are read.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A rate in bytes per second, shared by the requests of an upstream.
pub struct ByteRate {
    per_second: f64,
    /// When what was read so far is paid for.
    free_at: Mutex<Option<Instant>>,
}

impl ByteRate {
    /// Of so many bytes per second.
    pub fn new(per_second: f64) -> Self {
        Self { per_second, free_at: Mutex::new(None) }
    }

    /// How long to wait before more is read, after so many bytes.
    pub fn wait_after(&self, bytes: usize, now: Instant) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "a piece of a body")]
        let cost = Duration::from_secs_f64(bytes as f64 / self.per_second);
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let paid = free_at.map_or(now, |at| at.max(now)) + cost;
        *free_at = Some(paid);
        paid - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_share_the_rate_and_unused_time_is_lost() {
        let rate = ByteRate::new(1000.0);
        let start = crate::clock::instant();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(rate.wait_after(500, start), Duration::from_millis(500));
        assert_eq!(rate.wait_after(1500, start), Duration::from_secs(2));
        assert_eq!(rate.wait_after(0, after(1)), Duration::from_secs(1));
        assert_eq!(rate.wait_after(100, after(10)), Duration::from_millis(100));
    }
}
