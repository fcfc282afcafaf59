//! Kling: `{code, message, data: {task_id, task_status, …}}`. Its times are milliseconds.

use std::time::Duration;

use serde_json::Value;

use super::definition::{Provider, RequestSpec, Signs};
use super::list::{List, ListPath};
use super::read::error::by_code;
use super::read::failures::{FailurePattern, FailureTable, classify_answer};
use super::read::fields::{self, BodySource, Contract, always, failed, succeeded, value_problem};
use super::read::lenient::{self, Zone};
use super::read::{answer, error};
use crate::domain::drift::Field;
use crate::domain::{Answer, ApiError, FailureClass, Reason, Status};

/// The provider (docs/upstreams.md 7).
pub static KLING: Provider = Provider {
    base_url: Some("https://api-singapore.klingai.com"),
    signs: Some(Signs::Tokens),
    list: Some(List {
        items: &["data.list", "data"],
        read_item: |value, zone| answer::finish_list_item(read_data(value, zone, BodySource::Direct)),
        path: ListPath::AboveTask,
        path_of_all: None,
        query_one: None,
        size: 500,
        has_any_size: false,
        query: |page| vec![("pageNum", page.number.to_string()), ("pageSize", page.size.to_string())],
        reach: Duration::MAX,
        parts: &[None],
    }),
    // A callback is the `data` of a response.
    read_callback: Some(|value, zone| {
        answer::finish_callback(value, read_data(value, zone, BodySource::Direct), error_kind)
    }),
    requests: &[RequestSpec::get("/v1/videos/text2video/{task_id}")],
    ..Provider::new("kling", read_answer, error_kind)
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["task_id"]),
    always(Field::Status, &["task_status"]),
    always(Field::Submit, &["created_at"]),
    // Every task has it; for an ended task it is the finish time.
    always(Field::Finish, &["updated_at"]),
    succeeded(Field::Duration, &["task_result.videos.0.duration"]),
    succeeded(Field::Credits, &["final_unit_deduction"]),
    failed(Field::ErrorMessage, &["task_status_msg"]),
    succeeded(Field::ResultUrl, &["task_result.videos.0.url"]),
];

/// `code`, which may come with HTTP 200 (docs/upstreams.md 7.2).
const ERRORS: &[(&str, Reason)] = &[
    ("1000", Reason::Unauthorized),
    ("1001", Reason::Unauthorized),
    ("1002", Reason::Unauthorized),
    ("1003", Reason::Unauthorized),
    ("1004", Reason::Unauthorized),
    ("1100", Reason::QuotaExhausted),
    ("1101", Reason::QuotaExhausted),
    ("1102", Reason::QuotaExhausted),
    ("1103", Reason::Forbidden),
    ("1304", Reason::Forbidden),
    ("1302", Reason::RateLimited),
    ("1303", Reason::RateLimited),
    ("1202", Reason::NotFound),
    ("1203", Reason::NotFound),
    ("1200", Reason::BadRequest),
    ("1201", Reason::BadRequest),
    ("1300", Reason::BadRequest),
    ("1301", Reason::BadRequest),
    ("5000", Reason::ServerError),
    ("5001", Reason::ServerError),
    ("5002", Reason::ServerError),
];

/// The reason of an error.
pub fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    by_code(ERRORS, error)
}

/// Decodes a response. A code other than success is an error: a task has no code at the top level.
fn read_answer(value: &Value, zone: Zone) -> Result<Answer, ApiError> {
    if error::has_error_code(value) {
        return Err(error::ok_error(value, error_kind));
    }
    answer::finish_direct(value, read(value, zone, BodySource::Direct), error_kind)
}

/// Failed tasks have a message, but no code.
const FAILURES: FailureTable = &[
    (FailurePattern::MessageContains("risk control"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("content policy"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("sensitive content"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("resource pack"), FailureClass::Quota),
    (FailurePattern::MessageContains("account balance"), FailureClass::Quota),
    (FailurePattern::MessageContains("too many requests"), FailureClass::RateLimit),
    (FailurePattern::MessageContains("task timed out"), FailureClass::Timeout),
    (FailurePattern::MessageContains("invalid parameter"), FailureClass::InvalidInput),
    (FailurePattern::MessageContains("is invalid"), FailureClass::InvalidInput),
    (FailurePattern::MessageContains("internal error"), FailureClass::ProviderError),
    (FailurePattern::MessageStart("generation failed"), FailureClass::ProviderError),
];

/// Decodes a response (docs/upstreams.md 7.1).
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = read_data(value.get("data").unwrap_or(&Value::Null), zone, source);
    if lenient::text(value, "code").is_none() {
        answer.drift.add(Field::ErrorCode, value_problem(value.get("code")));
    }
    answer
}

/// Decodes its `data`, which is also the entry of a list.
pub fn read_data(data: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(CONTRACT, data, zone, source);
    if answer.reported_status != Some(Status::Failed) {
        answer.error_message = None;
    }
    answer.failure = classify_answer(&[FAILURES], &answer);
    answer
}
