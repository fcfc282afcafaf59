//! `MiniMax` (Hailuo): v1 `{task_id, status, base_resp}` without times, v2 `{task: {…}}` much as Ark.

use std::time::Duration;

use super::body::{Body, size};
use super::contract::{self, Contract, Origin, always, failed, optional, problem_of, succeeded};
use super::failures::{Failures, Sign, class};
use super::json::{self, Zone};
use super::list::{self, List, Place};
use super::tree::Value;
use super::{Gives, Provider, RequestSpec, Shape};
use crate::domain::drift::Field;
use crate::domain::{FailureClass, Status};

/// The provider (docs/upstreams.md 9); v2 is asked with `request.path: /v2/query/video_generation/{task_id}`.
pub static MINIMAX_HAILUO: Provider = Provider {
    name: "minimax_hailuo",
    base_url: Some("https://api.minimax.io"),
    requests: &[RequestSpec::get("/v1/query/video_generation?task_id={task_id}")],
    shape: Shape::MiniMax,
    list: Some(List {
        items: &["items", "tasks"],
        shape: Shape::MiniMaxTask,
        // Only v2 has one (docs/upstreams.md 9).
        place: Place::At(&["v2", "query", "video_generation"]),
        size: 100,
        query: list::numbered,
        reach: Duration::from_hours(7 * 24),
        parts: &[None],
    }),
    batch: None,
    gives: Gives {
        single: "yes, v1 and v2",
        batch: "–",
        list: "v2, 7 days",
        progress: "–",
        times: "v2: submit, finish",
        tokens: "v2: some types",
        credits: "–",
        errors: "code, message",
    },
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
pub fn read(value: &Value, zone: Zone, origin: Origin) -> Body {
    match value.get("task") {
        Some(task) if !task.is_null() => read_task(task, zone, origin),
        _ => read_v1(value, zone, origin),
    }
}

/// Reads a v1 answer (docs/upstreams.md 9.1); a code beside a status is the task's error.
fn read_v1(value: &Value, zone: Zone, origin: Origin) -> Body {
    let mut body = contract::read(V1, value, zone, origin);
    body.resolution = size(value, "video_width", "video_height");
    if body.resolution.is_none() && body.status() == Some(Status::Succeeded) {
        let (width, height) = (value.get("video_width"), value.get("video_height"));
        let worse = problem_of(width).max(problem_of(height));
        body.drift.note(Field::Resolution, worse);
    }
    if body.error_code.is_some()
        && let Some(message) = json::at(value, "base_resp.status_msg")
        && let Err(problem) = body.take(Field::ErrorMessage, message, zone)
    {
        body.drift.note(Field::ErrorMessage, problem);
    }
    settle(body)
}

/// Reads the `task` of a v2 answer (docs/upstreams.md 9.2), which is also what stands in a list.
pub fn read_task(task: &Value, zone: Zone, origin: Origin) -> Body {
    let mut body = contract::read(V2, task, zone, origin);
    body.take_bare_error(task);
    settle(body)
}

fn settle(mut body: Body) -> Body {
    body.failure = class(FAILURES, body.error_code.as_deref(), body.error_message.as_deref());
    body
}
