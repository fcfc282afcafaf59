//! The record of a task.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::FailureClass;
use crate::domain::Status;
use crate::domain::TaskId;
use crate::domain::Timestamp;
use crate::domain::label_set::{AggregateLabels, LabelSet, UNKNOWN_MODEL};
use crate::domain::number::{Number, TokenNumbers};
use crate::domain::pricing::{Billing, Money};
use crate::domain::reading::{ClockSource, PollError, Times};
use crate::domain::time::WallOffset;

/// Longest span that is considered valid.
pub const MAX_SPAN_SECONDS: f64 = 30.0 * 86_400.0;

/// A task that a source discovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// Its id at the upstream.
    pub id: TaskId,
    /// Its labels from the source.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Its submit time, if the source has one.
    pub submit: Option<Timestamp>,
    /// Identifies the API key that registers it.
    pub key: Option<Arc<str>>,
}

impl NewTask {
    /// A task with only an id.
    pub fn new(id: TaskId) -> Self {
        Self { id, labels: Arc::default(), submit: None, key: None }
    }
}

/// What has been counted of a task, so that nothing is counted twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// It is in `submitted_total`.
    pub submitted: bool,
    /// Counted ends, one bit for each status.
    pub ends: u8,
    /// The latency, valid or not.
    pub latency: bool,
    /// The time in the queue.
    pub queue: bool,
    /// The time from start to finish.
    pub run: bool,
    /// Tokens.
    pub tokens: bool,
    /// Quota.
    pub quota: bool,
    /// Seconds of video.
    pub video: bool,
    /// The gateway's finish lag.
    pub gateway_lag: bool,
    /// The provider's own latency inside a gateway.
    pub vendor_latency: bool,
    /// The charge of the gateway is not counted yet: its rate was unknown when its quota was.
    pub charge_waits: bool,
    /// It is in the tasks without a cost.
    pub unpriced: bool,
}

/// Consecutive not-found answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strikes {
    /// Their number.
    pub count: u32,
    /// Time of the first one.
    pub since: Timestamp,
}

/// The last error that an answer reported about a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskError {
    /// The provider's code.
    pub code: Option<String>,
    /// The provider's message, [scrubbed](crate::domain::scrub).
    pub message: Option<String>,
    /// The class of the failure, if it is one.
    pub class: Option<FailureClass>,
}

/// The last poll of a task that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedPoll {
    /// Why.
    pub error: PollError,
    /// When.
    pub at: Timestamp,
}

impl FailedPoll {
    /// The same at another time.
    fn at(&self, at: Timestamp) -> Self {
        Self { at, ..self.clone() }
    }
}

/// The upstream and source of a task. Many tasks share one record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskOrigin {
    /// Name of its upstream.
    pub upstream: Arc<str>,
    /// The upstream's dialect.
    pub provider: &'static str,
    /// The `source` label of the source that discovered it first.
    pub source: String,
    /// Identifies the API key that registered it.
    pub key: Option<Arc<str>>,
    /// Its labels from the source, sanitized.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Those labels that counters have, too.
    pub aggregate_labels: AggregateLabels,
}

/// The model and video format of a task. Many tasks share one record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Video {
    /// The model label. It does not change after it is set, unless new aggregate labels make too many label sets.
    pub model: Option<Arc<str>>,
    /// The model that ran, sanitized.
    pub upstream_model: Option<Arc<str>>,
    /// The model that was asked for, sanitized.
    pub asked_model: Option<Arc<str>>,
    /// Resolution as the upstream writes it, sanitized.
    pub resolution: Option<Arc<str>>,
    /// Service tier, sanitized.
    pub service_tier: Option<Arc<str>>,
}

impl Video {
    /// The names that prices know it by: the model that ran, then the one that was asked for.
    pub fn models(&self) -> [Option<&str>; 2] {
        [self.upstream_model.as_deref(), self.asked_model.as_deref().or(self.model.as_deref())]
    }
}

/// What a task cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskCost {
    /// Of its last end that has a cost.
    pub money: Money,
    /// How much of it is in the counters, in micro-units.
    pub counted: u64,
}

/// Everything that is known about a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its upstream and source.
    pub origin: Arc<TaskOrigin>,
    /// Its id at the upstream.
    pub id: TaskId,
    /// Its source discovered it after the source's first load: it is counted even without a finish time.
    pub discovered_after_first_load: bool,
    /// When a source first named it.
    pub first_seen: Timestamp,

    /// Its status.
    pub status: Status,
    /// 0 to 1.
    pub progress: Option<Number>,
    /// A gateway made the progress up from the status.
    pub synthetic_progress: bool,
    /// Submit, start, finish.
    pub times: Times,
    /// The finish time is when the gateway's time-out failed the task.
    pub finish_is_synthetic: bool,
    /// Its model and video format.
    pub video: Arc<Video>,
    /// Length of the video, in seconds.
    pub video_seconds: Option<Number>,
    /// Usage.
    pub tokens: TokenNumbers,
    /// Gateway units.
    pub quota: Option<Number>,
    /// What it cost.
    pub cost: Option<Box<TaskCost>>,
    /// What its end told for its bill, while its cost waits for the final quota.
    pub waiting_bill: Option<Box<Billing>>,
    /// Why it ended without success.
    pub failure: Option<FailureClass>,
    /// The last error in an answer.
    pub error: Option<Arc<TaskError>>,
    /// The last poll that failed, also when later ones did not.
    pub failed_poll: Option<Arc<FailedPoll>>,
    /// The gateway's status in the last answer.
    pub gateway_status: Option<Status>,
    /// The status of the provider behind it.
    pub upstream_status: Option<Status>,
    /// When the provider gives it up.
    pub deadline: Option<Timestamp>,
    /// When its result expires.
    pub result_expiry: Option<Timestamp>,

    /// When its end was first read.
    pub ended_seen: Option<Timestamp>,
    /// After its end an answer reported it as active again: the end was false, and another one is expected.
    pub reopened: bool,
    /// Last change of status or progress.
    pub last_change: Timestamp,
    /// When its last answer was asked for.
    pub last_poll: Option<Timestamp>,
    /// Consecutive failed polls.
    pub poll_failures: u32,
    /// An answer has reported it as queued, running or unknown.
    pub seen_active: bool,
    /// Polling it makes the gateway send a request.
    pub read_has_side_effect: bool,
    /// Its last answer was very large.
    pub has_large_answers: bool,
    /// It belongs to another user than the upstream's key: only a list can read it.
    pub is_list_only: bool,
    /// A client asked to stop tracking it.
    pub is_forgotten: bool,
    /// Consecutive not-found answers.
    pub strikes: Option<Strikes>,
    /// What has been counted of it.
    pub counted: Counted,
    /// Number of its durable transitions: the store rejects a transition that is based on an older revision.
    pub revision: u32,
}

