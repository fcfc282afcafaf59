//! Vidu: `{id, state, err_code, credits, creations}`.

use serde_json::Value;

use super::callback_signature::CallbackSignature;
use super::definition::{Callback, KeySpec, Provider, RequestSpec};
use super::read::answer;
use super::read::error::{self, by_code};
use super::read::failures::{FailurePattern, FailureTable, classify_answer};
use super::read::fields::{self, BodySource, Contract, always, failed, optional, succeeded};
use super::read::lenient::Zone;
use crate::domain::drift::Field;
use crate::domain::{Answer, ApiError, FailureClass, Reason, Status};

/// The provider (docs/upstreams.md 19). In China its base URL is `https://api.vidu.cn`.
pub static VIDU: Provider = Provider {
    base_url: Some("https://api.vidu.com"),
    read_callback: Some(read_callback),
    webhook_signature: Some(CallbackSignature::Vidu),
    requests: &[RequestSpec {
        key: KeySpec("Authorization", "Token "),
        ..RequestSpec::get("/ent/v2/tasks/{task_id}/creations")
    }],
    ..Provider::new(
        "vidu",
        |value, zone| answer::finish_direct(value, read(value, zone, BodySource::Direct), error_kind),
        error_kind,
    )
};

const CONTRACT: Contract = &[
    // Older answers have none.
    optional(Field::TaskId, &["id"]),
    always(Field::Status, &["state"]),
    optional(Field::Credits, &["credits"]),
    failed(Field::ErrorCode, &["err_code"]),
    succeeded(Field::ResultUrl, &["creations.0.url", "creations.0.watermarked_url"]),
];

/// Error codes, which come with any HTTP status (docs/upstreams.md 19).
const ERRORS: &[(&str, Reason)] = &[
    ("CreditInsufficient", Reason::QuotaExhausted),
    ("QuotaExceeded", Reason::RateLimited),
    ("TooManyRequests", Reason::RateLimited),
    ("SystemThrottling", Reason::RateLimited),
    ("Unauthorized", Reason::Unauthorized),
    ("Forbidden", Reason::Forbidden),
    ("TaskNotFound", Reason::NotFound),
    ("BadRequest", Reason::BadRequest),
    ("InternalServiceFailure", Reason::ServerError),
];

/// The reason of an error.
pub fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    by_code(ERRORS, error)
}

/// The vendor's codes. `QuotaExceeded` is about concurrency, not money.
pub(super) const FAILURES: FailureTable = &[
    (FailurePattern::Code("AuditSubmitIllegal"), FailureClass::ContentPolicy),
    (FailurePattern::Code("TaskPromptPolicyViolation"), FailureClass::ContentPolicy),
    (FailurePattern::Code("CreationPolicyViolation"), FailureClass::ContentPolicy),
    (FailurePattern::Code("CreditInsufficient"), FailureClass::Quota),
    (FailurePattern::Code("TooManyRequests"), FailureClass::RateLimit),
    (FailurePattern::Code("SystemThrottling"), FailureClass::RateLimit),
    (FailurePattern::Code("QuotaExceeded"), FailureClass::RateLimit),
    (FailurePattern::Code("OperationInProcess"), FailureClass::RateLimit),
    (FailurePattern::Code("BadRequest"), FailureClass::InvalidInput),
    (FailurePattern::CodeStart("Field"), FailureClass::InvalidInput),
    (FailurePattern::Code("PageSizeOutOfRange"), FailureClass::InvalidInput),
    (FailurePattern::CodeStart("Image"), FailureClass::InvalidInput),
    (FailurePattern::Code("Conflict"), FailureClass::InvalidInput),
    (FailurePattern::Code("Unauthorized"), FailureClass::Auth),
    (FailurePattern::Code("Forbidden"), FailureClass::Auth),
    (FailurePattern::Code("InternalServiceFailure"), FailureClass::ProviderError),
    (FailurePattern::Code("ModelUnavailable"), FailureClass::ProviderError),
];

/// Codes of failed tasks that their owner called off.
const CANCELLED: [&str; 2] = ["UserCancelled", "Canceled"];

/// Whether a body is a task of Vidu.
pub fn is_task(value: &Value) -> bool {
    value.get("state").is_some_and(Value::is_string)
        && (value.get("err_code").is_some() || value.get("creations").is_some())
}

/// Decodes a task (docs/upstreams.md 19).
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone, source);
    let is_cancelled = |code: &str| CANCELLED.iter().any(|known| known.eq_ignore_ascii_case(code));
    if answer.reported_status == Some(Status::Failed) && answer.error_code.as_deref().is_some_and(is_cancelled) {
        answer.reported_status = Some(Status::Cancelled);
    }
    answer.failure = classify_answer(&[FAILURES], &answer);
    answer
}

/// Decodes a callback. Its signature does not cover the body, which therefore only names the task.
fn read_callback(value: &Value, zone: Zone) -> Result<Callback, ApiError> {
    let answer = read(value, zone, BodySource::Direct);
    let id = answer.task_id.ok_or_else(|| error::no_task(value, answer.drift, error_kind))?;
    Ok(Callback::Nudge(id))
}
