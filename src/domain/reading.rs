//! Readings: the results of polls and callbacks.

use std::sync::Arc;

use crate::domain::ApiError;
use crate::domain::Drift;
use crate::domain::FailureClass;
use crate::domain::Reason;
use crate::domain::Status;
use crate::domain::Timestamp;
use crate::domain::enum_words::enum_words;
use crate::domain::labels::sanitize;
use crate::domain::pricing::{Billing, Currency};
use crate::domain::scrub::scrub;

/// The clock of a task's times. A span between times of two clocks is meaningless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockSource {
    /// The gateway.
    Gateway,
    /// The provider that generates the video.
    #[default]
    Upstream,
    /// Submit and finish come from different clocks: no span is computed from them.
    Mixed,
}

/// When a task was submitted, started and finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Submit time.
    pub submit: Option<Timestamp>,
    /// Start time.
    pub start: Option<Timestamp>,
    /// Finish time; only ended tasks have one.
    pub finish: Option<Timestamp>,
    /// The clock of these times.
    pub clock: ClockSource,
}

/// Reported token usage. A missing number is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tokens {
    /// Tokens of the prompt.
    pub prompt: Option<f64>,
    /// Tokens of the result.
    pub completion: Option<f64>,
    /// Their sum, or the only reported number.
    pub total: Option<f64>,
}

impl Tokens {
    /// Whether nothing was reported.
    pub const fn is_empty(&self) -> bool {
        self.prompt.is_none() && self.completion.is_none() && self.total.is_none()
    }

    /// The numbers by `token_type`. They add up to the total: the rest is `unspecified`.
    pub fn parts(&self) -> [(TokenType, Option<f64>); 3] {
        let known = self.prompt.unwrap_or(0.0) + self.completion.unwrap_or(0.0);
        let rest = match self.total {
            Some(total) if self.prompt.is_none() && self.completion.is_none() => Some(total),
            Some(total) if total > known => Some(total - known),
            _ => None,
        };
        [(TokenType::Input, self.prompt), (TokenType::Output, self.completion), (TokenType::Unspecified, rest)]
    }
}

enum_words! {
    /// What tokens were used for.
    TokenType {
        /// The prompt.
        Input = "input",
        /// The video.
        Output = "output",
        /// A total without parts, or the rest of a total beside its parts.
        Unspecified = "unspecified",
    }
}

enum_words! {
    /// A field of a gateway's row that may become a label of its task.
    RowField {
        /// The name of the user.
        Username = "username",
        /// The id of the user.
        UserId = "user_id",
        /// The group of the user's key.
        Group = "group",
        /// The id of the channel.
        ChannelId = "channel_id",
        /// The type of the channel.
        Platform = "platform",
        /// What was generated from what.
        Action = "action",
    }
}

/// What a gateway's row tells beside the task itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowDetails {
    /// Its fields, of those that may become labels.
    pub fields: Vec<(RowField, String)>,
    /// The labels that the configuration takes from them.
    pub labels: Vec<(String, String)>,
    /// The task belongs to another user than the key: only a list can read it.
    pub is_list_only: bool,
}

/// What a task cost, as its provider reports it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// The amount, in whole units of the currency.
    pub amount: f64,
    /// The currency.
    pub currency: Currency,
}

