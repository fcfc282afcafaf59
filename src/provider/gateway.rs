//! Responses of new-api gateways, such as `TokenHot` and `TikHub`: a row that contains the vendor's body. There are six shapes,
//! which are recognized by their fields (docs/upstreams.md 2).

use std::borrow::Cow;

use serde_json::Value;

use super::gateway_times::{choose_times, finish_lag, vendor_latency};
use super::read::answer::{finish, finish_list_item, format_size, has_url, normalize};
use super::read::error::{self, ErrorKind, is_success_code};
use super::read::failures::{FailurePattern, FailureTable, classify, is_without_result};
use super::read::fields::{self, BodySource, Contract, always, key, optional, value_problem};
use super::read::json;
use super::read::lenient::{self, Zone};
use super::read::signed_url;
use super::{ark, jimeng, kling, openai_videos, token_law, vendor, veo};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::labels;
use crate::domain::pricing::Billing;
use crate::domain::reading::{ClockSource, RowDetails, RowField, Times};
use crate::domain::{Answer, ApiError, Drift, FailureClass, Status};

/// Most gateways in a chain.
const MAX_NESTING: u8 = 4;

/// First words of the message when the gateway's time-out fails a task (new-api `service/task_polling.go`).
const TIMEOUT_TEXT: &str = "任务超时";

/// Fields of a row that may contain a URL; for a failed task they contain its message.
const URLS: [&str; 3] = ["result_url", "url", "fail_reason"];

/// A row in its envelope (docs/upstreams.md 2.2). The reduced, bare and flat shapes lack some fields (2.7 and 2.8).
const ROW: Contract = &[
    always(Field::TaskId, &["task_id"]),
    always(Field::Status, &["status"]),
    key(Field::Progress, &["progress"]).optional_behind_gateway(),
    key(Field::Submit, &["submit_time"]).optional_behind_gateway(),
    key(Field::Start, &["start_time"]).optional_behind_gateway(),
    key(Field::Finish, &["finish_time", "finished_at"]).optional_behind_gateway(),
    optional(Field::ModelUpstream, &["properties.upstream_model_name"]),
    optional(Field::ModelOrigin, &["properties.origin_model_name"]),
    optional(Field::Credits, &["quota"]),
    optional(Field::TokensPrompt, &["usage.prompt_tokens"]),
    optional(Field::TokensCompletion, &["usage.completion_tokens"]),
    optional(Field::TokensTotal, &["usage.total_tokens"]),
    optional(Field::Duration, &["metadata.duration"]),
    optional(Field::ErrorCode, &["error.code"]),
    optional(Field::ErrorMessage, &["error.message"]),
];

