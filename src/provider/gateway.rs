//! What new-api gateways answer, of which `TokenHot` and `TikHub` are two: a row around the vendor's own body, in six
//! shapes that are told apart by what they hold (docs/upstreams.md 2).

use std::borrow::Cow;

use serde_json::Value;

use super::read::answer::{complete, entry, has_url, settled, size};
use super::read::error::{self, ErrorKind, is_success_code};
use super::read::failures::{Failures, Sign, class};
use super::read::fields::{self, BodySource, Contract, always, key, optional, problem_of};
use super::read::lenient::{self, Zone};
use super::read::signed_url;
use super::{kling, openai_videos, vendor, veo};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::labels;
use crate::domain::reading::{Clock, Times};
use crate::domain::{Answer, ApiError, Drift, FailureClass, Status, Timestamp};

/// How many gateways may stand one behind the other.
const MAX_NESTING: u8 = 4;

/// How the text of the gateway's own time-out begins (new-api `service/task_polling.go`).
const SWEEP_TEXT: &str = "任务超时";

/// Where a row may hold a URL; a failed task has its text there.
const URLS: [&str; 3] = ["result_url", "url", "fail_reason"];

/// A row in its envelope (docs/upstreams.md 2.2); the reduced, bare and flat shapes are cut (2.7 and 2.8).
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

/// Failures that a gateway tells without the provider's code (new-api's source); the provider's own table comes first.
const FAILURES: Failures = &[
    (Sign::Text("failed to get channel info"), FailureClass::GatewayError),
    (Sign::Text("upstream returned"), FailureClass::GatewayError),
    // `task failed, code: X , message: Y`, of DashScope's channel.
    (Sign::TextHas("code: datainspection"), FailureClass::ContentPolicy),
    (Sign::TextHas("code: invalidparameter"), FailureClass::InvalidInput),
    (Sign::TextHas("code: internalerror"), FailureClass::ProviderError),
    (Sign::TextHas("safety filter"), FailureClass::ContentPolicy),
    (Sign::CodeHas("quota"), FailureClass::Quota),
];

/// Reads an answer of any of the six shapes, or one of a vendor's own.
pub fn read(value: &Value, zone: Zone, error_kind: ErrorKind) -> Result<Answer, ApiError> {
    if value.get("success") == Some(&Value::Bool(false)) || has_error_code(value) {
        return Err(error::ok_error(value, error_kind));
    }
    if let Some(row) = row_of(value) {
        // An error may stand in the row or beside it.
        let beside = || error::no_task(if row.get("error").is_some() { row } else { value }, Drift::NONE, error_kind);
        let mut answer = read_row(row, zone, extent(row), 0).ok_or_else(beside)?;
        if lenient::text(value, "code").is_none() && value.get("success").is_none() {
            answer.drift.note(Field::ErrorCode, problem_of(value.get("code")));
        }
        answer.read_has_side_effect = is_read_live(row);
        return Ok(answer);
    }
    if value.get("base_resp").is_none() && is_flat(value) {
        return read_row(value, zone, BodySource::Compatible, 0)
            .ok_or_else(|| error::no_task(value, Drift::NONE, error_kind));
    }
    match vendor::read(value, zone, BodySource::Compatible) {
        Some(answer) => complete(value, answer, error_kind),
        None => Err(error::no_task(value, Drift::NONE, error_kind)),
    }
}

/// Reads an entry of a list: a row, or a vendor's own object.
pub fn read_item(value: &Value, zone: Zone) -> Option<Answer> {
    if value.get("task_status").is_some() {
        return entry(kling::read_data(value, zone, BodySource::Direct));
    }
    if value.get("task_id").is_none() && value.get("id").is_some_and(Value::is_string) {
        return entry(openai_videos::read(value, zone, BodySource::Compatible));
    }
    read_row(value, zone, extent(value), 0)
}

