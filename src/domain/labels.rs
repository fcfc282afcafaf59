//! Sanitizes text from outside before it becomes a label value.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Longest label value, in characters.
pub const MAX_LABEL_CHARS: usize = 128;

/// Most labels that a source may give a task.
pub const MAX_LABELS: usize = 32;

/// Longest label value that a source may send, in bytes. It is cut to [`MAX_LABEL_CHARS`]; much longer ones are a mistake.
pub const MAX_LABEL_BYTES: usize = 4096;

/// Replaces a value that looks like a URL, a JWT or a key.
pub const REDACTED: &str = "redacted";

/// Makes a text of an answer safe as a label value: trims it, cuts it to 128 characters, removes invisible characters and
/// redacts what looks like a secret.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    // Invisible characters within a secret must not hide it.
    let visible: Cow<'_, str> =
        if text.contains(is_invisible) { text.chars().filter(|c| !is_invisible(*c)).collect() } else { text.into() };
    if is_secret_like(&visible) {
        return Cow::Borrowed(REDACTED);
    }
    if visible.len() <= MAX_LABEL_CHARS { visible } else { visible.chars().take(MAX_LABEL_CHARS).collect() }
}

/// As [`sanitize`], for a label that the operator's own source sends. A text of 32 hexadecimal digits is a trace id there. In an
/// answer it may be a key that the upstream repeats: nobody can tell them apart.
pub fn sanitize_source_label(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if is_trace_id(text) { Cow::Borrowed(text) } else { sanitize(text) }
}

/// Whether a text is an id of 128 bits in hexadecimal digits.
pub fn is_trace_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a character is not shown, or changes how others are shown: control characters (C0 and C1), directions of text,
/// zero-width characters.
pub const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e007f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Writes invisible characters other than line breaks and tabs as `\u202e`, which is also their form in JSON: a terminal or a
/// viewer of logs must not obey them.
pub fn escape_invisible(text: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| is_invisible(c) && !matches!(c, '\n' | '\t');
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            // As JSON escapes: characters beyond the first 65,536 as two.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
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

/// Replaces every URL by `[url]`: the URLs of results contain signatures, which are secrets, and `data:` contains the data.
pub fn mask_urls(text: &str) -> Cow<'_, str> {
    if !may_have_url(text) {
        return Cow::Borrowed(text);
    }
    let mut masked = String::with_capacity(text.len());
    for piece in text.split_inclusive(ends_url) {
        let word = piece.trim_end_matches(ends_url);
        if let Some(start) = find_url(word) {
            masked.push_str(&word[..start]);
            masked.push_str("[url]");
            masked.push_str(&piece[word.len()..]);
        } else {
            masked.push_str(piece);
        }
    }
    Cow::Owned(masked)
}

/// Upstream text that may be stored, with its URLs masked; `None` when it is blank or is itself a URL.
pub fn storable_text(text: &str) -> Option<String> {
    let text = text.trim();
    let is_url = may_have_url(text) && find_url(text) == Some(0) && !text.contains(char::is_whitespace);
    (!text.is_empty() && !is_url).then(|| mask_urls(text).into_owned())
}

/// Whether a text is a single `http(s)` URL.
pub fn is_url(text: &str) -> bool {
    let text = text.trim();
    let has_scheme = |scheme: &str| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    (has_scheme("https://") || has_scheme("http://")) && !text.contains(char::is_whitespace)
}

/// Whether there may be a URL. The search is fast and rules out most texts.
fn may_have_url(text: &str) -> bool {
    text.contains("//") || text.contains(':') && has_data_scheme(text)
}

fn has_data_scheme(text: &str) -> bool {
    text.match_indices(':').any(|(at, _)| at >= 4 && text.as_bytes()[at - 4..at].eq_ignore_ascii_case(b"data"))
}

/// Characters that no URL contains.
fn ends_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>')
}

