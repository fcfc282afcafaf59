//! Which vendor a body inside a gateway's row is of, and how that vendor's bodies are read.

use serde_json::Value;

use super::read::error::{self, is_success_code};
use super::read::fields::BodySource;
use super::read::lenient::{self, Zone};
use super::{ark, dashscope, kling, minimax_hailuo, openai_videos, veo};
use crate::domain::Answer;

/// Reads a vendor's body.
type ReadBody = fn(&Value, Zone, BodySource) -> Answer;

/// Reads a body of whichever vendor it is; `None` when it is of none that is known (docs/upstreams.md 2.4).
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Option<Answer> {
    let has = |at: &str| lenient::at(value, at).is_some();
    let read: ReadBody = if has("output.task_status") {
        dashscope::read
    } else if has("data.task_status") {
        kling::read
    } else if has("task.status") || has("base_resp") {
        minimax_hailuo::read
    } else if openai_videos::is_video(value) {
        openai_videos::read
    } else if veo::is_operation(value) {
        veo::read
    } else if lenient::text(value, "status").is_some() {
        ark::read
    } else {
        return None;
    };
    Some(read(value, zone, source))
}

/// The error in a body that is of no known vendor and has no status.
pub fn only_error(value: &Value) -> Option<Answer> {
    let found = error::error_body(value);
    let has_error = value.get("error").is_some_and(|error| !error.is_null())
        || found.code.as_deref().is_some_and(|code| !is_success_code(code));
    has_error.then(|| Answer { error_code: found.code, error_message: found.message, ..Answer::default() })
}
