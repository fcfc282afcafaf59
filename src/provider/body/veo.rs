//! Google Veo: a long-running operation `{name, done, metadata, error, response}`.

use serde_json::Value;

use super::Body;
use crate::domain::Status;
use crate::provider::json;
use crate::provider::words::Word;

/// gRPC codes with a meaning of their own: CANCELLED and `DEADLINE_EXCEEDED`.
const GRPC_CANCELLED: f64 = 1.0;
const GRPC_DEADLINE_EXCEEDED: f64 = 4.0;

/// True for the shape of an operation.
pub fn is_operation(value: &Value) -> bool {
    value.get("done").is_some_and(Value::is_boolean)
        || value.get("name").and_then(Value::as_str).is_some_and(|name| name.contains("operations/"))
}

/// Reads an operation (docs/upstreams.md 8.2).
pub fn read(value: &Value) -> Body {
    let name = json::owned(value, "name");
    let metadata = value.get("metadata").unwrap_or(&Value::Null);
    let end = end(value);
    Body {
        model: name.as_deref().and_then(model),
        task_id: name,
        word: Some(Word { status: end.status, unheard: None }),
        submit: json::moment(metadata, &["createTime"]),
        finish: json::moment(metadata, &["updateTime"]),
        error_code: end.code,
        error_message: end.message,
        has_url: end.status == Status::Succeeded && has_video_url(value),
        ..Body::default()
    }
}

struct End {
    status: Status,
    code: Option<String>,
    message: Option<String>,
}

fn end(value: &Value) -> End {
    if value.get("done") != Some(&Value::Bool(true)) {
        return End { status: Status::Running, code: None, message: None };
    }
    if let Some(error) = value.get("error").filter(|error| error.is_object()) {
        let status = match json::number(error, "code") {
            Some(GRPC_CANCELLED) => Status::Cancelled,
            Some(GRPC_DEADLINE_EXCEEDED) => Status::Expired,
            _ => Status::Failed,
        };
        return End { status, code: json::owned(error, "code"), message: json::owned(error, "message") };
    }
    if !videos(value).is_empty() {
        return End { status: Status::Succeeded, code: None, message: None };
    }
    let filtered = results(value).find(|result| json::amount(result, "raiMediaFilteredCount").is_some_and(|n| n > 0.0));
    match filtered {
        Some(result) => End {
            status: Status::Failed,
            code: Some("rai_filtered".to_owned()),
            message: result.pointer("/raiMediaFilteredReasons/0").and_then(json::as_text).map(Into::into),
        },
        None => End { status: Status::Failed, code: Some("empty_response".to_owned()), message: None },
    }
}

/// The places where results and filter counts stand: Vertex's `response`, Gemini's `generateVideoResponse` in it.
fn results(value: &Value) -> impl Iterator<Item = &Value> {
    ["/response", "/response/generateVideoResponse"].into_iter().filter_map(|at| value.pointer(at))
}

fn videos(value: &Value) -> Vec<&Value> {
    results(value)
        .flat_map(|result| ["videos", "generatedSamples", "generatedVideos"].map(|key| result.get(key)))
        .filter_map(|list| list?.as_array())
        .flatten()
        .collect()
}

fn has_video_url(value: &Value) -> bool {
    videos(value).into_iter().any(|sample| {
        let video = sample.get("video").unwrap_or(sample);
        ["uri", "gcsUri", "url"].iter().any(|key| json::text(video, key).is_some())
    })
}

/// The part between `models/` and `/operations/`.
fn model(name: &str) -> Option<String> {
    let (head, _) = name.split_once("/operations/")?;
    let (_, model) = head.rsplit_once("models/")?;
    (!model.is_empty() && !model.contains('/')).then(|| model.to_owned())
}