/// Failures that a gateway reports without the provider's code (from new-api's source). The provider's table has priority.
const FAILURES: FailureTable = &[
    (FailurePattern::MessageStart("failed to get channel info"), FailureClass::GatewayError),
    (FailurePattern::MessageStart("upstream returned"), FailureClass::GatewayError),
    // `task failed, code: X , message: Y`, from DashScope's channel.
    (FailurePattern::MessageContains("code: datainspection"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("code: invalidparameter"), FailureClass::InvalidInput),
    (FailurePattern::MessageContains("code: internalerror"), FailureClass::ProviderError),
    (FailurePattern::MessageContains("safety filter"), FailureClass::ContentPolicy),
    (FailurePattern::CodeContains("quota"), FailureClass::Quota),
    // The model was switched off.
    (FailurePattern::MessageContains("no longer available"), FailureClass::InvalidInput),
];

/// Decodes a response in any of the six shapes, or in a vendor's shape.
pub fn read(value: &Value, zone: Zone, error_kind: ErrorKind) -> Result<Answer, ApiError> {
    if value.get("success") == Some(&Value::Bool(false)) || has_error_code(value) {
        return Err(error::ok_error(value, error_kind));
    }
    if let Some(row) = find_row(value) {
        // The error is in the row or beside it.
        let no_task = || error::no_task(if row.get("error").is_some() { row } else { value }, Drift::NONE, error_kind);
        let mut answer = read_row(row, zone, body_source(row), 0).ok_or_else(no_task)?;
        if lenient::text(value, "code").is_none() && value.get("success").is_none() {
            answer.drift.add(Field::ErrorCode, value_problem(value.get("code")));
        }
        answer.read_has_side_effect = has_read_side_effect(row);
        return Ok(answer);
    }
    if value.get("base_resp").is_none() && is_flat(value) {
        let read_has_side_effect = has_read_side_effect(value);
        let answer = read_row(value, zone, BodySource::Compatible, 0);
        let answer = answer.map(|answer| Answer { read_has_side_effect, ..answer });
        return answer.ok_or_else(|| error::no_task(value, Drift::NONE, error_kind));
    }
    match vendor::read(value, zone, BodySource::Compatible) {
        Some(answer) => finish(value, answer, error_kind),
        None => Err(error::no_task(value, Drift::NONE, error_kind)),
    }
}

/// Decodes an entry of a list: a row, or a vendor's object.
pub fn read_item(value: &Value, zone: Zone) -> Option<Answer> {
    if value.get("task_status").is_some() {
        return finish_list_item(kling::read_data(value, zone, BodySource::Direct));
    }
    if value.get("task_id").is_none() && value.get("id").is_some_and(Value::is_string) {
        return finish_list_item(openai_videos::read(value, zone, BodySource::Compatible));
    }
    let answer = read_row(value, zone, body_source(value), 0)?;
    let field = |field: RowField| {
        // A user's own list hides the channel behind a 0.
        let is_hidden = field == RowField::ChannelId;
        let is_told = |text: &str| !(text.is_empty() || is_hidden && text == "0");
        let text = lenient::text(value, field.as_str()).filter(|text| is_told(text))?;
        Some((field, text.into_owned()))
    };
    Some(Answer {
        read_has_side_effect: has_read_side_effect(value),
        is_partial: vendor_body(value).is_none(),
        row: Some(Box::new(RowDetails {
            fields: RowField::ALL.iter().filter_map(|name| field(*name)).collect(),
            ..RowDetails::default()
        })),
        ..answer
    })
}

/// Whether there is a `code` other than success, or an error message with a `status`. In the body of a task the code is ignored.
fn has_error_code(value: &Value) -> bool {
    let task_fields = ["data.status", "data.data", "output.task_status"];
    if task_fields.iter().any(|at| lenient::at(value, at).is_some_and(|found| !found.is_null())) || is_task(value) {
        return false;
    }
    let has = |key| lenient::text(value, key).is_some();
    lenient::text(value, "code").is_some_and(|code| !is_success_code(&code))
        || (has("status") && !openai_videos::is_video(value) && ["message", "msg", "error"].iter().any(|key| has(key)))
}

/// Whether a body is itself a task, with a status word and an id.
fn is_task(value: &Value) -> bool {
    value.get("status").is_some_and(Value::is_string) && (value.get("task_id").is_some() || value.get("id").is_some())
}

/// The row in the `data` of an envelope, possibly null. Kling's envelope does not contain a row.
fn find_row(value: &Value) -> Option<&Value> {
    let data = value.get("data")?;
    let has_code = value.get("code").is_some() || value.get("success").is_some();
    let is_envelope = has_code || (data.get("status").is_some() && !is_task(value));
    (is_envelope && data.get("task_status").is_none()).then_some(data)
}

/// Whether a body is a row without an envelope, as in the bare and flat shapes.
fn is_flat(value: &Value) -> bool {
    !openai_videos::is_video(value) && value.get("task_id").is_some() && value.get("status").is_some()
}

/// Whether a row is complete; only a reduced row has a `format`.
fn body_source(row: &Value) -> BodySource {
    if row.get("format").is_some() { BodySource::Compatible } else { BodySource::Direct }
}

/// Decodes a row, complete or reduced; `None` when neither it nor the vendor's body has a status.
fn read_row(row: &Value, zone: Zone, source: BodySource, depth: u8) -> Option<Answer> {
    if openai_videos::is_video(row) {
        return finish_list_item(openai_videos::read(row, zone, BodySource::Compatible));
    }
    let mut outer = fields::read(ROW, row, zone, source);
    check_texts(row, &mut outer);
    let mut inner = read_inner(row, zone, depth, &mut outer);
    if inner.reported_status == Some(Status::Queued) && outer.reported_status.is_some_and(Status::is_end) {
        // The body is still the answer to the submission, which has no status of its own.
        inner.reported_status = None;
    }
    if source == BodySource::Direct {
        check_missing(row, &mut outer, &inner);
    }
    let fail_reason = lenient::text(row, "fail_reason");
    let status = if is_without_result(inner.error_code.as_deref()) && inner.reported_status == Some(Status::Failed) {
        // A gateway takes the end of a filtered operation for a success.
        Status::Failed
    } else {
        merge_statuses(outer.reported_status, inner.reported_status, fail_reason.as_deref())?
    };

    let finish_is_synthetic = is_gateway_timeout(fail_reason.as_deref());
    // The body of another gateway, with the vendor's in it.
    let is_nested = inner.gateway_status.is_some();
    let mut answer = Answer {
        reported_status: Some(status),
        gateway_status: outer.reported_status,
        upstream_status: inner.reported_status,
        unknown_word: outer.unknown_word.clone().or_else(|| inner.unknown_word.clone()),
        synthetic_progress: outer.progress.is_some() && inner.progress.is_none(),
        progress: outer.progress.or(inner.progress),
        times: choose_times(row, &outer, &inner, status),
        finish_is_synthetic,
        gateway_lag: finish_lag(&outer, &inner, finish_is_synthetic),
        vendor_latency: if is_nested { inner.vendor_latency } else { vendor_latency(&inner) },
        cost: inner.cost,
        billing: Billing { units: inner.billing.units.or(inner.credits), ..inner.billing },
        deadline: inner.deadline,
        video_seconds: inner.video_seconds.or(outer.video_seconds),
        resolution: inner.resolution.clone().or_else(|| format_size(row.get("metadata")?, "width", "height")),
        service_tier: inner.service_tier.clone(),
        tokens: if inner.tokens.is_empty() { outer.tokens } else { inner.tokens },
        credits: outer.credits,
        has_unknown_body: inner.has_unknown_body,
        drift: outer.drift.union(inner.drift),
        ..Answer::default()
    };
    read_error(row, &inner, fail_reason, &mut answer);
    // The gateway's own failures have priority over the codes of vendors.
    let (code, message) = (answer.error_code.as_deref(), answer.error_message.as_deref());
    let inner_message = inner.error_message.as_deref();
    let classified = || {
        let own = classify(FAILURES, code, message).or_else(|| classify(FAILURES, None, inner_message));
        own.or_else(|| openai_videos::class_by_any_vendor(code, message))
    };
    answer.failure = inner.failure.or_else(classified);
    answer.has_result_url = URLS.iter().any(|key| has_url(row, key)) || inner.has_result_url;
    let signed = || URLS.iter().find_map(|key| signed_url::expiry(row.get(key)?.as_str()?));
    answer.expires_at = inner.expires_at.or_else(signed);
    answer.task_id = outer.task_id;
    answer.model_upstream = outer.model_upstream.or(inner.model_upstream);
    answer.model_origin = outer.model_origin;
    if answer.billing.predicted_tokens.is_none()
        && let Some(body) = vendor_body(row).filter(|body| ark::is_task(body))
    {
        // The row may name the model that its body does not.
        answer.billing.predicted_tokens = token_law::predict(&answer, &body);
    }
    Some(normalize(answer))
}

/// Whether each poll makes the gateway send a request to Gemini or Vertex (docs/upstreams.md 2.3 and 2.7). This is so for reduced
/// rows, rows of those channels, and Veo models.
fn has_read_side_effect(row: &Value) -> bool {
    let is_veo = |key| lenient::at(row, key).and_then(Value::as_str).is_some_and(|name| name.starts_with("veo"));
    row.get("format").is_some()
        || lenient::text(row, "platform").is_some_and(|platform| matches!(&*platform, "24" | "41"))
        || ["properties.upstream_model_name", "properties.origin_model_name"].iter().any(|key| is_veo(key))
        || vendor_body(row).is_some_and(|data| veo::is_operation(&data))
}

/// The vendor's body in a row: an object, or a string that contains one.
fn vendor_body(row: &Value) -> Option<Cow<'_, Value>> {
    let data = match row.get("data")? {
        Value::String(text) => Cow::Owned(json::parse(text.as_bytes()).ok()?),
        other => Cow::Borrowed(other),
    };
    data.is_object().then_some(data)
}

