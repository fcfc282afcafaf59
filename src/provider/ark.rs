//! Volcengine Ark and `BytePlus` `ModelArk` (Seedance): `{id, model, status, created_at, updated_at, content, usage, …}`.

use std::time::Duration;

use serde_json::Value;

use super::definition::{Batch, Provider, RequestSpec};
use super::list::{self, List, ListPath};
use super::read::error::by_code;
use super::read::failures::{FailurePattern, FailureTable, classify};
use super::read::fields::{self, BodySource, Contract, always, failed, optional, succeeded, value_problem};
use super::read::lenient::{self, Zone};
use super::read::{answer, error};
use super::token_law;
use crate::domain::drift::Field;
use crate::domain::{Answer, FailureClass, Reason, Status, TaskId};
use crate::http::Request;

/// The provider (docs/upstreams.md 5).
pub static ARK: Provider = Provider {
    base_url: Some("https://ark.cn-beijing.volces.com/api/v3"),
    list: Some(List {
        items: &["items"],
        read_item: |value, zone| answer::finish_list_item(read(value, zone, BodySource::Direct)),
        path: ListPath::AboveTask,
        path_of_all: None,
        query_one: None,
        size: 500,
        has_any_size: false,
        query: list::numbered_query,
        reach: Duration::from_hours(7 * 24),
        // The list contains other service tiers only on request (docs/upstreams.md 5.2).
        parts: &[None, Some(("filter.service_tier", "flex"))],
    }),
    batch: Some(Batch { max: 500, request: batch_request }),
    read_callback: Some(|value, zone| {
        answer::finish_callback(value, read(value, zone, BodySource::Direct), error_kind)
    }),
    requests: &[RequestSpec::get("/contents/generations/tasks/{task_id}")],
    ..Provider::new(
        "ark",
        |value, zone| answer::finish_direct(value, read(value, zone, BodySource::Direct), error_kind),
        error_kind,
    )
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["id"]).optional_behind_gateway(),
    always(Field::Status, &["status"]),
    always(Field::Submit, &["created_at"]).optional_behind_gateway(),
    // Every task has it; for an ended task it is the finish time.
    always(Field::Finish, &["updated_at"]).optional_behind_gateway(),
    always(Field::ModelUpstream, &["model"]).optional_behind_gateway(),
    succeeded(Field::Resolution, &["resolution"]),
    optional(Field::ServiceTier, &["service_tier"]),
    optional(Field::TokensPrompt, &["usage.prompt_tokens"]),
    succeeded(Field::TokensCompletion, &["usage.completion_tokens"]).optional_behind_gateway(),
    succeeded(Field::TokensTotal, &["usage.total_tokens"]),
    failed(Field::ErrorCode, &["error.code", "error.type"]),
    failed(Field::ErrorMessage, &["error.message"]),
    succeeded(Field::ResultUrl, &["content.video_url"]).optional_behind_gateway(),
    optional(Field::Deadline, &["execution_expires_after"]),
    optional(Field::Duration, &["duration"]),
];

/// Error codes (docs/upstreams.md 5.4).
const ERRORS: &[(&str, Reason)] =
    &[("AccountOverdueError", Reason::QuotaExhausted), ("QuotaExceeded", Reason::QuotaExhausted)];

/// The reason of an error.
pub fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    by_code(ERRORS, error)
}

pub(super) const FAILURES: FailureTable = &[
    (FailurePattern::CodeContains("SensitiveContent"), FailureClass::ContentPolicy),
    (FailurePattern::CodeContains("RiskDetection"), FailureClass::ContentPolicy),
    (FailurePattern::CodeContains("PolicyViolation"), FailureClass::ContentPolicy),
    (FailurePattern::CodeContains("AccountOverdue"), FailureClass::Quota),
    (FailurePattern::CodeContains("QuotaExceeded"), FailureClass::Quota),
    (FailurePattern::CodeContains("SetLimitExceeded"), FailureClass::Quota),
    (FailurePattern::CodeContains("RateLimit"), FailureClass::RateLimit),
    (FailurePattern::CodeContains("ServerOverloaded"), FailureClass::RateLimit),
    (FailurePattern::CodeContains("Authentication"), FailureClass::Auth),
    (FailurePattern::CodeContains("AccessDenied"), FailureClass::Auth),
    (FailurePattern::CodeContains("Timeout"), FailureClass::Timeout),
    (FailurePattern::CodeContains("Internal"), FailureClass::ProviderError),
    (FailurePattern::CodeContains("ServiceUnavailable"), FailureClass::ProviderError),
    (FailurePattern::CodeContains("Invalid"), FailureClass::InvalidInput),
    (FailurePattern::CodeContains("MissingParameter"), FailureClass::InvalidInput),
    (FailurePattern::CodeContains("BadRequest"), FailureClass::InvalidInput),
    (FailurePattern::CodeContains("NotFound"), FailureClass::InvalidInput),
];

/// Whether a body is a task of Ark, and not of another vendor.
pub fn is_task(value: &Value) -> bool {
    let has = |key| value.get(key).is_some();
    let has_own_id = value.get("id").and_then(Value::as_str).is_some_and(|id| id.starts_with("cgt-"));
    has_own_id || ["content", "usage", "framespersecond"].into_iter().any(has) || has("created_at") && has("updated_at")
}

/// Reads an Ark task (docs/upstreams.md 5.1).
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone, source);
    answer.video_seconds = answer.video_seconds.or_else(|| {
        let rate = lenient::amount(value, "framespersecond").filter(|rate| *rate > 0.0)?;
        let seconds = lenient::amount(value, "frames")? / rate;
        (seconds <= lenient::limit::VIDEO_SECONDS).then_some(seconds)
    });
    if answer.video_seconds.is_none() && answer.reported_status == Some(Status::Succeeded) {
        answer.drift.add(Field::Duration, value_problem(value.get("duration").or(value.get("frames"))));
    }
    answer.billing.has_audio = value.get("generate_audio").and_then(Value::as_bool);
    answer.billing.predicted_tokens = token_law::predict(&answer, value);
    answer::read_error_text(&mut answer, value);
    answer.failure = classify(FAILURES, answer.error_code.as_deref(), None);
    answer
}

/// Requests many tasks with the list (docs/upstreams.md 5.2). It omits tasks that are older than 7 days, cancelled for a day, or
/// of a service tier other than the default one.
fn batch_request(ids: &[TaskId]) -> Request {
    let mut request = Request::get(["contents", "generations", "tasks"]);
    request.query = vec![("page_num".to_owned(), "1".to_owned()), ("page_size".to_owned(), ids.len().to_string())];
    request.query.extend(ids.iter().map(|id| ("filter.task_ids".to_owned(), id.to_string())));
    request
}
