//! Sanitizes text from outside before it becomes a label value.

use std::borrow::Cow;

/// Longest label value, in characters.
pub const MAX_LABEL_CHARS: usize = 128;

/// Most labels that a source may give a task.
pub const MAX_LABELS: usize = 32;

/// Longest label value that a source may send, in bytes. It is cut to [`MAX_LABEL_CHARS`]; much longer ones are a mistake.
pub const MAX_LABEL_BYTES: usize = 4096;

/// Replaces a value that looks like a URL, a JWT or a key.
pub const REDACTED: &str = "redacted";

/// Makes a text safe as a label value: trims it, cuts it to 128 characters, removes control characters and redacts what looks
/// like a secret.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if is_secret_like(text) {
        return Cow::Borrowed(REDACTED);
    }
    if text.len() <= MAX_LABEL_CHARS && !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|c| !c.is_control()).take(MAX_LABEL_CHARS).collect())
}

/// Error message for an invalid label name.
pub const LABEL_NAME_RULE: &str =
    "a label name must match [a-zA-Z_][a-zA-Z0-9_]*, have at most 128 characters, and not begin with __";

/// Whether a source may use this label name, by the rule of [`LABEL_NAME_RULE`].
pub fn is_label_name(name: &str) -> bool {
    let mut chars = name.chars();
    name.len() <= MAX_LABEL_CHARS
        && chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with("__")
}

/// Replaces every URL by `[url]`: the URLs of results contain signatures, which are secrets.
pub fn mask_urls(text: &str) -> Cow<'_, str> {
    let mut found = false;
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = find_scheme(rest) {
        found = true;
        masked.push_str(&rest[..at]);
        masked.push_str("[url]");
        let tail = &rest[at..];
        let end = tail.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>')).unwrap_or(tail.len());
        rest = &tail[end..];
    }
    if !found {
        return Cow::Borrowed(text);
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

/// Upstream text that may be stored, with its URLs masked; `None` when it is blank or is itself a URL.
pub fn storable_text(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && !is_url(text)).then(|| mask_urls(text).into_owned())
}

/// Whether a text is a single `http(s)` URL.
pub fn is_url(text: &str) -> bool {
    let text = text.trim();
    find_scheme(text) == Some(0) && !text.contains(char::is_whitespace)
}

/// Whether there may be a URL. The search for a colon is fast and rules out most texts.
fn has_scheme(text: &str) -> bool {
    text.contains(':') && text.contains("://")
}

fn find_scheme(text: &str) -> Option<usize> {
    if !has_scheme(text) {
        return None;
    }
    text.match_indices("://").find_map(|(at, _)| {
        ["https", "http"].iter().find_map(|scheme| {
            let start = at.checked_sub(scheme.len())?;
            text.get(start..at)?.eq_ignore_ascii_case(scheme).then_some(start)
        })
    })
}

/// Whether a text looks like a URL, a JWT or a key.
pub fn is_secret_like(text: &str) -> bool {
    has_scheme(text) || text.starts_with("//") || is_jwt(text) || is_key(text)
}

/// Whether it has three parts and base64url of a JSON object (`eyJ`).
fn is_jwt(text: &str) -> bool {
    text.contains("eyJ") && text.split('.').count() >= 3
}

/// Whether it has the prefix of a vendor's keys, or is a long text of letters and digits without separators.
fn is_key(text: &str) -> bool {
    const PREFIXES: [&str; 9] = ["sk-", "sk_", "ak-", "pk-", "rk-", "AKIA", "AIza", "ghp_", "xox"];
    let is_bearer = text.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("bearer "));
    let has_prefix = PREFIXES.iter().any(|prefix| text.len() >= prefix.len() + 12 && text.starts_with(prefix));
    let is_opaque = text.len() >= 32
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'_'))
        && text.bytes().filter(u8::is_ascii_digit).count() >= 6
        && text.bytes().any(|b| b.is_ascii_alphabetic());
    is_bearer || has_prefix || is_opaque
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_redacted_and_model_names_are_not() {
        for secret in [
            "https://media.example.com/v.mp4?sig=abc",
            "sk-abcdefghijklmnop1234",
            "Bearer abcdef",
            "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln",
            "AKIAIOSFODNN7EXAMPLE",
            "0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(sanitize(secret), REDACTED, "{secret}");
        }
        for name in ["doubao-seedance-1-5-pro-251215", "kling-v2-6", "veo-3.1-fast-generate-preview", "sora-2", "模型"]
        {
            assert_eq!(sanitize(name), name);
        }
        assert_eq!(sanitize(" a\u{7}b\n"), "ab");
        assert_eq!(sanitize(&"é".repeat(400)).chars().count(), MAX_LABEL_CHARS);
    }

    #[test]
    fn urls_in_messages_are_masked() {
        assert_eq!(mask_urls("see HTTPS://a.b/c?d=e, then"), "see [url] then");
        assert_eq!(mask_urls("no url: 12://x"), "no url: 12://x");
        assert!(is_url(" http://a/b "));
        assert!(!is_url("failed: http://a/b"));
    }
}
