//! Volcengine Ark (Seedance): `{id, model, status, created_at, updated_at, content, usage, …}`.

use serde_json::Value;

use super::{Body, error_of, has_url, usage};
use crate::provider::json;
use crate::provider::words;

/// Reads an Ark task (docs/upstreams.md 5.1).
pub fn read(value: &Value) -> Body {
    let (error_code, error_message) = error_of(value);
    let frames =
        || Some(json::amount(value, "frames")? / json::amount(value, "framespersecond").filter(|fps| *fps > 0.0)?);
    Body {
        task_id: json::owned(value, "id"),
        word: json::text(value, "status").and_then(|word| words::word(&word)),
        submit: json::moment(value, &["created_at"]),
        finish: json::moment(value, &["updated_at"]),
        model: json::owned(value, "model"),
        video_seconds: json::amount(value, "duration").or_else(frames),
        resolution: json::owned(value, "resolution"),
        service_tier: json::owned(value, "service_tier"),
        tokens: usage(value),
        error_code,
        error_message,
        has_url: value.get("content").is_some_and(|content| has_url(content, "video_url")),
        ..Body::default()
    }
}
