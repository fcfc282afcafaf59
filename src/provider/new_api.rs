//! new-api gateways, of which `TokenHot` and `TikHub` are two: one dialect, six shapes of answer, decided by shape.

use std::borrow::Cow;

use serde_json::Value;

use crate::domain::reading::{Clock, Times};
use crate::domain::{Answer, ApiError, Reason, Status, TaskId, labels};
use crate::http::Request;
use crate::provider::Provider;
use crate::provider::body::{self, Body};
use crate::provider::error;
use crate::provider::json;
use crate::provider::words::{self, Word};

/// A gateway of this kind and where it answers.
pub struct NewApi {
    name: &'static str,
    base_url: Option<&'static str>,
    path: &'static [&'static str],
}

/// Any new-api gateway; its address must be configured.
pub static NEW_API: NewApi = NewApi { name: "new_api", base_url: None, path: &["v1", "video", "generations"] };

/// `TokenHot` (docs/upstreams.md 3).
pub static TOKENHOT: NewApi =
    NewApi { name: "tokenhot", base_url: Some("https://api.tokenhot.ai"), path: &["v1", "video", "generations"] };

/// `TikHub`'s Seedance (docs/upstreams.md 4.1).
pub static TIKHUB_SEEDANCE: NewApi = NewApi {
    name: "tikhub_seedance",
    base_url: Some("https://ai.tikhub.io"),
    path: &["seedance", "v3", "contents", "generations", "tasks"],
};

/// How many gateways may stand one behind the other.
const MAX_NESTING: u8 = 4;

/// How the text of the gateway's own time-out begins (new-api `service/task_polling.go`).
const SWEEP_TEXT: &str = "任务超时";

impl Provider for NewApi {
    fn name(&self) -> &'static str {
        self.name
    }

    fn base_url(&self) -> Option<&'static str> {
        self.base_url
    }

    fn request(&self, id: &TaskId) -> Request {
        Request::get(self.path.iter().copied().chain([id.as_str()]))
    }

    fn read(&self, http_status: u16, body: &[u8]) -> Result<Answer, ApiError> {
        if !(200..300).contains(&http_status) {
            return Err(error::http_error(http_status, body));
        }
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Err(ApiError::new(Reason::InvalidBody));
        };
        if !value.is_object() {
            return Err(ApiError::new(Reason::InvalidBody));
        }
        read(&value)
    }
}

/// Reads an answer of any of the six shapes, or one of a vendor's own.
fn read(value: &Value) -> Result<Answer, ApiError> {
    if value.get("success") == Some(&Value::Bool(false)) || has_error_code(value) {
        return Err(error::ok_error(value));
    }
    if let Some(row) = row_of(value) {
        // An error may stand in the row or beside it.
        let beside = || if row.get("error").is_some() { no_task(row) } else { no_task(value) };
        let mut answer = read_row(row, 0).ok_or_else(beside)?;
        answer.read_has_side_effect = is_read_live(row);
        return Ok(answer);
    }
    if value.get("base_resp").is_none() && is_flat(value) {
        return read_row(value, 0).ok_or_else(|| no_task(value));
    }
    body::read(value).and_then(Body::into_answer).ok_or_else(|| no_task(value))
}

/// Neither a status nor an error: nothing. An error without a status: an error.
fn no_task(value: &Value) -> ApiError {
    let has = |key| value.get(key).is_some_and(|value| !value.is_null());
    let base_resp = value.pointer("/base_resp/status_code").and_then(json::as_text);
    if has("error") || base_resp.is_some_and(|code| !body::is_success_code(&code)) {
        error::ok_error(value)
    } else {
        ApiError::coded(Reason::InvalidBody, "null_data")
    }
}

/// A `code` that is none of success, or a complaint with a `status` of its own. Beside a task's own fields a code says nothing.
fn has_error_code(value: &Value) -> bool {
    let inside = ["/data/status", "/data/task_status", "/data/data", "/output/task_status"];
    if inside.iter().any(|at| value.pointer(at).is_some_and(|found| !found.is_null())) || names_a_task(value) {
        return false;
    }
    let has = |key| json::text(value, key).is_some();
    json::text(value, "code").is_some_and(|code| !body::is_success_code(&code))
        || (has("status") && !body::is_openai(value) && ["message", "msg", "error"].iter().any(|key| has(key)))
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
    !body::is_openai(value) && value.get("task_id").is_some() && value.get("status").is_some()
}

/// Reads a gateway's row, reduced or whole; `None` when neither it nor what it holds has a status.
fn read_row(row: &Value, depth: u8) -> Option<Answer> {
    if body::is_openai(row) {
        return body::read(row).and_then(Body::into_answer);
    }
    let inner = inner_of(row, depth).unwrap_or_default();
    let gateway = json::text(row, "status").and_then(|word| words::word(&word));
    let fail_reason = json::text(row, "fail_reason");
    let status = gateway_or_inner(gateway.as_ref(), &inner, fail_reason.as_deref())?;

    let mut answer = Answer::new(status);
    answer.gateway_status = gateway.as_ref().map(|word| word.status);
    answer.upstream_status = inner.status();
    let unheard = |word: &Option<Word>| word.as_ref().and_then(|word| word.unheard.clone());
    answer.unknown_word = unheard(&gateway).or_else(|| unheard(&inner.word));
    answer.task_id = json::owned(row, "task_id");
    let own_progress = row.get("progress").and_then(json::progress);
    answer.synthetic_progress = own_progress.is_some() && inner.progress.is_none();
    answer.progress = own_progress.or(inner.progress);
    answer.times = times(row, gateway.as_ref(), &inner, status);
    answer.finish_made_up = is_sweep(fail_reason.as_deref());
    read_usage(row, &inner, &mut answer);
    read_error(row, &inner, fail_reason, &mut answer);
    answer.has_result_url =
        ["result_url", "url", "fail_reason"].iter().any(|key| body::has_url(row, key)) || inner.has_url;
    answer.expires_at = inner.expires_at;
    Some(body::settled(answer))
}

