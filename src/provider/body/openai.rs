//! The `OpenAI` Videos object (Sora), also as gateways and compatible servers send it.

use serde_json::Value;

use super::{Body, error_of, has_url};
use crate::provider::json;
use crate::provider::words;

/// Reads a video object (docs/upstreams.md 2.6 and 6.1).
pub fn read(value: &Value) -> Body {
    let (error_code, error_message) = error_of(value);
    let metadata = value.get("metadata").unwrap_or(&Value::Null);
    // Gateways put the failure text where the URL would be.
    let stand_in = || json::owned(value, "fail_reason").or_else(|| json::owned(metadata, "url"));
    let error_message = error_message.or_else(stand_in);
    Body {
        task_id: json::owned(value, "id").or_else(|| json::owned(value, "task_id")),
        word: json::text(value, "status").and_then(|word| words::word(&word)),
        progress: value.get("progress").and_then(json::progress),
        submit: json::moment(value, &["created_at", "created"]),
        finish: json::moment(value, &["completed_at"]),
        model: json::owned(value, "model"),
        video_seconds: json::amount(value, "seconds"),
        resolution: json::owned(value, "size"),
        error_code,
        error_message,
        has_url: has_url(value, "video_url") || has_url(value, "url") || has_url(metadata, "url"),
        expires_at: json::moment(value, &["expires_at"]),
        ..Body::default()
    }
}
