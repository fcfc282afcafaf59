//! Removes secrets and texts of users from responses before they are printed.
//!
//! A prompt may stand in any field, under any name. So only what is known to be needed is shown: the names of fields, numbers,
//! booleans, times, and single words in fields that are known to have words.

use serde_json::{Map, Value};

use crate::domain::labels::{is_secret_like, is_trace_id};
use crate::http::Key;
use crate::provider::parse_json;

/// What is printed instead.
const REDACTED: &str = "<redacted>";

/// Names of fields whose words are shown, without case and separators. A status, a code, an id or the name of a model is one word.
const WORD_FIELDS: [&str; 50] = [
    "action",
    "aspectratio",
    "channelid",
    "code",
    "currency",
    "errcode",
    "errorcode",
    "errortype",
    "event",
    "externaltaskid",
    "failreason",
    "failureclass",
    "failurecode",
    "finishreason",
    "format",
    "framespersecond",
    "gatewaystatus",
    "id",
    "jobid",
    "kind",
    "level",
    "mode",
    "model",
    "modelid",
    "modelname",
    "modelorigin",
    "modelupstream",
    "object",
    "originmodelname",
    "phase",
    "platform",
    "quality",
    "ratio",
    "reason",
    "requestid",
    "resolution",
    "servicetier",
    "size",
    "state",
    "status",
    "statuscode",
    "taskid",
    "taskstatus",
    "tier",
    "traceid",
    "type",
    "unit",
    "upstreammodelname",
    "upstreamstatus",
    "videoid",
];

/// Names of fields about a person, whose numbers are hidden too.
const PRIVATE_FIELDS: [&str; 6] = ["email", "ip", "phone", "user", "userid", "username"];

/// Longest word and longest name of a field, in bytes.
const MAX_WORD: usize = 128;

/// A JSON body without URLs, prompts and the key. Other bodies are only described.
pub fn redact_body(body: &[u8], key: Option<&Key>) -> String {
    match parse_json(body) {
        Ok(value) => {
            let redacted = redact_value("", value);
            remove_key(&serde_json::to_string_pretty(&redacted).unwrap_or_default(), key)
        }
        Err(error) if error.code.is_some() => format!("({} bytes of JSON with too many values)", body.len()),
        Err(_) => {
            let is_html = body.trim_ascii_start().starts_with(b"<");
            let looks = if is_html { " but look like a web page" } else { "" };
            format!("({} bytes that are not JSON{looks})", body.len())
        }
    }
}

/// Removes the key, which an upstream may repeat in its response.
pub fn remove_key(text: &str, key: Option<&Key>) -> String {
    let secrets = key.map(Key::secrets).unwrap_or_default();
    secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, REDACTED))
}

/// A value without what must not be shown. `name` is the name of its field, also for the entries of a list.
pub fn redact_value(name: &str, value: Value) -> Value {
    match value {
        Value::Object(fields) => redact_fields(fields).into(),
        Value::Array(items) => items.into_iter().map(|item| redact_value(name, item)).collect(),
        Value::String(text) => match parse_json(text.as_bytes()) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => redact_value(name, inner).to_string().into(),
            _ if text.is_empty() || is_shown(name, &text) => text.into(),
            _ => REDACTED.into(),
        },
        Value::Number(_) if PRIVATE_FIELDS.contains(&&*plain_name(name)) => REDACTED.into(),
        other => other,
    }
}

fn redact_fields(fields: Map<String, Value>) -> Map<String, Value> {
    let mut shown = Map::new();
    for (name, value) in fields {
        let value = redact_value(&name, value);
        let is_name = is_word(&name) && !is_secret_like(&name);
        let name = if is_name { name } else { format!("{REDACTED} {}", shown.len()) };
        shown.insert(name, value);
    }
    shown
}

/// Whether a text is a number or a time, or a word in a field of words.
fn is_shown(name: &str, text: &str) -> bool {
    let name = plain_name(name);
    if PRIVATE_FIELDS.contains(&&*name) {
        return false;
    }
    let is_number_or_time = text.len() <= 40
        && text.contains(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | ':' | ' ' | '%' | 'T' | 'Z'));
    let is_word_field = WORD_FIELDS.contains(&&*name) || (name == "name" && text.contains("operations/"));
    is_number_or_time || is_word_field && is_word(text) && (is_trace_id(text) || !is_secret_like(text))
}

/// A name without case and separators.
fn plain_name(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}

fn is_word(text: &str) -> bool {
    text.len() <= MAX_WORD
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':' | b'/' | b'*' | b'@' | b'$'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secret::Secret;

    #[test]
    fn urls_prompts_and_the_key_are_not_shown() {
        let secret = r#"{"data":{"result_url":"https://x.y/v?sig=S3CRET","n":5,"properties":{"input":"S3CRET cat"},
            "data":"{\"url\":\"http://S3CRET\",\"status\":\"ok\"}","echo":"you sent sk-S3CRET"}}"#;
        let key = Key::Sent(Secret::new("sk-S3CRET").unwrap());
        let shown = redact_body(secret.as_bytes(), Some(&key));
        assert!(!shown.contains("S3CRET") && shown.contains("\"n\": 5"), "{shown}");
        assert!(shown.contains(r#"\"status\":\"ok\""#), "JSON in a string is redacted as JSON: {shown}");
        let echo = redact_body(br#"{"sk-S3CRET": {"a": 1}}"#, Some(&key));
        assert!(!echo.contains("S3CRET") && echo.contains("\"a\": 1"), "{echo}");
        assert_eq!(redact_body(b"<html>S3CRET", None), "(12 bytes that are not JSON but look like a web page)");
        assert_eq!(redact_body(b"S3CRET", None), "(6 bytes that are not JSON)");
    }

    #[test]
    fn a_text_of_a_user_is_hidden_in_every_field() {
        let texts = [
            "a cat on the S3CRET beach",
            "S3CRET猫",
            "s3://S3CRET/v.mp4",
            "data:image/png;base64,S3CRET",
            "//S3CRET.example/v",
        ];
        for text in texts {
            for name in
                ["prompt", "text", "content", "promptText", "caption", "status", "id", "model", "code", "message"]
            {
                for body in [
                    json!({name: text}),
                    json!({name: [[text]]}),
                    json!({name: {"x": [text]}}),
                    json!({text: {name: 1}}),
                ] {
                    let shown = redact_body(body.to_string().as_bytes(), None);
                    assert!(!shown.contains("S3CRET") && shown.contains(REDACTED), "{body}: {shown}");
                }
            }
        }
        for body in [
            json!({"messages": [{"role": "S3CRET", "content": "S3CRET"}]}),
            json!(["S3CRET"]),
            json!({"user_id": 733_733}),
        ] {
            let shown = redact_body(body.to_string().as_bytes(), None);
            assert!(!shown.contains("S3CRET") && !shown.contains("733"), "{shown}");
        }
    }

    #[test]
    fn what_a_reader_needs_is_shown() {
        let body = json!({
            "code": "success", "task_id": "task_JaURYzdMLaz", "id": "0af7651916cd43dd8448eb211c80319c", "status": "IN_PROGRESS",
            "progress": "30%", "created_at": "2026-11-20T08:00:00.5+08:00", "submit": "1795132800", "done": false, "error": null,
            "model": "veo-3.1-fast-generate-preview", "name": "models/veo/operations/abc", "size": "1280x720",
            "usage": {"total_tokens": 100}, "message": "",
        });
        let shown: Value = serde_json::from_str(&redact_body(body.to_string().as_bytes(), None)).unwrap();
        assert_eq!(shown, body);
    }
}
