//! Kling: `{code, message, data: {task_id, task_status, …}}`; its times are milliseconds.

use std::time::Duration;

use serde_json::Value;

use super::definition::{Provider, RequestSpec};
use super::list::{List, Place};
use super::read::error::by_code;
use super::read::failures::{Failures, Sign, class};
use super::read::fields::{self, BodySource, Contract, always, failed, problem_of, succeeded};
use super::read::lenient::{self, Zone};
use super::read::{answer as whole, error};
use crate::domain::drift::Field;
use crate::domain::{Answer, ApiError, FailureClass, Reason, Status};

/// The provider (docs/upstreams.md 7).
pub static KLING: Provider = Provider {
    name: "kling",
    base_url: Some("https://api-singapore.klingai.com"),
    requests: &[RequestSpec::get("/v1/videos/text2video/{task_id}")],
    read: read_answer,
    error_kind,
    list: Some(List {
        items: &["data.list", "data"],
        read_item: |value, zone| whole::entry(read_data(value, zone, BodySource::Direct)),
        place: Place::AboveTask,
        size: 500,
        query: |page| vec![("pageNum", page.number.to_string()), ("pageSize", page.size.to_string())],
        reach: Duration::MAX,
        parts: &[None],
    }),
    batch: None,
    // A callback is the `data` of an answer.
    read_callback: Some(|value, zone| whole::callback(value, read_data(value, zone, BodySource::Direct), error_kind)),
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["task_id"]),
    always(Field::Status, &["task_status"]),
    always(Field::Submit, &["created_at"]),
    // Set all the time; it is the finish once the task has ended.
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

/// The kind of an error.
pub fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    by_code(ERRORS, error)
}

/// Reads an answer; a code other than success is an error, for a task's own code never stands at the top level.
fn read_answer(value: &Value, zone: Zone) -> Result<Answer, ApiError> {
    if error::is_refusal(value) {
        return Err(error::ok_error(value, error_kind));
    }
    whole::direct(value, read(value, zone, BodySource::Direct), error_kind)
}

/// Failed tasks have a message and no code.
const FAILURES: Failures = &[
    (Sign::TextHas("risk control"), FailureClass::ContentPolicy),
    (Sign::TextHas("content policy"), FailureClass::ContentPolicy),
    (Sign::TextHas("sensitive content"), FailureClass::ContentPolicy),
    (Sign::TextHas("resource pack"), FailureClass::Quota),
    (Sign::TextHas("account balance"), FailureClass::Quota),
    (Sign::TextHas("too many requests"), FailureClass::RateLimit),
    (Sign::TextHas("task timed out"), FailureClass::Timeout),
    (Sign::TextHas("invalid parameter"), FailureClass::InvalidInput),
    (Sign::TextHas("internal error"), FailureClass::ProviderError),
    (Sign::Text("generation failed"), FailureClass::ProviderError),
];

/// Reads an answer (docs/upstreams.md 7.1).
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = read_data(value.get("data").unwrap_or(&Value::Null), zone, source);
    if lenient::text(value, "code").is_none() {
        answer.drift.note(Field::ErrorCode, problem_of(value.get("code")));
    }
    answer
}

/// Reads its `data`, which is also what stands in a list.
pub fn read_data(data: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(CONTRACT, data, zone, source);
    if answer.reported_status != Some(Status::Failed) {
        answer.error_message = None;
    }
    answer.failure = class(FAILURES, None, answer.error_message.as_deref());
    answer
}
