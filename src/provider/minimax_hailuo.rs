//! `MiniMax` (Hailuo): v1 `{task_id, status, base_resp}` without times, v2 `{task: {…}}` similar to Ark.

use std::time::Duration;

use serde_json::Value;

use super::definition::{Callback, Provider, RequestSpec};
use super::list::{self, List, ListPath};
use super::read::error::by_code;
use super::read::failures::{FailurePattern, FailureTable, classify};
use super::read::fields::{self, BodySource, Contract, always, failed, optional, succeeded, value_problem};
use super::read::lenient::{self, Zone};
use super::read::{answer, error};
use crate::domain::drift::Field;
use crate::domain::{Answer, ApiError, FailureClass, Reason, Status};

/// The provider (docs/upstreams.md 9); v2 needs `request.path: /v2/query/video_generation/{task_id}`.
pub static MINIMAX_HAILUO: Provider = Provider {
    base_url: Some("https://api.minimax.io"),
    list: Some(List {
        items: &["items", "tasks"],
        read_item: |value, zone| answer::finish_list_item(read_task(value, zone, BodySource::Direct)),
        // Only v2 has a list (docs/upstreams.md 9).
        path: ListPath::Fixed(&["v2", "query", "video_generation"]),
        path_of_all: None,
        query_one: None,
        size: 100,
        has_any_size: false,
        query: list::numbered_query,
        reach: Duration::from_hours(7 * 24),
        parts: &[None],
    }),
    read_callback: Some(read_callback),
    requests: &[RequestSpec::get("/v1/query/video_generation?task_id={task_id}")],
    ..Provider::new(
        "minimax_hailuo",
        |value, zone| answer::finish_direct(value, read(value, zone, BodySource::Direct), error_kind),
        error_kind,
    )
};

const V1: Contract = &[
    always(Field::TaskId, &["task_id"]),
    always(Field::Status, &["status"]),
    always(Field::ErrorCode, &["base_resp.status_code"]),
];

const V2: Contract = &[
    always(Field::TaskId, &["id"]),
    always(Field::Status, &["status"]),
    always(Field::Submit, &["created_at"]),
    // Every task has it; for an ended task it is the finish time.
    always(Field::Finish, &["updated_at"]),
    always(Field::ModelUpstream, &["model"]),
    succeeded(Field::Duration, &["duration"]),
    succeeded(Field::Resolution, &["resolution"]),
    optional(Field::TokensPrompt, &["usage.prompt_tokens"]),
    optional(Field::TokensCompletion, &["usage.completion_tokens"]),
    optional(Field::TokensTotal, &["usage.total_tokens"]),
    failed(Field::ErrorCode, &["error.code", "error.type"]),
    failed(Field::ErrorMessage, &["error.message"]),
    succeeded(Field::ResultUrl, &["content.url"]),
];

/// `base_resp.status_code`, which comes with HTTP 200 (docs/upstreams.md 9.1).
const ERRORS: &[(&str, Reason)] = &[
    ("1000", Reason::ServerError),
    ("1001", Reason::ServerError),
    ("1013", Reason::ServerError),
    ("1002", Reason::RateLimited),
    ("1039", Reason::RateLimited),
    // A window of a token plan is used up, and resets by itself.
    ("2056", Reason::RateLimited),
    ("1004", Reason::Unauthorized),
    ("2049", Reason::Unauthorized),
    ("1008", Reason::QuotaExhausted),
    ("insufficient_balance_error", Reason::QuotaExhausted),
    ("1026", Reason::BadRequest),
    ("1027", Reason::BadRequest),
    ("2013", Reason::BadRequest),
];

