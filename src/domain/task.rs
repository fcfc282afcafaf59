//! The record of one task.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::FailureClass;
use crate::domain::Status;
use crate::domain::TaskId;
use crate::domain::Timestamp;
use crate::domain::enum_words::enum_words;
use crate::domain::label_set::{AggregateLabels, LabelSet, UNKNOWN_MODEL};
use crate::domain::number::{Number, TokenNumbers};
use crate::domain::reading::{Clock, Times};

/// Longest span that is taken for real.
pub const MAX_SPAN_SECONDS: f64 = 30.0 * 86_400.0;

/// A task as a source brings it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// Its id at the upstream.
    pub id: TaskId,
    /// The labels its source gave it.
    pub labels: Arc<BTreeMap<String, String>>,
    /// When it was submitted, if the source says so.
    pub submit: Option<Timestamp>,
}

impl NewTask {
    /// A task of which its source says nothing but the id.
    pub fn new(id: TaskId) -> Self {
        Self { id, labels: Arc::default(), submit: None }
    }
}

/// Which parts of a task have been counted, so that nothing is counted twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// In `submitted_total`.
    pub submitted: bool,
    /// Ends that were counted, one bit each.
    pub ends: u8,
    /// The latency, or that it made no sense.
    pub latency: bool,
    /// The time in the queue.
    pub queue: bool,
    /// The time at work.
    pub run: bool,
    /// Tokens.
    pub tokens: bool,
    /// Quota.
    pub quota: bool,
    /// Seconds of video.
    pub video: bool,
    /// How much later than its provider the gateway noticed the end.
    pub gateway_lag: bool,
}

/// Answers of the kind "never heard of it", in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strikes {
    /// How many.
    pub count: u32,
    /// When the first came.
    pub since: Timestamp,
}

/// Where a task is and where it came from, which many have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskOrigin {
    /// Name of its upstream.
    pub upstream: Arc<str>,
    /// The upstream's dialect.
    pub provider: &'static str,
    /// The `source` label of the source that named it first.
    pub source: String,
    /// The labels that it gave, sanitized.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Those of them that aggregates carry.
    pub aggregate_labels: AggregateLabels,
}

/// What a task makes and with what, which many have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Video {
    /// The model label, settled when first known.
    pub model: Option<Arc<str>>,
    /// The model that ran, sanitized.
    pub upstream_model: Option<Arc<str>>,
    /// Resolution as spelled by the upstream, sanitized.
    pub resolution: Option<Arc<str>>,
    /// Service tier, sanitized.
    pub service_tier: Option<Arc<str>>,
}

/// Everything that is known about one task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Where it is, and where it came from.
    pub origin: Arc<TaskOrigin>,
    /// Its id there.
    pub id: TaskId,
    /// Its source brought it after that source's first load: without a finish time it still counts.
    pub discovered_after_first_load: bool,
    /// When it was first named to us.
    pub first_seen: Timestamp,

    /// Where it stands.
    pub status: Status,
    /// 0 to 1.
    pub progress: Option<Number>,
    /// The progress is a gateway's stand-in.
    pub synthetic_progress: bool,
    /// Submit, start, finish.
    pub times: Times,
    /// The finish time was made up by a time-out sweep.
    pub finish_is_synthetic: bool,
    /// What it makes.
    pub video: Arc<Video>,
    /// Length of the video, in seconds.
    pub video_seconds: Option<Number>,
    /// Usage.
    pub tokens: TokenNumbers,
    /// Gateway units.
    pub quota: Option<Number>,
    /// Why it ended, when it did not succeed.
    pub failure: Option<FailureClass>,
    /// The gateway's own word at the last good answer.
    pub gateway_status: Option<Status>,
    /// The word of the provider behind it.
    pub upstream_status: Option<Status>,
    /// When the provider gives it up.
    pub deadline: Option<Timestamp>,
    /// When the result goes away.
    pub result_expiry: Option<Timestamp>,

    /// When we first read that it had ended.
    pub ended_seen: Option<Timestamp>,
    /// Read again, it was at work as if it had never ended: a false end, whose true one is still to come.
    pub reopened: bool,
    /// Last change of status or progress.
    pub last_change: Timestamp,
    /// Last good answer.
    pub last_poll: Option<Timestamp>,
    /// Failed polls in a row.
    pub poll_failures: u32,
    /// One good answer said that it was queued, running or unknown.
    pub seen_active: bool,
    /// Reading it has a side effect at the gateway.
    pub read_has_side_effect: bool,
    /// Somebody asked not to watch it any more.
    pub dropped: bool,
    /// "Never heard of it", in a row.
    pub strikes: Option<Strikes>,
    /// What of it has been counted.
    pub counted: Counted,
    /// How many of its transitions had to be committed: a state that is further on refuses an older one.
    pub revision: u32,
}

enum_words! {
    /// The heights that videos are counted by.
    ResolutionClass {
        /// 480 lines.
        P480 = "480p",
        /// 540 lines.
        P540 = "540p",
        /// 720 lines.
        P720 = "720p",
        /// 1080 lines.
        P1080 = "1080p",
        /// 1440 lines, also written 2K.
        P1440 = "1440p",
        /// 2160 lines, also written 4K.
        P2160 = "2160p",
        /// Some other size.
        Other = "other",
        /// The upstream does not say.
        Unknown = "unknown",
    }
}