fn read_error(row: &Value, inner: &Answer, fail_reason: Option<Cow<'_, str>>, answer: &mut Answer) {
    let row_error = error::error_body(row);
    let own_code =
        row_error.code.filter(|code| row.get("error").is_some_and(Value::is_object) && !is_success_code(code));
    answer.error_code = inner.error_code.clone().or(own_code);
    let is_message = |text: &String| !labels::is_url(text);
    let reason = if matches!(answer.status(), Status::Failed | Status::Cancelled | Status::Expired) {
        // A failed task has its message in the field of the URL, and some shapes have it only there.
        fail_reason
            .map(Cow::into_owned)
            .filter(is_message)
            .or_else(|| ["url", "result_url"].iter().find_map(|key| lenient::owned(row, key).filter(is_message)))
    } else {
        None
    };
    let own_message = row_error.message.filter(|_| row.get("error").is_some_and(|error| !error.is_null()));
    answer.error_message = reason.or_else(|| inner.error_message.clone()).or(own_message);
}

/// Adds the drift of missing fields in a complete row that depends on more than its status.
fn check_missing(row: &Value, outer: &mut Answer, inner: &Answer) {
    let lacks = |key: &str| row.get(key).is_none_or(Value::is_null);
    if outer.model_upstream.is_none()
        && outer.model_origin.is_none()
        && inner.model_upstream.is_none()
        && !lacks("properties")
    {
        outer.drift.add(Field::ModelOrigin, FieldProblem::Missing);
    }
    // Only a complete row has a platform; resellers omit fields.
    if !lacks("platform") {
        for (key, field) in [("quota", Field::Credits), ("properties", Field::ModelOrigin)] {
            if lacks(key) {
                outer.drift.add(field, FieldProblem::Missing);
            }
        }
    }
    // It is null for a gateway that hides the vendor's body.
    if row.get("data").is_none() && (!lacks("platform") || outer.reported_status.is_some_and(Status::is_end)) {
        outer.drift.add(Field::UpstreamStatus, FieldProblem::Missing);
    }
    let (succeeded, failed) =
        (outer.reported_status == Some(Status::Succeeded), outer.reported_status == Some(Status::Failed));
    let has_url = URLS.iter().any(|key| has_url(row, key)) || inner.has_result_url;
    if succeeded && !has_url && lenient::text(row, "fail_reason").is_none() {
        outer.drift.add(Field::ResultUrl, FieldProblem::Missing);
    }
    if failed && row.get("fail_reason").is_none() && outer.error_message.is_none() && inner.error_message.is_none() {
        outer.drift.add(Field::ErrorMessage, FieldProblem::Missing);
    }
}

