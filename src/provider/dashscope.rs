//! Alibaba `DashScope` (`HappyHorse`, Wan): `{output: {task_status, …}, usage}`; its times have no zone and are UTC+8.

use std::time::Duration;

use serde_json::Value;

use super::definition::{Provider, RequestSpec};
use super::list::{List, Page, Place};
use super::read::error::by_code;
use super::read::failures::{Failures, Sign, class};
use super::read::fields::{self, BodySource, Contract, always, ended, failed, optional, problem_of, succeeded};
use super::read::lenient::{self, Zone};
use super::read::{answer as whole, error};
use crate::domain::drift::Field;
use crate::domain::{Answer, FailureClass, Reason, Status};

/// The provider (docs/upstreams.md 10).
pub static DASHSCOPE: Provider = Provider {
    name: "dashscope",
    base_url: Some("https://dashscope.aliyuncs.com"),
    requests: &[RequestSpec::get("/api/v1/tasks/{task_id}")],
    read: |value, zone| whole::direct(value, read(value, zone, BodySource::Direct), error_kind),
    error_kind,
    list: Some(List {
        items: &["data"],
        read_item: |value, zone| whole::entry(read_row(value, zone)),
        place: Place::At(&["api", "v1", "tasks", ""]),
        size: 100,
        query: list_query,
        reach: Duration::from_hours(24),
        parts: &[None],
    }),
    batch: None,
    read_callback: None,
};

/// Hours east of Greenwich of `DashScope`'s times; `request.time_offset` overrides it.
const OFFSET_HOURS: i8 = 8;

/// How far a span begins before and ends after what is wanted: its times are the server's.
const SKEW: Duration = Duration::from_mins(5);

/// The longest span that may be asked for (docs/upstreams.md 10.2).
const WINDOW: Duration = Duration::from_hours(24);

/// A page of the tasks between two moments, written in the zone of its times.
fn list_query(page: &Page<'_>) -> Vec<(&'static str, String)> {
    let until = page.now + SKEW;
    let since = (page.since - SKEW).max(until - WINDOW);
    let text = |moment| page.zone.or_hours(OFFSET_HOURS).compact(moment);
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
    succeeded(Field::ResultUrl, &["output.video_url"]),
];

/// A row of the list, whose times are milliseconds.
const ROW: Contract = &[
    always(Field::TaskId, &["task_id"]),
    always(Field::Status, &["status"]),
    always(Field::Submit, &["gmt_create"]),
    optional(Field::Start, &["start_time"]),
    ended(Field::Finish, &["end_time"]),
    always(Field::ModelUpstream, &["model_name"]),
];

/// The kind of an error (docs/upstreams.md 10.3).
pub fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    let is_throttled = error.code.as_deref().is_some_and(|code| code.starts_with("Throttling"));
    if is_throttled { Some(Reason::RateLimited) } else { by_code(&[("InvalidApiKey", Reason::Unauthorized)], error) }
}

pub(super) const FAILURES: Failures = &[
    (Sign::CodeHas("DataInspection"), FailureClass::ContentPolicy),
    (Sign::CodeHas("IPInfringement"), FailureClass::ContentPolicy),
    (Sign::CodeHas("InappropriateContent"), FailureClass::ContentPolicy),
    (Sign::CodeHas("Arrearage"), FailureClass::Quota),
    (Sign::CodeHas("Throttling.AllocationQuota"), FailureClass::Quota),
    (Sign::CodeHas("Throttling"), FailureClass::RateLimit),
    (Sign::CodeHas("InvalidApiKey"), FailureClass::Auth),
    (Sign::CodeHas("AccessDenied"), FailureClass::Auth),
    (Sign::CodeHas("Timeout"), FailureClass::Timeout),
    (Sign::CodeHas("InternalError"), FailureClass::ProviderError),
    (Sign::CodeHas("SystemError"), FailureClass::ProviderError),
    (Sign::CodeHas("ServiceUnavailable"), FailureClass::ProviderError),
    (Sign::CodeHas("Invalid"), FailureClass::InvalidInput),
    (Sign::CodeHas("BadRequest"), FailureClass::InvalidInput),
];

/// Reads a task (docs/upstreams.md 10.1).
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone.or_hours(OFFSET_HOURS), source);
    let usage = value.get("usage").unwrap_or(&Value::Null);
    let spelled = || lenient::text(usage, "SR").map(|lines| format!("{}p", lines.trim_end_matches(['p', 'P'])));
    let height = lenient::amount(usage, "SR").map(|lines| format!("{lines}p")).or_else(spelled);
    answer.resolution = height.or_else(|| lenient::owned(usage, "video_ratio"));
    if answer.reported_status == Some(Status::Succeeded) && answer.resolution.is_none() {
        answer.drift.note(Field::Resolution, problem_of(usage.get("SR")));
    }
    settle(answer)
}

/// Reads a row of the list (docs/upstreams.md 10.2).
fn read_row(value: &Value, zone: Zone) -> Answer {
    settle(fields::read(ROW, value, zone.or_hours(OFFSET_HOURS), BodySource::Direct))
}

/// UNKNOWN is how it says that it knows no such task.
fn settle(mut answer: Answer) -> Answer {
    answer.is_not_found = answer.reported_status == Some(Status::Unknown) && answer.unknown_word.is_none();
    if answer.is_not_found {
        // Of what it does not know there is nothing to tell.
        answer.drift = answer.drift.without_missing();
    }
    answer.failure = class(FAILURES, answer.error_code.as_deref(), None);
    answer
}
