//! From a body's fields to a whole answer: rules that need the final status, and what an answer without one is.

use serde_json::Value;

use super::error::{self, ErrorKind};
use super::lenient;
use crate::domain::labels;
use crate::domain::{Answer, ApiError, Status};
use crate::provider::definition::Callback;

/// Longest error message that is kept, in characters.
const MAX_MESSAGE: usize = 256;

/// The answer of a vendor that is asked directly; an error when the body is a complaint or has no status.
pub fn direct(value: &Value, answer: Answer, error_kind: ErrorKind) -> Result<Answer, ApiError> {
    if error::is_complaint(value) {
        return Err(error::ok_error(value, error_kind));
    }
    complete(value, answer, error_kind)
}

/// The answer of a body; an error when it has no status.
pub fn complete(value: &Value, answer: Answer, error_kind: ErrorKind) -> Result<Answer, ApiError> {
    if answer.reported_status.is_some() {
        return Ok(settled(answer));
    }
    // An error that names no task need not have a task's fields.
    let drift = if answer.task_id.is_some() { answer.drift } else { answer.drift.without_missing() };
    Err(error::no_task(value, drift, error_kind))
}

/// The answer of an entry in a list; `None` when it has no status.
pub fn entry(answer: Answer) -> Option<Answer> {
    answer.reported_status.is_some().then(|| settled(answer))
}

/// A callback about a task. It is sent because something has changed: without a known status it says nothing.
pub fn callback(value: &Value, answer: Answer, error_kind: ErrorKind) -> Result<Callback, ApiError> {
    let answer = complete(value, answer, error_kind)?;
    match (&answer.task_id, answer.status()) {
        (None, _) | (_, Status::Unknown) => Err(error::no_task(value, answer.drift, error_kind)),
        _ => Ok(Callback::Answer(Box::new(answer))),
    }
}

/// Applies the rules that need the final status: what progress, a finish time and a result URL then mean.
pub fn settled(mut answer: Answer) -> Answer {
    let status = answer.status();
    answer.progress = match status {
        Status::Succeeded => Some(1.0),
        status if status.is_end() => None,
        _ => answer.progress,
    };
    if !status.is_end() {
        answer.times.finish = None;
    }
    answer.has_result_url &= status == Status::Succeeded;
    if status != Status::Failed {
        answer.failure = None;
    }
    answer.error_message = answer.error_message.as_deref().and_then(message);
    answer
}

/// An upstream's message without URLs and cut short; `None` when nothing is left.
fn message(text: &str) -> Option<String> {
    labels::kept_text(text).map(|text| text.chars().take(MAX_MESSAGE).collect())
}

/// An `error` that is a text and no object: not as documented, and still the message.
pub fn take_bare_error(answer: &mut Answer, value: &Value) {
    let text = value.get("error").and_then(Value::as_str).and_then(labels::kept_text);
    answer.error_message = answer.error_message.take().or(text);
}

/// Whether a field is an `http(s)` URL.
pub fn has_url(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_str).is_some_and(labels::is_url)
}

/// `{width}x{height}` of two positive numbers.
pub fn size(value: &Value, width: &str, height: &str) -> Option<String> {
    let of = |key| lenient::amount(value, key).filter(|side| *side >= 1.0);
    Some(format!("{}x{}", of(width)?, of(height)?))
}
