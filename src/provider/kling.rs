//! Kling: `{code, message, data: {task_id, task_status, …}}`; its times are milliseconds.

use std::time::Duration;

use super::body::Body;
use super::contract::{self, Contract, Origin, always, failed, problem_of, succeeded};
use super::failures::{Failures, Sign, class};
use super::json::{self, Zone};
use super::list::{List, Place};
use super::tree::Value;
use super::{Gives, Provider, RequestSpec, Shape};
use crate::domain::drift::Field;
use crate::domain::{FailureClass, Status};

/// The provider (docs/upstreams.md 7).
pub static KLING: Provider = Provider {
    name: "kling",
    base_url: Some("https://api-singapore.klingai.com"),
    requests: &[RequestSpec::get("/v1/videos/text2video/{task_id}")],
    shape: Shape::Kling,
    list: Some(List {
        items: &["data.list", "data"],
        shape: Shape::KlingData,
        place: Place::AboveTask,
        size: 500,
        query: |page| vec![("pageNum", page.number.to_string()), ("pageSize", page.size.to_string())],
        reach: Duration::MAX,
        parts: &[None],
    }),
    batch: None,
    gives: Gives {
        single: "yes",
        batch: "–",
        list: "yes",
        progress: "–",
        times: "submit, finish (ms)",
        tokens: "–",
        credits: "Kling units",
        errors: "message",
    },
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
pub fn read(value: &Value, zone: Zone, origin: Origin) -> Body {
    let mut body = read_data(value.get("data").unwrap_or(&Value::Null), zone, origin);
    if json::text(value, "code").is_none() {
        body.drift.note(Field::ErrorCode, problem_of(value.get("code")));
    }
    body
}

/// Reads its `data`, which is also what stands in a list.
pub fn read_data(data: &Value, zone: Zone, origin: Origin) -> Body {
    let mut body = contract::read(CONTRACT, data, zone, origin);
    if body.status() != Some(Status::Failed) {
        body.error_message = None;
    }
    body.failure = class(FAILURES, None, body.error_message.as_deref());
    body
}
