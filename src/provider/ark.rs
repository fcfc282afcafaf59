//! Volcengine Ark and `BytePlus` `ModelArk` (Seedance): `{id, model, status, created_at, updated_at, content, usage, …}`.

use std::time::Duration;

use serde_json::Value;

use super::definition::{Batch, Provider, RequestSpec};
use super::list::{self, List, Place};
use super::read::error::by_code;
use super::read::failures::{Failures, Sign, class};
use super::read::fields::{self, BodySource, Contract, always, failed, optional, problem_of, succeeded};
use super::read::lenient::{self, Zone};
use super::read::{answer as whole, error};
use crate::domain::drift::Field;
use crate::domain::{Answer, FailureClass, Reason, Status, TaskId};
use crate::http::Request;

/// The provider (docs/upstreams.md 5).
pub static ARK: Provider = Provider {
    name: "ark",
    base_url: Some("https://ark.cn-beijing.volces.com/api/v3"),
    requests: &[RequestSpec::get("/contents/generations/tasks/{task_id}")],
    read: |value, zone| whole::direct(value, read(value, zone, BodySource::Direct), error_kind),
    error_kind,
    list: Some(List {
        items: &["items"],
        read_item: |value, zone| whole::entry(read(value, zone, BodySource::Direct)),
        place: Place::AboveTask,
        size: 500,
        query: list::numbered,
        reach: Duration::from_hours(7 * 24),
        // Tasks of the other tier are left out unless they are asked for (docs/upstreams.md 5.2).
        parts: &[None, Some(("filter.service_tier", "flex"))],
    }),
    batch: Some(Batch { max: 500, request: batch }),
    read_callback: Some(|value, zone| whole::callback(value, read(value, zone, BodySource::Direct), error_kind)),
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["id"]).optional_behind_gateway(),
    always(Field::Status, &["status"]),
    always(Field::Submit, &["created_at"]).optional_behind_gateway(),
    // Set all the time; it is the finish once the task has ended.
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
const ERRORS: &[(&str, Reason)] = &[("AccountOverdueError", Reason::QuotaExhausted)];

/// The kind of an error.
pub fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    by_code(ERRORS, error)
}

pub(super) const FAILURES: Failures = &[
    (Sign::CodeHas("SensitiveContent"), FailureClass::ContentPolicy),
    (Sign::CodeHas("RiskDetection"), FailureClass::ContentPolicy),
    (Sign::CodeHas("PolicyViolation"), FailureClass::ContentPolicy),
    (Sign::CodeHas("AccountOverdue"), FailureClass::Quota),
    (Sign::CodeHas("QuotaExceeded"), FailureClass::Quota),
    (Sign::CodeHas("SetLimitExceeded"), FailureClass::Quota),
    (Sign::CodeHas("RateLimit"), FailureClass::RateLimit),
    (Sign::CodeHas("ServerOverloaded"), FailureClass::RateLimit),
    (Sign::CodeHas("Authentication"), FailureClass::Auth),
    (Sign::CodeHas("AccessDenied"), FailureClass::Auth),
    (Sign::CodeHas("Timeout"), FailureClass::Timeout),
    (Sign::CodeHas("Internal"), FailureClass::ProviderError),
    (Sign::CodeHas("ServiceUnavailable"), FailureClass::ProviderError),
    (Sign::CodeHas("Invalid"), FailureClass::InvalidInput),
    (Sign::CodeHas("MissingParameter"), FailureClass::InvalidInput),
    (Sign::CodeHas("BadRequest"), FailureClass::InvalidInput),
    (Sign::CodeHas("NotFound"), FailureClass::InvalidInput),
];

/// Reads an Ark task (docs/upstreams.md 5.1).
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone, source);
    answer.video_seconds = answer.video_seconds.or_else(|| {
        let rate = lenient::amount(value, "framespersecond").filter(|rate| *rate > 0.0)?;
        Some(lenient::amount(value, "frames")? / rate)
    });
    if answer.video_seconds.is_none() && answer.reported_status == Some(Status::Succeeded) {
        answer.drift.note(Field::Duration, problem_of(value.get("duration").or(value.get("frames"))));
    }
    whole::take_bare_error(&mut answer, value);
    answer.failure = class(FAILURES, answer.error_code.as_deref(), None);
    answer
}

/// One list call for many ids (docs/upstreams.md 5.2). It leaves out what is older than 7 days, cancelled for a day, or of
/// another service tier than the default one.
fn batch(ids: &[TaskId]) -> Request {
    let mut request = Request::get(["contents", "generations", "tasks"]);
    request.query = vec![("page_num".to_owned(), "1".to_owned()), ("page_size".to_owned(), ids.len().to_string())];
    request.query.extend(ids.iter().map(|id| ("filter.task_ids".to_owned(), id.to_string())));
    request
}
