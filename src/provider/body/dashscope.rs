//! Alibaba `DashScope` (`HappyHorse`, Wan): `{output: {task_status, …}, usage}`; its times have no zone and are UTC+8.

use serde_json::Value;

use super::{Body, has_url};
use crate::domain::Status;
use crate::provider::json;
use crate::provider::words;

/// Hours east of Greenwich of `DashScope`'s times.
const OFFSET_HOURS: i8 = 8;

/// Reads a task (docs/upstreams.md 10.1).
pub fn read(value: &Value) -> Body {
    let output = &value["output"];
    let usage = value.get("usage").unwrap_or(&Value::Null);
    let moment = |key| output.get(key).and_then(|value| json::as_moment_at(value, OFFSET_HOURS));
    let word = json::text(output, "task_status").and_then(|word| words::word(&word));
    let gone = word.as_ref().is_some_and(|word| word.unheard.is_none() && word.status == Status::Unknown);
    let error = |key| json::owned(output, key).or_else(|| json::owned(value, key));
    let seconds = ["output_video_duration", "video_duration", "duration"];
    let spelt = || json::text(usage, "SR").map(|lines| format!("{}p", lines.trim_end_matches(['p', 'P'])));
    let height = json::amount(usage, "SR").map(|lines| format!("{lines}p")).or_else(spelt);
    Body {
        task_id: json::owned(output, "task_id"),
        word,
        submit: moment("submit_time"),
        start: moment("scheduled_time"),
        finish: moment("end_time"),
        video_seconds: seconds.iter().find_map(|key| json::amount(usage, key)),
        resolution: height.or_else(|| json::owned(usage, "video_ratio")),
        error_code: error("code"),
        error_message: error("message"),
        has_url: has_url(output, "video_url"),
        gone,
        ..Body::default()
    }
}
