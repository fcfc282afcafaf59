//! Leaving an upstream alone: for as long as it asks, or longer and longer while it is in trouble.

use std::time::{Duration, Instant};

use crate::domain::Reason;

/// The first wait; it doubles with each failure that follows it.
const FIRST: Duration = Duration::from_millis(250);

/// The back-off of one upstream.
#[derive(Debug)]
pub struct Backoff {
    longest: Duration,
    until: Option<Instant>,
    failures: u32,
    /// When the wait in force was decided: what was sent before says nothing about the time since.
    decided: Option<Instant>,
}

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// As much as there is.
    Open,
    /// One request, to see whether the upstream is well again.
    Probe,
    /// Nothing before then.
    Shut(Instant),
}

impl Backoff {
    /// Never waits longer than `longest` by itself.
    pub fn new(longest: Duration) -> Self {
        Self { longest, until: None, failures: 0, decided: None }
    }

    /// The same under another longest wait.
    pub fn within(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// What may be sent at `now`.
    pub fn gate(&self, now: Instant) -> Gate {
        match self.until {
            Some(until) if until > now => Gate::Shut(until),
            _ if self.failures > 0 => Gate::Probe,
            _ => Gate::Open,
        }
    }

    /// Until when the upstream is left alone, if it is.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// Takes note of a request that was `sent` then and ended `now`; `chance` (0 to 1) spreads the waits.
    pub fn ended(
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
        if !reason.is_some_and(is_trouble) {
            if self.decided.is_none_or(|decided| sent >= decided) {
                self.failures = 0;
            }
            return;
        }
        if self.decided.is_some_and(|decided| sent < decided) {
            return; // One outage, not one for each request that was on its way.
        }
        let wait = FIRST.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        self.decided = Some(now);
        self.until = self.until.max(Some(now + wait.mul_f64(0.75 + 0.25 * chance)));
    }
}

/// Reasons that are the whole upstream's, and for which waiting helps.
const fn is_trouble(reason: Reason) -> bool {
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
    fn waits_double_up_to_the_longest_and_end_with_a_good_answer() {
        let mut backoff = Backoff::new(LONGEST);
        let mut now = clock::instant();
        let mut waits = Vec::new();
        for _ in 0..12 {
            backoff.ended(Some(Reason::ServerError), None, now, now, 1.0);
            waits.push(wait(&backoff, now));
            now = backoff.until(now).unwrap();
            assert_eq!(backoff.gate(now), Gate::Probe);
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000, 60000]);
        backoff.ended(None, None, now, now, 1.0);
        assert_eq!(backoff.gate(now), Gate::Open);
    }

    #[test]
    fn requests_that_were_on_their_way_count_as_one_failure() {
        let mut backoff = Backoff::new(LONGEST);
        let sent = clock::instant();
        let now = sent + Duration::from_secs(1);
        for _ in 0..16 {
            backoff.ended(Some(Reason::Timeout), None, sent, now, 1.0);
        }
        assert_eq!(wait(&backoff, now), 250);
        backoff.ended(None, None, sent, now, 1.0);
        assert_eq!(backoff.gate(now + Duration::from_secs(1)), Gate::Probe, "an old good answer proves nothing");
    }

    #[test]
    fn retry_after_is_obeyed_and_one_tasks_errors_are_not_the_upstreams() {
        let mut backoff = Backoff::new(LONGEST);
        let now = clock::instant();
        for reason in [Reason::NotFound, Reason::BadRequest, Reason::InvalidBody, Reason::QuotaExhausted] {
            backoff.ended(Some(reason), None, now, now, 1.0);
        }
        assert_eq!(backoff.gate(now), Gate::Open);
        backoff.ended(Some(Reason::RateLimited), Some(Duration::from_mins(3)), now, now, 1.0);
        backoff.ended(None, None, now, now, 1.0);
        assert_eq!(wait(&backoff, now), 180_000, "a good answer does not cut it short");
        assert_eq!(backoff.gate(now + Duration::from_mins(3)), Gate::Open);
        let mut backoff = Backoff::new(LONGEST);
        backoff.ended(Some(Reason::RateLimited), Some(Duration::ZERO), now, now, 1.0);
        assert_eq!(wait(&backoff, now), 250, "no time at all is no answer to how long");
    }
}