/// A `code` that is none of success, or a complaint with a `status` of its own. Beside a task's own fields a code says nothing.
fn has_error_code(value: &Value) -> bool {
    let inside = ["data.status", "data.data", "output.task_status"];
    if inside.iter().any(|at| lenient::at(value, at).is_some_and(|found| !found.is_null())) || names_a_task(value) {
        return false;
    }
    let has = |key| lenient::text(value, key).is_some();
    lenient::text(value, "code").is_some_and(|code| !is_success_code(&code))
        || (has("status") && !openai_videos::is_video(value) && ["message", "msg", "error"].iter().any(|key| has(key)))
}

/// True for a body that is itself a task: a status word, and an id that it belongs to.
fn names_a_task(value: &Value) -> bool {
    value.get("status").is_some_and(Value::is_string) && (value.get("task_id").is_some() || value.get("id").is_some())
}

/// The `data` of an envelope: an object, null or missing beside a success code, but not Kling's own.
fn row_of(value: &Value) -> Option<&Value> {
    let data = value.get("data")?;
    let marked = value.get("code").is_some() || value.get("success").is_some();
    let enveloped = marked || (data.get("status").is_some() && !names_a_task(value));
    (enveloped && data.get("task_status").is_none()).then_some(data)
}

/// Bare and flat shapes: the row itself, without an envelope.
fn is_flat(value: &Value) -> bool {
    !openai_videos::is_video(value) && value.get("task_id").is_some() && value.get("status").is_some()
}

/// Whether an envelope holds a whole row; the reduced one alone has a format.
fn extent(row: &Value) -> BodySource {
    if row.get("format").is_some() { BodySource::Compatible } else { BodySource::Direct }
}

/// Reads a gateway's row, reduced or whole; `None` when neither it nor what it holds has a status.
fn read_row(row: &Value, zone: Zone, extent: BodySource, depth: u8) -> Option<Answer> {
    if openai_videos::is_video(row) {
        return entry(openai_videos::read(row, zone, BodySource::Compatible));
    }
    let mut own = fields::read(ROW, row, zone, extent);
    note_texts(row, &mut own);
    let inner = inner_of(row, zone, depth, &mut own);
    if extent == BodySource::Direct {
        note_missing(row, &mut own, &inner);
    }
    let fail_reason = lenient::text(row, "fail_reason");
    let status = gateway_or_inner(own.reported_status, inner.reported_status, fail_reason.as_deref())?;

    let finish_is_synthetic = is_sweep(fail_reason.as_deref());
    let mut answer = Answer {
        reported_status: Some(status),
        gateway_status: own.reported_status,
        upstream_status: inner.reported_status,
        unknown_word: own.unknown_word.clone().or_else(|| inner.unknown_word.clone()),
        synthetic_progress: own.progress.is_some() && inner.progress.is_none(),
        progress: own.progress.or(inner.progress),
        times: times(row, &own, &inner, status),
        finish_is_synthetic,
        gateway_lag: lag(&own, &inner, finish_is_synthetic),
        deadline: inner.deadline,
        video_seconds: inner.video_seconds.or(own.video_seconds),
        resolution: inner.resolution.clone().or_else(|| size(row.get("metadata")?, "width", "height")),
        service_tier: inner.service_tier.clone(),
        tokens: if inner.tokens.is_empty() { own.tokens } else { inner.tokens },
        credits: own.credits,
        drift: own.drift.and(inner.drift),
        ..Answer::default()
    };
    read_error(row, &inner, fail_reason, &mut answer);
    // What the gateway says of itself comes first, whatever code it found on the way.
    let (code, message) = (answer.error_code.as_deref(), answer.error_message.as_deref());
    let told = || class(FAILURES, code, message).or_else(|| openai_videos::class_by_any_vendor(code, message));
    answer.failure = inner.failure.or_else(told);
    answer.has_result_url = URLS.iter().any(|key| has_url(row, key)) || inner.has_result_url;
    let signed = || URLS.iter().find_map(|key| signed_url::expiry(row.get(key)?.as_str()?));
    answer.expires_at = inner.expires_at.or_else(signed);
    answer.task_id = own.task_id;
    answer.model_upstream = own.model_upstream.or(inner.model_upstream);
    answer.model_origin = own.model_origin;
    Some(settled(answer))
}

