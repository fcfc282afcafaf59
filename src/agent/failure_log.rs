//! Logs why the requests to an upstream fail: once for each reason.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::request::PolledTask;
use crate::domain::labels::sanitize;
use crate::domain::{ApiError, Reason};

/// After this time without failures the same reason is logged again.
const MEMORY: Duration = Duration::from_mins(10);

/// The log of one upstream's failures.
pub struct FailureLog {
    upstream: Arc<str>,
    /// The last failure that did not concern one task.
    last: Option<(Reason, Instant)>,
}

impl FailureLog {
    /// Nothing has failed yet.
    pub fn new(upstream: Arc<str>) -> Self {
        Self { upstream, last: None }
    }

    /// A request for tasks failed, with a response of this HTTP status or without one.
    pub fn add(&mut self, error: &ApiError, http_status: Option<u16>, polled: &[PolledTask], now: Instant) {
        let (name, reason, tasks) = (&self.upstream, error.kind.as_str(), polled.len());
        // An upstream may repeat a key in what it calls a code.
        let code = &*sanitize(error.code.as_deref().unwrap_or(""));
        if let Some(first) = polled.first() {
            tracing::debug!(upstream.name = %name, task.id = %first.id, tasks, reason, code, "poll failed");
        }
        if !self.is_new(error.kind, now) {
            return;
        }
        // Text of the upstream is never logged.
        let status = || http_status.map(|status| format!("HTTP {status}"));
        let cause = error.cause.clone().or_else(status).unwrap_or_default();
        tracing::warn!(upstream.name = %self.upstream, reason, cause, "requests fail");
    }

    fn is_new(&mut self, reason: Reason, now: Instant) -> bool {
        if reason.is_about_one_task() {
            return false;
        }
        let earlier = self.last.replace((reason, now));
        earlier.is_none_or(|(known, at)| known != reason || now.saturating_duration_since(at) > MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_reason_is_logged_when_it_changes() {
        let mut log = FailureLog::new("u".into());
        let start = clock::instant();
        for (seconds, reason, is_logged) in [
            (0, Reason::Tls, true),
            (1, Reason::Tls, false),
            (2, Reason::NotFound, false),
            (3, Reason::Timeout, true),
            (4, Reason::Tls, true),
            (600, Reason::Tls, false),
            (1201, Reason::Tls, true),
        ] {
            assert_eq!(log.is_new(reason, start + Duration::from_secs(seconds)), is_logged, "{seconds} {reason:?}");
        }
    }
}
