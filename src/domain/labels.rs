//! What text from outside has to go through before it becomes a label value.

use std::borrow::Cow;

/// Longest label value, in characters.
pub const MAX_LABEL_CHARS: usize = 128;

/// Stands where a value looked like a URL, a JWT or a key.
pub const REDACTED: &str = "redacted";

/// Makes `text` fit to be a label value: no control characters, at most 128 characters, nothing that looks like a secret.
///
/// Returns an empty text for a blank one.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if looks_secret(text) {
        return Cow::Borrowed(REDACTED);
    }
    if text.len() <= MAX_LABEL_CHARS && !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|c| !c.is_control()).take(MAX_LABEL_CHARS).collect())
}

/// What a label name is, for whoever wrote another one.
pub const LABEL_NAME: &str =
    "a label name is [a-zA-Z_][a-zA-Z0-9_]*, at most 128 characters, and does not begin with __";

/// True when a label name may come from a source: `[a-zA-Z_][a-zA-Z0-9_]*`, not beginning with `__`, and no longer than a value.
pub fn is_label_name(name: &str) -> bool {
    let mut chars = name.chars();
    name.len() <= MAX_LABEL_CHARS
        && chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with("__")
}

/// Upstream text with every URL taken out: result URLs are signed secrets.
pub fn without_urls(text: &str) -> Cow<'_, str> {
    let mut found = false;
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = find_scheme(rest) {
        found = true;
        kept.push_str(&rest[..at]);
        kept.push_str("[url]");
        let tail = &rest[at..];
        let end = tail.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>')).unwrap_or(tail.len());
        rest = &tail[end..];
    }
    if !found {
        return Cow::Borrowed(text);
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// Upstream text that may be kept: without URLs; `None` when it is one, or nothing.
pub fn kept_text(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && !is_url(text)).then(|| without_urls(text).into_owned())
}

/// True for a text that is one `http(s)` URL.
pub fn is_url(text: &str) -> bool {
    let text = text.trim();
    find_scheme(text) == Some(0) && !text.contains(char::is_whitespace)
}

/// True where a scheme of a URL could end. Most texts are words without a colon, which is soon seen.
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

/// True for what looks like a URL, a JWT or a key.
pub fn looks_secret(text: &str) -> bool {
    has_scheme(text) || text.starts_with("//") || is_jwt(text) || is_key(text)
}

/// Three base64url parts, the first of which is a JSON object (`eyJ`).
fn is_jwt(text: &str) -> bool {
    text.contains("eyJ") && text.split('.').count() >= 3
}

/// The prefixes that vendors give to keys, and long texts without a word in them.
fn is_key(text: &str) -> bool {
    const PREFIXES: [&str; 9] = ["sk-", "sk_", "ak-", "pk-", "rk-", "AKIA", "AIza", "ghp_", "xox"];
    let lower_bearer = text.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("bearer "));
    let prefixed = PREFIXES.iter().any(|prefix| text.len() >= prefix.len() + 12 && text.starts_with(prefix));
    let opaque = text.len() >= 32
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'_'))
        && text.bytes().filter(u8::is_ascii_digit).count() >= 6
        && text.bytes().any(|b| b.is_ascii_alphabetic());
    lower_bearer || prefixed || opaque
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_become_redacted_and_model_names_stay() {
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
    fn urls_are_cut_out_of_messages() {
        assert_eq!(without_urls("see HTTPS://a.b/c?d=e, then"), "see [url] then");
        assert_eq!(without_urls("no url: 12://x"), "no url: 12://x");
        assert!(is_url(" http://a/b "));
        assert!(!is_url("failed: http://a/b"));
    }
}
