//! Recognizes the vendor of a body in a gateway's row, and decodes it.

use serde_json::Value;

use super::read::error::{self, is_success_code};
use super::read::fields::BodySource;
use super::read::lenient::{self, Zone};
use super::{ark, dashscope, jimeng, kling, minimax_hailuo, openai_videos, openrouter, veo, vidu, xai};
use crate::domain::Answer;

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
    } else if value.get("status").is_some_and(Value::is_string) {
        ark::read
    } else {
        return None;
    };
    Some(read(value, zone, source))
}

/// Decodes the error in a body of an unknown vendor.
pub fn read_error(value: &Value) -> Option<Answer> {
    let found = error::error_body(value);
    let has_error = value.get("error").is_some_and(|error| !error.is_null())
        || found.code.as_deref().is_some_and(|code| !is_success_code(code));
    has_error.then(|| Answer { error_code: found.code, error_message: found.message, ..Answer::default() })
}
