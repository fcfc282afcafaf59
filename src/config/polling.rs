//! `polling:` — poll intervals, rate limits and time-outs.

use std::borrow::Cow;
use std::time::Duration;

use bytesize::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::problem::Problems;
use super::scalars::{ConfigDuration, ConfigNumber};
use super::schema_parts::set_default;
use crate::domain::schedule::Pace;

/// Longest accepted interval and time-out.
const MAX_INTERVAL: Duration = Duration::from_hours(24);

/// Poll intervals, rate limits and time-outs. An upstream inherits the keys that it does not have.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = show_defaults)]
pub struct PollingConfig {
    /// Usual interval between polls of a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<ConfigDuration>,
    /// Lower bound of the adaptive interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_interval: Option<ConfigDuration>,
    /// Upper bound of the adaptive interval and of the back-off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_interval: Option<ConfigDuration>,
    /// Time-out from connecting to the last byte of a response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<ConfigDuration>,
    /// Maximum number of concurrent requests to an upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// Rate limit of an upstream (token bucket).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<ConfigNumber>,
    /// Size of the token bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Largest accepted response body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Size>")]
    pub max_body_size: Option<ByteSize>,
    /// Whether the upstream's own lists (`list_configs`) read tasks, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_list: Option<ByList>,
}

/// Whether lists read tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ByList {
    /// Where that takes fewer requests, and where reading a task alone changes it.
    #[default]
    Auto,
    /// Every task is read alone.
    Never,
}

/// A size; in the schema only.
struct Size;

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A size with its unit, such as 4MiB or 500kB; without a unit, in bytes.",
            "type": ["string", "integer"],
            "minimum": 0,
            "pattern": r"^(\+?[0-9]+|([0-9]+\.?[0-9]*|\.[0-9]+)\s*([Bb]|[KkMmGgTtPpEe][Ii]?[Bb]?))$",
            "examples": ["4MiB", "500kB"],
        })
    }
}

/// The defaults of an upstream with a usual provider, where `polling:` is empty.
fn show_defaults(schema: &mut Schema) {
    let usual = PollingConfig::default().resolve(None, BodyLimits::USUAL, "polling", &mut Problems::default());
    let size = format!("{}MiB", usual.max_body_size >> 20);
    let defaults = serde_json::to_value(PollingConfig::from(usual)).unwrap_or_default();
    for (key, default) in defaults.as_object().into_iter().flatten() {
        set_default(schema, key, if key == "max_body_size" { size.as_str().into() } else { default.clone() });
    }
}

/// The section with all values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Polling {
    /// Poll intervals.
    pub pace: Pace,
    /// Time-out from connecting to the last byte of a response.
    pub timeout: Duration,
    /// Maximum number of concurrent requests.
    pub max_in_flight: usize,
    /// Rate of the token bucket.
    pub requests_per_second: f64,
    /// Size of the token bucket.
    pub burst: u32,
    /// Largest accepted response body, in bytes.
    pub max_body_size: u64,
    /// Whether the upstream's lists read tasks, too.
    pub by_list: ByList,
}

/// Defaults that depend on what the provider sends.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    timeout: Duration,
    max_body_size: u64,
    max_in_flight: u32,
}

impl BodyLimits {
    /// A few KiB.
    pub const USUAL: Self = Self { timeout: Duration::from_secs(10), max_body_size: 4 << 20, max_in_flight: 16 };
    /// A response that repeats inputs, such as videos. At 8 MiB a second, four of the largest arrive in time.
    pub const LARGE: Self = Self { timeout: Duration::from_mins(1), max_body_size: 64 << 20, max_in_flight: 4 };
}

impl From<Polling> for PollingConfig {
    fn from(polling: Polling) -> Self {
        Self {
            interval: Some(ConfigDuration(polling.pace.interval)),
            min_interval: Some(ConfigDuration(polling.pace.min)),
            max_interval: Some(ConfigDuration(polling.pace.max)),
            timeout: Some(ConfigDuration(polling.timeout)),
            max_in_flight: u32::try_from(polling.max_in_flight).ok(),
            requests_per_second: Some(ConfigNumber(polling.requests_per_second)),
            burst: Some(polling.burst),
            max_body_size: Some(ByteSize(polling.max_body_size)),
            by_list: Some(polling.by_list),
        }
    }
}

