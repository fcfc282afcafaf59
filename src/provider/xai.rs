//! xAI's videos (Grok Imagine): `{status, progress, model, video, error}`. HTTP 202 while a task is pending, 200 for every end.

use serde_json::Value;

use super::definition::{Provider, RequestSpec};
use super::openai_videos;
use super::read::answer;
use super::read::error::{self, by_code};
use super::read::failures::{EMPTY_RESPONSE, FailurePattern, FailureTable, REFUSAL_TEXTS, WITHHELD, classify_answer};
use super::read::fields::{self, BodySource, Contract, optional, succeeded, value_problem};
use super::read::lenient::{self, ProgressUnit, Zone, limit};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::pricing::Currency;
use crate::domain::reading::Cost;
use crate::domain::{Answer, FailureClass, Reason, Status};

/// The provider (docs/upstreams.md 15).
pub static XAI: Provider = Provider {
    base_url: Some("https://api.x.ai"),
    accepts_empty: true,
    requests: &[RequestSpec::get("/v1/videos/{task_id}")],
    ..Provider::new(
        "xai",
        |value, zone| answer::finish(value, read(value, zone, BodySource::Direct), error_kind),
        error_kind,
    )
};

const CONTRACT: Contract = &[
    optional(Field::TaskId, &["request_id"]),
    optional(Field::Status, &["status"]),
    optional(Field::ModelUpstream, &["model"]),
    succeeded(Field::Duration, &["video.duration"]),
    optional(Field::ResultUrl, &["video.url"]),
    optional(Field::ErrorCode, &["code"]),
];

/// An `error` that is an object; it may be a text as well.
const ERROR: Contract = &[optional(Field::ErrorCode, &["code"]), optional(Field::ErrorMessage, &["message"])];

/// Codes of the API's errors, which xAI writes with hyphens, and other servers with underscores.
const ERRORS: &[(&str, Reason)] = &[
    ("unauthenticated", Reason::Unauthorized),
    ("permission-denied", Reason::Forbidden),
    ("permission_denied", Reason::Forbidden),
    ("not-found", Reason::NotFound),
    ("not_found", Reason::NotFound),
    ("resource-exhausted", Reason::RateLimited),
    ("resource_exhausted", Reason::RateLimited),
    ("invalid-argument", Reason::BadRequest),
    ("invalid_argument", Reason::BadRequest),
    ("unavailable", Reason::ServerError),
];

/// The reason of an error. A wrong key is an invalid argument.
fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    let is_key = error.message.as_deref().is_some_and(|message| message.to_lowercase().contains("incorrect api key"));
    // Other routes have OpenAI's errors.
    if is_key {
        Some(Reason::Unauthorized)
    } else {
        by_code(ERRORS, error).or_else(|| openai_videos::error_kind(error))
    }
}

/// A withheld video comes without an error.
const WITHHELD_VIDEO: FailureTable = &[(FailurePattern::Code(WITHHELD), FailureClass::ContentPolicy)];

pub(super) const FAILURES: FailureTable = &[
    (FailurePattern::Code("internal_error"), FailureClass::ProviderError),
    (FailurePattern::Code("service_unavailable"), FailureClass::ProviderError),
    (FailurePattern::Code("invalid_argument"), FailureClass::InvalidInput),
    (FailurePattern::Code("failed_precondition"), FailureClass::InvalidInput),
    (FailurePattern::Code("permission_denied"), FailureClass::Auth),
    (FailurePattern::Code("resource_exhausted"), FailureClass::RateLimit),
    (FailurePattern::Code(EMPTY_RESPONSE), FailureClass::NoOutput),
];

/// `usage.cost_in_usd_ticks` of a dollar.
const TICKS: f64 = 1e10;

/// Whether a body is xAI's, which has no id: by its `video`, its money, or its model.
pub fn is_video(value: &Value) -> bool {
    let has_model = value.get("model").and_then(Value::as_str).is_some_and(|model| model.starts_with("grok"));
    let has = |at: &str| lenient::at(value, at).is_some();
    let is_own = has("video.respect_moderation") || has("usage.cost_in_usd_ticks") || has_model;
    let has_video = !has("id") && has("video.url") && has("video.duration");
    !has("object") && (is_own || has_video)
}

/// Decodes a video (docs/upstreams.md 15).
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone, source);
    match value.get("error") {
        Some(error @ Value::Object(_)) => {
            let read = fields::read(ERROR, error, zone, source);
            // The code may stand in other fields, too (docs/upstreams.md 1.4.6).
            answer.error_code = error::error_body(value).code.or(answer.error_code);
            answer.error_message = read.error_message;
            answer.drift = answer.drift.union(read.drift);
        }
        None | Some(Value::Null | Value::String(_)) => answer::read_error_text(&mut answer, value),
        Some(_) => answer.drift.add(Field::ErrorMessage, FieldProblem::WrongType),
    }
    if let Some(Err(problem)) =
        value.get("progress").map(|progress| fields::read_progress(&mut answer, progress, ProgressUnit::Percent))
    {
        answer.drift.add(Field::Progress, problem);
    }
    let ticks = fields::find_value(value, "usage.cost_in_usd_ticks");
    match ticks.and_then(|ticks| ticks.map_or(Ok(None), |ticks| lenient::checked_amount(ticks, limit::COST * TICKS))) {
        Ok(ticks) => answer.cost = ticks.map(|ticks| Cost { amount: ticks / TICKS, currency: Currency::USD }),
        Err(problem) => answer.drift.add(Field::Cost, problem),
    }
    let is_pending =
        value.get("status").and_then(Value::as_str).is_some_and(|word| word.eq_ignore_ascii_case("pending"));
    let video = value.get("video").filter(|video| video.is_object());
    let has_file = video.and_then(|video| video.get("file_output")).is_some_and(|file| !file.is_null());
    let has_result = answer.has_result_url || has_file;
    answer.reported_status = match answer.reported_status {
        // `pending` is for tasks in the queue and for running ones.
        Some(Status::Queued) if is_pending && answer.progress.is_some_and(|progress| progress > 0.0) => {
            Some(Status::Running)
        }
        // An older form has no status, and the response to the submission has only the id.
        None if has_result => Some(Status::Succeeded),
        None if answer.task_id.is_some() && answer.error_message.is_none() => Some(Status::Queued),
        status => status,
    };
    if answer.reported_status == Some(Status::Succeeded) {
        let respects_moderation = video.and_then(|video| video.get("respect_moderation"));
        if respects_moderation.is_some_and(|respects| !respects.is_boolean() && !respects.is_null()) {
            answer.drift.add(Field::ResultUrl, FieldProblem::WrongType);
        }
        let code = match respects_moderation {
            Some(Value::Bool(false)) => Some(WITHHELD),
            _ if !has_result => {
                answer.drift.add(Field::ResultUrl, value_problem(lenient::at(value, "video.url")));
                Some(EMPTY_RESPONSE)
            }
            _ => None,
        };
        if let Some(code) = code {
            answer.reported_status = Some(Status::Failed);
            answer.error_code = Some(code.to_owned());
        }
    }
    answer.failure = classify_answer(&[WITHHELD_VIDEO, REFUSAL_TEXTS, FAILURES], &answer);
    answer
}