/// A decoded answer without an error: the normalized task of `docs/upstreams.md`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// When it was asked for, by the steady clock; `None` for now.
    pub asked: Option<Timestamp>,
    /// The id in the body, where the body has one.
    pub task_id: Option<String>,
    /// The status; never `lost`, which only the exporter decides. `None` only while a body is being decoded: an answer without
    /// a status is an error.
    pub reported_status: Option<Status>,
    /// 0 to 1.
    pub progress: Option<f64>,
    /// A gateway made the progress up from the status.
    pub synthetic_progress: bool,
    /// Submit, start and finish.
    pub times: Times,
    /// The finish time is when the gateway's time-out failed the task, not when the task ended.
    pub finish_is_synthetic: bool,
    /// The model label for a task without one. Decoding leaves it empty: the label limits decide which names are used.
    pub model: Option<Arc<str>>,
    /// The model that ran.
    pub model_upstream: Option<String>,
    /// The model that was requested.
    pub model_origin: Option<String>,
    /// Length of the video, in seconds.
    pub video_seconds: Option<f64>,
    /// As the upstream spells it.
    pub resolution: Option<String>,
    /// `default`, `flex` and the like.
    pub service_tier: Option<String>,
    /// Usage.
    pub tokens: Tokens,
    /// The gateway's own units.
    pub credits: Option<f64>,
    /// What the task cost, where the answer says it.
    pub cost: Option<Cost>,
    /// What else the answer tells for the bill.
    pub billing: Billing,
    /// Seconds from the provider's finish to the gateway's, where both are known.
    pub gateway_lag: Option<f64>,
    /// Inside a gateway: seconds from the provider's own submit time to its own finish, where its body tells both.
    pub vendor_latency: Option<f64>,
    /// The class of the failure, only for a failed task.
    pub failure: Option<FailureClass>,
    /// The provider's error code.
    pub error_code: Option<String>,
    /// Upstream text without URLs, at most 300 characters; never a label.
    pub error_message: Option<String>,
    /// Whether a result URL exists. The URL itself is not stored: it is a secret.
    pub has_result_url: bool,
    /// When the result expires.
    pub expires_at: Option<Timestamp>,
    /// When the provider gives up the task.
    pub deadline: Option<Timestamp>,
    /// The status that the gateway reports.
    pub gateway_status: Option<Status>,
    /// The status that the provider behind it reports.
    pub upstream_status: Option<Status>,
    /// An unknown status word of the gateway or the provider, sanitized.
    pub unknown_word: Option<String>,
    /// The upstream does not know the task (`DashScope`'s UNKNOWN).
    pub is_not_found: bool,
    /// Each poll makes the gateway send a request to its own upstream, so that polls must be rare (Veo behind new-api).
    pub read_has_side_effect: bool,
    /// A gateway's row has the body of a vendor that is not known: only a status word and an error are read from it.
    pub has_unknown_body: bool,
    /// A row of a list that tells less than an answer about the task alone, such as a gateway's row without the vendor's body.
    pub is_partial: bool,
    /// What a row of a list tells beside; apart, because most answers have none.
    pub row: Option<Box<RowDetails>>,
    /// It was so large that it must be asked for rarely.
    pub is_large: bool,
    /// The schema drift of the answer.
    pub drift: Drift,
}

impl Answer {
    /// The name of the model that the upstream tells: as it was asked for, or as the provider has it.
    pub fn told_model(&self) -> Option<&str> {
        self.model_origin.as_deref().or(self.model_upstream.as_deref())
    }

    /// An answer with only a status.
    pub fn new(status: Status) -> Self {
        Self { reported_status: Some(status), ..Self::default() }
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.reported_status.unwrap_or(Status::Unknown)
    }
}

/// Why a poll failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollError {
    /// The reason.
    pub reason: Reason,
    /// What exactly was wrong, scrubbed.
    pub cause: Option<String>,
}

impl PollError {
    /// Of a response with this HTTP status, or of none. The upstream's message may be left out.
    pub fn new(error: &ApiError, http_status: Option<u16>, keeps_message: bool) -> Self {
        let parts = [
            http_status.map(|status| format!("HTTP {status}")),
            error.cause.clone(),
            error.code.as_deref().map(|code| sanitize(code).into_owned()),
            error.message.clone().filter(|_| keeps_message),
        ];
        let cause = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
        Self { reason: error.kind, cause: scrub(&cause) }
    }

    /// With a cause of our own.
    pub fn with_cause(reason: Reason, cause: &str) -> Self {
        Self { reason, cause: Some(cause.to_owned()) }
    }
}

/// The input of [`advance`](crate::domain::advance()).
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// An answer without an error.
    Answer(Box<Answer>),
    /// The upstream does not know the id. Three of these within at least a minute make a task `lost`.
    NotFound(PollError),
    /// The poll failed for any other reason.
    Failed(PollError),
    /// `tasks.give_up_after` has passed: the task is no longer polled.
    GivenUp,
    /// No answer has come since the quota was to be settled: the one that is known counts.
    QuotaSettled,
}

impl Reading {
    /// Of a poll that failed, as by [`PollError::new`].
    pub fn of_error(error: &ApiError, http_status: Option<u16>, keeps_message: bool) -> Self {
        let poll_error = PollError::new(error, http_status, keeps_message);
        if error.kind == Reason::NotFound { Self::NotFound(poll_error) } else { Self::Failed(poll_error) }
    }

    /// Its answer, if it is one.
    pub fn answer_mut(&mut self) -> Option<&mut Answer> {
        if let Self::Answer(answer) = self { Some(answer) } else { None }
    }
}
