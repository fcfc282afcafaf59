//! Answers that are errors: from HTTP status, code and message to one kind.

use super::json;
use super::tree::Value;
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{ApiError, Drift, Reason, labels};

/// Longest error code that is kept.
const MAX_CODE: usize = 128;

/// Codes whose meaning does not follow from the HTTP status (docs/upstreams.md 1.5).
const CODES: &[(&str, Reason)] = &[
    ("task_not_exist", Reason::NotFound),
    ("insufficient_quota", Reason::QuotaExhausted),
    ("insufficient_balance_error", Reason::QuotaExhausted),
    ("AccountOverdueError", Reason::QuotaExhausted),
    ("InvalidApiKey", Reason::Unauthorized),
    ("AUTH_UNAUTHORIZED", Reason::Unauthorized),
];

/// `MiniMax`'s `base_resp.status_code`, which comes with HTTP 200 (docs/upstreams.md 9.1).
const MINIMAX: &[(&str, Reason)] = &[
    ("1000", Reason::ServerError),
    ("1001", Reason::ServerError),
    ("1013", Reason::ServerError),
    ("1002", Reason::RateLimited),
    ("1039", Reason::RateLimited),
    ("1004", Reason::Unauthorized),
    ("2049", Reason::Unauthorized),
    ("1008", Reason::QuotaExhausted),
    ("1026", Reason::BadRequest),
    ("1027", Reason::BadRequest),
    ("2013", Reason::BadRequest),
];

/// Kling's `code`, which may come with HTTP 200 (docs/upstreams.md 7.2).
const KLING: &[(&str, Reason)] = &[
    ("1000", Reason::Unauthorized),
    ("1001", Reason::Unauthorized),
    ("1002", Reason::Unauthorized),
    ("1003", Reason::Unauthorized),
    ("1004", Reason::Unauthorized),
    ("1100", Reason::QuotaExhausted),
    ("1101", Reason::QuotaExhausted),
    ("1102", Reason::QuotaExhausted),
    ("1103", Reason::Forbidden),
    ("1304", Reason::Forbidden),
    ("1302", Reason::RateLimited),
    ("1303", Reason::RateLimited),
    ("1202", Reason::NotFound),
    ("1203", Reason::NotFound),
    ("1200", Reason::BadRequest),
    ("1201", Reason::BadRequest),
    ("1300", Reason::BadRequest),
    ("1301", Reason::BadRequest),
    ("5000", Reason::ServerError),
    ("5001", Reason::ServerError),
    ("5002", Reason::ServerError),
];

/// What stands in an error body.
#[derive(Debug, Default, PartialEq)]
pub struct ErrorBody {
    /// The code, by the order of docs/upstreams.md 1.4.
    pub code: Option<String>,
    /// The message.
    pub message: Option<String>,
    /// The code is `MiniMax`'s `base_resp.status_code`.
    pub base_resp: bool,
}

/// Finds code and message: `error.{status|code|type}`, `base_resp`, else the top level; a one-element list is opened.
pub fn error_body(body: &Value) -> ErrorBody {
    let body = match body {
        Value::Array(items) if items.len() == 1 => &items[0],
        other => other,
    };
    let short = |code: std::borrow::Cow<'_, str>| {
        labels::kept_text(&code).map(|code| code.chars().take(MAX_CODE).collect::<String>())
    };
    if let Some(error) = body.get("error") {
        if let Some(message) = error.as_str() {
            return ErrorBody {
                code: json::text(body, "code").and_then(short),
                message: Some(message.to_owned()),
                base_resp: false,
            };
        }
        if error.is_object() {
            // Google's `status` is a word; elsewhere a number of that name only repeats the HTTP status.
            let word =
                error.get("status").filter(|status| status.as_str().is_some_and(|text| text.parse::<f64>().is_err()));
            let code = word
                .and_then(json::as_text)
                .or_else(|| json::text(error, "code"))
                .or_else(|| json::text(error, "type"))
                .or_else(|| json::text(body, "code"));
            return ErrorBody { code: code.and_then(short), message: json::owned(error, "message"), base_resp: false };
        }
    }
    if let Some(base) = body.get("base_resp").filter(|base| base.is_object()) {
        return ErrorBody {
            code: json::text(base, "status_code").and_then(short),
            message: json::owned(base, "status_msg"),
            base_resp: true,
        };
    }
    ErrorBody {
        code: json::text(body, "code").and_then(short),
        message: json::owned(body, "message"),
        base_resp: false,
    }
}

