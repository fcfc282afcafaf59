//! `tasks:` — how long tasks are kept, and which of them are counted.

use std::fmt;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use super::problem::Problems;
use super::value::{Number, Span, Text};
use crate::domain::Timestamp;

/// The section.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TasksConfig {
    /// How long an ended task's series stay.
    pub retention: Span,
    /// How long its row stays after a source last named it.
    pub forget_after: Span,
    /// For how long an ended task is read again, after 1, 2, 4, ... minutes; not beyond its retention.
    pub recheck_ended: Span,
    /// From when on tasks that are found already ended are counted.
    pub count_since: CountSinceConfig,
    /// When to stop polling what never ends.
    pub give_up_after: Span,
    /// When a task counts as stuck; accepted, not used yet.
    pub stuck: StuckConfig,
}

/// `tasks.stuck:`.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StuckConfig {
    /// Times the usual duration.
    pub factor: Number,
    /// Never sooner than this.
    pub floor: Span,
}

/// `tasks.count_since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountSinceConfig {
    /// The first start of this state.
    FirstStart,
    /// All of them.
    Always,
    /// A moment.
    Moment(Timestamp),
}

impl Default for TasksConfig {
    fn default() -> Self {
        Self {
            retention: Span::secs(3600),
            forget_after: Span::secs(30 * 86_400),
            recheck_ended: Span::secs(600),
            count_since: CountSinceConfig::FirstStart,
            give_up_after: Span::secs(7 * 86_400),
            stuck: StuckConfig::default(),
        }
    }
}

impl Default for StuckConfig {
    fn default() -> Self {
        Self { factor: Number(3.0), floor: Span::secs(600) }
    }
}

impl TasksConfig {
    pub(super) fn check(&self, at: &str, problems: &mut Problems) {
        for (key, span) in
            [("retention", self.retention), ("forget_after", self.forget_after), ("give_up_after", self.give_up_after)]
        {
            if span.0.is_zero() {
                problems.add(format!("{at}.{key}"), "must be longer than 0s");
            }
        }
        if self.forget_after < self.retention {
            problems
                .add(format!("{at}.forget_after"), format!("must not be shorter than retention ({})", self.retention));
        }
        if !self.recheck_ended.0.is_zero() && self.recheck_ended < Span::secs(60) {
            problems.add(format!("{at}.recheck_ended"), "must be 0s or at least 1m");
        }
        if !(1.0..=1000.0).contains(&self.stuck.factor.0) {
            problems.add(format!("{at}.stuck.factor"), "must lie between 1 and 1000");
        }
    }
}

impl fmt::Display for CountSinceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstStart => f.write_str("first_start"),
            Self::Always => f.write_str("always"),
            Self::Moment(moment) => match jiff::Timestamp::from_millisecond(moment.as_millis()) {
                Ok(moment) => write!(f, "{moment}"),
                Err(_) => write!(f, "{}", moment.as_secs_f64()),
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
            moment => moment
                .parse()
                .map(|moment: jiff::Timestamp| Self::Moment(Timestamp::from_millis(moment.as_millisecond())))
                .map_err(|_| de::Error::custom("expected first_start, always or a time such as 2026-11-21T00:00:00Z")),
        }
    }
}
