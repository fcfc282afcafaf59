//! What a body says, in our words: read by a table of its fields, then settled by rules that need its final status.

use super::error::{self, is_success_code};
use super::expiry;
use super::json::{self, Zone};
use super::tree::Value;
use super::words::{self, Word};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::labels;
use crate::domain::reading::{Clock, Times, Tokens};
use crate::domain::{Answer, ApiError, Drift, FailureClass, Status, Timestamp};

/// Longest error message that is kept, in characters.
const MAX_MESSAGE: usize = 256;

/// A body in our words, before the rules that depend on the final status.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Body {
    /// The id it names.
    pub task_id: Option<String>,
    /// Its status word, where it has one.
    pub word: Option<Word>,
    /// As read.
    pub progress: Option<f64>,
    /// Accepted.
    pub submit: Option<Timestamp>,
    /// Started.
    pub start: Option<Timestamp>,
    /// Finished, or last updated; means something only after an end.
    pub finish: Option<Timestamp>,
    /// The model that ran.
    pub model: Option<String>,
    /// The model that was asked for.
    pub model_origin: Option<String>,
    /// Length of the video, in seconds.
    pub video_seconds: Option<f64>,
    /// As spelled.
    pub resolution: Option<String>,
    /// Service tier.
    pub service_tier: Option<String>,
    /// Usage.
    pub tokens: Tokens,
    /// The upstream's own units.
    pub credits: Option<f64>,
    /// Code of what went wrong.
    pub error_code: Option<String>,
    /// Text of what went wrong.
    pub error_message: Option<String>,
    /// Why it failed, if it did, by its provider's table.
    pub failure: Option<FailureClass>,
    /// A result URL is there; the URL itself is not kept.
    pub has_url: bool,
    /// When the result goes, as said or as signed into its URL.
    pub expires_at: Option<Timestamp>,
    /// Seconds after submission when the provider gives up.
    pub gives_up_after: Option<f64>,
    /// The upstream does not know the task any more.
    pub is_not_found: bool,
    /// Where it is not as documented.
    pub drift: Drift,
}

impl Body {
    /// Where it stands, if it says so.
    pub fn status(&self) -> Option<Status> {
        self.word.as_ref().map(|word| word.status)
    }

