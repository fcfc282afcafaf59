//! Decodes error responses: from HTTP status, code and message to a reason.

use serde_json::Value;

use super::{json, lenient};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{ApiError, Drift, Reason, labels};

/// The reason of an error by the provider's codes.
pub type ErrorKind = fn(&ErrorBody) -> Option<Reason>;

/// Longest error code, in characters. Some APIs write a sentence there, which may repeat the prompt.
const MAX_CODE: usize = 64;

/// Code and message of an error body.
#[derive(Debug, Default, PartialEq)]
pub struct ErrorBody {
    /// The code, by the rules of docs/upstreams.md 1.4.
    pub code: Option<String>,
    /// `error.type`, a coarser code beside the code.
    pub kind: Option<String>,
    /// The message.
    pub message: Option<String>,
    /// `error.details[].reason`, Google's finer code.
    pub detail: Option<String>,
    /// Which vendor's form it has.
    pub form: ErrorForm,
}

/// Forms of errors that only one vendor has: its codes mean something else at others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorForm {
    /// Of several vendors.
    #[default]
    Common,
    /// `MiniMax`'s `base_resp`.
    BaseResp,
    /// Vidu's `reason` beside a code that repeats the HTTP status.
    Reason,
}

/// Finds code and message of an error. The body may be a list of one entry.
pub fn error_body(body: &Value) -> ErrorBody {
    let body = match body {
        Value::Array(items) if items.len() == 1 => &items[0],
        other => other,
    };
    let code = |value: &Value, key: &str| lenient::text(value, key).and_then(|code| short_code(&code));
    // FastAPI's errors, at fal: `detail` is a message, or a list of invalid fields (docs/upstreams.md 16.3).
    let detail = body.get("detail").unwrap_or(&Value::Null);
    let invalid_field = detail.get(0).unwrap_or(&Value::Null);
    let text = |value: &Value| value.as_str().and_then(labels::storable_text);
    let outer_code = || code(body, "error_type").or_else(|| code(invalid_field, "type")).or_else(|| top_code(body));
    let outer_message = || {
        let messages = [body.get("message"), Some(detail), invalid_field.get("msg"), body.get("title")];
        messages.into_iter().flatten().find_map(text)
    };
    match body.get("error") {
        Some(error @ Value::String(_)) => {
            return ErrorBody { code: outer_code(), message: text(error), ..ErrorBody::default() };
        }
        Some(error @ Value::Object(_)) => {
            let kind = code(error, "type");
            let details = error.get("details").and_then(Value::as_array);
            return ErrorBody {
                // Google's `status` is a word; others repeat the HTTP status there.
                code: code(error, "status")
                    .filter(|status| status.parse::<f64>().is_err())
                    .or_else(|| code(error, "code"))
                    .or_else(|| kind.clone())
                    .or_else(outer_code),
                kind,
                message: lenient::owned(error, "message"),
                detail: details.into_iter().flatten().find_map(|detail| code(detail, "reason")),
                form: ErrorForm::Common,
            };
        }
        _ => {}
    }
    if let Some(base) = body.get("base_resp").filter(|base| base.is_object()) {
        return ErrorBody {
            code: code(base, "status_code"),
            message: lenient::owned(base, "status_msg"),
            form: ErrorForm::BaseResp,
            ..ErrorBody::default()
        };
    }
    if let Some(error) = lenient::at(body, "ResponseMetadata.Error").filter(|error| error.is_object()) {
        return ErrorBody {
            code: code(error, "Code"),
            message: lenient::owned(error, "Message"),
            ..ErrorBody::default()
        };
    }
    let form = if reason(body).is_some() { ErrorForm::Reason } else { ErrorForm::Common };
    ErrorBody { code: outer_code(), message: outer_message(), form, ..ErrorBody::default() }
}

/// The code at the top level: `reason`, where `code` only repeats the HTTP status (Vidu), otherwise `code`.
fn top_code(body: &Value) -> Option<String> {
    reason(body).or_else(|| body.get("code")).and_then(lenient::as_text).and_then(|code| short_code(&code))
}

fn reason(body: &Value) -> Option<&Value> {
    let is_http_status = body.get("code").and_then(Value::as_u64).is_some_and(|code| (400..600).contains(&code));
    body.get("reason").filter(|reason| is_http_status && reason.is_string())
}

/// An error code that may be stored and shown; `None` when it is blank or a URL.
pub fn short_code(code: &str) -> Option<String> {
    labels::storable_text(code).map(|code| labels::sanitize(&code).chars().take(MAX_CODE).collect())
}

/// Looks an error's code up in a table.
pub fn by_code(table: &[(&str, Reason)], error: &ErrorBody) -> Option<Reason> {
    let code = error.code.as_deref()?;
    table.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind)
}

