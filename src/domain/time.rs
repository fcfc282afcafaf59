//! Timestamps.

use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
///
/// It cannot hold `i64::MIN`, so that an `Option` of it has 8 bytes: a task has many.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroU64);

/// The sign bit. Flipping it gives unsigned numbers the order of the signed ones.
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

    /// Unix seconds.
    #[expect(clippy::cast_precision_loss, reason = "exact up to the year 287396")]
    pub fn as_secs_f64(self) -> f64 {
        self.as_millis() as f64 / 1000.0
    }

    /// Seconds from `earlier` to `self`; negative when `self` is the earlier one.
    #[expect(clippy::cast_precision_loss, reason = "a span of milliseconds fits 53 bits")]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.as_millis().saturating_sub(earlier.as_millis()) as f64 / 1000.0
    }

    /// This time, so many milliseconds later.
    #[must_use]
    pub const fn shifted(self, millis: i64) -> Self {
        Self::from_millis(self.as_millis().saturating_add(millis))
    }

    /// The time since `earlier`; zero when that is in the future.
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.as_millis().saturating_sub(earlier.as_millis())).unwrap_or(0))
    }
}

/// The current time by the steady clock, which never jumps, and by the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Steady clock.
    pub steady: Timestamp,
    /// Monotonic clock.
    pub monotonic: Instant,
}

impl Now {
    /// The time of the steady clock at an earlier instant.
    pub fn before(&self, instant: Instant) -> Timestamp {
        self.steady - self.monotonic.saturating_duration_since(instant)
    }
}

/// From the steady clock to the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WallOffset {
    /// The wall clock minus the steady clock, in milliseconds.
    pub millis: i64,
    /// The same for times before a restart whose downtime the steady clock does not have yet.
    pub earlier: Option<(Timestamp, i64)>,
}

impl WallOffset {
    /// A time of the steady clock by the wall clock.
    #[must_use]
    pub fn apply(self, time: Timestamp) -> Timestamp {
        match self.earlier {
            Some((restart, millis)) if time < restart => time.shifted(millis),
            _ => time.shifted(self.millis),
        }
    }

    /// Whether both clocks are the same.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
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
    fn timestamps_preserve_order_and_value() {
        let millis = [i64::MIN + 1, -1, 0, 1, 1_700_000_000_123, i64::MAX];
        let times = millis.map(Timestamp::from_millis);
        assert!(times.is_sorted());
        assert_eq!(times.map(Timestamp::as_millis), millis);
        assert_eq!(Timestamp::from_millis(i64::MIN), times[0]);
        assert_eq!(size_of::<Option<Timestamp>>(), 8);
    }
}