    /// Reads the value of one field; false when it says nothing, such as null, a blank text or a time of 0.
    ///
    /// What was read before stays: places are looked at in their order.
    ///
    /// # Errors
    /// When there is something that cannot be read.
    pub fn take(&mut self, field: Field, value: &Value, zone: Zone) -> Result<bool, FieldProblem> {
        fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
            let found = value.is_some();
            if place.is_none() {
                *place = value;
            }
            found
        }
        if value.is_null() {
            return Ok(false);
        }
        let text = || checked_text(value);
        // A number where a word or a name is documented is read, and told.
        let odd = value.is_number()
            && matches!(
                field,
                Field::Status | Field::ModelUpstream | Field::ModelOrigin | Field::Resolution | Field::ServiceTier
            );
        let amount = || json::checked_amount(value);
        let moment = || json::checked_moment(value, zone);
        let found = match field {
            Field::TaskId => put(&mut self.task_id, text()?),
            Field::Status => put(&mut self.word, json::checked_text(value)?.and_then(|word| words::word(&word))),
            Field::UpstreamStatus => false,
            Field::Progress => put(&mut self.progress, json::checked_progress(value)?),
            Field::Submit => put(&mut self.submit, moment()?),
            Field::Start => put(&mut self.start, moment()?),
            Field::Finish => put(&mut self.finish, moment()?),
            Field::ModelUpstream => put(&mut self.model, text()?),
            Field::ModelOrigin => put(&mut self.model_origin, text()?),
            Field::Duration => put(&mut self.video_seconds, amount()?),
            Field::Resolution => put(&mut self.resolution, text()?),
            Field::TokensPrompt => put(&mut self.tokens.prompt, amount()?),
            Field::TokensCompletion => put(&mut self.tokens.completion, amount()?),
            Field::TokensTotal => put(&mut self.tokens.total, amount()?),
            Field::Credits => put(&mut self.credits, amount()?),
            Field::ErrorCode => {
                let code = text()?;
                let said = code.is_some();
                put(&mut self.error_code, code.filter(|code| !is_success_code(code)));
                said
            }
            Field::ErrorMessage => put(&mut self.error_message, text()?),
            Field::ResultUrl => match json::checked_text(value)? {
                None => false,
                Some(url) if labels::is_url(&url) => {
                    self.has_url = true;
                    put(&mut self.expires_at, expiry::of_url(&url));
                    true
                }
                Some(_) => return Err(FieldProblem::Unreadable),
            },
            Field::ExpiresAt => put(&mut self.expires_at, moment()?),
            Field::Deadline => put(&mut self.gives_up_after, amount()?),
            Field::ServiceTier => put(&mut self.service_tier, text()?),
        };
        if odd { Err(FieldProblem::WrongType) } else { Ok(found) }
    }

    /// An `error` that is a text and no object: odd, and still the text of what went wrong.
    pub fn take_bare_error(&mut self, value: &Value) {
        let text = value.get("error").and_then(Value::as_str).and_then(labels::kept_text);
        self.error_message = self.error_message.take().or(text);
    }

    /// When the provider gives the task up.
    pub fn deadline(&self) -> Option<Timestamp> {
        let millis = self.gives_up_after.filter(|seconds| *seconds <= 1e9)? * 1000.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an amount, and bounded just above"
        )]
        Some(self.submit? + std::time::Duration::from_millis(millis as u64))
    }

    /// As the whole answer, or what `value` says instead of a status.
    pub fn into_task(self, value: &Value) -> Result<Answer, ApiError> {
        // Of an error that names no task, nothing else is expected.
        let drift = if self.task_id.is_some() { self.drift } else { self.drift.without_missing() };
        self.into_answer().ok_or_else(|| error::no_task(value, drift))
    }

    /// As the whole answer, when no gateway stands before it; `None` without a status.
    pub fn into_answer(self) -> Option<Answer> {
        let deadline = self.deadline();
        let word = self.word?;
        let mut answer = Answer::new(word.status);
        answer.task_id = self.task_id;
        answer.unknown_word = word.unheard;
        answer.is_not_found = self.is_not_found;
        answer.progress = self.progress;
        answer.times = Times { submit: self.submit, start: self.start, finish: self.finish, clock: Clock::Upstream };
        answer.model_upstream = self.model;
        answer.model_origin = self.model_origin;
        answer.video_seconds = self.video_seconds;
        answer.resolution = self.resolution;
        answer.service_tier = self.service_tier;
        answer.tokens = self.tokens;
        answer.credits = self.credits;
        answer.failure = self.failure;
        answer.error_code = self.error_code;
        answer.error_message = self.error_message;
        answer.has_result_url = self.has_url;
        answer.expires_at = self.expires_at;
        answer.deadline = deadline;
        answer.drift = self.drift;
        Some(settled(answer))
    }
}

/// A text that may be kept; one that is a URL is not there.
fn checked_text(value: &Value) -> Result<Option<String>, FieldProblem> {
    Ok(json::checked_text(value)?.and_then(|text| labels::kept_text(&text)))
}

/// Applies the rules that need the final status: what progress, a finish time and a result URL then mean.
pub fn settled(mut answer: Answer) -> Answer {
    let succeeded = answer.status == Status::Succeeded;
    answer.progress = match answer.status {
        Status::Succeeded => Some(1.0),
        status if status.is_end() => None,
        _ => answer.progress,
    };
    if !answer.status.is_end() {
        answer.times.finish = None;
    }
    answer.has_result_url &= succeeded;
    if answer.status != Status::Failed {
        answer.failure = None;
    }
    answer.error_message = answer.error_message.as_deref().and_then(message);
    answer
}

/// An upstream's message without URLs and cut short; `None` when nothing is left.
fn message(text: &str) -> Option<String> {
    labels::kept_text(text).map(|text| text.chars().take(MAX_MESSAGE).collect())
}

/// A text field that is an `http(s)` URL.
pub fn has_url(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_str).is_some_and(labels::is_url)
}

/// `{width}x{height}` of two positive numbers.
pub fn size(value: &Value, width: &str, height: &str) -> Option<String> {
    let of = |key| json::amount(value, key).filter(|side| *side >= 1.0);
    Some(format!("{}x{}", of(width)?, of(height)?))
}
