//! `MiniMax` (Hailuo): v1 `{task_id, status, base_resp}` without times, v2 `{task: {…}}` much as Ark.

use std::time::Duration;

use serde_json::Value;

use super::definition::{Callback, Provider, RequestSpec};
use super::list::{self, List, Place};
use super::read::error::by_code;
use super::read::failures::{Failures, Sign, class};
use super::read::fields::{self, BodySource, Contract, always, failed, optional, problem_of, succeeded};
use super::read::lenient::{self, Zone};
use super::read::{answer as whole, error};
use crate::domain::drift::Field;
use crate::domain::{Answer, ApiError, FailureClass, Reason, Status};

/// The provider (docs/upstreams.md 9); v2 is asked with `request.path: /v2/query/video_generation/{task_id}`.
pub static MINIMAX_HAILUO: Provider = Provider {
    name: "minimax_hailuo",
    base_url: Some("https://api.minimax.io"),
    requests: &[RequestSpec::get("/v1/query/video_generation?task_id={task_id}")],
    read: |value, zone| whole::direct(value, read(value, zone, BodySource::Direct), error_kind),
    error_kind,
    list: Some(List {
        items: &["items", "tasks"],
        read_item: |value, zone| whole::entry(read_task(value, zone, BodySource::Direct)),
        // Only v2 has one (docs/upstreams.md 9).
        place: Place::At(&["v2", "query", "video_generation"]),
        size: 100,
        query: list::numbered,
        reach: Duration::from_hours(7 * 24),
        parts: &[None],
    }),
    batch: None,
    read_callback: Some(read_callback),
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
    // Set all the time; it is the finish once the task has ended.
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
    ("1004", Reason::Unauthorized),
    ("2049", Reason::Unauthorized),
    ("1008", Reason::QuotaExhausted),
    ("insufficient_balance_error", Reason::QuotaExhausted),
    ("1026", Reason::BadRequest),
    ("1027", Reason::BadRequest),
    ("2013", Reason::BadRequest),
];

/// The kind of an error: 2013, or v2's text with it, is how it says that it does not know a task, or no longer.
pub fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    let message = error.message.as_deref().unwrap_or("");
    let is_2013 = error.code.as_deref() == Some("2013") || message.contains("(2013)") || message.contains("invalid");
    if is_2013 && message.contains("task_id") { Some(Reason::NotFound) } else { by_code(ERRORS, error) }
}

/// Reads a callback; its first one is a challenge.
fn read_callback(value: &Value, zone: Zone) -> Result<Callback, ApiError> {
    match value.get("challenge") {
        Some(Value::String(challenge)) => Ok(Callback::Challenge(challenge.clone())),
        _ => whole::callback(value, read(value, zone, BodySource::Direct), error_kind),
    }
}

pub(super) const FAILURES: Failures = &[
    (Sign::Code("1026"), FailureClass::ContentPolicy),
    (Sign::Code("1027"), FailureClass::ContentPolicy),
    (Sign::TextHas("new_sensitive"), FailureClass::ContentPolicy),
    (Sign::Code("1008"), FailureClass::Quota),
    (Sign::Code("1002"), FailureClass::RateLimit),
    (Sign::Code("1039"), FailureClass::RateLimit),
    (Sign::Code("1004"), FailureClass::Auth),
    (Sign::Code("2049"), FailureClass::Auth),
    (Sign::Code("1001"), FailureClass::Timeout),
    (Sign::Code("1000"), FailureClass::ProviderError),
    (Sign::Code("1013"), FailureClass::ProviderError),
    (Sign::CodeHas("server_error"), FailureClass::ProviderError),
    (Sign::Code("2013"), FailureClass::InvalidInput),
    (Sign::CodeHas("bad_request"), FailureClass::InvalidInput),
    (Sign::CodeHas("unprocessable"), FailureClass::InvalidInput),
];

/// Reads an answer of either version.
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    match value.get("task") {
        Some(task) if !task.is_null() => read_task(task, zone, source),
        _ => read_v1(value, zone, source),
    }
}

/// Reads a v1 answer (docs/upstreams.md 9.1); a code beside a status is the task's error.
fn read_v1(value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(V1, value, zone, source);
    answer.resolution = whole::size(value, "video_width", "video_height");
    if answer.resolution.is_none() && answer.reported_status == Some(Status::Succeeded) {
        let (width, height) = (value.get("video_width"), value.get("video_height"));
        let worse = problem_of(width).max(problem_of(height));
        answer.drift.note(Field::Resolution, worse);
    }
    if answer.error_code.is_some()
        && let Some(message) = lenient::at(value, "base_resp.status_msg")
        && let Err(problem) = fields::take(&mut answer, Field::ErrorMessage, message, zone)
    {
        answer.drift.note(Field::ErrorMessage, problem);
    }
    settle(answer)
}

/// Reads the `task` of a v2 answer (docs/upstreams.md 9.2), which is also what stands in a list.
pub fn read_task(task: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(V2, task, zone, source);
    whole::take_bare_error(&mut answer, task);
    settle(answer)
}

fn settle(mut answer: Answer) -> Answer {
    answer.failure = class(FAILURES, answer.error_code.as_deref(), answer.error_message.as_deref());
    answer
}