/// The kind of an answer whose HTTP status is not 2xx.
pub fn http_error(status: u16, body: &[u8]) -> ApiError {
    let found = serde_json::from_slice(body).map(|body: Value| error_body(&body)).unwrap_or_default();
    let code = found.code.as_deref().unwrap_or("");
    let message = found.message.as_deref().unwrap_or("");
    let kind = match status {
        300..=399 => Reason::Redirect,
        400 | 403 | 404 | 429 => by_code(&found).filter(|kind| is_refinement(status, *kind)).unwrap_or(match status {
            400 if message.contains("API key not valid") => Reason::Unauthorized,
            // MiniMax v2 of a task that it does not know, or no longer.
            400 if message.contains("task_id") && (message.contains("(2013)") || message.contains("invalid")) => {
                Reason::NotFound
            }
            400 => Reason::BadRequest,
            403 => Reason::Forbidden,
            404 if message.starts_with("Invalid URL") => Reason::WrongPath,
            404 => Reason::NotFound,
            _ => Reason::RateLimited,
        }),
        401 => Reason::Unauthorized,
        402 => Reason::QuotaExhausted,
        500..=599 => Reason::ServerError,
        _ => Reason::HttpOther,
    };
    ApiError { kind, code: Some(code.to_owned()).filter(|code| !code.is_empty()), drift: Drift::NONE }
}

/// A code says more than its HTTP status only where upstreams are known to use it so.
fn is_refinement(status: u16, kind: Reason) -> bool {
    match status {
        400 => {
            matches!(kind, Reason::NotFound | Reason::QuotaExhausted | Reason::Unauthorized | Reason::RateLimited)
        }
        403 | 404 => kind == Reason::QuotaExhausted,
        _ => matches!(kind, Reason::QuotaExhausted | Reason::Forbidden),
    }
}

/// The same for an API whose codes mean nothing to us: by the HTTP status alone.
pub fn unknown_http_error(status: u16, body: &[u8]) -> ApiError {
    let found = serde_json::from_slice(body).map(|body: Value| error_body(&body)).unwrap_or_default();
    ApiError { code: found.code, ..http_error(status, b"") }
}

/// The kind of an answer with HTTP 200 that carries an error.
pub fn ok_error(body: &Value) -> ApiError {
    let found = error_body(body);
    let message = found.message.as_deref().unwrap_or("");
    let refused = body.get("success") == Some(&Value::Bool(false)) && message.starts_with("Unauthorized");
    let kind = if refused { Reason::Unauthorized } else { by_code(&found).unwrap_or(Reason::ApiError) };
    ApiError { kind, code: found.code, drift: Drift::NONE }
}

/// `success` (new-api), 0 (Kling, `MiniMax`) and 200 (some forks) mean that nothing is wrong.
pub fn is_success_code(code: &str) -> bool {
    code.eq_ignore_ascii_case("success") || code == "0" || code == "200"
}

/// True for a body that refuses: `success` is false, or there is a `code` or `base_resp` that is none of success.
pub fn is_refusal(body: &Value) -> bool {
    let base_resp = json::at(body, "base_resp.status_code").and_then(json::as_text);
    let codes = [json::text(body, "code"), base_resp];
    body.get("success") == Some(&Value::Bool(false)) || codes.into_iter().flatten().any(|code| !is_success_code(&code))
}

/// True for a list that says how long it is.
pub fn has_total(body: &Value) -> bool {
    ["total", "data.total"].iter().any(|at| json::at(body, at).is_some_and(Value::is_number))
}

/// True for a body whose `status` is that of the answer and not of a task: it names no task, and complains.
pub fn is_complaint(body: &Value) -> bool {
    let has = |key| json::text(body, key).is_some();
    has("status") && !has("id") && !has("task_id") && ["message", "msg", "error"].iter().any(|key| has(key))
}