/// The [`ErrorKind`] of an API whose codes are unknown.
pub const fn unknown_kind(_: &ErrorBody) -> Option<Reason> {
    None
}

/// The error of a response whose HTTP status is not 2xx.
pub fn http_error(status: u16, body: &[u8], error_kind: ErrorKind) -> ApiError {
    let found = json::parse(body).map(|body| error_body(&body)).unwrap_or_default();
    let message = found.message.as_deref().unwrap_or("");
    let kind = match status {
        300..=399 => Reason::Redirect,
        402 => Reason::QuotaExhausted,
        _ => known_kind(&found, error_kind).filter(|kind| is_refinement(status, *kind)).unwrap_or(match status {
            400 => Reason::BadRequest,
            401 => Reason::Unauthorized,
            403 => Reason::Forbidden,
            404 if message.starts_with("Invalid URL") => Reason::WrongPath,
            404 => Reason::NotFound,
            429 => Reason::RateLimited,
            500..=599 => Reason::ServerError,
            _ => Reason::HttpOther,
        }),
    };
    ApiError { code: found.code, message: found.message, ..ApiError::new(kind) }
}

/// Google's detail of an error that concerns the key. It comes with HTTP 400 (docs/upstreams.md 1.5).
const INVALID_KEY: &str = "API_KEY_INVALID";

/// The reason of an error, by the provider's codes.
fn known_kind(error: &ErrorBody, error_kind: ErrorKind) -> Option<Reason> {
    if error.detail.as_deref() == Some(INVALID_KEY) { Some(Reason::Unauthorized) } else { error_kind(error) }
}

/// Whether the code overrides the HTTP status. Money, the key and the rate are reported under any status; a task that does not
/// exist is reported as an invalid request, or as an internal error; and an internal error as an invalid request.
fn is_refinement(status: u16, kind: Reason) -> bool {
    match kind {
        Reason::QuotaExhausted | Reason::Unauthorized | Reason::RateLimited => true,
        Reason::Forbidden => matches!(status, 400 | 429),
        Reason::NotFound => matches!(status, 400 | 422 | 500..=599),
        Reason::ServerError => status == 400,
        _ => false,
    }
}

/// The error in a response with HTTP 200.
pub fn ok_error(body: &Value, error_kind: ErrorKind) -> ApiError {
    let found = error_body(body);
    let message = found.message.as_deref().unwrap_or("");
    let is_unauthorized = body.get("success") == Some(&Value::Bool(false)) && message.starts_with("Unauthorized");
    let kind =
        if is_unauthorized { Reason::Unauthorized } else { known_kind(&found, error_kind).unwrap_or(Reason::ApiError) };
    ApiError { code: found.code, message: found.message, ..ApiError::new(kind) }
}

/// Whether a code means success: `success` (new-api), 0 (Kling, `MiniMax`) or 200 (some forks).
pub fn is_success_code(code: &str) -> bool {
    code.eq_ignore_ascii_case("success") || code == "0" || code == "200"
}

/// Whether `success` is false, or a `code` or `base_resp` does not mean success.
pub fn has_error_code(body: &Value) -> bool {
    let base_resp = lenient::at(body, "base_resp.status_code").and_then(lenient::as_text);
    let codes = [lenient::text(body, "code"), base_resp];
    body.get("success") == Some(&Value::Bool(false)) || codes.into_iter().flatten().any(|code| !is_success_code(&code))
}

/// Whether there is a total number of entries.
pub fn has_total(body: &Value) -> bool {
    ["total", "data.total"].iter().any(|at| lenient::at(body, at).is_some_and(Value::is_number))
}

/// Whether `status` belongs to an error message and not to a task: there is a message, and no id.
pub fn is_error_message(body: &Value) -> bool {
    let has = |key| lenient::text(body, key).is_some();
    has("status") && !has("id") && !has("task_id") && ["message", "msg", "error"].iter().any(|key| has(key))
}