/// How much later than its provider the gateway noticed the end.
fn lag(own: &Answer, inner: &Answer, is_synthetic: bool) -> Option<f64> {
    let has_both = !is_synthetic && own.status().is_end() && inner.status().is_end();
    has_both.then_some(own.times.finish?.seconds_since(inner.times.finish?))
}

/// True when the gateway asks Gemini or Vertex itself each time the row is read (docs/upstreams.md 2.3 and 2.7): the
/// reduced row, which alone has a format, or a whole row of one of those channels or of a Veo model.
fn is_read_live(row: &Value) -> bool {
    let is_veo = |key| lenient::at(row, key).and_then(Value::as_str).is_some_and(|name| name.starts_with("veo"));
    row.get("format").is_some()
        || lenient::text(row, "platform").is_some_and(|platform| matches!(&*platform, "24" | "41"))
        || ["properties.upstream_model_name", "properties.origin_model_name"].iter().any(|key| is_veo(key))
        || data_of(row).is_some_and(|data| veo::is_operation(&data))
}

/// What the row holds of its vendor: an object, or a text of one.
fn data_of(row: &Value) -> Option<Cow<'_, Value>> {
    let data = match row.get("data")? {
        Value::String(text) => Cow::Owned(serde_json::from_str(text).ok()?),
        other => Cow::Borrowed(other),
    };
    data.is_object().then_some(data)
}

fn read_error(row: &Value, inner: &Answer, fail_reason: Option<Cow<'_, str>>, answer: &mut Answer) {
    let own = error::error_body(row);
    let own_code = own.code.filter(|code| row.get("error").is_some_and(Value::is_object) && !is_success_code(code));
    answer.error_code = inner.error_code.clone().or(own_code);
    let not_url = |text: &String| !labels::is_url(text);
    let reason = if matches!(answer.status(), Status::Failed | Status::Cancelled | Status::Expired) {
        // A failed task has its text where the URL would be, and some shapes have it only there.
        fail_reason
            .map(Cow::into_owned)
            .filter(not_url)
            .or_else(|| ["url", "result_url"].iter().find_map(|key| lenient::owned(row, key).filter(not_url)))
    } else {
        None
    };
    let own_message = own.message.filter(|_| row.get("error").is_some_and(|error| !error.is_null()));
    answer.error_message = reason.or_else(|| inner.error_message.clone()).or(own_message);
}

/// Notes what is missing of a row in an envelope, where that depends on more than the row's status.
fn note_missing(row: &Value, own: &mut Answer, inner: &Answer) {
    let lacks = |key: &str| row.get(key).is_none_or(Value::is_null);
    if own.model_upstream.is_none()
        && own.model_origin.is_none()
        && inner.model_upstream.is_none()
        && !lacks("properties")
    {
        own.drift.note(Field::ModelOrigin, FieldProblem::Missing);
    }
    // A row with a platform is a whole one, not a reseller's extract.
    if !lacks("platform") {
        for (key, field) in [("quota", Field::Credits), ("properties", Field::ModelOrigin)] {
            if lacks(key) {
                own.drift.note(field, FieldProblem::Missing);
            }
        }
    }
    // It may be null, for a gateway that shows nothing of its vendor.
    if row.get("data").is_none() && (!lacks("platform") || own.reported_status.is_some_and(Status::is_end)) {
        own.drift.note(Field::UpstreamStatus, FieldProblem::Missing);
    }
    let (succeeded, failed) =
        (own.reported_status == Some(Status::Succeeded), own.reported_status == Some(Status::Failed));
    let has_url = URLS.iter().any(|key| has_url(row, key)) || inner.has_result_url;
    if succeeded && !has_url && lenient::text(row, "fail_reason").is_none() {
        own.drift.note(Field::ResultUrl, FieldProblem::Missing);
    }
    if failed && row.get("fail_reason").is_none() && own.error_message.is_none() && inner.error_message.is_none() {
        own.drift.note(Field::ErrorMessage, FieldProblem::Missing);
    }
}

