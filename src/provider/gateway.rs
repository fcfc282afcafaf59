//! What new-api gateways answer, of which `TokenHot` and `TikHub` are two: a row around the vendor's own body, in six
//! shapes that are told apart by what they hold (docs/upstreams.md 2).

use std::borrow::Cow;

use super::body::{Body, has_url, settled, size};
use super::contract::{self, Contract, Origin, always, key, optional, problem_of};
use super::error::{self, is_success_code};
use super::expiry;
use super::failures::{Failures, Sign, class};
use super::json::{self, Zone};
use super::openai_videos;
use super::shape::{self, Shape};
use super::tree::Value;
use super::veo;
use super::words::Word;
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
    key(Field::Progress, &["progress"]).often_cut(),
    key(Field::Submit, &["submit_time"]).often_cut(),
    key(Field::Start, &["start_time"]).often_cut(),
    key(Field::Finish, &["finish_time", "finished_at"]).often_cut(),
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
pub fn read(value: &Value, zone: Zone) -> Result<Answer, ApiError> {
    if value.get("success") == Some(&Value::Bool(false)) || has_error_code(value) {
        return Err(error::ok_error(value));
    }
    if let Some(row) = row_of(value) {
        // An error may stand in the row or beside it.
        let beside = || error::no_task(if row.get("error").is_some() { row } else { value }, Drift::NONE);
        let mut answer = read_row(row, zone, extent(row), 0).ok_or_else(beside)?;
        if json::text(value, "code").is_none() && value.get("success").is_none() {
            answer.drift.note(Field::ErrorCode, problem_of(value.get("code")));
        }
        answer.read_has_side_effect = is_read_live(row);
        return Ok(answer);
    }
    if value.get("base_resp").is_none() && is_flat(value) {
        return read_row(value, zone, Origin::Compatible, 0).ok_or_else(|| error::no_task(value, Drift::NONE));
    }
    match Shape::Auto.read(value, zone, Origin::Compatible) {
        Some(body) => body.into_task(value),
        None => Err(error::no_task(value, Drift::NONE)),
    }
}

/// Reads an entry of a list: a row, or a vendor's own object.
pub fn read_item(value: &Value, zone: Zone) -> Option<Answer> {
    if value.get("task_status").is_some() {
        return Shape::KlingData.read(value, zone, Origin::Direct).and_then(Body::into_answer);
    }
    if value.get("task_id").is_none() && value.get("id").is_some_and(Value::is_string) {
        return Shape::OpenAi.read(value, zone, Origin::Compatible).and_then(Body::into_answer);
    }
    read_row(value, zone, extent(value), 0)
}

/// A `code` that is none of success, or a complaint with a `status` of its own. Beside a task's own fields a code says nothing.
fn has_error_code(value: &Value) -> bool {
    let inside = ["data.status", "data.data", "output.task_status"];
    if inside.iter().any(|at| json::at(value, at).is_some_and(|found| !found.is_null())) || names_a_task(value) {
        return false;
    }
    let has = |key| json::text(value, key).is_some();
    json::text(value, "code").is_some_and(|code| !is_success_code(&code))
        || (has("status") && !openai_videos::is_video(value) && ["message", "msg", "error"].iter().any(|key| has(key)))
}

/// True for a body that is itself a task: a status word, and an id that it belongs to.
fn names_a_task(value: &Value) -> bool {
    value.get("status").is_some_and(Value::is_string) && (value.get("task_id").is_some() || value.get("id").is_some())
}

/// The `data` of an envelope: an object, null or missing beside a success code, but not Kling's own.
fn row_of<'a>(value: &'a Value<'a>) -> Option<&'a Value<'a>> {
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
fn extent(row: &Value) -> Origin {
    if row.get("format").is_some() { Origin::Compatible } else { Origin::Direct }
}

