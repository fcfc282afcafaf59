//! Kling: `{code, message, data: {task_id, task_status, …}}`; its times are milliseconds.

use serde_json::Value;

use super::{Body, has_url};
use crate::domain::Status;
use crate::provider::json;
use crate::provider::words;

/// Reads a task (docs/upstreams.md 7.1).
pub fn read(value: &Value) -> Body {
    let data = &value["data"];
    let video = data.pointer("/task_result/videos/0").unwrap_or(&Value::Null);
    let word = json::text(data, "task_status").and_then(|word| words::word(&word));
    let failed = word.as_ref().is_some_and(|word| word.status == Status::Failed);
    Body {
        task_id: json::owned(data, "task_id"),
        word,
        submit: json::moment(data, &["created_at"]),
        finish: json::moment(data, &["updated_at"]),
        video_seconds: json::amount(video, "duration"),
        credits: json::amount(data, "final_unit_deduction"),
        error_message: json::owned(data, "task_status_msg").filter(|_| failed),
        has_url: has_url(video, "url"),
        ..Body::default()
    }
}
