//! The rate limit of one upstream: every request takes a permit first.

use std::num::NonZero;
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, QuantaClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// A token bucket.
pub struct RateLimit {
    bucket: DefaultDirectRateLimiter,
    clock: QuantaClock,
}

impl RateLimit {
    /// So many requests per second, at most `burst` at once.
    pub fn new(requests_per_second: f64, burst: u32) -> Self {
        let period = Duration::from_secs_f64(1.0 / requests_per_second);
        let quota = Quota::with_period(period).unwrap_or_else(|| Quota::per_second(NonZero::<u32>::MIN));
        let quota = quota.allow_burst(NonZero::new(burst).unwrap_or(NonZero::<u32>::MIN));
        let clock = QuantaClock::default();
        Self { bucket: RateLimiter::direct_with_clock(quota, clock.clone()), clock }
    }

    /// Takes a permit.
    ///
    /// # Errors
    /// With the time of the next permit.
    pub fn take(&self, now: Instant) -> Result<(), Instant> {
        self.bucket.check().map_err(|early| now + early.wait_time_from(self.clock.now()))
    }
}
