//! A moment, in Unix milliseconds.

use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment as milliseconds since the Unix epoch; every time in the program is one of these.
///
/// Its earliest moment is left out, so that an `Option` of it, of which a task has many, is no larger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroU64);

/// What makes the order of signed numbers that of unsigned ones.
const SIGN: u64 = 1 << 63;

impl Timestamp {
    /// From Unix milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        match NonZeroU64::new(millis.cast_unsigned() ^ SIGN) {
            Some(millis) => Self(millis),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// From whole Unix seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self::from_millis(secs.saturating_mul(1000))
    }

    /// Unix milliseconds.
    pub const fn as_millis(self) -> i64 {
        (self.0.get() ^ SIGN).cast_signed()
    }

    /// Unix seconds, as Prometheus wants them.
    #[expect(clippy::cast_precision_loss, reason = "exact up to the year 287396")]
    pub fn as_secs_f64(self) -> f64 {
        self.as_millis() as f64 / 1000.0
    }

    /// Seconds from `earlier` to `self`; negative when `self` is the earlier one.
    #[expect(clippy::cast_precision_loss, reason = "a span of milliseconds fits 53 bits")]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.as_millis().saturating_sub(earlier.as_millis()) as f64 / 1000.0
    }

    /// How long ago `earlier` was; zero when it lies in the future.
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.as_millis().saturating_sub(earlier.as_millis())).unwrap_or(0))
    }
}

/// This moment by both clocks: the wall clock, which may be set, and the monotonic one.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Wall clock.
    pub wall: Timestamp,
    /// Monotonic clock.
    pub monotonic: Instant,
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({})", self.as_millis())
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self::from_millis(self.as_millis().saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self::from_millis(self.as_millis().saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self::from_millis(
            i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(i64::MAX),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_order_and_their_value() {
        let millis = [i64::MIN + 1, -1, 0, 1, 1_700_000_000_123, i64::MAX];
        let moments = millis.map(Timestamp::from_millis);
        assert!(moments.is_sorted());
        assert_eq!(moments.map(Timestamp::as_millis), millis);
        assert_eq!(Timestamp::from_millis(i64::MIN), moments[0]);
        assert_eq!(size_of::<Option<Timestamp>>(), 8);
    }
}
