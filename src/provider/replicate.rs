//! Replicate: a prediction `{id, model, status, created_at, started_at, completed_at, output, error}`.

use std::time::Duration;

use serde_json::Value;

use super::callback_signature::CallbackSignature;
use super::definition::{Provider, RequestSpec};
use super::list::{List, ListPath};
use super::read::answer;
use super::read::error::unknown_kind;
use super::read::failures::{FailurePattern, FailureTable, classify_answer};
use super::read::fields::{self, BodySource, Contract, always, ended, failed, optional};
use super::read::lenient::Zone;
use crate::domain::drift::Field;
use crate::domain::{Answer, FailureClass, Status};

/// The provider (docs/upstreams.md 18).
pub static REPLICATE: Provider = Provider {
    base_url: Some("https://api.replicate.com"),
    list: Some(List {
        items: &["results"],
        read_item: |value, zone| answer::finish_list_item(read(value, zone)),
        path: ListPath::AboveTask,
        path_of_all: None,
        query_one: None,
        // The size of a page cannot be chosen.
        size: 100,
        has_any_size: false,
        query: |page| {
            let since = jiff::Timestamp::from_millisecond(page.since.as_millis()).unwrap_or_default();
            let cursor = page.after.map(|cursor| ("cursor", cursor.to_owned()));
            [("created_after", since.to_string())].into_iter().chain(cursor).collect()
        },
        reach: Duration::MAX,
        parts: &[None],
    }),
    // A callback is the prediction.
    read_callback: Some(|value, zone| answer::finish_callback(value, read(value, zone), unknown_kind)),
    webhook_signature: Some(CallbackSignature::StandardWebhooks),
    requests: &[RequestSpec::get("/v1/predictions/{task_id}")],
    ..Provider::new("replicate", |value, zone| answer::finish(value, read(value, zone), unknown_kind), unknown_kind)
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["id"]),
    always(Field::Status, &["status"]),
    always(Field::Submit, &["created_at"]),
    // A prediction may be called off before it starts.
    optional(Field::Start, &["started_at"]),
    ended(Field::Finish, &["completed_at"]),
    always(Field::ModelUpstream, &["model"]),
    failed(Field::ErrorMessage, &["error"]),
];

/// Codes in the text of the error (docs/upstreams.md 18).
pub(super) const FAILURES: FailureTable = &[
    (FailurePattern::Code("E005"), FailureClass::ContentPolicy),
    (FailurePattern::Code("E006"), FailureClass::InvalidInput),
    (FailurePattern::Code("E001"), FailureClass::ProviderError),
    (FailurePattern::Code("E003"), FailureClass::ProviderError),
    (FailurePattern::Code("E004"), FailureClass::ProviderError),
    (FailurePattern::Code("E1000"), FailureClass::ProviderError),
    (FailurePattern::Code("E1001"), FailureClass::ProviderError),
    (FailurePattern::Code("E8765"), FailureClass::ProviderError),
    (FailurePattern::Code("E9243"), FailureClass::ProviderError),
    (FailurePattern::Code("E002"), FailureClass::Auth),
];

/// Decodes a prediction (docs/upstreams.md 18).
fn read(value: &Value, zone: Zone) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone, BodySource::Direct);
    answer.error_code = answer.error_message.as_deref().and_then(code_in);
    read_output(value.get("output").unwrap_or(&Value::Null), zone, &mut answer);
    // The output is removed an hour after the end.
    let is_removed = value.get("data_removed") == Some(&Value::Bool(true));
    if answer.reported_status == Some(Status::Succeeded) && !answer.has_result_url && !is_removed {
        answer.drift.add(Field::ResultUrl, fields::value_problem(value.get("output")));
    }
    answer.failure = classify_answer(&[FAILURES], &answer);
    answer
}

/// The first `(E` with three or four digits and `)`.
fn code_in(message: &str) -> Option<String> {
    let codes = message.match_indices("(E").filter_map(|(at, _)| message[at + 1..].split_once(')'));
    let is_code = |code: &&str| matches!(code.len(), 4 | 5) && code[1..].bytes().all(|digit| digit.is_ascii_digit());
    codes.map(|(code, _)| code).find(is_code).map(str::to_owned)
}

/// Reads a URL in the output, which is a text, a list or an object, as the model wants.
fn read_output(output: &Value, zone: Zone, answer: &mut Answer) {
    let candidates: Vec<&Value> = match output {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        one => vec![one],
    };
    let is_read = |url: &Value| fields::read_field(answer, Field::ResultUrl, url, zone) == Ok(true);
    let _ = candidates.into_iter().any(is_read);
}