/// The reason of an error. 2013, or v2's message with this code, means that the task does not exist.
pub fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    let message = error.message.as_deref().unwrap_or("");
    let code = code_in(message).or(error.code.as_deref());
    let is_invalid = code == Some("2013") || message.contains("invalid");
    if is_invalid && message.contains("task_id") {
        return Some(Reason::NotFound);
    }
    let known = |code: &str| ERRORS.iter().find(|(known, _)| *known == code).map(|(_, reason)| *reason);
    code.and_then(known).or_else(|| by_code(ERRORS, error))
}

/// The number in parentheses at the end of a v2 message, which is v1's code.
fn code_in(message: &str) -> Option<&str> {
    let (_, code) = message.trim_end().strip_suffix(')')?.rsplit_once('(')?;
    (code.len() == 4 && code.bytes().all(|digit| digit.is_ascii_digit())).then_some(code)
}

/// Decodes a callback; the first one is a challenge.
fn read_callback(value: &Value, zone: Zone) -> Result<Callback, ApiError> {
    match value.get("challenge") {
        Some(Value::String(challenge)) => Ok(Callback::Challenge(challenge.clone())),
        _ => answer::finish_callback(value, read(value, zone, BodySource::Direct), error_kind),
    }
}

pub(super) const FAILURES: FailureTable = &[
    (FailurePattern::Code("1026"), FailureClass::ContentPolicy),
    (FailurePattern::Code("1027"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("new_sensitive"), FailureClass::ContentPolicy),
    (FailurePattern::Code("1008"), FailureClass::Quota),
    (FailurePattern::Code("1002"), FailureClass::RateLimit),
    (FailurePattern::Code("1039"), FailureClass::RateLimit),
    (FailurePattern::Code("1004"), FailureClass::Auth),
    (FailurePattern::Code("2049"), FailureClass::Auth),
    (FailurePattern::Code("1001"), FailureClass::Timeout),
    (FailurePattern::Code("1000"), FailureClass::ProviderError),
    (FailurePattern::Code("1013"), FailureClass::ProviderError),
    (FailurePattern::CodeContains("server_error"), FailureClass::ProviderError),
    (FailurePattern::Code("2013"), FailureClass::InvalidInput),
    (FailurePattern::CodeContains("bad_request"), FailureClass::InvalidInput),
    (FailurePattern::CodeContains("unprocessable"), FailureClass::InvalidInput),
];

/// Decodes a response of either version.
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    match value.get("task") {
        Some(task) if !task.is_null() => read_task(task, zone, source),
        _ => read_v1(value, zone, source),
    }
}

/// Decodes a v1 response (docs/upstreams.md 9.1). If there is a status, the code is the error of the task.
fn read_v1(value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(V1, value, zone, source);
    answer.resolution = answer::format_size(value, "video_width", "video_height");
    if answer.resolution.is_none() && answer.reported_status == Some(Status::Succeeded) {
        let (width, height) = (value.get("video_width"), value.get("video_height"));
        let worse = value_problem(width).max(value_problem(height));
        answer.drift.add(Field::Resolution, worse);
    }
    if answer.error_code.is_some()
        && let Some(message) = lenient::at(value, "base_resp.status_msg")
        && let Err(problem) = fields::read_field(&mut answer, Field::ErrorMessage, message, zone)
    {
        answer.drift.add(Field::ErrorMessage, problem);
    }
    with_failure(answer)
}

/// Decodes the `task` of a v2 response (docs/upstreams.md 9.2), which is also the entry of a list.
pub fn read_task(task: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(V2, task, zone, source);
    let usage = task.get("usage").unwrap_or(&Value::Null);
    answer.billing.seconds = lenient::amount(usage, "total_seconds");
    answer.billing.input_images = lenient::amount(usage, "input_image_count");
    answer.billing.has_input_video = lenient::amount(usage, "input_seconds").map(|seconds| seconds > 0.0);
    answer::read_error_text(&mut answer, task);
    with_failure(answer)
}

fn with_failure(mut answer: Answer) -> Answer {
    answer.failure = classify(FAILURES, answer.error_code.as_deref(), answer.error_message.as_deref());
    answer
}
