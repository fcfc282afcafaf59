//! Interactions of the Gemini API (Omni video): `{id, status, created, updated, model, steps, errors, usage}`.

use serde_json::Value;

use super::callback_signature::CallbackSignature;
use super::definition::{Callback, KeySpec, Provider, RequestSpec};
use super::read::answer;
use super::read::error::short_code;
use super::read::failures::{EMPTY_RESPONSE, FailurePattern, FailureTable, REFUSAL_TEXTS, classify_answer};
use super::read::fields::{self, BodySource, Contract, always, ended, optional, value_problem};
use super::read::lenient::{self, Zone};
use super::veo;
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Answer, ApiError, FailureClass, Reason, Status};

/// The provider (docs/upstreams.md 13). An answer repeats the inputs, and contains the video.
pub static GEMINI_INTERACTIONS: Provider = Provider {
    base_url: Some("https://generativelanguage.googleapis.com"),
    headers: &[("Api-Revision", "2026-05-20")],
    repeats_inputs: true,
    read_callback: Some(read_callback),
    webhook_signature: Some(CallbackSignature::StandardOrToken),
    requests: &[RequestSpec {
        key: KeySpec("x-goog-api-key", ""),
        ..RequestSpec::get("/v1beta/interactions/{task_id}")
    }],
    ..Provider::new(
        "gemini_interactions",
        |value, zone| answer::finish(value, read(value, zone), veo::error_kind),
        // Google's words, or those of this API (docs/upstreams.md 13.3).
        veo::error_kind,
    )
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["id"]),
    always(Field::Status, &["status"]),
    always(Field::Submit, &["created"]),
    ended(Field::Finish, &["updated"]),
    always(Field::ModelUpstream, &["model", "agent"]),
    optional(Field::TokensPrompt, &["usage.total_input_tokens"]),
    optional(Field::TokensCompletion, &["usage.total_output_tokens"]),
    optional(Field::TokensTotal, &["usage.total_tokens"]),
    optional(Field::ServiceTier, &["service_tier"]),
];

/// The request's `response_format`: an object, or a list with an entry of type `video`.
const FORMAT: Contract = &[optional(Field::Duration, &["duration"]), optional(Field::Resolution, &["resolution"])];

/// Statuses of this API that are failures.
const FAILED_WORDS: [&str; 2] = ["incomplete", BUDGET_EXCEEDED];
const BUDGET_EXCEEDED: &str = "budget_exceeded";

/// A used-up budget has a status of its own.
const BUDGET: FailureTable = &[(FailurePattern::Code(BUDGET_EXCEEDED), FailureClass::Quota)];

/// Words, or gRPC codes (google.rpc.Code), and codes of the exporter for ends without an error.
const FAILURES: FailureTable = &[
    (FailurePattern::Code("resource_exhausted"), FailureClass::RateLimit),
    (FailurePattern::Code("too_many_requests"), FailureClass::RateLimit),
    (FailurePattern::Code("8"), FailureClass::RateLimit),
    (FailurePattern::Code("permission_denied"), FailureClass::Auth),
    (FailurePattern::Code("unauthenticated"), FailureClass::Auth),
    (FailurePattern::Code("7"), FailureClass::Auth),
    (FailurePattern::Code("16"), FailureClass::Auth),
    (FailurePattern::Code("deadline_exceeded"), FailureClass::Timeout),
    (FailurePattern::Code("4"), FailureClass::Timeout),
    (FailurePattern::Code("invalid_request"), FailureClass::InvalidInput),
    (FailurePattern::Code("invalid_argument"), FailureClass::InvalidInput),
    (FailurePattern::Code("failed_precondition"), FailureClass::InvalidInput),
    (FailurePattern::Code("3"), FailureClass::InvalidInput),
    (FailurePattern::Code("9"), FailureClass::InvalidInput),
    (FailurePattern::Code("internal"), FailureClass::ProviderError),
    (FailurePattern::Code("unavailable"), FailureClass::ProviderError),
    (FailurePattern::Code("unknown"), FailureClass::ProviderError),
    (FailurePattern::Code("aborted"), FailureClass::ProviderError),
    (FailurePattern::Code("2"), FailureClass::ProviderError),
    (FailurePattern::Code("10"), FailureClass::ProviderError),
    (FailurePattern::Code("13"), FailureClass::ProviderError),
    (FailurePattern::Code("14"), FailureClass::ProviderError),
    (FailurePattern::Code("incomplete"), FailureClass::NoOutput),
    (FailurePattern::Code(EMPTY_RESPONSE), FailureClass::NoOutput),
];

