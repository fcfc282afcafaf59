//! Jimeng through Volcengine's visual service: `{code, data: {status, video_url}, message}`, read with a signed POST request.

use serde_json::Value;

use super::definition::{KeySpec, Provider, RequestSpec, Signs};
use super::read::answer;
use super::read::error::{self, by_code, short_code};
use super::read::failures::{FailurePattern, FailureTable, classify_answer};
use super::read::fields::{self, BodySource, Contract, always, succeeded};
use super::read::lenient::{self, Zone};
use crate::domain::drift::Field;
use crate::domain::{Answer, ApiError, FailureClass, Reason, Status};
use crate::http::{Method, Signature};

/// The provider (docs/upstreams.md 20). Another model has another `req_key`, which `request.body` sets.
pub static JIMENG: Provider = Provider {
    base_url: Some("https://visual.volcengineapi.com"),
    signs: Some(Signs::Requests(Signature { service: "cv", region: "cn-north-1" })),
    read_refusal: Some(read_refusal),
    requests: &[RequestSpec {
        id_prefix: "",
        id_part: "",
        needs_base_url: false,
        method: Method::Post,
        path: "/?Action=CVSync2AsyncGetResult&Version=2022-08-31",
        body: Some(r#"{"req_key":"jimeng_t2v_v30","task_id":"{task_id}"}"#),
        key: KeySpec::BEARER,
    }],
    ..Provider::new("jimeng", read_answer, error_kind)
};

/// The code of success. `status` at the top level repeats the code, and is no status word.
const SUCCESS: &str = "10000";

const CONTRACT: Contract = &[always(Field::Status, &["data.status"]), succeeded(Field::ResultUrl, &["data.video_url"])];

/// Codes that are about the request, not about the task; the front of all services has words (docs/upstreams.md 20).
const ERRORS: &[(&str, Reason)] = &[
    ("50429", Reason::RateLimited),
    ("50430", Reason::RateLimited),
    ("50500", Reason::ServerError),
    ("50501", Reason::ServerError),
    ("SignatureDoesNotMatch", Reason::Unauthorized),
    ("InvalidAccessKey", Reason::Unauthorized),
    ("InvalidAuthorization", Reason::Unauthorized),
    ("InvalidTimestamp", Reason::Unauthorized),
    ("RequestExpired", Reason::Unauthorized),
    ("AccessDenied", Reason::Forbidden),
];

/// The reason of an error.
pub fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    by_code(ERRORS, error)
}

/// The audit of inputs and outputs refuses, or breaks itself.
pub(super) const FAILURES: FailureTable = &[
    (FailurePattern::Code("50411"), FailureClass::ContentPolicy),
    (FailurePattern::Code("50412"), FailureClass::ContentPolicy),
    (FailurePattern::Code("50413"), FailureClass::ContentPolicy),
    (FailurePattern::Code("50511"), FailureClass::ContentPolicy),
    (FailurePattern::Code("50512"), FailureClass::ContentPolicy),
    (FailurePattern::Code("50516"), FailureClass::ContentPolicy),
    (FailurePattern::Code("50517"), FailureClass::ContentPolicy),
    (FailurePattern::Code("50518"), FailureClass::ContentPolicy),
    (FailurePattern::Code("50519"), FailureClass::ContentPolicy),
    (FailurePattern::Code("50520"), FailureClass::ProviderError),
    (FailurePattern::Code("50521"), FailureClass::ProviderError),
    (FailurePattern::Code("50522"), FailureClass::ProviderError),
    (FailurePattern::CodeDigits("504", 5), FailureClass::InvalidInput),
    (FailurePattern::CodeDigits("505", 5), FailureClass::InvalidInput),
];

/// Whether a body is Jimeng's: a numeric `code` that `status` repeats.
pub fn is_answer(value: &Value) -> bool {
    let code = value.get("code").filter(|code| code.is_number());
    code.is_some() && code == value.get("status") && value.get("data").is_some()
}

/// The code of a task that has failed: 504xx or 505xx, unless it is about the request.
fn failure_code(value: &Value) -> Option<String> {
    let code = lenient::text(value, "code").and_then(|code| short_code(&code))?;
    let is_task = matches!(code.parse(), Ok(50_400..=50_599)) && !ERRORS.iter().any(|(known, _)| *known == code);
    is_task.then_some(code)
}

fn read_answer(value: &Value, zone: Zone) -> Result<Answer, ApiError> {
    let answer = read(value, zone, BodySource::Direct);
    if answer.reported_status.is_some() {
        return Ok(answer::normalize(answer));
    }
    if lenient::text(value, "code").is_some_and(|code| code != SUCCESS) || value.get("ResponseMetadata").is_some() {
        return Err(error::ok_error(value, error_kind));
    }
    Err(ApiError { drift: answer.drift, ..ApiError::with_code(Reason::InvalidBody, "null_data") })
}

/// A failed task comes with HTTP 400.
fn read_refusal(http_status: u16, value: &Value) -> Option<Answer> {
    (http_status == 400 && failure_code(value).is_some()).then(|| read(value, Zone::UNKNOWN, BodySource::Direct))
}

/// Decodes an answer (docs/upstreams.md 20).
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    if let Some(code) = failure_code(value) {
        let mut answer = Answer {
            error_code: Some(code),
            error_message: lenient::owned(value, "message"),
            ..Answer::new(Status::Failed)
        };
        answer.failure = classify_answer(&[FAILURES], &answer);
        return answer;
    }
    let code = lenient::text(value, "code").filter(|code| code != SUCCESS).and_then(|code| short_code(&code));
    if let Some(code) = code.filter(|_| source == BodySource::Inside) {
        // The gateway could not ask: the task has not failed for that (docs/upstreams.md 20).
        let error_message = lenient::owned(value, "message");
        return Answer { error_code: Some(code), error_message, ..Answer::default() };
    }
    let mut answer = fields::read(CONTRACT, value, zone, source);
    if answer.unknown_word.as_deref() == Some("not_found") {
        (answer.reported_status, answer.unknown_word) = (Some(Status::Unknown), None);
        answer.is_not_found = true;
    }
    answer
}
