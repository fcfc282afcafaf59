//! Finishes answers: rules that need the final status, and errors for bodies without a status.

use serde_json::Value;

use super::error::{self, ErrorKind};
use super::failures::{OTHER_TEXTS, REFUSAL_TEXTS, classify_answer};
use super::lenient;
use crate::domain::labels;
use crate::domain::scrub;
use crate::domain::{Answer, ApiError, Status};
use crate::provider::definition::Callback;

/// Finishes the answer of a provider without a gateway; an error when the body is an error message or has no status.
pub fn finish_direct(value: &Value, answer: Answer, error_kind: ErrorKind) -> Result<Answer, ApiError> {
    if error::is_error_message(value) {
        return Err(error::ok_error(value, error_kind));
    }
    finish(value, answer, error_kind)
}

/// Finishes the answer of a body; an error when it has no status.
pub fn finish(value: &Value, answer: Answer, error_kind: ErrorKind) -> Result<Answer, ApiError> {
    if answer.reported_status.is_some() {
        return Ok(normalize(answer));
    }
    // A body without a task id is an error, which does not have the fields of a task.
    let drift = if answer.task_id.is_some() { answer.drift } else { answer.drift.without_missing() };
    Err(error::no_task(value, drift, error_kind))
}

/// Finishes the answer of an entry in a list; `None` when it has no status.
pub fn finish_list_item(answer: Answer) -> Option<Answer> {
    answer.reported_status.is_some().then(|| normalize(answer))
}

/// Finishes a callback. It must have a task id and a known status.
pub fn finish_callback(value: &Value, answer: Answer, error_kind: ErrorKind) -> Result<Callback, ApiError> {
    let answer = finish(value, answer, error_kind)?;
    match (&answer.task_id, answer.status()) {
        (None, _) | (_, Status::Unknown) => Err(error::no_task(value, answer.drift, error_kind)),
        _ => Ok(Callback::Answer(Box::new(answer))),
    }
}

/// Applies the rules that need the final status: for progress, finish time, result URL and failure.
pub fn normalize(mut answer: Answer) -> Answer {
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
    answer.failure = if status == Status::Failed {
        // Texts are looked at last: they are less stable than codes.
        answer.failure.or_else(|| classify_answer(&[REFUSAL_TEXTS, OTHER_TEXTS], &answer))
    } else {
        None
    };
    answer.error_message = answer.error_message.as_deref().and_then(message);
    answer
}

/// A shortened message without URLs; `None` when it is empty.
fn message(text: &str) -> Option<String> {
    labels::storable_text(text).map(|text| text.chars().take(scrub::MAX_CHARS).collect())
}

/// Reads an `error` that is a string instead of the documented object.
pub fn read_error_text(answer: &mut Answer, value: &Value) {
    let text = value.get("error").and_then(Value::as_str).and_then(labels::storable_text);
    answer.error_message = answer.error_message.take().or(text);
}

/// Whether a field is an `http(s)` URL.
pub fn has_url(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_str).is_some_and(labels::is_url)
}

/// `{width}x{height}` of two positive numbers.
pub fn format_size(value: &Value, width: &str, height: &str) -> Option<String> {
    let of = |key| lenient::amount(value, key).filter(|side| *side >= 1.0);
    Some(format!("{}x{}", of(width)?, of(height)?))
}
