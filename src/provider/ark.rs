//! Volcengine Ark and `BytePlus` `ModelArk` (Seedance): `{id, model, status, created_at, updated_at, content, usage, …}`.

use std::time::Duration;

use super::body::Body;
use super::contract::{self, Contract, Origin, always, failed, optional, problem_of, succeeded};
use super::failures::{Failures, Sign, class};
use super::json::{self, Zone};
use super::list::{self, List, Place};
use super::tree::Value;
use super::{Batch, Gives, Provider, Request, RequestSpec, Shape};
use crate::domain::drift::Field;
use crate::domain::{FailureClass, Status, TaskId};

/// The provider (docs/upstreams.md 5).
pub static ARK: Provider = Provider {
    name: "ark",
    base_url: Some("https://ark.cn-beijing.volces.com/api/v3"),
    requests: &[RequestSpec::get("/contents/generations/tasks/{task_id}")],
    shape: Shape::Ark,
    list: Some(List {
        items: &["items"],
        shape: Shape::Ark,
        place: Place::AboveTask,
        size: 500,
        query: list::numbered,
        reach: Duration::from_hours(7 * 24),
        // Tasks of the other tier are left out unless they are asked for (docs/upstreams.md 5.2).
        parts: &[None, Some(("filter.service_tier", "flex"))],
    }),
    batch: Some(Batch { max: 500, request: batch }),
    gives: Gives {
        single: "yes",
        batch: "500 a request",
        list: "yes, 7 days",
        progress: "–",
        times: "submit, finish, deadline",
        tokens: "completion, total",
        credits: "–",
        errors: "code, message",
    },
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["id"]).often_cut(),
    always(Field::Status, &["status"]),
    always(Field::Submit, &["created_at"]).often_cut(),
    // Set all the time; it is the finish once the task has ended.
    always(Field::Finish, &["updated_at"]).often_cut(),
    always(Field::ModelUpstream, &["model"]).often_cut(),
    succeeded(Field::Resolution, &["resolution"]),
    optional(Field::ServiceTier, &["service_tier"]),
    optional(Field::TokensPrompt, &["usage.prompt_tokens"]),
    succeeded(Field::TokensCompletion, &["usage.completion_tokens"]).often_cut(),
    succeeded(Field::TokensTotal, &["usage.total_tokens"]),
    failed(Field::ErrorCode, &["error.code", "error.type"]),
    failed(Field::ErrorMessage, &["error.message"]),
    succeeded(Field::ResultUrl, &["content.video_url"]).often_cut(),
    optional(Field::Deadline, &["execution_expires_after"]),
    optional(Field::Duration, &["duration"]),
];

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
pub fn read(value: &Value, zone: Zone, origin: Origin) -> Body {
    let mut body = contract::read(CONTRACT, value, zone, origin);
    body.video_seconds = body.video_seconds.or_else(|| {
        let rate = json::amount(value, "framespersecond").filter(|rate| *rate > 0.0)?;
        Some(json::amount(value, "frames")? / rate)
    });
    if body.video_seconds.is_none() && body.status() == Some(Status::Succeeded) {
        body.drift.note(Field::Duration, problem_of(value.get("duration").or(value.get("frames"))));
    }
    body.take_bare_error(value);
    body.failure = class(FAILURES, body.error_code.as_deref(), None);
    body
}

/// One list call for many ids (docs/upstreams.md 5.2). It leaves out what is older than 7 days, cancelled for a day, or of
/// another service tier than the default one.
fn batch(ids: &[TaskId]) -> Request {
    let mut request = Request::get(["contents", "generations", "tasks"]);
    request.query = vec![("page_num".to_owned(), "1".to_owned()), ("page_size".to_owned(), ids.len().to_string())];
    request.query.extend(ids.iter().map(|id| ("filter.task_ids".to_owned(), id.to_string())));
    request
}
