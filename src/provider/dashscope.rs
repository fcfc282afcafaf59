//! Alibaba `DashScope` (`HappyHorse`, Wan): `{output: {task_status, …}, usage}`. Its times are in UTC+8, without a zone.

use std::time::Duration;

use serde_json::Value;

use super::definition::{Provider, RequestSpec};
use super::list::{List, ListPath, PageRequest};
use super::read::error::by_code;
use super::read::failures::{FailurePattern, FailureTable, classify};
use super::read::fields::{self, BodySource, Contract, always, ended, failed, optional, succeeded, value_problem};
use super::read::lenient::{self, Zone};
use super::read::{answer, error};
use crate::domain::drift::Field;
use crate::domain::{Answer, FailureClass, Reason, Status};

/// The provider (docs/upstreams.md 10).
pub static DASHSCOPE: Provider = Provider {
    base_url: Some("https://dashscope.aliyuncs.com"),
    list: Some(List {
        items: &["data"],
        read_item: |value, zone| {
            let answer = answer::finish_list_item(read_row(value, zone))?;
            // Rows have neither usage nor the length of the video.
            Some(Answer { is_partial: true, ..answer })
        },
        path: ListPath::Fixed(&["api", "v1", "tasks", ""]),
        path_of_all: None,
        query_one: None,
        size: 100,
        has_any_size: false,
        query: list_query,
        reach: Duration::from_hours(24),
        parts: &[None],
    }),
    requests: &[RequestSpec::get("/api/v1/tasks/{task_id}")],
    ..Provider::new(
        "dashscope",
        |value, zone| answer::finish_direct(value, read(value, zone, BodySource::Direct), error_kind),
        error_kind,
    )
};

/// Offset of `DashScope`'s times from UTC, in hours; `request.time_offset` overrides it.
const OFFSET_HOURS: i8 = 8;

/// By how much the requested window is extended on both sides: the server's clock may differ.
const SKEW: Duration = Duration::from_mins(5);

/// The longest window of a request (docs/upstreams.md 10.2).
const WINDOW: Duration = Duration::from_hours(24);

/// The query of a page: a window of submit times, written in the zone of `DashScope`.
fn list_query(page: &PageRequest<'_>) -> Vec<(&'static str, String)> {
    let until = page.now + SKEW;
    let since = (page.since - SKEW).max(until - WINDOW);
    let text = |time| page.zone.or_hours(OFFSET_HOURS).format_compact(time);
    vec![
        ("start_time", text(since)),
        ("end_time", text(until)),
        ("page_no", page.number.to_string()),
        ("page_size", page.size.to_string()),
    ]
}

const CONTRACT: Contract = &[
    always(Field::TaskId, &["output.task_id"]),
    always(Field::Status, &["output.task_status"]),
    always(Field::Submit, &["output.submit_time"]),
    ended(Field::Finish, &["output.end_time"]),
    succeeded(Field::Start, &["output.scheduled_time"]),
    succeeded(Field::Duration, &["usage.output_video_duration", "usage.video_duration", "usage.duration"]),
    failed(Field::ErrorCode, &["output.code", "code"]),
    failed(Field::ErrorMessage, &["output.message", "message"]),
    // `results` is an object for talking heads and Wan's character models (docs/upstreams.md 10).
    succeeded(Field::ResultUrl, &["output.video_url", "output.results.video_url"]),
];

/// A row of the list. Its times are milliseconds.
const ROW: Contract = &[
    always(Field::TaskId, &["task_id"]),
    always(Field::Status, &["status"]),
    always(Field::Submit, &["gmt_create"]),
    optional(Field::Start, &["start_time"]),
    ended(Field::Finish, &["end_time"]),
    always(Field::ModelUpstream, &["model_name"]),
];

/// Error codes (docs/upstreams.md 10.3).
const ERRORS: &[(&str, Reason)] = &[("InvalidApiKey", Reason::Unauthorized), ("Arrearage", Reason::QuotaExhausted)];

/// The reason of an error.
pub fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    let is_throttled = error.code.as_deref().is_some_and(|code| code.starts_with("Throttling"));
    if is_throttled { Some(Reason::RateLimited) } else { by_code(ERRORS, error) }
}

pub(super) const FAILURES: FailureTable = &[
    // The media could not be fetched in time.
    (FailurePattern::Code("InvalidParameter.DataInspection"), FailureClass::InvalidInput),
    (FailurePattern::CodeContains("DataInspection"), FailureClass::ContentPolicy),
    (FailurePattern::CodeContains("IPInfringement"), FailureClass::ContentPolicy),
    (FailurePattern::CodeContains("InappropriateContent"), FailureClass::ContentPolicy),
    (FailurePattern::CodeContains("Arrearage"), FailureClass::Quota),
    (FailurePattern::CodeContains("Throttling.AllocationQuota"), FailureClass::Quota),
    (FailurePattern::CodeContains("Throttling"), FailureClass::RateLimit),
    (FailurePattern::CodeContains("InvalidApiKey"), FailureClass::Auth),
    (FailurePattern::CodeContains("AccessDenied"), FailureClass::Auth),
    (FailurePattern::CodeContains("Timeout"), FailureClass::Timeout),
    (FailurePattern::CodeContains("InternalError"), FailureClass::ProviderError),
    (FailurePattern::CodeContains("SystemError"), FailureClass::ProviderError),
    (FailurePattern::CodeContains("ServiceUnavailable"), FailureClass::ProviderError),
    (FailurePattern::CodeContains("Invalid"), FailureClass::InvalidInput),
    (FailurePattern::CodeContains("BadRequest"), FailureClass::InvalidInput),
];

/// Reads a task (docs/upstreams.md 10.1).
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone.or_hours(OFFSET_HOURS), source);
    let usage = value.get("usage").unwrap_or(&Value::Null);
    answer.billing.seconds = lenient::amount(usage, "duration");
    answer.billing.has_input_video = lenient::amount(usage, "input_video_duration").map(|seconds| seconds > 0.0);
    let from_text = || lenient::text(usage, "SR").map(|lines| format!("{}p", lines.trim_end_matches(['p', 'P'])));
    let height = lenient::amount(usage, "SR").map(|lines| format!("{lines}p")).or_else(from_text);
    let is_lost = height.is_none() && usage.get("SR").is_some_and(|lines| !lines.is_null());
    let size = || lenient::owned(usage, "size").map(|size| size.replace('*', "x"));
    answer.resolution = height.or_else(size).or_else(|| lenient::owned(usage, "video_ratio"));
    if answer.reported_status == Some(Status::Succeeded) && (is_lost || answer.resolution.is_none()) {
        answer.drift.add(Field::Resolution, value_problem(usage.get("SR")));
    }
    finish(answer)
}

/// Reads a row of the list (docs/upstreams.md 10.2).
fn read_row(value: &Value, zone: Zone) -> Answer {
    finish(fields::read(ROW, value, zone.or_hours(OFFSET_HOURS), BodySource::Direct))
}

/// Handles UNKNOWN, which means that the task does not exist, and classifies failures.
fn finish(mut answer: Answer) -> Answer {
    answer.is_not_found = answer.reported_status == Some(Status::Unknown) && answer.unknown_word.is_none();
    if answer.is_not_found {
        // A task that does not exist has no other fields.
        answer.drift = answer.drift.without_missing();
    }
    answer.failure = classify(FAILURES, answer.error_code.as_deref(), None);
    answer
}
