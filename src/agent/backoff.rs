//! Back-off from an upstream: as long as its `Retry-After` says, or exponentially longer while it fails.

use std::time::{Duration, Instant};

use crate::domain::Reason;

/// The first wait; it doubles with each further failure.
const FIRST: Duration = Duration::from_millis(250);

/// The back-off of one upstream.
#[derive(Debug)]
pub struct Backoff {
    longest: Duration,
    until: Option<Instant>,
    failures: u32,
    /// When the current wait was decided: requests sent before it are ignored.
    decided: Option<Instant>,
}

/// What may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Everything.
    Open,
    /// One request, to see whether the upstream has recovered.
    Probe,
    /// Nothing before then.
    Closed(Instant),
}

impl Backoff {
    /// Waits at most `longest`, unless `Retry-After` says longer.
    pub fn new(longest: Duration) -> Self {
        Self { longest, until: None, failures: 0, decided: None }
    }

    /// Takes another longest wait.
    pub const fn configure(&mut self, longest: Duration) {
        self.longest = longest;
    }

    /// What may be sent at `now`.
    pub fn gate(&self, now: Instant) -> Gate {
        match self.until {
            Some(until) if until > now => Gate::Closed(until),
            _ if self.failures > 0 => Gate::Probe,
            _ => Gate::Open,
        }
    }

    /// The end of the current back-off.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// A request that was `sent` then ended `now`; `chance` (0 to 1) spreads the waits.
    pub fn on_request_ended(
        &mut self,
        reason: Option<Reason>,
        retry_after: Option<Duration>,
        sent: Instant,
        now: Instant,
        chance: f64,
    ) {
        if let Some(wait) = retry_after.filter(|wait| !wait.is_zero()) {
            self.until = self.until.max(Some(now + wait));
            self.decided = Some(now);
            return;
        }
        if !reason.is_some_and(concerns_upstream) {
            if self.decided.is_none_or(|decided| sent >= decided) {
                self.failures = 0;
            }
            return;
        }
        if self.decided.is_some_and(|decided| sent < decided) {
            return; // One outage, not one for each request in flight.
        }
        let wait = FIRST.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        self.decided = Some(now);
        self.until = self.until.max(Some(now + wait.mul_f64(0.75 + 0.25 * chance)));
    }
}

/// Reasons that concern the whole upstream and for which waiting helps.
const fn concerns_upstream(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Dns
            | Reason::Connect
            | Reason::Tls
            | Reason::Timeout
            | Reason::Reset
            | Reason::RateLimited
            | Reason::ServerError
            | Reason::Unauthorized
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const LONGEST: Duration = Duration::from_mins(1);

    fn wait(backoff: &Backoff, now: Instant) -> u128 {
        backoff.until(now).map_or(0, |until| (until - now).as_millis())
    }

    #[test]
    fn waits_double_up_to_a_limit_and_end_with_a_good_response() {
        let mut backoff = Backoff::new(LONGEST);
        let mut now = clock::instant();
        let mut waits = Vec::new();
        for _ in 0..12 {
            backoff.on_request_ended(Some(Reason::ServerError), None, now, now, 1.0);
            waits.push(wait(&backoff, now));
            now = backoff.until(now).unwrap();
            assert_eq!(backoff.gate(now), Gate::Probe);
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000, 60000]);
        backoff.on_request_ended(None, None, now, now, 1.0);
        assert_eq!(backoff.gate(now), Gate::Open);
    }

    #[test]
    fn requests_in_flight_count_as_one_failure() {
        let mut backoff = Backoff::new(LONGEST);
        let sent = clock::instant();
        let now = sent + Duration::from_secs(1);
        for _ in 0..16 {
            backoff.on_request_ended(Some(Reason::Timeout), None, sent, now, 1.0);
        }
        assert_eq!(wait(&backoff, now), 250);
        backoff.on_request_ended(None, None, sent, now, 1.0);
        assert_eq!(
            backoff.gate(now + Duration::from_secs(1)),
            Gate::Probe,
            "a response of an older request does not end the back-off"
        );
    }

    #[test]
    fn retry_after_is_obeyed_and_errors_of_one_task_cause_no_back_off() {
        let mut backoff = Backoff::new(LONGEST);
        let now = clock::instant();
        for reason in [Reason::NotFound, Reason::BadRequest, Reason::InvalidBody, Reason::QuotaExhausted] {
            backoff.on_request_ended(Some(reason), None, now, now, 1.0);
        }
        assert_eq!(backoff.gate(now), Gate::Open);
        backoff.on_request_ended(Some(Reason::RateLimited), Some(Duration::from_mins(3)), now, now, 1.0);
        backoff.on_request_ended(None, None, now, now, 1.0);
        assert_eq!(wait(&backoff, now), 180_000, "a good response does not end Retry-After");
        assert_eq!(backoff.gate(now + Duration::from_mins(3)), Gate::Open);
        let mut backoff = Backoff::new(LONGEST);
        backoff.on_request_ended(Some(Reason::RateLimited), Some(Duration::ZERO), now, now, 1.0);
        assert_eq!(wait(&backoff, now), 250, "Retry-After of 0 gives the usual back-off");
    }
}
