//! The `OpenAI` Videos object (Sora), also as gateways and compatible servers send it.

use std::time::Duration;

use serde_json::Value;

use super::definition::{Provider, RequestSpec};
use super::list::{List, Place};
use super::read::error::by_code;
use super::read::failures::{Failures, Sign, class};
use super::read::fields::{self, BodySource, Contract, always, optional, problem_of, succeeded};
use super::read::lenient::{self, Zone};
use super::read::{answer as whole, error};
use super::{ark, dashscope, minimax_hailuo};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Answer, FailureClass, Reason, Status};

/// Newest first; where it goes on is after the last id (docs/upstreams.md 6).
const LIST: List = List {
    items: &["data"],
    read_item: |value, zone| whole::entry(read(value, zone, BodySource::Direct)),
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
    read: |value, zone| whole::direct(value, read(value, zone, BodySource::Direct), error_kind),
    error_kind,
    list: Some(LIST),
    batch: None,
    read_callback: None,
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["id", "task_id"]),
    always(Field::Status, &["status"]),
    always(Field::Submit, &["created_at", "created"]),
    succeeded(Field::Finish, &["completed_at"]),
    always(Field::Progress, &["progress"]).optional_behind_gateway(),
    always(Field::ModelUpstream, &["model"]).optional_behind_gateway(),
    succeeded(Field::Duration, &["seconds"]).optional_behind_gateway(),
    succeeded(Field::Resolution, &["size"]).optional_behind_gateway(),
    optional(Field::ErrorCode, &["error.code", "error.type"]),
    optional(Field::ErrorMessage, &["error.message"]),
    optional(Field::ExpiresAt, &["expires_at"]),
];

/// The kind of an error.
pub fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    by_code(&[("insufficient_quota", Reason::QuotaExhausted)], error)
}

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
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    // OpenAI's own objects are called just `video`, and their times are seconds.
    let millis = lenient::amount(value, "created_at").is_some_and(|created| created > 1e11);
    let gateways = ["task_id", "metadata", "created"].iter().any(|key| value.get(key).is_some());
    let own = value.get("object").is_none_or(|object| object.as_str() == Some("video")) && !millis && !gateways;
    let source = if own { source } else { BodySource::Compatible };
    let mut answer = fields::read(CONTRACT, value, zone, source);
    whole::take_bare_error(&mut answer, value);
    if answer.reported_status == Some(Status::Failed) && answer.error_message.is_none() {
        read_failure(value, zone, &mut answer);
    }
    // Where a URL may stand differs from server to server, and gateways put the text of a failure in its place.
    if answer.reported_status == Some(Status::Succeeded) {
        let metadata = value.get("metadata").unwrap_or(&Value::Null);
        if !metadata.is_null() && !metadata.is_object() {
            answer.drift.note(Field::ResultUrl, FieldProblem::WrongType);
        }
        for url in [value.get("video_url"), value.get("url"), metadata.get("url")].into_iter().flatten() {
            // A text that is no URL says nothing about the task, which has ended well.
            if fields::take(&mut answer, Field::ResultUrl, url, zone) == Err(FieldProblem::WrongType) {
                answer.drift.note(Field::ResultUrl, FieldProblem::WrongType);
            }
        }
    }
    let (code, message) = (answer.error_code.as_deref(), answer.error_message.as_deref());
    // Gateways put every vendor's tasks into this shape, with that vendor's codes.
    let by_vendor = || if source == BodySource::Direct { None } else { class_by_any_vendor(code, message) };
    answer.failure = class(FAILURES, code, message).or_else(by_vendor);
    answer
}

/// The class of a failure that a gateway passes on with the code of an unknown vendor.
pub fn class_by_any_vendor(code: Option<&str>, message: Option<&str>) -> Option<FailureClass> {
    let tables = [ark::FAILURES, dashscope::FAILURES, minimax_hailuo::FAILURES, FAILURES];
    tables.into_iter().find_map(|table| class(table, code, message))
}

/// The text of a failure that has none of its own: gateways put it where the URL would be.
fn read_failure(value: &Value, zone: Zone, answer: &mut Answer) {
    let metadata = value.get("metadata").unwrap_or(&Value::Null);
    let found = [value.get("fail_reason"), metadata.get("url")].into_iter().flatten();
    if !found.into_iter().any(|text| fields::take(answer, Field::ErrorMessage, text, zone) == Ok(true)) {
        answer.drift.note(Field::ErrorMessage, problem_of(lenient::at(value, "error.message")));
    }
}

/// True for an object whose `object` begins with `video`.
pub fn is_video(value: &Value) -> bool {
    value.get("object").and_then(Value::as_str).is_some_and(|object| object.starts_with("video"))
}