impl ResolutionClass {
    /// Reads `720p`, `1280x720`, `1280*720`, `2K`, `4K`.
    pub fn of(text: Option<&str>) -> Self {
        let Some(text) = text.map(|t| t.trim().to_ascii_lowercase()).filter(|t| !t.is_empty()) else {
            return Self::Unknown;
        };
        let lines = match text.split_once(['x', '*', '×']) {
            Some((width, height)) => match (width.trim().parse::<u32>(), height.trim().parse::<u32>()) {
                (Ok(width), Ok(height)) => Some(width.min(height)),
                _ => None,
            },
            None => match text.as_str() {
                "2k" => Some(1440),
                "4k" | "uhd" => Some(2160),
                _ => text.trim_end_matches('p').parse().ok(),
            },
        };
        match lines {
            Some(480) => Self::P480,
            Some(540) => Self::P540,
            Some(720) => Self::P720,
            Some(1080) => Self::P1080,
            Some(1440) => Self::P1440,
            Some(2160) => Self::P2160,
            _ => Self::Other,
        }
    }
}

impl Task {
    /// A task of which nothing is known but its name.
    pub fn new(upstream: Arc<str>, provider: &'static str, new: NewTask, now: Timestamp) -> Self {
        Self {
            origin: Arc::new(TaskOrigin {
                upstream,
                provider,
                source: String::new(),
                labels: new.labels,
                aggregate_labels: Arc::new([]),
            }),
            id: new.id,
            discovered_after_first_load: false,
            first_seen: now,
            status: Status::Unknown,
            progress: None,
            synthetic_progress: false,
            // The source's clock is neither the gateway's nor the provider's: no duration is taken from it.
            times: new.submit.map_or_else(Times::default, |submit| Times {
                submit: Some(submit),
                clock: Clock::Mixed,
                ..Times::default()
            }),
            finish_is_synthetic: false,
            video: Arc::default(),
            video_seconds: None,
            tokens: TokenNumbers::default(),
            quota: None,
            failure: None,
            gateway_status: None,
            upstream_status: None,
            deadline: None,
            result_expiry: None,
            ended_seen: None,
            reopened: false,
            last_change: now,
            last_poll: None,
            poll_failures: 0,
            seen_active: false,
            read_has_side_effect: false,
            dropped: false,
            strikes: None,
            counted: Counted::default(),
            revision: 0,
        }
    }

    /// What it is counted under at this moment.
    pub fn label_set(&self) -> LabelSet {
        LabelSet {
            upstream: self.origin.upstream.clone(),
            provider: self.origin.provider,
            model: self.video.model.clone().unwrap_or_else(|| UNKNOWN_MODEL.into()),
            labels: self.origin.aggregate_labels.clone(),
        }
    }

    /// Its aggregates carry these labels from now on.
    pub fn relabel(&mut self, labels: AggregateLabels) {
        if self.origin.aggregate_labels != labels {
            Arc::make_mut(&mut self.origin).aggregate_labels = labels;
        }
    }

    /// True while it is polled.
    pub const fn is_active(&self) -> bool {
        !self.status.is_end()
    }

    /// Seconds from submit to finish, when both are known, of one clock, and possible.
    pub fn duration(&self) -> Option<f64> {
        self.span(self.times.submit, self.times.finish)
            .filter(|_| self.status.is_end() && self.status != Status::Lost)
            .filter(|s| is_possible_span(*s))
    }

    /// Seconds between two of its times; `None` when one is missing or they come from two clocks.
    pub(super) fn span(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Option<f64> {
        (self.times.clock != Clock::Mixed).then_some(to?.seconds_since(from?))
    }

    /// The words of gateway and provider, where both have one and they differ.
    pub fn disagreement(&self) -> Option<(Status, Status)> {
        Some((self.gateway_status?, self.upstream_status?)).filter(|(gateway, upstream)| gateway != upstream)
    }

    /// Submit time, or when we first saw it.
    pub fn age_start(&self) -> Timestamp {
        self.times.submit.unwrap_or(self.first_seen)
    }
}

/// Not negative and not over 30 days.
pub fn is_possible_span(seconds: f64) -> bool {
    (0.0..=MAX_SPAN_SECONDS).contains(&seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions_fall_into_their_class() {
        for (text, class) in [
            (Some("720p"), ResolutionClass::P720),
            (Some("1280x720"), ResolutionClass::P720),
            (Some("720*1280"), ResolutionClass::P720),
            (Some("2K"), ResolutionClass::P1440),
            (Some("4K"), ResolutionClass::P2160),
            (Some("1366x768"), ResolutionClass::Other),
            (Some("huge"), ResolutionClass::Other),
            (Some(" "), ResolutionClass::Unknown),
            (None, ResolutionClass::Unknown),
        ] {
            assert_eq!(ResolutionClass::of(text), class, "{text:?}");
        }
    }
}