impl PollingConfig {
    /// Checks this section and fills in values from `base`, then the defaults. `at` is its key.
    ///
    /// Default bounds are widened to include the interval, so that `interval: 2s` alone is valid.
    pub fn resolve(&self, base: Option<&Self>, limits: BodyLimits, at: &str, problems: &mut Problems) -> Polling {
        let duration = |pick: fn(&Self) -> Option<ConfigDuration>| {
            pick(self).or_else(|| base.and_then(pick)).map(|duration| duration.0)
        };
        let interval = duration(|p| p.interval).unwrap_or(Duration::from_secs(15));
        let min_written = duration(|p| p.min_interval);
        let max_written = duration(|p| p.max_interval);
        let min = min_written.unwrap_or(Duration::from_secs(5).min(interval));
        let max = max_written.unwrap_or(Duration::from_mins(1).max(interval));
        let timeout = duration(|p| p.timeout).unwrap_or(limits.timeout);
        for (key, duration, written) in [
            ("interval", interval, self.interval),
            ("min_interval", min, self.min_interval),
            ("max_interval", max, self.max_interval),
            ("timeout", timeout, self.timeout),
        ] {
            if written.is_some() && duration.is_zero() {
                problems.add(format!("{at}.{key}"), "must be longer than 0s");
            } else if written.is_some() && duration > MAX_INTERVAL {
                problems
                    .add(format!("{at}.{key}"), format!("must not be longer than {}", ConfigDuration(MAX_INTERVAL)));
            }
        }
        let bounds_written = [self.interval, self.min_interval, self.max_interval].iter().any(Option::is_some);
        if !bounds_written {
            // All inherited: the problem is reported where they are written.
        } else if max < min {
            let key = if self.max_interval.is_some() { "max_interval" } else { "min_interval" };
            problems.add(
                format!("{at}.{key}"),
                format!("min_interval ({}) is longer than max_interval ({})", ConfigDuration(min), ConfigDuration(max)),
            );
        } else if !(min..=max).contains(&interval) {
            let message = format!(
                "must be between min_interval ({}) and max_interval ({})",
                ConfigDuration(min),
                ConfigDuration(max)
            );
            problems.add(format!("{at}.interval"), message);
        }
        let check_positive = |key: &str, written: Option<u32>, problems: &mut Problems| {
            if written == Some(0) {
                problems.add(format!("{at}.{key}"), "must be at least 1");
            }
        };
        check_positive("max_in_flight", self.max_in_flight, problems);
        check_positive("burst", self.burst, problems);
        if self.requests_per_second.is_some_and(|ConfigNumber(rate)| !(0.001..=1e6).contains(&rate)) {
            problems.add(format!("{at}.requests_per_second"), "must be between 0.001 and 1000000");
        }
        if self.max_body_size.is_some_and(|size| !(1024..=1 << 30).contains(&size.as_u64())) {
            problems.add(format!("{at}.max_body_size"), "must be between 1KiB and 1GiB");
        }
        let in_flight = self.max_in_flight.or_else(|| base?.max_in_flight).unwrap_or(limits.max_in_flight);
        Polling {
            pace: Pace { interval, min, max },
            timeout,
            max_in_flight: usize::try_from(in_flight).unwrap_or(usize::MAX),
            requests_per_second: self
                .requests_per_second
                .or_else(|| base?.requests_per_second)
                .map_or(10.0, |rate| rate.0),
            burst: self.burst.or_else(|| base?.burst).unwrap_or(20),
            max_body_size: self
                .max_body_size
                .or_else(|| base?.max_body_size)
                .map_or(limits.max_body_size, |size| size.as_u64()),
            by_list: self.by_list.or_else(|| base?.by_list).unwrap_or_default(),
        }
    }
}