/// What an answer without a task says: nothing, and then its status is missing, unless there is an error in it.
pub fn no_task(body: &Value, drift: Drift) -> ApiError {
    let has = |key| body.get(key).is_some_and(|value| !value.is_null());
    if is_refusal(body) || has("error") {
        return ApiError { drift, ..ok_error(body) };
    }
    let mut drift = drift;
    if !drift.iter().any(|(field, _)| field == Field::Status) {
        drift.note(Field::Status, FieldProblem::Missing);
    }
    ApiError { drift, ..ApiError::coded(Reason::InvalidBody, "null_data") }
}

fn by_code(found: &ErrorBody) -> Option<Reason> {
    let code = found.code.as_deref()?;
    if code == "2013" && found.message.as_deref().is_some_and(|message| message.contains("task_id")) {
        return Some(Reason::NotFound);
    }
    if code.starts_with("Throttling") {
        return Some(Reason::RateLimited);
    }
    let numbers = if found.base_resp { MINIMAX } else { KLING };
    numbers.iter().chain(CODES).find(|(known, _)| *known == code).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn http_errors_have_their_kind() {
        for (status, body, kind, code) in [
            (400, json!({"code":"task_not_exist","message":"x","data":null}), Reason::NotFound, Some("task_not_exist")),
            (
                400,
                json!({"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}),
                Reason::Unauthorized,
                Some("INVALID_ARGUMENT"),
            ),
            (
                400,
                json!({"type":"error","error":{"type":"bad_request_error","message":"invalid task_id (2013)"}}),
                Reason::NotFound,
                Some("bad_request_error"),
            ),
            (400, json!({"code":"InvalidParameter"}), Reason::BadRequest, Some("InvalidParameter")),
            (
                401,
                json!({"error":{"code":"","message":"无效的令牌","type":"new_api_error"}}),
                Reason::Unauthorized,
                Some("new_api_error"),
            ),
            (402, json!({}), Reason::QuotaExhausted, None),
            (403, json!({"error":{"code":"AccountOverdueError"}}), Reason::QuotaExhausted, Some("AccountOverdueError")),
            (
                404,
                json!({"error":{"message":"Invalid URL (GET /v1/x)","type":"invalid_request_error","code":""}}),
                Reason::WrongPath,
                Some("invalid_request_error"),
            ),
            (404, json!([{"error":{"code":404,"status":"NOT_FOUND"}}]), Reason::NotFound, Some("NOT_FOUND")),
            (429, json!({"code":1303,"message":"parallel"}), Reason::RateLimited, Some("1303")),
            (429, json!({"code":1102,"message":"depleted"}), Reason::QuotaExhausted, Some("1102")),
            (
                429,
                json!({"error":{"type":"insufficient_quota","code":null}}),
                Reason::QuotaExhausted,
                Some("insufficient_quota"),
            ),
            (400, json!({"error":{"code":"task_not_exist","status":400}}), Reason::NotFound, Some("task_not_exist")),
            (
                429,
                json!({"error":{"code":"insufficient_quota","status":"429"}}),
                Reason::QuotaExhausted,
                Some("insufficient_quota"),
            ),
            (301, json!(null), Reason::Redirect, None),
            (418, json!("teapot"), Reason::HttpOther, None),
            (
                529,
                json!({"type":"error","error":{"type":"overloaded_error"}}),
                Reason::ServerError,
                Some("overloaded_error"),
            ),
        ] {
            let error = http_error(status, body.to_string().as_bytes());
            assert_eq!((error.kind, error.code.as_deref()), (kind, code), "{status} {body}");
        }
        assert_eq!(http_error(502, b"<html>bad gateway</html>"), ApiError::new(Reason::ServerError));
    }

    #[test]
    fn an_error_inside_a_200_has_its_kind() {
        for (body, kind) in [
            (json!({"success":false,"message":"Unauthorized, invalid access token"}), Reason::Unauthorized),
            (json!({"code":"task_not_exist","data":null}), Reason::NotFound),
            (
                json!({"base_resp":{"status_code":2013,"status_msg":"invalid params, invalid task_id"}}),
                Reason::NotFound,
            ),
            (json!({"base_resp":{"status_code":1000}}), Reason::ServerError),
            (json!({"code":1000,"message":"authentication failed"}), Reason::Unauthorized),
            (json!({"code":"Throttling.RateQuota"}), Reason::RateLimited),
            (json!({"code":"something_new"}), Reason::ApiError),
        ] {
            assert_eq!(ok_error(&(&body).into()).kind, kind, "{body}");
        }
    }
}