impl Task {
    /// A new task with an unknown status.
    pub fn new(upstream: Arc<str>, provider: &'static str, new: NewTask, now: Timestamp) -> Self {
        Self {
            origin: Arc::new(TaskOrigin {
                upstream,
                provider,
                source: String::new(),
                key: new.key,
                labels: new.labels,
                aggregate_labels: Arc::new([]),
            }),
            id: new.id,
            discovered_after_first_load: false,
            first_seen: now,
            status: Status::Unknown,
            progress: None,
            synthetic_progress: false,
            // The source's clock is neither the gateway's nor the provider's: no span is computed from it.
            times: new.submit.map_or_else(Times::default, |submit| Times {
                submit: Some(submit),
                clock: ClockSource::Mixed,
                ..Times::default()
            }),
            finish_is_synthetic: false,
            video: Arc::default(),
            video_seconds: None,
            tokens: TokenNumbers::default(),
            quota: None,
            cost: None,
            waiting_bill: None,
            failure: None,
            error: None,
            failed_poll: None,
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
            has_large_answers: false,
            is_list_only: false,
            is_forgotten: false,
            strikes: None,
            counted: Counted::default(),
            revision: 0,
        }
    }

    /// The label set of its counters.
    pub fn label_set(&self) -> LabelSet {
        LabelSet {
            upstream: self.origin.upstream.clone(),
            provider: self.origin.provider,
            model: self.video.model.clone().unwrap_or_else(|| UNKNOWN_MODEL.into()),
            labels: self.origin.aggregate_labels.clone(),
        }
    }

    /// Changes the label set of its counters. A known model may become `other`; an unknown one stays unknown.
    pub fn set_label_set(&mut self, LabelSet { model, labels, .. }: LabelSet) {
        if self.origin.aggregate_labels != labels {
            Arc::make_mut(&mut self.origin).aggregate_labels = labels;
        }
        if self.video.model.as_ref().is_some_and(|known| *known != model) {
            Arc::make_mut(&mut self.video).model = Some(model);
        }
    }

    /// The task with our own times by the wall clock.
    pub fn by_wall(&self, offset: WallOffset) -> Cow<'_, Self> {
        if offset.is_none() {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self {
            first_seen: offset.apply(self.first_seen),
            last_change: offset.apply(self.last_change),
            last_poll: self.last_poll.map(|at| offset.apply(at)),
            failed_poll: self.failed_poll.as_deref().map(|poll| Arc::new(poll.at(offset.apply(poll.at)))),
            ..self.clone()
        })
    }

    /// Puts forward its times that were recorded since a restart, before its downtime was confirmed.
    pub fn put_forward(&mut self, put: impl Fn(Timestamp) -> Timestamp) {
        self.first_seen = put(self.first_seen);
        self.last_change = put(self.last_change);
        self.last_poll = self.last_poll.map(&put);
        self.ended_seen = self.ended_seen.map(&put);
        self.failed_poll = self.failed_poll.as_deref().map(|poll| Arc::new(poll.at(put(poll.at))));
        if let Some(strikes) = &mut self.strikes {
            strikes.since = put(strikes.since);
        }
    }

    /// It is lost and was registered again: the upstream is asked for it as if it was lost just now.
    pub fn search_again(&mut self, now: Timestamp) {
        (self.first_seen, self.ended_seen, self.strikes) = (now, Some(now), None);
        (self.failure, self.is_forgotten) = (Some(FailureClass::Lost), false);
    }

    /// Whether it has not ended.
    pub const fn is_active(&self) -> bool {
        !self.status.is_end()
    }

    /// Seconds from submit to finish, when both are known, from one clock, and valid.
    pub fn duration(&self) -> Option<f64> {
        self.span(self.times.submit, self.times.finish)
            .filter(|_| self.status.is_end() && self.status != Status::Lost)
            .filter(|s| is_possible_span(*s))
    }

    /// Seconds between two of its times; `None` when one is missing or they come from two clocks.
    pub(super) fn span(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Option<f64> {
        (self.times.clock != ClockSource::Mixed).then_some(to?.seconds_since(from?))
    }

    /// The statuses of gateway and provider, if they differ.
    pub fn disagreement(&self) -> Option<(Status, Status)> {
        Some((self.gateway_status?, self.upstream_status?)).filter(|(gateway, upstream)| gateway != upstream)
    }

    /// Submit time, or when it was first seen.
    pub fn age_start(&self) -> Timestamp {
        self.times.submit.unwrap_or(self.first_seen)
    }
}

/// Whether a span is neither negative nor over 30 days.
pub fn is_possible_span(seconds: f64) -> bool {
    (0.0..=MAX_SPAN_SECONDS).contains(&seconds)
}
