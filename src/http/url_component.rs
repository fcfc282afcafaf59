//! Escapes texts in URLs.

use std::fmt::Write as _;

/// A text as a segment of a path, or a name or value of a query: everything but unreserved characters is escaped (RFC 3986).
pub fn encode_component(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
