//! fal's queue: a status `{status, request_id, error, error_type}`, and the result of the model at another address.

use serde_json::Value;

use super::callback_signature::CallbackSignature;
use super::definition::{AnswerHeader, Callback, KeySpec, Provider, RequestSpec, ResultRequest};
use super::read::answer;
use super::read::error::{self, unknown_kind};
use super::read::failures::{FailurePattern, FailureTable, classify_answer};
use super::read::fields::{self, BodySource, Contract, always, optional};
use super::read::lenient::Zone;
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Answer, ApiError, FailureClass, Status, TaskId};

/// The provider (docs/upstreams.md 16). An id is `OWNER/APP/requests/UUID`; bare UUIDs need `request.path`.
pub static FAL: Provider = Provider {
    base_url: Some("https://queue.fal.run"),
    read_callback: Some(read_callback),
    short_callback_ids: true,
    read_refusal: Some(read_refusal),
    result: Some(ResultRequest { is_needed, read: read_result }),
    model_of_id: Some(model),
    answer_header: Some(AnswerHeader { name: "x-fal-error-type", read: read_error_type }),
    webhook_signature: Some(CallbackSignature::Fal),
    id_form: "OWNER/APP/requests/UUID; for bare UUIDs set request.path to /OWNER/APP/requests/{task_id}/status",
    requests: &[RequestSpec {
        id_part: "/requests/",
        key: KeySpec("Authorization", "Key "),
        ..RequestSpec::get("/{operation}/status")
    }],
    ..Provider::new(
        "fal",
        |value, zone| {
            if is_result(value) {
                read_result(value, zone)
            } else {
                answer::finish(value, read(value, zone), unknown_kind)
            }
        },
        unknown_kind,
    )
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["request_id"]),
    always(Field::Status, &["status"]),
    optional(Field::ErrorCode, &["error_type"]),
    optional(Field::ErrorMessage, &["error"]),
];

/// `error_type`, and the `type` of a field that the model refuses (docs/upstreams.md 16.3).
pub(super) const FAILURES: FailureTable = &[
    (FailurePattern::Code("content_policy_violation"), FailureClass::ContentPolicy),
    (FailurePattern::Code("request_timeout"), FailureClass::Timeout),
    (FailurePattern::Code("startup_timeout"), FailureClass::Timeout),
    (FailurePattern::Code("runner_connection_timeout"), FailureClass::Timeout),
    (FailurePattern::Code("generation_timeout"), FailureClass::Timeout),
    (FailurePattern::CodeStart("runner_"), FailureClass::ProviderError),
    (FailurePattern::Code("internal_error"), FailureClass::ProviderError),
    (FailurePattern::Code("internal_server_error"), FailureClass::ProviderError),
    (FailurePattern::Code("no_media_generated"), FailureClass::NoOutput),
    (FailurePattern::Code("client_disconnected"), FailureClass::Other),
    (FailurePattern::Code("bad_request"), FailureClass::InvalidInput),
    (FailurePattern::Code("string_too_long"), FailureClass::InvalidInput),
    (FailurePattern::Code("image_too_small"), FailureClass::InvalidInput),
    (FailurePattern::Code("image_too_large"), FailureClass::InvalidInput),
    (FailurePattern::Code("image_load_error"), FailureClass::InvalidInput),
    (FailurePattern::Code("file_download_error"), FailureClass::InvalidInput),
    (FailurePattern::Code("face_detection_error"), FailureClass::InvalidInput),
];

/// The code of a task that its owner called off.
const CANCELLED: &str = "client_cancelled";

/// Decodes a status. There is no failed one: a request that failed is completed, and has an error.
fn read(value: &Value, zone: Zone) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone, BodySource::Direct);
    if answer.reported_status == Some(Status::Succeeded) {
        if answer.error_code.is_some() || value.get("error").is_some_and(has_content) {
            // Also with an error of another type, whose drift is counted.
            let found = error::error_body(value);
            answer.error_code = answer.error_code.or(found.code);
            answer.error_message = answer.error_message.or(found.message);
            fail(&mut answer, None);
        }
    } else {
        (answer.error_code, answer.error_message) = (None, None);
    }
    answer
}

/// The task has failed, or was called off, by its code; `otherwise` is the class of a code that is not known.
fn fail(answer: &mut Answer, otherwise: Option<FailureClass>) {
    let is_cancelled = answer.error_code.as_deref() == Some(CANCELLED);
    answer.reported_status = Some(if is_cancelled { Status::Cancelled } else { Status::Failed });
    answer.failure = classify_answer(&[FAILURES], answer).or(otherwise);
}