/// Where a URL begins in a word: `scheme://`, `//host.name` or `data:type,`.
fn find_url(word: &str) -> Option<usize> {
    let bytes = word.as_bytes();
    let with_scheme = word.match_indices("://").find_map(|(at, _)| {
        // No scheme is longer.
        let head = &bytes[at.saturating_sub(32)..at];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let scheme = head.len() - head.iter().rev().take_while(|byte| is_part(byte)).count();
        let letter = head[scheme..].iter().position(u8::is_ascii_alphabetic)?;
        Some(at - head.len() + scheme + letter)
    });
    let without_scheme = word.match_indices("//").map(|(at, _)| at).find(|at| {
        let begins = at.checked_sub(1).is_none_or(|before| matches!(bytes[before], b'(' | b'[' | b'{' | b'=' | b','));
        begins && bytes.get(at + 2).is_some_and(u8::is_ascii_alphanumeric) && bytes[at + 2..].contains(&b'.')
    });
    let data = word
        .match_indices(':')
        .map(|(at, _)| at)
        .find(|at| *at >= 4 && bytes[at - 4..*at].eq_ignore_ascii_case(b"data") && bytes[at + 1..].contains(&b','));
    [with_scheme, without_scheme, data.map(|at| at - 4)].into_iter().flatten().min()
}

/// Whether a text looks like a URL, a JWT or a key.
pub fn is_secret_like(text: &str) -> bool {
    text.contains(':') && (text.contains("://") || find_url(text).is_some())
        || text.starts_with("//")
        || is_jwt(text)
        || is_key(text)
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
            "s3://bucket/v.mp4",
            "data:video/mp4;base64,AAAA",
        ] {
            assert_eq!(sanitize(secret), REDACTED, "{secret}");
        }
        for name in ["doubao-seedance-1-5-pro-251215", "kling-v2-6", "veo-3.1-fast-generate-preview", "sora-2", "模型"]
        {
            assert_eq!(sanitize(name), name);
        }
        assert_eq!(sanitize(" a\u{7}b\n"), "ab");
        assert_eq!(sanitize("s\u{200b}k-abcdefghijklmnop1234"), REDACTED, "it does not become visible");
        assert_eq!(sanitize("a\u{9b}b\u{202e}c\u{200b}d\u{feff}"), "abcd");
        assert_eq!(sanitize("s\u{200b}k-abcdefghijklmnop1234"), REDACTED, "a secret does not become visible");
        assert_eq!(sanitize(&"é".repeat(400)).chars().count(), MAX_LABEL_CHARS);
    }

    #[test]
    fn a_trace_id_is_a_label_of_a_source_but_not_a_text_of_an_answer() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!((&*sanitize_source_label(&format!(" {id} ")), &*sanitize(id)), (id, REDACTED));
        for secret in
            [&format!("{id}0"), "sk-0af7651916cd43dd8448eb211c80319c", "s3://b/0af7651916cd43dd8448eb211c80319c"]
        {
            assert_eq!(sanitize_source_label(secret), REDACTED, "{secret}");
        }
    }

    #[test]
    fn invisible_characters_are_escaped_and_others_are_not() {
        let text = "a\u{1b}[2J\u{9b}1m\u{202e}b\u{200d}\u{ad}\u{61c}\u{2066}\u{e0041}\n\tü模型";
        let escaped = escape_invisible(text);
        assert_eq!(escaped, "a\\u001b[2J\\u009b1m\\u202eb\\u200d\\u00ad\\u061c\\u2066\\udb40\\udc41\n\tü模型");
        let json = serde_json::to_string(text).unwrap();
        assert_eq!(serde_json::from_str::<String>(&escape_invisible(&json)).unwrap(), text);
    }

    #[test]
    fn urls_in_messages_are_masked() {
        for (text, masked) in [
            ("at s3://b/k?sig=1 and (gs://b/k)", "at [url] and ([url]"),
            ("请看oss://b/k", "请看[url]"),
            ("see //cdn.example/v.mp4, \"data:image/png;base64,AAAA\"", "see [url] \"[url]\""),
            ("DATA:,x", "[url]"),
            ("// a comment, a//b, data: none", "// a comment, a//b, data: none"),
        ] {
            assert_eq!(mask_urls(text), masked);
        }
        assert_eq!([storable_text("gs://b/k"), storable_text("//b.c/k"), storable_text("data:,x")], [None, None, None]);
        let many = "a://b ".repeat(100_000);
        assert_eq!(mask_urls(&many).len(), many.len());
        assert_eq!(mask_urls("see HTTPS://a.b/c?d=e, then"), "see [url] then");
        assert_eq!(mask_urls("no url: 12://x"), "no url: 12://x");
        assert!(is_url(" http://a/b "));
        assert!(!is_url("failed: http://a/b"));
    }
}