/// Decodes an interaction (docs/upstreams.md 13.1).
fn read(value: &Value, zone: Zone) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone, BodySource::Direct);
    read_format(value, zone, &mut answer);
    let has_video = read_steps(value, zone, &mut answer);
    read_errors(value, &mut answer);
    if answer.reported_status == Some(Status::Succeeded) && has_video && answer.tokens.total.is_none() {
        answer.drift.add(Field::TokensTotal, value_problem(lenient::at(value, "usage.total_tokens")));
    }
    let own_word = answer
        .unknown_word
        .as_deref()
        .and_then(|word| FAILED_WORDS.into_iter().find(|known| known.eq_ignore_ascii_case(word)));
    let code = if answer.reported_status == Some(Status::Succeeded) && !has_video {
        // Output that was filtered has no tokens.
        if answer.tokens.completion.is_some_and(|tokens| tokens > 0.0) {
            answer.drift.add(Field::ResultUrl, FieldProblem::Missing);
        }
        Some(EMPTY_RESPONSE)
    } else {
        own_word
    };
    if let Some(code) = code {
        (answer.reported_status, answer.unknown_word) = (Some(Status::Failed), None);
        // The status is the code; the errors beside it are less exact.
        if answer.error_code.is_none() || own_word.is_some() {
            answer.error_code = Some(code.to_owned());
        }
    }
    answer.failure = classify_answer(&[BUDGET, REFUSAL_TEXTS, FAILURES], &answer);
    answer
}

fn read_format(value: &Value, zone: Zone, answer: &mut Answer) {
    let is_video = |format: &&Value| format.get("type").and_then(Value::as_str) == Some("video");
    let format = match value.get("response_format") {
        Some(Value::Array(formats)) => formats.iter().find(is_video),
        other => other.filter(|format| !format.is_null()),
    };
    if let Some(format) = format {
        if !format.is_object() {
            answer.drift.add(Field::Duration, FieldProblem::WrongType);
        }
        let read = fields::read(FORMAT, format, zone, BodySource::Direct);
        (answer.video_seconds, answer.resolution) = (read.video_seconds, read.resolution);
        answer.drift = answer.drift.union(read.drift);
    }
}

/// Reads the outputs of the model. A video among the inputs is no result. Whether there is a video.
fn read_steps(value: &Value, zone: Zone, answer: &mut Answer) -> bool {
    let steps = value.get("steps").unwrap_or(&Value::Null);
    if !are_parts(steps, |step| are_parts(step.get("content").unwrap_or(&Value::Null), |_| true)) {
        answer.drift.add(Field::ResultUrl, FieldProblem::WrongType);
    }
    let of_kind = |kind: &'static str| move |part: &&Value| part.get("type").and_then(Value::as_str) == Some(kind);
    let outputs = steps.as_array().into_iter().flatten().filter(of_kind("model_output"));
    // The shortcut beside the steps may lack the type.
    let is_video = |part: &&Value| part.get("type").is_none_or(|kind| kind.as_str() == Some("video"));
    let contents = outputs.clone().filter_map(|step| step.get("content")?.as_array()).flatten();
    let videos = contents.filter(of_kind("video")).chain(value.get("output_video").filter(is_video));
    let mut has_video = false;
    for video in videos {
        match video.get("uri") {
            // Only an http(s) URL is one; another address is a result, too.
            Some(Value::String(uri)) => {
                has_video |= !uri.is_empty();
                let _ = fields::read_field(answer, Field::ResultUrl, &uri.as_str().into(), zone);
            }
            None | Some(Value::Null) => {}
            Some(_) => answer.drift.add(Field::ResultUrl, FieldProblem::WrongType),
        }
        match video.get("data") {
            Some(Value::String(data)) => has_video |= !data.is_empty(),
            None | Some(Value::Null) => {}
            Some(_) => answer.drift.add(Field::ResultUrl, FieldProblem::WrongType),
        }
    }
    if let Some(error) = outputs.filter_map(|step| step.get("error")).rfind(|error| error.is_object()) {
        read_error(error, answer);
    }
    has_video
}

/// Whether a value is null, or a list of objects that have a type and that are well-formed.
fn are_parts(value: &Value, is_well_formed: impl Fn(&Value) -> bool) -> bool {
    let is_part = |part: &Value| part.get("type").is_some_and(Value::is_string) && is_well_formed(part);
    value.is_null() || value.as_array().is_some_and(|parts| parts.iter().all(is_part))
}

/// Reads the first of `errors`, which has priority over that of a step.
fn read_errors(value: &Value, answer: &mut Answer) {
    match value.get("errors") {
        Some(Value::Array(errors)) => errors.iter().take(1).for_each(|error| read_error(error, answer)),
        None | Some(Value::Null) => {}
        wrong => answer.drift.add(Field::ErrorCode, value_problem(wrong)),
    }
}

/// Reads code and message of an error. A code may be a URL, whose last segment is the word.
fn read_error(error: &Value, answer: &mut Answer) {
    let code = lenient::text(error, "code");
    let path = code.as_deref().map(|code| code.split(['?', '#']).next().unwrap_or(code).trim_end_matches('/'));
    let word = path.map(|path| path.rsplit('/').next().unwrap_or(path));
    answer.error_code = word.and_then(short_code).or(answer.error_code.take());
    answer.error_message = lenient::owned(error, "message").or(answer.error_message.take());
}

/// Decodes a callback, which only names the interaction.
fn read_callback(value: &Value, _: Zone) -> Result<Callback, ApiError> {
    let id = lenient::at(value, "data.id").and_then(lenient::as_text);
    id.map(|id| Callback::Nudge(id.into_owned())).ok_or_else(|| ApiError::new(Reason::InvalidBody))
}
