//! Reads the expiry of a signed URL from its parameters. The URL itself is not stored.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::lenient;
use crate::domain::Timestamp;

/// Parameters with a date and a validity in seconds: AWS and compatible servers, Volcengine TOS, Google Cloud Storage V4,
/// Alibaba OSS V4.
const DATED: [(&str, &str); 4] = [
    ("x-amz-date", "x-amz-expires"),
    ("x-tos-date", "x-tos-expires"),
    ("x-goog-date", "x-goog-expires"),
    ("x-oss-date", "x-oss-expires"),
];

/// Parameters with a time: S3 V2, OSS V1, `CloudFront` and Google V2 (Unix seconds), Azure (RFC 3339).
const EXPIRIES: [&str; 2] = ["expires", "se"];

/// The parameter of Tencent COS: `START;END` in Unix seconds.
const TIME_RANGE: &str = "q-sign-time";

/// Longest credible validity, in seconds.
const MAX_VALIDITY: u64 = 10 * 366 * 86_400;

/// When a URL expires; `None` for a URL without a known signature.
pub fn expiry(url: &str) -> Option<Timestamp> {
    let (_, query) = url.split_once('?')?;
    let query = query.split('#').next()?;
    let parameter = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    };
    let dated = DATED.iter().find_map(|(date, validity)| {
        let from = DateTime::strptime("%Y%m%dT%H%M%SZ", &*parameter(date)?).ok()?.to_zoned(TimeZone::UTC).ok()?;
        let validity = parameter(validity)?.parse().ok().filter(|seconds| *seconds <= MAX_VALIDITY)?;
        Some(Timestamp::from_millis(from.timestamp().as_millisecond()) + Duration::from_secs(validity))
    });
    // A small number is a validity, whose start is unknown.
    let time = |text: &str| lenient::as_time(&text.into());
    let is_credible = |time: &Timestamp| lenient::limit::TIMES.contains(&time.as_millis());
    dated
        .filter(is_credible)
        .or_else(|| EXPIRIES.iter().find_map(|name| time(&parameter(name)?)))
        .or_else(|| time(parameter(TIME_RANGE)?.split_once(';')?.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_urls_have_an_expiry() {
        let end = 1_795_132_800 + 3600;
        for query in [
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20261120T000000Z&X-Amz-Expires=3600&X-Amz-Signature=00",
            "X-Tos-Expires=3600&X-Tos-Signature=00&X-Tos-Date=20261120T000000Z",
            "X-Goog-Date=20261120T000000Z&X-Goog-Expires=3600#t=1",
            "x-oss-date=20261120T000000Z&x-oss-expires=3600",
            "Expires=1795136400&OSSAccessKeyId=x&Signature=y",
            "sv=2024&se=2026-11-20T01%3A00%3A00Z&sig=z",
            "q-sign-algorithm=sha1&q-sign-time=1795132800%3B1795136400",
        ] {
            let url = format!("https://media.example.com/v.mp4?{query}");
            assert_eq!(expiry(&url), Some(Timestamp::from_secs(end)), "{query}");
        }
        for nothing in [
            "https://x.y/v.mp4",
            "https://x.y/v?Expires=soon",
            "https://x.y/v?X-Amz-Expires=60",
            "https://x.y/v?expires=3600",
            "https://x.y/v?se=5",
            "",
            "?=&&",
        ] {
            assert_eq!(expiry(nothing), None, "{nothing}");
        }
    }
}
