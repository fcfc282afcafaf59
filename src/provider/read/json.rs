//! Parses answers into values, whose memory is bounded.

use serde_json::Value;

use crate::domain::{ApiError, Reason};

/// Most values of an answer. A list of 500 tasks has a quarter of it. A value can take a hundred times the memory of its text, and
/// 4 MiB of text can have two million.
pub const MAX_VALUES: usize = 200_000;

/// The byte order mark, with which some servers begin a body.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Parses a body. Its depth is bounded by `serde_json`, to 128 levels.
///
/// # Errors
/// When it is not JSON, or has too many values.
pub fn parse(body: &[u8]) -> Result<Value, ApiError> {
    if body.len() > MAX_VALUES && has_too_many_values(body) {
        return Err(ApiError::with_code(Reason::InvalidBody, "too_many_values"));
    }
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    serde_json::from_slice(body).map_err(|_| ApiError::new(Reason::InvalidBody))
}

/// Each value but the first follows a comma or the bracket of its parent. Those in strings count too, which is simple and fast.
fn has_too_many_values(body: &[u8]) -> bool {
    body.iter().filter(|byte| matches!(byte, b',' | b'{' | b'[')).count() > MAX_VALUES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_too_many_values_or_levels_is_invalid() {
        let wide = |values: usize| format!("[{}0]", "0,".repeat(values - 1)).into_bytes();
        assert!(parse(&wide(MAX_VALUES - 1)).is_ok());
        for (body, code) in [
            (wide(MAX_VALUES + 1), Some("too_many_values")),
            (format!("[{}0]", r#"{"":0},"#.repeat(MAX_VALUES)).into_bytes(), Some("too_many_values")),
            (format!("{}{}", "[".repeat(200), "]".repeat(200)).into_bytes(), None),
        ] {
            let error = parse(&body).unwrap_err();
            assert_eq!((error.kind, error.code.as_deref()), (Reason::InvalidBody, code));
        }
    }
}
