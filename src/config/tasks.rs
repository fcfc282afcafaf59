//! `tasks:` — how long tasks are kept, and which tasks are counted.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use super::problem::Problems;
use super::scalars::{ConfigDuration, ConfigNumber, TIME_PATTERN, Text};
use crate::domain::Timestamp;

/// How long tasks are kept, and which tasks are counted.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TasksConfig {
    /// How long the series of an ended task are exported.
    pub retention: ConfigDuration,
    /// How long a task id stays known after a source last named it.
    pub forget_after: ConfigDuration,
    /// How long an ended task is polled again, after 1, 2, 4, … minutes; at most its retention.
    pub recheck_ended: ConfigDuration,
    /// Tasks that had ended before their discovery are counted if they ended after this time: `first_start`, when the state was
    /// created; `always`; or a time (RFC 3339).
    pub count_since: CountSinceConfig,
    /// A task that has not ended after this time becomes lost, and is no longer polled.
    pub give_up_after: ConfigDuration,
    /// Whether error messages of upstreams are kept, without URLs, keys and amounts.
    pub error_messages: bool,
    /// When a task is stuck.
    pub stuck: StuckConfig,
}

/// When a task is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StuckConfig {
    /// An active task is stuck when it is this many times older than the 95th percentile of its model.
    pub factor: ConfigNumber,
    /// A task is not stuck before this age.
    pub floor: ConfigDuration,
}

/// `tasks.count_since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountSinceConfig {
    /// The first start with this state store.
    FirstStart,
    /// All tasks are counted.
    Always,
    /// A time.
    Time(Timestamp),
}

impl Default for TasksConfig {
    fn default() -> Self {
        Self {
            retention: ConfigDuration::from_secs(3600),
            forget_after: ConfigDuration::from_secs(30 * 86_400),
            recheck_ended: ConfigDuration::from_secs(600),
            count_since: CountSinceConfig::FirstStart,
            give_up_after: ConfigDuration::from_secs(7 * 86_400),
            error_messages: true,
            stuck: StuckConfig::default(),
        }
    }
}

impl Default for StuckConfig {
    fn default() -> Self {
        Self { factor: ConfigNumber(3.0), floor: ConfigDuration::from_secs(900) }
    }
}

impl TasksConfig {
    pub(super) fn check(&self, at: &str, problems: &mut Problems) {
        for (key, duration) in
            [("retention", self.retention), ("forget_after", self.forget_after), ("give_up_after", self.give_up_after)]
        {
            if duration.0.is_zero() {
                problems.add(format!("{at}.{key}"), "must be longer than 0s");
            }
        }
        if self.forget_after < self.retention {
            problems
                .add(format!("{at}.forget_after"), format!("must not be shorter than retention ({})", self.retention));
        }
        if !self.recheck_ended.0.is_zero() && self.recheck_ended < ConfigDuration::from_secs(60) {
            problems.add(format!("{at}.recheck_ended"), "must be 0s or at least 1m");
        }
        self.stuck.check(&format!("{at}.stuck"), problems);
    }
}

impl StuckConfig {
    pub(super) fn check(&self, at: &str, problems: &mut Problems) {
        if !(1.0..=1000.0).contains(&self.factor.0) {
            problems.add(format!("{at}.factor"), "must be between 1 and 1000");
        }
        if self.floor.0.is_zero() {
            problems.add(format!("{at}.floor"), "must be longer than 0s");
        }
    }
}

impl fmt::Display for CountSinceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstStart => f.write_str("first_start"),
            Self::Always => f.write_str("always"),
            Self::Time(time) => match jiff::Timestamp::from_millisecond(time.as_millis()) {
                Ok(time) => write!(f, "{time}"),
                Err(_) => write!(f, "{}", time.as_secs_f64()),
            },
        }
    }
}

impl Serialize for CountSinceConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CountSinceConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        match text.as_str() {
            "first_start" => Ok(Self::FirstStart),
            "always" => Ok(Self::Always),
            time => time
                .parse()
                .map(|time: jiff::Timestamp| Self::Time(Timestamp::from_millis(time.as_millisecond())))
                .map_err(|_| de::Error::custom("expected first_start, always or a time such as 2026-11-21T00:00:00Z")),
        }
    }
}

impl JsonSchema for CountSinceConfig {
    fn schema_name() -> Cow<'static, str> {
        "CountSince".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "anyOf": [
                { "const": "first_start", "description": "The time when the state was created." },
                { "const": "always", "description": "All tasks are counted." },
                { "pattern": TIME_PATTERN, "description": "A time (RFC 3339)." },
            ],
            "examples": ["first_start", "always", "2026-11-21T00:00:00Z"],
        })
    }
}
