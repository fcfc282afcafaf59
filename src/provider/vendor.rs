//! Recognizes the vendor of a body in a gateway's row, and decodes it.

use serde_json::Value;

use super::read::error::{self, is_success_code};
use super::read::fields::{self, BodySource, Contract, optional};
use super::read::lenient::{self, Zone};
use super::{ark, dashscope, jimeng, kling, minimax_hailuo, openai_videos, openrouter, veo, vidu, xai};
use crate::domain::Answer;
use crate::domain::drift::Field;

/// Decodes a vendor's body.
type ReadBody = fn(&Value, Zone, BodySource) -> Answer;

/// Decodes a body of any known vendor; `None` when the vendor is unknown (docs/upstreams.md 2.4).
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Option<Answer> {
    let has = |at: &str| lenient::at(value, at).is_some();
    let read: ReadBody = if jimeng::is_answer(value) {
        jimeng::read
    } else if has("output.task_status") {
        dashscope::read
    } else if has("data.task_status") {
        kling::read
    } else if has("task.status") || has("base_resp") {
        minimax_hailuo::read
    } else if openai_videos::is_video(value) || openrouter::is_job(value) {
        openai_videos::read
    } else if veo::is_operation(value) {
        veo::read
    } else if vidu::is_task(value) {
        vidu::read
    } else if xai::is_video(value) {
        xai::read
    } else if ark::is_task(value) || source != BodySource::Inside && value.get("status").is_some_and(Value::is_string) {
        ark::read
    } else {
        return None;
    };
    Some(read(value, zone, source))
}

/// Decodes what bodies of an unknown vendor may have as others do: a known status word, and an error. Nothing is missing.
pub fn read_unknown(value: &Value, zone: Zone) -> Answer {
    const STATUS: Contract = &[optional(Field::Status, &["status"])];
    let reported_status = fields::read(STATUS, value, zone, BodySource::Inside).reported_status;
    let found = error::error_body(value);
    let has_error = value.get("error").is_some_and(|error| !error.is_null())
        || found.code.as_deref().is_some_and(|code| !is_success_code(code));
    let (error_code, error_message) = if has_error { (found.code, found.message) } else { (None, None) };
    Answer { reported_status, error_code, error_message, ..Answer::default() }
}
