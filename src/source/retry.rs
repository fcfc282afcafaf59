//! When a list is asked again after a failed request.

use std::time::Duration;

/// Retries of a page before the read fails.
const MAX_RETRIES: u32 = 3;

/// Wait before the first retry after 503 when the response has no `Retry-After`; it doubles with each retry.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// Longest wait before a retry; when the upstream asks for a longer one, the read fails.
const MAX_WAIT: Duration = Duration::from_mins(5);

/// How long a list rests after 429 when the response has no `Retry-After`: new-api counts requests in windows of this length.
const REST: Duration = Duration::from_mins(3);

/// How long a list rests after a response with this HTTP status and so many failures before it; `None` when it need not.
pub fn wait(code: Option<u16>, retry_after: Option<Duration>, failures: u32) -> Option<Duration> {
    match code {
        Some(429) => Some(retry_after.unwrap_or(REST)),
        Some(503) => Some(retry_after.unwrap_or(FIRST_WAIT.saturating_mul(1 << failures.min(16)).min(MAX_WAIT))),
        _ => None,
    }
}

/// Whether the page is requested again after this wait and so many failures.
pub const fn is_worthwhile(wait: Duration, failures: u32) -> bool {
    failures <= MAX_RETRIES && wait.as_secs() <= MAX_WAIT.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_list_rests_for_as_long_as_it_asks_or_three_minutes() {
        let secs = |code, retry_after: Option<u64>, failures| {
            wait(code, retry_after.map(Duration::from_secs), failures).map(|wait| wait.as_secs())
        };
        assert_eq!(
            [secs(Some(429), None, 0), secs(Some(429), Some(180), 2), secs(Some(429), Some(1), 0)],
            [Some(180), Some(180), Some(1)]
        );
        assert_eq!(
            [secs(Some(503), None, 0), secs(Some(503), None, 2), secs(Some(503), None, 99)],
            [Some(5), Some(20), Some(300)]
        );
        assert_eq!([secs(Some(401), None, 0), secs(None, None, 0)], [None, None]);
        assert!(is_worthwhile(REST, 3) && !is_worthwhile(REST, 4) && !is_worthwhile(Duration::from_secs(301), 1));
    }
}