/// The class of a refusal by the model whose code is not known: it is about the input.
const REFUSED: Option<FailureClass> = Some(FailureClass::InvalidInput);

/// A completed request may have been refused by the model, which only the result tells.
fn is_needed(answer: &Answer) -> bool {
    answer.status() == Status::Succeeded && !answer.has_result_url
}

/// Keys of a result with media.
const MEDIA: [&str; 5] = ["video", "videos", "video_url", "images", "image"];

/// Whether a body is a result, not a status, which has no media.
fn is_result(value: &Value) -> bool {
    MEDIA.iter().any(|key| value.get(key).is_some_and(|media| !media.is_null()))
}

/// Whether there is something other than null and an empty text.
fn has_content(value: &Value) -> bool {
    !value.is_null() && value.as_str() != Some("")
}

/// Decodes a result, which has the form that the model wants.
fn read_result(value: &Value, zone: Zone) -> Result<Answer, ApiError> {
    if value.get("detail").is_some() && !is_result(value) {
        return Err(error::ok_error(value, unknown_kind));
    }
    let mut answer = Answer::new(Status::Succeeded);
    let video = |key| value.get(key).filter(|video: &&Value| !video.is_null());
    let listed = match video("videos") {
        Some(Value::Array(videos)) => videos.iter().collect(),
        wrong => Vec::from_iter(wrong),
    };
    for video in [video("video"), video("video_url")].into_iter().flatten().chain(listed) {
        let url = if video.is_object() { video.get("url").unwrap_or(&Value::Null) } else { video };
        match fields::read_field(&mut answer, Field::ResultUrl, url, zone) {
            Ok(true) => {}
            Ok(false) => answer.drift.add(Field::ResultUrl, FieldProblem::Missing),
            Err(problem) => answer.drift.add(Field::ResultUrl, problem),
        }
    }
    Ok(answer::normalize(answer))
}

/// Decodes a result that is none: a refusal of the model (422), or the request is not finished after all (400).
fn read_refusal(http_status: u16, value: &Value) -> Option<Answer> {
    let found = error::error_body(value);
    let has_reason = ["detail", "error", "error_type"].iter().any(|key| value.get(key).is_some_and(has_content));
    let is_in_progress =
        found.message.as_deref().is_some_and(|message| message.to_lowercase().contains("still in progress"));
    match http_status {
        400 if is_in_progress => Some(Answer::new(Status::Running)),
        // A field of the path or the query is that of our own request.
        422 if has_reason && first_location(value).is_none_or(|at| at == "body") => {
            let mut answer = Answer { error_code: found.code, error_message: found.message, ..Answer::default() };
            fail(&mut answer, REFUSED);
            Some(answer)
        }
        _ => None,
    }
}

/// Completes a failure without a code by the header that repeats `error_type`.
fn read_error_type(answer: &mut Answer, value: Option<&str>) {
    let code = value.and_then(error::short_code).filter(|_| answer.error_code.is_none());
    if let Some(code) = code.filter(|_| answer.status() == Status::Failed) {
        answer.error_code = Some(code);
        fail(answer, answer.failure);
    }
}

/// Where the first invalid field of a request is: its `body`, or its `path`.
fn first_location(value: &Value) -> Option<&str> {
    value.get("detail")?.get(0)?.get("loc")?.get(0)?.as_str()
}

/// Decodes a callback `{request_id, status: OK|ERROR, payload, error}`.
fn read_callback(value: &Value, zone: Zone) -> Result<Callback, ApiError> {
    const CALLBACK: Contract = &[always(Field::TaskId, &["request_id"]), optional(Field::ErrorMessage, &["error"])];
    let mut answer = fields::read(CALLBACK, value, zone, BodySource::Direct);
    let payload = value.get("payload").unwrap_or(&Value::Null);
    match value.get("status").and_then(Value::as_str) {
        Some("OK") => {
            let result = read_result(payload, zone)?;
            answer = Answer { task_id: answer.task_id, ..result };
        }
        Some("ERROR") => {
            let found = error::error_body(payload);
            answer.error_code = found.code;
            answer.error_message = found.message.or(answer.error_message);
            let is_refusal = payload.get("detail").is_some_and(Value::is_array);
            fail(&mut answer, REFUSED.filter(|_| is_refusal));
        }
        _ => {}
    }
    answer::finish_callback(value, answer, unknown_kind)
}

/// The owner and the name of the app in an id.
fn model(id: &TaskId) -> Option<&str> {
    Some(id.as_str().split_once("/requests/")?.0)
}