/// True when the gateway asks Gemini or Vertex itself each time the row is read (docs/upstreams.md 2.3 and 2.7): the
/// reduced row, which alone has a format, or a whole row of one of those channels or of a Veo model.
fn is_read_live(row: &Value) -> bool {
    let is_veo = |key| row.pointer(key).and_then(Value::as_str).is_some_and(|name| name.starts_with("veo"));
    row.get("format").is_some()
        || json::text(row, "platform").is_some_and(|platform| matches!(&*platform, "24" | "41"))
        || ["/properties/upstream_model_name", "/properties/origin_model_name"].iter().any(|key| is_veo(key))
        || data_of(row).is_some_and(|data| body::is_veo(&data))
}

/// What the row holds of its vendor: an object, or a text of one.
fn data_of(row: &Value) -> Option<Cow<'_, Value>> {
    let data = match row.get("data")? {
        Value::String(text) => Cow::Owned(serde_json::from_str(text).ok()?),
        other => Cow::Borrowed(other),
    };
    data.is_object().then_some(data)
}

fn read_usage(row: &Value, inner: &Body, answer: &mut Answer) {
    let name = |key| row.get("properties").and_then(|properties| json::owned(properties, key));
    answer.model_upstream = name("upstream_model_name").or_else(|| inner.model.clone());
    answer.model_origin = name("origin_model_name");
    let metadata = row.get("metadata").unwrap_or(&Value::Null);
    answer.video_seconds = inner.video_seconds.or_else(|| json::amount(metadata, "duration"));
    answer.resolution = inner.resolution.clone().or_else(|| body::size(metadata, "width", "height"));
    answer.service_tier.clone_from(&inner.service_tier);
    answer.tokens = if inner.tokens.is_empty() { body::usage(row) } else { inner.tokens };
    answer.credits = json::amount(row, "quota");
}

fn read_error(row: &Value, inner: &Body, fail_reason: Option<Cow<'_, str>>, answer: &mut Answer) {
    let own = error::error_body(row);
    let own_code =
        own.code.filter(|code| row.get("error").is_some_and(Value::is_object) && !body::is_success_code(code));
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

/// The vendor's body in the row, unwrapped again when it is another gateway's envelope.
fn inner_of(row: &Value, depth: u8) -> Option<Body> {
    if depth >= MAX_NESTING {
        return None;
    }
    let inner = data_of(row)?;
    match row_of(&inner).filter(|data| data.get("status").is_some()) {
        Some(nested) => read_row(nested, depth + 1).map(as_body),
        None => body::read(&inner),
    }
}

/// A gateway's answer seen from the gateway before it.
fn as_body(answer: Answer) -> Body {
    let one_clock = answer.times.clock != Clock::Mixed;
    Body {
        task_id: None,
        word: Some(Word { status: answer.status, unheard: answer.unknown_word }),
        progress: answer.progress.filter(|_| !answer.synthetic_progress),
        submit: answer.times.submit.filter(|_| one_clock || answer.times.finish.is_none()),
        start: answer.times.start,
        finish: answer.times.finish,
        model: answer.model_upstream,
        video_seconds: answer.video_seconds,
        resolution: answer.resolution,
        service_tier: answer.service_tier,
        tokens: answer.tokens,
        credits: None,
        error_code: answer.error_code,
        error_message: answer.error_message,
        has_url: answer.has_result_url,
        expires_at: answer.expires_at,
        gone: false,
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
            _ => match fail_reason.and_then(words::word).map(|word| word.status) {
                Some(end @ (Status::Cancelled | Status::Expired)) => end,
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
fn times(row: &Value, gateway: Option<&Word>, inner: &Body, status: Status) -> Times {
    let own = |key| json::moment(row, &[key]);
    let gateway_ended = gateway.is_some_and(|word| word.status.is_end());
    let start = own("start_time");
    if gateway_ended && let (Some(submit), Some(finish)) = (own("submit_time"), own("finish_time")) {
        return Times { submit: Some(submit), start, finish: Some(finish), clock: Clock::Gateway };
    }
    let inner_ended = inner.status().is_some_and(Status::is_end);
    if inner_ended && status.is_end() && inner.submit.is_some() && inner.finish.is_some() {
        return Times { submit: inner.submit, start: inner.start, finish: inner.finish, clock: Clock::Upstream };
    }
    let updated = || own("updated_at").filter(|_| gateway_ended);
    let finish = own("finish_time").or_else(|| own("finished_at")).or_else(updated);
    let from_inner = own("submit_time").is_none() && inner.submit.is_some();
    let submit = own("submit_time").or(inner.submit).or_else(|| own("created_at"));
    let clock = if from_inner && (finish.is_some() || start.is_some()) { Clock::Mixed } else { Clock::Gateway };
    Times { submit, start, finish, clock }
}
