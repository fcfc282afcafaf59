//! What one look at an upstream taught us about a task.

use std::sync::Arc;

use crate::domain::Drift;
use crate::domain::FailureClass;
use crate::domain::Status;
use crate::domain::Timestamp;
use crate::domain::enum_words::enum_words;

/// Whose clock a task's times were taken from; spans are only taken within one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clock {
    /// The gateway's row.
    Gateway,
    /// The provider that made the video.
    #[default]
    Upstream,
    /// Submit and finish come from different clocks: their difference means nothing.
    Mixed,
}

/// When a task was submitted, started and finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Accepted.
    pub submit: Option<Timestamp>,
    /// First worked on.
    pub start: Option<Timestamp>,
    /// Ended; only ever set together with an end.
    pub finish: Option<Timestamp>,
    /// Whose clock says so.
    pub clock: Clock,
}

/// Token usage as reported; absent is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tokens {
    /// Tokens of the prompt.
    pub prompt: Option<f64>,
    /// Tokens of the result.
    pub completion: Option<f64>,
    /// Their sum, or the only number there is.
    pub total: Option<f64>,
}

impl Tokens {
    /// True when nothing was reported.
    pub const fn is_empty(&self) -> bool {
        self.prompt.is_none() && self.completion.is_none() && self.total.is_none()
    }

    /// The parts by `token_type`, adding up to the total: what no part explains is `unspecified`.
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
    /// Which side of a task used tokens.
    TokenType {
        /// The prompt.
        Input = "input",
        /// The video.
        Output = "output",
        /// A total without parts, or what the parts leave unexplained.
        Unspecified = "unspecified",
    }
}

/// A decoded good answer: the normalized task of `docs/upstreams.md`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The id in the body, where the body has one.
    pub task_id: Option<String>,
    /// Where the task stands; never `lost`, which is ours to say. `None` only while a body is being read: an answer without a
    /// status is an error.
    pub reported_status: Option<Status>,
    /// 0 to 1.
    pub progress: Option<f64>,
    /// The progress is a gateway's coarse stand-in, not a measurement.
    pub synthetic_progress: bool,
    /// Submit, start and finish.
    pub times: Times,
    /// The finish time is that of a gateway's time-out sweep, not of the task.
    pub finish_is_synthetic: bool,
    /// The model label that a task without one gets. A provider leaves it open: it does not know which names are kept.
    pub model: Option<Arc<str>>,
    /// The model that ran.
    pub model_upstream: Option<String>,
    /// The model that was asked for.
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
    /// Seconds from the provider's finish to the gateway's, where both say one.
    pub gateway_lag: Option<f64>,
    /// Why it failed, by the provider's table; only of a failed task.
    pub failure: Option<FailureClass>,
    /// The provider's code for what went wrong.
    pub error_code: Option<String>,
    /// Upstream text without URLs, at most 256 characters; never a label.
    pub error_message: Option<String>,
    /// Whether a result URL exists; the URL itself is not kept.
    pub has_result_url: bool,
    /// When the result goes away.
    pub expires_at: Option<Timestamp>,
    /// When the provider gives the task up, if it has not ended by then.
    pub deadline: Option<Timestamp>,
    /// The gateway's own word on the status, in our words.
    pub gateway_status: Option<Status>,
    /// The word of the provider behind it.
    pub upstream_status: Option<Status>,
    /// A status word, of the gateway or the provider, that no table knows; fit to be shown.
    pub unknown_word: Option<String>,
    /// The upstream says that it does not know the task (`DashScope`'s UNKNOWN).
    pub is_not_found: bool,
    /// Reading made the gateway ask its own upstream, so it is not repeated quickly (Veo behind new-api).
    pub read_has_side_effect: bool,
    /// Where the answer is not as its provider documents it.
    pub drift: Drift,
}

impl Answer {
    /// An answer that says nothing but its status.
    pub fn new(status: Status) -> Self {
        Self { reported_status: Some(status), ..Self::default() }
    }

    /// Where the task stands.
    pub fn status(&self) -> Status {
        self.reported_status.unwrap_or(Status::Unknown)
    }
}

/// What [`advance`](crate::domain::advance()) is fed with.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// A good answer.
    Answer(Box<Answer>),
    /// The upstream does not know the id; three of these over a minute make a task `lost`.
    NotFound,
    /// No usable answer, for any other reason.
    Failed,
    /// `tasks.give_up_after` has passed: nobody asks any more.
    GivenUp,
}