/// Reads a gateway's row, reduced or whole; `None` when neither it nor what it holds has a status.
fn read_row(row: &Value, zone: Zone, extent: Origin, depth: u8) -> Option<Answer> {
    if openai_videos::is_video(row) {
        return Shape::OpenAi.read(row, zone, Origin::Compatible).and_then(Body::into_answer);
    }
    let mut own = contract::read(ROW, row, zone, extent);
    note_texts(row, &mut own);
    let inner = inner_of(row, zone, depth, &mut own);
    if extent == Origin::Direct {
        note_missing(row, &mut own, &inner);
    }
    let fail_reason = json::text(row, "fail_reason");
    let status = gateway_or_inner(own.word.as_ref(), &inner, fail_reason.as_deref())?;

    let mut answer = Answer::new(status);
    answer.gateway_status = own.status();
    answer.upstream_status = inner.status();
    let unheard = |word: &Option<Word>| word.as_ref().and_then(|word| word.unheard.clone());
    answer.unknown_word = unheard(&own.word).or_else(|| unheard(&inner.word));
    answer.synthetic_progress = own.progress.is_some() && inner.progress.is_none();
    answer.progress = own.progress.or(inner.progress);
    answer.times = times(row, &own, &inner, status);
    answer.finish_is_synthetic = is_sweep(fail_reason.as_deref());
    answer.gateway_lag = lag(&own, &inner, answer.finish_is_synthetic);
    answer.deadline = inner.deadline();
    answer.video_seconds = inner.video_seconds.or(own.video_seconds);
    answer.resolution = inner.resolution.clone().or_else(|| size(row.get("metadata")?, "width", "height"));
    answer.service_tier.clone_from(&inner.service_tier);
    answer.tokens = if inner.tokens.is_empty() { own.tokens } else { inner.tokens };
    answer.credits = own.credits;
    answer.drift = own.drift.and(inner.drift);
    read_error(row, &inner, fail_reason, &mut answer);
    // What the gateway says of itself comes first, whatever code it found on the way.
    let (code, message) = (answer.error_code.as_deref(), answer.error_message.as_deref());
    let told = || class(FAILURES, code, message).or_else(|| shape::class_of_any(code, message));
    answer.failure = inner.failure.or_else(told);
    answer.has_result_url = URLS.iter().any(|key| has_url(row, key)) || inner.has_url;
    let signed = || URLS.iter().find_map(|key| expiry::of_url(row.get(key)?.as_str()?));
    answer.expires_at = inner.expires_at.or_else(signed);
    answer.task_id = own.task_id;
    answer.model_upstream = own.model.or(inner.model);
    answer.model_origin = own.model_origin;
    Some(settled(answer))
}

/// How much later than its provider the gateway noticed the end.
fn lag(own: &Body, inner: &Body, made_up: bool) -> Option<f64> {
    let ended = |body: &Body| body.status().is_some_and(Status::is_end);
    let both = !made_up && ended(own) && ended(inner);
    both.then_some(own.finish?.seconds_since(inner.finish?))
}

/// True when the gateway asks Gemini or Vertex itself each time the row is read (docs/upstreams.md 2.3 and 2.7): the
/// reduced row, which alone has a format, or a whole row of one of those channels or of a Veo model.
fn is_read_live(row: &Value) -> bool {
    let is_veo = |key| json::at(row, key).and_then(Value::as_str).is_some_and(|name| name.starts_with("veo"));
    row.get("format").is_some()
        || json::text(row, "platform").is_some_and(|platform| matches!(&*platform, "24" | "41"))
        || ["properties.upstream_model_name", "properties.origin_model_name"].iter().any(|key| is_veo(key))
        || data_of(row).is_some_and(|data| veo::is_operation(&data))
}

/// What the row holds of its vendor: an object, or a text of one.
fn data_of<'a>(row: &'a Value<'a>) -> Option<Cow<'a, Value<'a>>> {
    let data = match row.get("data")? {
        Value::String(text) => Cow::Owned(serde_json::from_str(text).ok()?),
        other => Cow::Borrowed(other),
    };
    data.is_object().then_some(data)
}

fn read_error(row: &Value, inner: &Body, fail_reason: Option<Cow<'_, str>>, answer: &mut Answer) {
    let own = error::error_body(row);
    let own_code = own.code.filter(|code| row.get("error").is_some_and(Value::is_object) && !is_success_code(code));
    answer.error_code = inner.error_code.clone().or(own_code);
    let not_url = |text: &String| !labels::is_url(text);
    let reason = if matches!(answer.status, Status::Failed | Status::Cancelled | Status::Expired) {
        // A failed task has its text where the URL would be, and some shapes have it only there.
        fail_reason
            .map(Cow::into_owned)
            .filter(not_url)
            .or_else(|| ["url", "result_url"].iter().find_map(|key| json::owned(row, key).filter(not_url)))
    } else {
        None
    };
    let own_message = own.message.filter(|_| row.get("error").is_some_and(|error| !error.is_null()));
    answer.error_message = reason.or_else(|| inner.error_message.clone()).or(own_message);
}

