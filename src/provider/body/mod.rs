//! What a vendor's own body says, alone or inside a gateway's envelope; found by shape, one file a vendor.

mod ark;
mod dashscope;
mod kling;
mod minimax;
mod openai;
mod veo;

use serde_json::Value;

use crate::domain::labels;
use crate::domain::reading::{Clock, Times, Tokens};
use crate::domain::{Answer, Status, Timestamp};
use crate::provider::error;
use crate::provider::json;
use crate::provider::words::Word;

/// Longest error message that is kept, in characters.
pub const MAX_MESSAGE: usize = 256;

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
    /// Length of the video, in seconds.
    pub video_seconds: Option<f64>,
    /// As spelt.
    pub resolution: Option<String>,
    /// Service tier.
    pub service_tier: Option<String>,
    /// Usage.
    pub tokens: Tokens,
    /// The vendor's own units.
    pub credits: Option<f64>,
    /// Code of what went wrong.
    pub error_code: Option<String>,
    /// Text of what went wrong.
    pub error_message: Option<String>,
    /// A result URL is there.
    pub has_url: bool,
    /// When the result goes.
    pub expires_at: Option<Timestamp>,
    /// The upstream does not know the task any more.
    pub gone: bool,
}

impl Body {
    /// Where it stands, if it says so.
    pub fn status(&self) -> Option<Status> {
        self.word.as_ref().map(|word| word.status)
    }

    /// As the whole answer, when no gateway stands before it; `None` without a status.
    pub fn into_answer(self) -> Option<Answer> {
        let word = self.word?;
        let mut answer = Answer::new(word.status);
        answer.task_id = self.task_id;
        answer.unknown_word = word.unheard;
        answer.gone = self.gone;
        answer.progress = self.progress;
        answer.times = Times { submit: self.submit, start: self.start, finish: self.finish, clock: Clock::Upstream };
        answer.model_upstream = self.model;
        answer.video_seconds = self.video_seconds;
        answer.resolution = self.resolution;
        answer.service_tier = self.service_tier;
        answer.tokens = self.tokens;
        answer.credits = self.credits;
        answer.error_code = self.error_code;
        answer.error_message = self.error_message;
        answer.has_result_url = self.has_url;
        answer.expires_at = self.expires_at;
        Some(settled(answer))
    }
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
    if succeeded {
        answer.error_code = None;
        answer.error_message = None;
    }
    answer.error_message = answer.error_message.as_deref().and_then(message);
    answer
}

/// An upstream's message without URLs and cut short; `None` when nothing is left.
pub fn message(text: &str) -> Option<String> {
    labels::kept_text(text).map(|text| text.chars().take(MAX_MESSAGE).collect())
}

/// Reads a vendor's body by its shape (docs/upstreams.md 2.4); `None` when it has no known shape.
pub fn read(value: &Value) -> Option<Body> {
    if value.pointer("/output/task_status").is_some() {
        return Some(dashscope::read(value));
    }
    if value.pointer("/data/task_status").is_some() {
        return Some(kling::read(value));
    }
    if value.pointer("/task/status").is_some() {
        return Some(minimax::read_v2(&value["task"]));
    }
    if value.get("base_resp").is_some() {
        return Some(minimax::read_v1(value));
    }
    if is_openai(value) {
        return Some(openai::read(value));
    }
    if veo::is_operation(value) {
        return Some(veo::read(value));
    }
    if json::text(value, "status").is_some() {
        return Some(ark::read(value));
    }
    let found = error::error_body(value);
    let has_error = value.get("error").is_some_and(|error| !error.is_null())
        || found.code.as_deref().is_some_and(|code| !is_success_code(code));
    has_error.then(|| Body { error_code: found.code, error_message: found.message, ..Body::default() })
}

/// True for an object whose `object` begins with `video`.
pub fn is_openai(value: &Value) -> bool {
    value.get("object").and_then(Value::as_str).is_some_and(|object| object.starts_with("video"))
}

/// True for Veo's long-running operation.
pub fn is_veo(value: &Value) -> bool {
    veo::is_operation(value)
}

/// `success` (new-api), 0 (Kling, `MiniMax`) and 200 (some forks) mean that nothing is wrong.
pub fn is_success_code(code: &str) -> bool {
    code.eq_ignore_ascii_case("success") || code == "0" || code == "200"
}

/// `error.{code,message}` of an object, without codes that mean nothing.
fn error_of(value: &Value) -> (Option<String>, Option<String>) {
    let Some(error) = value.get("error").filter(|error| !error.is_null()) else { return (None, None) };
    if let Some(text) = error.as_str() {
        return (None, Some(text.to_owned()));
    }
    let code = json::owned(error, "code").or_else(|| json::owned(error, "type"));
    (code.filter(|code| !is_success_code(code)), json::owned(error, "message"))
}

/// `usage.{prompt_tokens,completion_tokens,total_tokens}` of an object.
pub fn usage(value: &Value) -> Tokens {
    let Some(usage) = value.get("usage") else { return Tokens::default() };
    Tokens {
        prompt: json::amount(usage, "prompt_tokens"),
        completion: json::amount(usage, "completion_tokens"),
        total: json::amount(usage, "total_tokens"),
    }
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
