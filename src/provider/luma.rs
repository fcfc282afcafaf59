//! Luma: `{id, state, created_at, model, assets, failure_reason}` of Dream Machine, and nearly the same of the Agents API.

use std::time::Duration;

use serde_json::Value;

use super::definition::{Provider, RequestSpec};
use super::list::{List, ListPath};
use super::read::answer;
use super::read::error::unknown_kind;
use super::read::failures::{FailurePattern, FailureTable, OTHER_TEXTS, REFUSAL_TEXTS, classify_answer};
use super::read::fields::{self, BodySource, Contract, always, failed, optional};
use super::read::lenient::Zone;
use crate::domain::drift::Field;
use crate::domain::{Answer, FailureClass, Status};

/// The provider (docs/upstreams.md 21). For the Agents API its base URL is `https://agents.lumalabs.ai`.
pub static LUMA: Provider = Provider {
    base_url: Some("https://api.lumalabs.ai/dream-machine"),
    list: Some(List {
        items: &["generations"],
        read_item: |value, zone| answer::finish_list_item(read(value, zone)),
        path: ListPath::AboveTask,
        path_of_all: None,
        query_one: None,
        size: 100,
        has_any_size: false,
        query: |page| {
            let offset = page.number.saturating_sub(1) * page.size;
            vec![("limit", page.size.to_string()), ("offset", offset.to_string())]
        },
        reach: Duration::MAX,
        parts: &[None],
    }),
    // A callback is the generation.
    read_callback: Some(|value, zone| answer::finish_callback(value, read(value, zone), unknown_kind)),
    requests: &[RequestSpec::get("/v1/generations/{task_id}")],
    ..Provider::new("luma", |value, zone| answer::finish(value, read(value, zone), unknown_kind), unknown_kind)
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["id"]),
    always(Field::Status, &["state"]),
    always(Field::Submit, &["created_at"]),
    always(Field::ModelUpstream, &["model"]),
    optional(Field::Duration, &["request.duration"]),
    optional(Field::Resolution, &["request.resolution"]),
    optional(Field::ErrorCode, &["failure_code"]),
    failed(Field::ErrorMessage, &["failure_reason"]),
    optional(Field::ResultUrl, &["assets.video"]),
];

/// Codes of the Agents API.
pub(super) const FAILURES: FailureTable = &[
    (FailurePattern::Code("content_moderated"), FailureClass::ContentPolicy),
    (FailurePattern::Code("budget_exhausted"), FailureClass::Quota),
    (FailurePattern::Code("output_not_found"), FailureClass::NoOutput),
    (FailurePattern::Code("image_too_large"), FailureClass::InvalidInput),
    (FailurePattern::Code("unsupported_format"), FailureClass::InvalidInput),
    (FailurePattern::Code("corrupt_input"), FailureClass::InvalidInput),
    (FailurePattern::Code("invalid_request"), FailureClass::InvalidInput),
    (FailurePattern::Code("generation_failed"), FailureClass::ProviderError),
];

/// The text of a failure that says nothing else.
const JOB_FAILED: FailureTable = &[(FailurePattern::MessageStart("job failed"), FailureClass::ProviderError)];

/// Decodes a generation of either API (docs/upstreams.md 21).
fn read(value: &Value, zone: Zone) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone, BodySource::Direct);
    let outputs = value.get("output").and_then(Value::as_array).into_iter().flatten();
    let is_video = |output: &&Value| output.get("type").and_then(Value::as_str).is_none_or(|kind| kind == "video");
    for url in outputs.filter(is_video).filter_map(|output| output.get("url")) {
        if let Err(problem) = fields::read_field(&mut answer, Field::ResultUrl, url, zone) {
            answer.drift.add(Field::ResultUrl, problem);
        }
    }
    if answer.reported_status == Some(Status::Succeeded) && !answer.has_result_url {
        answer.drift.add(Field::ResultUrl, fields::value_problem(value.get("output").or(value.get("assets"))));
    }
    answer.failure = classify_answer(&[FAILURES, REFUSAL_TEXTS, OTHER_TEXTS, JOB_FAILED], &answer);
    answer
}