/// Adds the drift of fields that must be strings.
fn check_texts(row: &Value, outer: &mut Answer) {
    for key in URLS {
        let field = if key == "fail_reason" { Field::ErrorMessage } else { Field::ResultUrl };
        if let Some(Err(problem)) = row.get(key).map(lenient::checked_text) {
            outer.drift.add(field, problem);
        }
    }
}

/// Decodes the vendor's body in a row, or in the row of another gateway inside it. Without a body the answer is empty.
fn read_inner(row: &Value, zone: Zone, depth: u8, outer: &mut Answer) -> Answer {
    let Some(inner) = vendor_body(row) else {
        match row.get("data") {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.trim().is_empty() => {}
            Some(Value::String(_)) => outer.drift.add(Field::UpstreamStatus, FieldProblem::Unreadable),
            Some(_) => outer.drift.add(Field::UpstreamStatus, FieldProblem::WrongType),
        }
        return Answer::default();
    };
    if depth >= MAX_NESTING {
        return Answer::default();
    }
    let nested = find_row(&inner).filter(|data| data.get("status").is_some() && !jimeng::is_answer(&inner));
    let found = match nested {
        Some(nested) => read_row(nested, zone, body_source(nested), depth + 1).map(as_nested),
        None => vendor::read(&inner, zone, BodySource::Inside),
    };
    // Before the gateway's first poll a row contains the response to the submission, possibly only an id. A failed row may, too.
    let was_polled = outer.reported_status.is_some_and(|status| !matches!(status, Status::Queued | Status::Failed));
    match found {
        // That no table knows a vendor is no change of anything that is documented.
        None => Answer { has_unknown_body: was_polled, ..vendor::read_unknown(&inner, zone) },
        Some(found) => {
            if found.reported_status.is_none() && found.error_code.is_none() && was_polled {
                outer.drift.add(Field::UpstreamStatus, FieldProblem::Missing);
            }
            found
        }
    }
}

/// The answer of a gateway behind another one, without the fields of the gateway itself.
fn as_nested(answer: Answer) -> Answer {
    let has_one_clock = answer.times.clock != ClockSource::Mixed;
    let submit = answer.times.submit.filter(|_| has_one_clock || answer.times.finish.is_none());
    Answer {
        task_id: None,
        progress: answer.progress.filter(|_| !answer.synthetic_progress),
        times: Times { submit, ..answer.times },
        deadline: answer.deadline.filter(|_| submit.is_some()),
        model_origin: None,
        credits: None,
        ..answer
    }
}

/// The status from both layers (docs/upstreams.md 2.4).
fn merge_statuses(gateway: Option<Status>, inner: Option<Status>, fail_reason: Option<&str>) -> Option<Status> {
    let Some(gateway) = gateway else { return inner };
    Some(match gateway {
        Status::Succeeded | Status::Cancelled | Status::Expired | Status::Lost => gateway,
        Status::Failed => match inner {
            Some(end @ (Status::Cancelled | Status::Expired)) => end,
            _ if is_gateway_timeout(fail_reason) => Status::Expired,
            _ => match fail_reason.map(str::to_ascii_lowercase).as_deref() {
                Some("expired") => Status::Expired,
                Some("cancelled" | "canceled") => Status::Cancelled,
                _ => Status::Failed,
            },
        },
        Status::Queued | Status::Running | Status::Unknown => match inner {
            Some(Status::Succeeded) => Status::Running,
            Some(Status::Unknown | Status::Lost) | None => gateway,
            Some(word) => word,
        },
    })
}

fn is_gateway_timeout(fail_reason: Option<&str>) -> bool {
    fail_reason.is_some_and(|text| text.starts_with(TIMEOUT_TEXT))
}
