//! Answers that are errors: from HTTP status, code and message to one kind.

use serde_json::Value;

use super::lenient;
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{ApiError, Drift, Reason, labels};

/// Finds the kind of an error in a provider's own codes.
pub type ErrorKind = fn(&ErrorBody) -> Option<Reason>;

/// Longest error code that is kept.
const MAX_CODE: usize = 128;

/// What stands in an error body.
#[derive(Debug, Default, PartialEq)]
pub struct ErrorBody {
    /// The code, by the order of docs/upstreams.md 1.4.
    pub code: Option<String>,
    /// The message.
    pub message: Option<String>,
    /// The code is `MiniMax`'s `base_resp.status_code`.
    pub is_base_resp: bool,
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
                code: lenient::text(body, "code").and_then(short),
                message: Some(message.to_owned()),
                is_base_resp: false,
            };
        }
        if error.is_object() {
            // Google's `status` is a word; elsewhere a number of that name only repeats the HTTP status.
            let word =
                error.get("status").filter(|status| status.as_str().is_some_and(|text| text.parse::<f64>().is_err()));
            let code = word
                .and_then(lenient::as_text)
                .or_else(|| lenient::text(error, "code"))
                .or_else(|| lenient::text(error, "type"))
                .or_else(|| lenient::text(body, "code"));
            return ErrorBody {
                code: code.and_then(short),
                message: lenient::owned(error, "message"),
                is_base_resp: false,
            };
        }
    }
    if let Some(base) = body.get("base_resp").filter(|base| base.is_object()) {
        return ErrorBody {
            code: lenient::text(base, "status_code").and_then(short),
            message: lenient::owned(base, "status_msg"),
            is_base_resp: true,
        };
    }
    ErrorBody {
        code: lenient::text(body, "code").and_then(short),
        message: lenient::owned(body, "message"),
        is_base_resp: false,
    }
}

/// The first code of a table that fits an error's code.
pub fn by_code(table: &[(&str, Reason)], error: &ErrorBody) -> Option<Reason> {
    let code = error.code.as_deref()?;
    table.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind)
}

/// The kind of an error of an API whose codes are not known.
pub const fn unknown_kind(_: &ErrorBody) -> Option<Reason> {
    None
}

/// The error of a response whose HTTP status is not 2xx.
pub fn http_error(status: u16, body: &[u8], error_kind: ErrorKind) -> ApiError {
    let found = serde_json::from_slice(body).map(|body: Value| error_body(&body)).unwrap_or_default();
    let message = found.message.as_deref().unwrap_or("");
    let kind = match status {
        300..=399 => Reason::Redirect,
        400 | 403 | 404 | 429 => {
            let refined = error_kind(&found).filter(|kind| is_refinement(status, *kind));
            refined.unwrap_or(match status {
                400 => Reason::BadRequest,
                403 => Reason::Forbidden,
                404 if message.starts_with("Invalid URL") => Reason::WrongPath,
                404 => Reason::NotFound,
                _ => Reason::RateLimited,
            })
        }
        401 => Reason::Unauthorized,
        402 => Reason::QuotaExhausted,
        500..=599 => Reason::ServerError,
        _ => Reason::HttpOther,
    };
    ApiError { kind, code: found.code.filter(|code| !code.is_empty()), drift: Drift::NONE }
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

/// The error in a response with HTTP 200.
pub fn ok_error(body: &Value, error_kind: ErrorKind) -> ApiError {
    let found = error_body(body);
    let message = found.message.as_deref().unwrap_or("");
    let refused = body.get("success") == Some(&Value::Bool(false)) && message.starts_with("Unauthorized");
    let kind = if refused { Reason::Unauthorized } else { error_kind(&found).unwrap_or(Reason::ApiError) };
    ApiError { kind, code: found.code, drift: Drift::NONE }
}

/// `success` (new-api), 0 (Kling, `MiniMax`) and 200 (some forks) mean that nothing is wrong.
pub fn is_success_code(code: &str) -> bool {
    code.eq_ignore_ascii_case("success") || code == "0" || code == "200"
}

/// True for a body that refuses: `success` is false, or there is a `code` or `base_resp` that is none of success.
pub fn is_refusal(body: &Value) -> bool {
    let base_resp = lenient::at(body, "base_resp.status_code").and_then(lenient::as_text);
    let codes = [lenient::text(body, "code"), base_resp];
    body.get("success") == Some(&Value::Bool(false)) || codes.into_iter().flatten().any(|code| !is_success_code(&code))
}

/// True for a list that says how long it is.
pub fn has_total(body: &Value) -> bool {
    ["total", "data.total"].iter().any(|at| lenient::at(body, at).is_some_and(Value::is_number))
}

/// True for a body whose `status` is that of the answer and not of a task: it names no task, and complains.
pub fn is_complaint(body: &Value) -> bool {
    let has = |key| lenient::text(body, key).is_some();
    has("status") && !has("id") && !has("task_id") && ["message", "msg", "error"].iter().any(|key| has(key))
}

/// What an answer without a task says: nothing, and then its status is missing, unless there is an error in it.
pub fn no_task(body: &Value, drift: Drift, error_kind: ErrorKind) -> ApiError {
    let has = |key| body.get(key).is_some_and(|value| !value.is_null());
    if is_refusal(body) || has("error") {
        return ApiError { drift, ..ok_error(body, error_kind) };
    }
    let mut drift = drift;
    if !drift.iter().any(|(field, _)| field == Field::Status) {
        drift.note(Field::Status, FieldProblem::Missing);
    }
    ApiError { drift, ..ApiError::coded(Reason::InvalidBody, "null_data") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider;
    use serde_json::json;

    fn error_kind(name: &str) -> ErrorKind {
        provider::named(name).unwrap().error_kind
    }

    #[test]
    fn http_errors_have_their_kind() {
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

    /// One number means different things to different providers.
    #[test]
    fn an_error_inside_a_200_has_the_kind_of_its_provider() {
        let not_known = json!({"base_resp":{"status_code":2013,"status_msg":"invalid params, invalid task_id"}});
        for (name, body, kind) in [
            ("new_api", json!({"success":false,"message":"Unauthorized, invalid access token"}), Reason::Unauthorized),
            ("new_api", json!({"code":"task_not_exist","data":null}), Reason::NotFound),
            ("new_api", json!({"base_resp":{"status_code":1000}}), Reason::ServerError),
            ("new_api", json!({"code":1000,"message":"authentication failed"}), Reason::ApiError),
            ("minimax_hailuo", not_known, Reason::NotFound),
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
