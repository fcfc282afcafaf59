//! Removes secrets from responses before they are printed.

use serde_json::Value;

/// Fields that contain data of a user.
const PRIVATE_FIELDS: [&str; 8] =
    ["prompt", "orig_prompt", "actual_prompt", "revised_prompt", "negative_prompt", "input", "username", "user_id"];

/// A JSON body without URLs, prompts and the key. Other bodies are only described.
pub fn redact_body(body: &[u8], key: Option<&str>) -> String {
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        let is_html = body.trim_ascii_start().starts_with(b"<");
        return format!(
            "({} bytes that are not JSON{})",
            body.len(),
            if is_html { " but look like a web page" } else { "" }
        );
    };
    redact_value(&mut value, key);
    remove_key(&serde_json::to_string_pretty(&value).unwrap_or_default(), key)
}

/// Removes the key, which an upstream may repeat in its response.
pub fn remove_key(text: &str, key: Option<&str>) -> String {
    key.map_or_else(|| text.to_owned(), |key| text.replace(key, "<redacted>"))
}

fn redact_value(value: &mut Value, key: Option<&str>) {
    match value {
        Value::String(text) => {
            if let Ok(mut inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                redact_value(&mut inner, key);
                *text = inner.to_string();
            } else if text.contains("://") || key.is_some_and(|key| text.contains(key)) {
                "<redacted>".clone_into(text);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact_value(item, key)),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if PRIVATE_FIELDS.contains(&name.as_str()) && !field.is_null() {
                    *field = Value::from("<redacted>");
                } else {
                    redact_value(field, key);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_prompts_and_the_key_are_not_shown() {
        let secret = r#"{"data":{"result_url":"https://x.y/v?sig=S3CRET","n":5,"properties":{"input":"S3CRET cat"},
            "data":"{\"url\":\"http://S3CRET\"}","echo":"you sent sk-S3CRET"}}"#;
        let shown = redact_body(secret.as_bytes(), Some("sk-S3CRET"));
        assert!(!shown.contains("S3CRET") && shown.contains("\"n\": 5"), "{shown}");
        let echo = redact_body(br#"{"sk-S3CRET": {"a": 1}}"#, Some("sk-S3CRET"));
        assert!(!echo.contains("S3CRET") && echo.contains("\"a\": 1"), "{echo}");
        assert_eq!(redact_body(b"<html>S3CRET", None), "(12 bytes that are not JSON but look like a web page)");
    }
}
