//! The `OpenAI` Videos object (Sora), also as gateways and compatible servers send it.

use std::time::Duration;

use super::body::Body;
use super::contract::{self, Contract, Origin, always, optional, problem_of, succeeded};
use super::failures::{Failures, Sign, class};
use super::json::{self, Zone};
use super::list::{List, Place};
use super::tree::Value;
use super::{Gives, Provider, RequestSpec, Shape};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{FailureClass, Status};

/// Newest first; where it goes on is after the last id (docs/upstreams.md 6).
const LIST: List = List {
    items: &["data"],
    shape: Shape::OpenAi,
    place: Place::AboveTask,
    size: 100,
    query: |page| {
        let after = page.after.map(|id| ("after", id.to_owned()));
        [("limit", page.size.to_string()), ("order", "desc".to_owned())].into_iter().chain(after).collect()
    },
    reach: Duration::MAX,
    parts: &[None],
};

/// The provider (docs/upstreams.md 6).
pub static OPENAI_VIDEOS: Provider = Provider {
    name: "openai_videos",
    base_url: Some("https://api.openai.com"),
    requests: &[RequestSpec::get("/v1/videos/{task_id}")],
    shape: Shape::OpenAi,
    list: Some(LIST),
    batch: None,
    gives: Gives {
        single: "yes",
        batch: "–",
        list: "yes",
        progress: "per cent",
        times: "submit, finish, expiry",
        tokens: "–",
        credits: "–",
        errors: "code, message",
    },
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["id", "task_id"]),
    always(Field::Status, &["status"]),
    always(Field::Submit, &["created_at", "created"]),
    succeeded(Field::Finish, &["completed_at"]),
    always(Field::Progress, &["progress"]).often_cut(),
    always(Field::ModelUpstream, &["model"]).often_cut(),
    succeeded(Field::Duration, &["seconds"]).often_cut(),
    succeeded(Field::Resolution, &["size"]).often_cut(),
    optional(Field::ErrorCode, &["error.code", "error.type"]),
    optional(Field::ErrorMessage, &["error.message"]),
    optional(Field::ExpiresAt, &["expires_at"]),
];

pub(super) const FAILURES: Failures = &[
    (Sign::CodeHas("moderation"), FailureClass::ContentPolicy),
    (Sign::CodeHas("content_policy"), FailureClass::ContentPolicy),
    (Sign::CodeHas("safety"), FailureClass::ContentPolicy),
    (Sign::CodeHas("sentinel"), FailureClass::ContentPolicy),
    (Sign::CodeHas("insufficient_quota"), FailureClass::Quota),
    (Sign::CodeHas("billing"), FailureClass::Quota),
    (Sign::CodeHas("rate_limit"), FailureClass::RateLimit),
    (Sign::CodeHas("invalid_api_key"), FailureClass::Auth),
    (Sign::CodeHas("authentication"), FailureClass::Auth),
    (Sign::CodeHas("permission"), FailureClass::Auth),
    (Sign::CodeHas("timeout"), FailureClass::Timeout),
    (Sign::CodeHas("internal"), FailureClass::ProviderError),
    (Sign::CodeHas("server_error"), FailureClass::ProviderError),
    (Sign::CodeHas("generation_failed"), FailureClass::ProviderError),
    (Sign::CodeHas("video_generation"), FailureClass::ProviderError),
    (Sign::CodeHas("invalid"), FailureClass::InvalidInput),
    (Sign::CodeHas("bad_request"), FailureClass::InvalidInput),
    // Gateways write this themselves, without a code.
    (Sign::Text("upstream returned"), FailureClass::GatewayError),
];

/// Reads a video object (docs/upstreams.md 2.6 and 6.1).
pub fn read(value: &Value, zone: Zone, origin: Origin) -> Body {
    // OpenAI's own objects are called just `video`, and their times are seconds.
    let millis = json::amount(value, "created_at").is_some_and(|created| created > 1e11);
    let gateways = ["task_id", "metadata", "created"].iter().any(|key| value.get(key).is_some());
    let own = value.get("object").is_none_or(|object| object.as_str() == Some("video")) && !millis && !gateways;
    let origin = if own { origin } else { Origin::Compatible };
    let mut body = contract::read(CONTRACT, value, zone, origin);
    body.take_bare_error(value);
    if body.status() == Some(Status::Failed) && body.error_message.is_none() {
        read_failure(value, zone, &mut body);
    }
    // Where a URL may stand differs from server to server, and gateways put the text of a failure in its place.
    if body.status() == Some(Status::Succeeded) {
        let metadata = value.get("metadata").unwrap_or(&Value::Null);
        if !metadata.is_null() && !metadata.is_object() {
            body.drift.note(Field::ResultUrl, FieldProblem::WrongType);
        }
        for url in [value.get("video_url"), value.get("url"), metadata.get("url")].into_iter().flatten() {
            // A text that is no URL says nothing about the task, which has ended well.
            if body.take(Field::ResultUrl, url, zone) == Err(FieldProblem::WrongType) {
                body.drift.note(Field::ResultUrl, FieldProblem::WrongType);
            }
        }
    }
    body.failure = class(FAILURES, body.error_code.as_deref(), body.error_message.as_deref());
    body
}

/// The text of a failure that has none of its own: gateways put it where the URL would be.
fn read_failure(value: &Value, zone: Zone, body: &mut Body) {
    let metadata = value.get("metadata").unwrap_or(&Value::Null);
    let found = [value.get("fail_reason"), metadata.get("url")].into_iter().flatten();
    if !found.into_iter().any(|text| body.take(Field::ErrorMessage, text, zone) == Ok(true)) {
        body.drift.note(Field::ErrorMessage, problem_of(json::at(value, "error.message")));
    }
}

/// True for an object whose `object` begins with `video`.
pub fn is_video(value: &Value) -> bool {
    value.get("object").and_then(Value::as_str).is_some_and(|object| object.starts_with("video"))
}
