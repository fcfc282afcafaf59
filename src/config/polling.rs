//! `polling:` — how often tasks are asked for, and how hard an upstream may be pressed.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::problem::Problems;
use super::value::{Number, Span};
use crate::domain::schedule::Pace;

/// A task that is asked less often is not watched.
const LONGEST: Duration = Duration::from_hours(24);

/// The section as written; what is left out is inherited.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PollingConfig {
    /// Usual wait between two polls of a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// Shortest wait that the interval adapts down to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_interval: Option<Span>,
    /// Longest wait that it adapts up to, and the longest back-off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_interval: Option<Span>,
    /// From connecting to the last byte of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Requests at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// Rate of the token bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<Number>,
    /// Size of the token bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Most bytes of an answer that are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<ByteSize>,
}

/// The section with everything in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Polling {
    /// How often.
    pub pace: Pace,
    /// From connecting to the last byte.
    pub timeout: Duration,
    /// Requests at once.
    pub max_in_flight: usize,
    /// Rate of the token bucket.
    pub requests_per_second: f64,
    /// Size of the token bucket.
    pub burst: u32,
    /// Bytes.
    pub max_body_size: u64,
}

impl From<Polling> for PollingConfig {
    fn from(polling: Polling) -> Self {
        Self {
            interval: Some(Span(polling.pace.interval)),
            min_interval: Some(Span(polling.pace.min)),
            max_interval: Some(Span(polling.pace.max)),
            timeout: Some(Span(polling.timeout)),
            max_in_flight: u32::try_from(polling.max_in_flight).ok(),
            requests_per_second: Some(Number(polling.requests_per_second)),
            burst: Some(polling.burst),
            max_body_size: Some(ByteSize(polling.max_body_size)),
        }
    }
}

impl PollingConfig {
    /// This section over `base`, over the defaults; checked. `at` is its key.
    ///
    /// An interval outside of bounds that nobody set moves them: who writes `interval: 2s` wants that.
    pub fn over(&self, base: Option<&Self>, at: &str, problems: &mut Problems) -> Polling {
        let span = |pick: fn(&Self) -> Option<Span>| pick(self).or_else(|| base.and_then(pick)).map(|span| span.0);
        let interval = span(|p| p.interval).unwrap_or(Duration::from_secs(15));
        let set_min = span(|p| p.min_interval);
        let set_max = span(|p| p.max_interval);
        let min = set_min.unwrap_or(Duration::from_secs(5).min(interval));
        let max = set_max.unwrap_or(Duration::from_mins(1).max(interval));
        let timeout = span(|p| p.timeout).unwrap_or(Duration::from_secs(10));
        for (key, span, written) in [
            ("interval", interval, self.interval),
            ("min_interval", min, self.min_interval),
            ("max_interval", max, self.max_interval),
            ("timeout", timeout, self.timeout),
        ] {
            if written.is_some() && span.is_zero() {
                problems.add(format!("{at}.{key}"), "must be longer than 0s");
            } else if written.is_some() && span > LONGEST {
                problems.add(format!("{at}.{key}"), format!("must not be longer than {}", Span(LONGEST)));
            }
        }
        let bounds_written = [self.interval, self.min_interval, self.max_interval].iter().any(Option::is_some);
        if !bounds_written {
            // Inherited: told where it was written.
        } else if max < min {
            let key = if self.max_interval.is_some() { "max_interval" } else { "min_interval" };
            problems.add(
                format!("{at}.{key}"),
                format!("min_interval ({}) is longer than max_interval ({})", Span(min), Span(max)),
            );
        } else if !(min..=max).contains(&interval) {
            let message = format!("must lie between min_interval ({}) and max_interval ({})", Span(min), Span(max));
            problems.add(format!("{at}.interval"), message);
        }
        let positive = |key: &str, written: Option<u32>, problems: &mut Problems| {
            if written == Some(0) {
                problems.add(format!("{at}.{key}"), "must be at least 1");
            }
        };
        positive("max_in_flight", self.max_in_flight, problems);
        positive("burst", self.burst, problems);
        if self.requests_per_second.is_some_and(|Number(rate)| !(0.001..=1e6).contains(&rate)) {
            problems.add(format!("{at}.requests_per_second"), "must lie between 0.001 and 1000000");
        }
        if self.max_body_size.is_some_and(|size| !(1024..=1 << 30).contains(&size.as_u64())) {
            problems.add(format!("{at}.max_body_size"), "must lie between 1KiB and 1GiB");
        }
        let in_flight = self.max_in_flight.or_else(|| base?.max_in_flight).unwrap_or(16);
        Polling {
            pace: Pace { interval, min, max },
            timeout,
            max_in_flight: usize::try_from(in_flight).unwrap_or(usize::MAX),
            requests_per_second: self
                .requests_per_second
                .or_else(|| base?.requests_per_second)
                .map_or(10.0, |rate| rate.0),
            burst: self.burst.or_else(|| base?.burst).unwrap_or(20),
            max_body_size: self.max_body_size.or_else(|| base?.max_body_size).map_or(4 << 20, |size| size.as_u64()),
        }
    }
}