/// Notes what should be a text in a row and is none.
fn note_texts(row: &Value, own: &mut Answer) {
    for key in URLS {
        let field = if key == "fail_reason" { Field::ErrorMessage } else { Field::ResultUrl };
        if let Some(Err(problem)) = row.get(key).map(lenient::checked_text) {
            own.drift.note(field, problem);
        }
    }
}

/// The vendor's body in the row, unwrapped again when it is another gateway's envelope; nothing where there is none.
fn inner_of(row: &Value, zone: Zone, depth: u8, own: &mut Answer) -> Answer {
    let Some(inner) = data_of(row) else {
        match row.get("data") {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.trim().is_empty() => {}
            Some(Value::String(_)) => own.drift.note(Field::UpstreamStatus, FieldProblem::Unreadable),
            Some(_) => own.drift.note(Field::UpstreamStatus, FieldProblem::WrongType),
        }
        return Answer::default();
    };
    if depth >= MAX_NESTING {
        return Answer::default();
    }
    let found = match row_of(&inner).filter(|data| data.get("status").is_some()) {
        Some(nested) => read_row(nested, zone, extent(nested), depth + 1).map(as_inner),
        None => vendor::read(&inner, zone, BodySource::Inside).or_else(|| vendor::only_error(&inner)),
    };
    let found = found.unwrap_or_default();
    // Before its first poll a row holds the answer to the submission, which may be no more than an id.
    // So may the row of one that the gateway gave up.
    let polled = own.reported_status.is_some_and(|status| !matches!(status, Status::Queued | Status::Failed));
    if found.reported_status.is_none() && found.error_code.is_none() && polled {
        own.drift.note(Field::UpstreamStatus, FieldProblem::Missing);
    }
    found
}

/// A gateway's answer as the gateway in front of it has it: without what is that gateway's own.
fn as_inner(answer: Answer) -> Answer {
    let has_one_clock = answer.times.clock != Clock::Mixed;
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

/// Which word wins (docs/upstreams.md 2.4).
fn gateway_or_inner(gateway: Option<Status>, inner: Option<Status>, fail_reason: Option<&str>) -> Option<Status> {
    let Some(gateway) = gateway else { return inner };
    Some(match gateway {
        Status::Succeeded | Status::Cancelled | Status::Expired | Status::Lost => gateway,
        Status::Failed => match inner {
            Some(end @ (Status::Cancelled | Status::Expired)) => end,
            _ if is_sweep(fail_reason) => Status::Expired,
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

fn is_sweep(fail_reason: Option<&str>) -> bool {
    fail_reason.is_some_and(|text| text.starts_with(SWEEP_TEXT))
}

/// Times from one clock, wherever one clock has both (docs/upstreams.md 2.4).
fn times(row: &Value, own: &Answer, inner: &Answer, status: Status) -> Times {
    let of_row = |key| -> Option<Timestamp> { lenient::moment(row, &[key]) };
    let gateway_ended = own.reported_status.is_some_and(Status::is_end);
    let start = own.times.start;
    if gateway_ended && let (Some(submit), Some(finish)) = (own.times.submit, of_row("finish_time")) {
        return Times { submit: Some(submit), start, finish: Some(finish), clock: Clock::Gateway };
    }
    let inner_ended = inner.reported_status.is_some_and(Status::is_end);
    if inner_ended && status.is_end() && inner.times.submit.is_some() && inner.times.finish.is_some() {
        return Times {
            submit: inner.times.submit,
            start: inner.times.start,
            finish: inner.times.finish,
            clock: Clock::Upstream,
        };
    }
    let updated = || of_row("updated_at").filter(|_| gateway_ended);
    let finish = own.times.finish.or_else(|| of_row("finished_at")).or_else(updated);
    let from_inner = own.times.submit.is_none() && inner.times.submit.is_some();
    let submit = own.times.submit.or(inner.times.submit).or_else(|| of_row("created_at"));
    let clock = if from_inner && (finish.is_some() || start.is_some()) { Clock::Mixed } else { Clock::Gateway };
    Times { submit, start, finish, clock }
}
