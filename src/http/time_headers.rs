//! The headers `Retry-After` and `Date` (RFC 9110, sections 10.2.3 and 6.6.1).

use std::time::Duration;

use crate::domain::Timestamp;

/// Longest accepted `Retry-After`; longer ones are cut.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// Parses seconds or an HTTP date in any of its three formats. A past date gives zero.
pub fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    }
    Some(parse_date(value)?.duration_since(now).min(MAX_RETRY_AFTER))
}

/// Parses an HTTP date in any of its three formats.
pub fn parse_date(value: &str) -> Option<Timestamp> {
    httpdate::parse_http_date(value.trim()).ok().map(Timestamp::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_parsed_and_invalid_values_are_ignored() {
        let now = Timestamp::from_secs(784_111_777 - 90);
        for (value, wait) in [
            ("5", Some(5)),
            (" 0 ", Some(0)),
            ("180", Some(180)),
            ("99999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(90)),
            ("Sat, 05 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(90)),
            ("Sun Nov  6 08:49:37 1994", Some(90)),
            ("", None),
            ("soon", None),
            ("-3", None),
            ("1.5", None),
        ] {
            assert_eq!(parse_retry_after(value, now).map(|wait| wait.as_secs()), wait, "{value:?}");
        }
    }
}