/// Notes what is missing of a row in an envelope, where that depends on more than the row's status.
fn note_missing(row: &Value, own: &mut Body, inner: &Body) {
    let lacks = |key: &str| row.get(key).is_none_or(Value::is_null);
    if own.model.is_none() && own.model_origin.is_none() && inner.model.is_none() && !lacks("properties") {
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
    if row.get("data").is_none() && (!lacks("platform") || own.status().is_some_and(Status::is_end)) {
        own.drift.note(Field::UpstreamStatus, FieldProblem::Missing);
    }
    let (succeeded, failed) = (own.status() == Some(Status::Succeeded), own.status() == Some(Status::Failed));
    let has_url = URLS.iter().any(|key| has_url(row, key)) || inner.has_url;
    if succeeded && !has_url && json::text(row, "fail_reason").is_none() {
        own.drift.note(Field::ResultUrl, FieldProblem::Missing);
    }
    if failed && row.get("fail_reason").is_none() && own.error_message.is_none() && inner.error_message.is_none() {
        own.drift.note(Field::ErrorMessage, FieldProblem::Missing);
    }
}

/// Notes what should be a text in a row and is none.
fn note_texts(row: &Value, own: &mut Body) {
    for key in URLS {
        let field = if key == "fail_reason" { Field::ErrorMessage } else { Field::ResultUrl };
        if let Some(Err(problem)) = row.get(key).map(json::checked_text) {
            own.drift.note(field, problem);
        }
    }
}

/// The vendor's body in the row, unwrapped again when it is another gateway's envelope; nothing where there is none.
fn inner_of(row: &Value, zone: Zone, depth: u8, own: &mut Body) -> Body {
    let Some(inner) = data_of(row) else {
        match row.get("data") {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.trim().is_empty() => {}
            Some(Value::String(_)) => own.drift.note(Field::UpstreamStatus, FieldProblem::Unreadable),
            Some(_) => own.drift.note(Field::UpstreamStatus, FieldProblem::WrongType),
        }
        return Body::default();
    };
    if depth >= MAX_NESTING {
        return Body::default();
    }
    let found = match row_of(&inner).filter(|data| data.get("status").is_some()) {
        Some(nested) => read_row(nested, zone, extent(nested), depth + 1).map(as_body),
        None => Shape::Auto.read(&inner, zone, Origin::Inside).or_else(|| shape::only_error(&inner)),
    };
    let found = found.unwrap_or_default();
    // Before its first poll a row holds the answer to the submission, which may be no more than an id.
    // So may the row of one that the gateway gave up.
    let polled = own.status().is_some_and(|status| !matches!(status, Status::Queued | Status::Failed));
    if found.word.is_none() && found.error_code.is_none() && polled {
        own.drift.note(Field::UpstreamStatus, FieldProblem::Missing);
    }
    found
}

/// A gateway's answer seen from the gateway before it.
fn as_body(answer: Answer) -> Body {
    let one_clock = answer.times.clock != Clock::Mixed;
    let submit = answer.times.submit.filter(|_| one_clock || answer.times.finish.is_none());
    Body {
        task_id: None,
        word: Some(Word { status: answer.status, unheard: answer.unknown_word }),
        progress: answer.progress.filter(|_| !answer.synthetic_progress),
        submit,
        start: answer.times.start,
        finish: answer.times.finish,
        model: answer.model_upstream,
        model_origin: None,
        video_seconds: answer.video_seconds,
        resolution: answer.resolution,
        service_tier: answer.service_tier,
        tokens: answer.tokens,
        credits: None,
        error_code: answer.error_code,
        error_message: answer.error_message,
        failure: answer.failure,
        has_url: answer.has_result_url,
        expires_at: answer.expires_at,
        gives_up_after: answer.deadline.zip(submit).map(|(deadline, submit)| deadline.seconds_since(submit)),
        is_not_found: false,
        drift: answer.drift,
    }
}

/// Which word wins (docs/upstreams.md 2.4).
fn gateway_or_inner(gateway: Option<&Word>, inner: &Body, fail_reason: Option<&str>) -> Option<Status> {
    let inner = inner.status();
    let Some(gateway) = gateway.map(|word| word.status) else { return inner };
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
fn times(row: &Value, own: &Body, inner: &Body, status: Status) -> Times {
    let of_row = |key| -> Option<Timestamp> { json::moment(row, &[key]) };
    let gateway_ended = own.status().is_some_and(Status::is_end);
    let start = own.start;
    if gateway_ended && let (Some(submit), Some(finish)) = (own.submit, of_row("finish_time")) {
        return Times { submit: Some(submit), start, finish: Some(finish), clock: Clock::Gateway };
    }
    let inner_ended = inner.status().is_some_and(Status::is_end);
    if inner_ended && status.is_end() && inner.submit.is_some() && inner.finish.is_some() {
        return Times { submit: inner.submit, start: inner.start, finish: inner.finish, clock: Clock::Upstream };
    }
    let updated = || of_row("updated_at").filter(|_| gateway_ended);
    let finish = own.finish.or_else(|| of_row("finished_at")).or_else(updated);
    let from_inner = own.submit.is_none() && inner.submit.is_some();
    let submit = own.submit.or(inner.submit).or_else(|| of_row("created_at"));
    let clock = if from_inner && (finish.is_some() || start.is_some()) { Clock::Mixed } else { Clock::Gateway };
    Times { submit, start, finish, clock }
}
