//! The `OpenAI` Videos object (Sora), which gateways and compatible servers send, too.

use std::time::Duration;

use serde_json::Value;

use super::definition::{Provider, RequestSpec};
use super::list::{List, ListPath};
use super::read::error::by_code;
use super::read::failures::{FailurePattern, FailureTable, classify};
use super::read::fields::{self, BodySource, Contract, always, optional, succeeded, value_problem};
use super::read::lenient::{self, Zone};
use super::read::{answer, error};
use super::{ark, dashscope, jimeng, minimax_hailuo, openai_job, openrouter, vidu};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Answer, FailureClass, Reason, Status};

/// The list, newest first. The next page begins after the last id (docs/upstreams.md 6).
const LIST: List = List {
    items: &["data"],
    read_item: |value, zone| answer::finish_list_item(read(value, zone, BodySource::Direct)),
    path: ListPath::AboveTask,
    path_of_all: None,
    query_one: None,
    size: 100,
    has_any_size: false,
    query: |page| {
        let after = page.after.map(|id| ("after", id.to_owned()));
        [("limit", page.size.to_string()), ("order", "desc".to_owned())].into_iter().chain(after).collect()
    },
    reach: Duration::MAX,
    parts: &[None],
};

/// The provider (docs/upstreams.md 6).
pub static OPENAI_VIDEOS: Provider = Provider {
    list: Some(LIST),
    requests: &[RequestSpec::get("/v1/videos/{task_id}")],
    ..Provider::new(
        "openai_videos",
        |value, zone| answer::finish_direct(value, read(value, zone, BodySource::Direct), error_kind),
        error_kind,
    )
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

/// Error codes (docs/upstreams.md 1.5 and 6.2), and that of the gateways that use this shape.
const ERRORS: &[(&str, Reason)] = &[
    ("insufficient_quota", Reason::QuotaExhausted),
    ("billing_hard_limit_reached", Reason::QuotaExhausted),
    ("insufficient_user_quota", Reason::QuotaExhausted),
    ("invalid_api_key", Reason::Unauthorized),
];

/// The reason of an error.
pub fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    by_code(ERRORS, error)
}

pub(super) const FAILURES: FailureTable = &[
    (FailurePattern::CodeContains("moderation"), FailureClass::ContentPolicy),
    (FailurePattern::CodeContains("content_policy"), FailureClass::ContentPolicy),
    (FailurePattern::CodeContains("safety"), FailureClass::ContentPolicy),
    (FailurePattern::CodeContains("sentinel"), FailureClass::ContentPolicy),
    (FailurePattern::CodeContains("insufficient_quota"), FailureClass::Quota),
    (FailurePattern::CodeContains("billing"), FailureClass::Quota),
    (FailurePattern::CodeContains("rate_limit"), FailureClass::RateLimit),
    (FailurePattern::CodeContains("invalid_api_key"), FailureClass::Auth),
    (FailurePattern::CodeContains("authentication"), FailureClass::Auth),
    (FailurePattern::CodeContains("permission"), FailureClass::Auth),
    (FailurePattern::CodeContains("timeout"), FailureClass::Timeout),
    (FailurePattern::CodeContains("internal"), FailureClass::ProviderError),
    (FailurePattern::CodeContains("server_error"), FailureClass::ProviderError),
    (FailurePattern::CodeContains("generation_failed"), FailureClass::ProviderError),
    (FailurePattern::CodeContains("video_generation"), FailureClass::ProviderError),
    (FailurePattern::CodeContains("invalid"), FailureClass::InvalidInput),
    (FailurePattern::CodeContains("bad_request"), FailureClass::InvalidInput),
    // A message of gateways, without a code.
    (FailurePattern::MessageStart("upstream returned"), FailureClass::GatewayError),
];

/// Decodes a video object (docs/upstreams.md 2.6 and 6.1).
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    if openai_job::is_job(value) {
        return openai_job::read(value, zone, source);
    }
    if openrouter::is_job(value) {
        return openrouter::read(value, zone);
    }
    // In OpenAI's objects `object` is `video`, and times are seconds.
    let has_millis = lenient::number(value, "created_at").is_some_and(|created| created > 1e11);
    let has_gateway_fields = ["task_id", "metadata", "created"].iter().any(|key| value.get(key).is_some());
    let is_from_openai =
        value.get("object").is_none_or(|object| object.as_str() == Some("video")) && !has_millis && !has_gateway_fields;
    let source = if is_from_openai { source } else { BodySource::Compatible };
    let mut answer = fields::read(CONTRACT, value, zone, source);
    answer::read_error_text(&mut answer, value);
    if answer.reported_status == Some(Status::Failed) && answer.error_message.is_none() {
        read_failure(value, zone, &mut answer);
    }
    // Servers put the URL into different fields, and gateways put the message of a failure there, too.
    if answer.reported_status == Some(Status::Succeeded) {
        let metadata = value.get("metadata").unwrap_or(&Value::Null);
        if !metadata.is_null() && !metadata.is_object() {
            answer.drift.add(Field::ResultUrl, FieldProblem::WrongType);
        }
        let listed = ["urls", "unsigned_urls"].into_iter().filter_map(|key| value.get(key)?.as_array()).flatten();
        let urls = [value.get("video_url"), value.get("url"), metadata.get("url")].into_iter().flatten();
        for url in urls.chain(listed) {
            // A text that is not a URL is ignored: the task has succeeded.
            if fields::read_field(&mut answer, Field::ResultUrl, url, zone) == Err(FieldProblem::WrongType) {
                answer.drift.add(Field::ResultUrl, FieldProblem::WrongType);
            }
        }
    }
    let (code, message) = (answer.error_code.as_deref(), answer.error_message.as_deref());
    // Gateways use this shape for every vendor, with the vendor's codes.
    answer.failure = classify(FAILURES, code, message).or_else(|| class_by_any_vendor(code, message));
    answer
}

/// The class of a failure that a gateway forwards with the code of an unknown vendor.
pub fn class_by_any_vendor(code: Option<&str>, message: Option<&str>) -> Option<FailureClass> {
    let tables = [
        ark::FAILURES,
        dashscope::FAILURES,
        minimax_hailuo::FAILURES,
        FAILURES,
        openai_job::FAILURES,
        jimeng::FAILURES,
        vidu::FAILURES,
    ];
    tables.into_iter().find_map(|table| classify(table, code, message))
}

/// Reads the message of a failure from the fields of the URL, where gateways put it.
fn read_failure(value: &Value, zone: Zone, answer: &mut Answer) {
    let metadata = value.get("metadata").unwrap_or(&Value::Null);
    let found = [value.get("fail_reason"), metadata.get("url")].into_iter().flatten();
    if !found.into_iter().any(|text| fields::read_field(answer, Field::ErrorMessage, text, zone) == Ok(true)) {
        answer.drift.add(Field::ErrorMessage, value_problem(lenient::at(value, "error.message")));
    }
}

/// Whether `object` begins with `video`.
pub fn is_video(value: &Value) -> bool {
    value.get("object").and_then(Value::as_str).is_some_and(|object| object.starts_with("video"))
}