/// The error of a body without a task: its own error, or otherwise a missing status.
pub fn no_task(body: &Value, drift: Drift, error_kind: ErrorKind) -> ApiError {
    let has = |key| body.get(key).is_some_and(|value| !value.is_null());
    if has_error_code(body) || has("error") {
        return ApiError { drift, ..ok_error(body, error_kind) };
    }
    let mut drift = drift;
    if !drift.iter().any(|(field, _)| field == Field::Status) {
        drift.add(Field::Status, FieldProblem::Missing);
    }
    ApiError { drift, ..ApiError::with_code(Reason::InvalidBody, "null_data") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider;
    use serde_json::json;

    fn error_kind(name: &str) -> ErrorKind {
        provider::by_name(name).unwrap().error_kind
    }

    #[test]
    fn http_errors_have_a_reason() {
        let overdue = json!({"error":{"code":"AccountOverdueError"}});
        let gemini_key = json!({"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}});
        let minimax_v2 =
            json!({"type":"error","error":{"type":"bad_request_error","message":"invalid task_id (2013)"}});
        let no_quota = json!({"error":{"type":"insufficient_quota","code":null}});
        let no_url = json!({"error":{"message":"Invalid URL (GET /v1/x)","type":"invalid_request_error","code":""}});
        for (name, status, body, kind, code) in [
            ("new_api", 400, json!({"code":"task_not_exist","data":null}), Reason::NotFound, Some("task_not_exist")),
            (
                "new_api",
                400,
                json!({"error":{"code":"task_not_exist","status":400}}),
                Reason::NotFound,
                Some("task_not_exist"),
            ),
            (
                "new_api",
                401,
                json!({"error":{"code":"","type":"new_api_error"}}),
                Reason::Unauthorized,
                Some("new_api_error"),
            ),
            ("new_api", 404, no_url, Reason::WrongPath, Some("invalid_request_error")),
            ("new_api", 403, overdue.clone(), Reason::QuotaExhausted, Some("AccountOverdueError")),
            ("new_api", 429, json!({"code":1102}), Reason::RateLimited, Some("1102")),
            ("tikhub_kling", 429, json!({"code":1102}), Reason::QuotaExhausted, Some("1102")),
            ("veo", 400, gemini_key, Reason::Unauthorized, Some("INVALID_ARGUMENT")),
            ("veo", 404, json!([{"error":{"code":404,"status":"NOT_FOUND"}}]), Reason::NotFound, Some("NOT_FOUND")),
            ("minimax_hailuo", 400, minimax_v2.clone(), Reason::NotFound, Some("bad_request_error")),
            ("dashscope", 400, json!({"code":"InvalidParameter"}), Reason::BadRequest, Some("InvalidParameter")),
            ("ark", 403, overdue, Reason::QuotaExhausted, Some("AccountOverdueError")),
            ("ark", 400, minimax_v2, Reason::BadRequest, Some("bad_request_error")),
            ("kling", 429, json!({"code":1303,"message":"parallel"}), Reason::RateLimited, Some("1303")),
            ("kling", 429, json!({"code":1102,"message":"depleted"}), Reason::QuotaExhausted, Some("1102")),
            ("openai_videos", 429, no_quota.clone(), Reason::QuotaExhausted, Some("insufficient_quota")),
            ("kling", 429, no_quota, Reason::RateLimited, Some("insufficient_quota")),
            ("ark", 402, json!({}), Reason::QuotaExhausted, None),
            ("ark", 301, json!(null), Reason::Redirect, None),
            ("ark", 418, json!("teapot"), Reason::HttpOther, None),
            ("ark", 529, json!({"error":{"type":"overloaded_error"}}), Reason::ServerError, Some("overloaded_error")),
        ] {
            let error = http_error(status, body.to_string().as_bytes(), error_kind(name));
            assert_eq!((error.kind, error.code.as_deref()), (kind, code), "{name} {status} {body}");
        }
        let unreadable = http_error(502, b"<html>bad gateway</html>", unknown_kind);
        assert_eq!(unreadable, ApiError::new(Reason::ServerError));
    }

    /// Providers use the same number with different meanings.
    #[test]
    fn an_error_with_http_200_has_the_reason_of_its_provider() {
        let unknown_task = json!({"base_resp":{"status_code":2013,"status_msg":"invalid params, invalid task_id"}});
        for (name, body, kind) in [
            ("new_api", json!({"success":false,"message":"Unauthorized, invalid access token"}), Reason::Unauthorized),
            ("new_api", json!({"code":"task_not_exist","data":null}), Reason::NotFound),
            ("new_api", json!({"base_resp":{"status_code":1000}}), Reason::ServerError),
            ("new_api", json!({"code":1000,"message":"authentication failed"}), Reason::ApiError),
            ("minimax_hailuo", unknown_task, Reason::NotFound),
            ("minimax_hailuo", json!({"base_resp":{"status_code":1000}}), Reason::ServerError),
            ("kling", json!({"code":1000,"message":"authentication failed"}), Reason::Unauthorized),
            ("dashscope", json!({"code":"Throttling.RateQuota"}), Reason::RateLimited),
            ("ark", json!({"code":1000}), Reason::ApiError),
            ("ark", json!({"code":"Throttling.RateQuota"}), Reason::ApiError),
        ] {
            assert_eq!(ok_error(&body, error_kind(name)).kind, kind, "{name} {body}");
        }
    }
}
