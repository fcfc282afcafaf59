//! `MiniMax` (Hailuo): v1 `{task_id, status, base_resp}` without times, v2 `{task: {…}}` much as Ark.

use serde_json::Value;

use super::{Body, error_of, has_url, is_success_code, size, usage};
use crate::provider::json;
use crate::provider::words;

/// Reads a v1 answer (docs/upstreams.md 9.1); a code beside a status is the task's error.
pub fn read_v1(value: &Value) -> Body {
    let base = value.get("base_resp").unwrap_or(&Value::Null);
    let error_code = json::owned(base, "status_code").filter(|code| !is_success_code(code));
    Body {
        task_id: json::owned(value, "task_id"),
        word: json::text(value, "status").and_then(|word| words::word(&word)),
        resolution: size(value, "video_width", "video_height"),
        error_message: error_code.as_ref().and_then(|_| json::owned(base, "status_msg")),
        error_code,
        ..Body::default()
    }
}

/// Reads the `task` of a v2 answer (docs/upstreams.md 9.2).
pub fn read_v2(task: &Value) -> Body {
    let (error_code, error_message) = error_of(task);
    Body {
        task_id: json::owned(task, "id"),
        word: json::text(task, "status").and_then(|word| words::word(&word)),
        submit: json::moment(task, &["created_at"]),
        finish: json::moment(task, &["updated_at"]),
        model: json::owned(task, "model"),
        video_seconds: json::amount(task, "duration"),
        resolution: json::owned(task, "resolution"),
        tokens: usage(task),
        error_code,
        error_message,
        has_url: task.get("content").is_some_and(|content| has_url(content, "url")),
        ..Body::default()
    }
}
